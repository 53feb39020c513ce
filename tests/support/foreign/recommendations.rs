//! Films, people and ratings for recommendations: vectors with their index, long texts with theirs, numbers that are texts.

/// Dimension of the vectors.
const DIMENSION: usize = 16;

pub(super) const PROFILE: &str = "
name: recommendations
discover:
  identity: _neo4j_id
  unlabelled: _Unlabelled
  vectors: [name_embedding]
mirror_indexes: true
";

pub(super) fn statements() -> Vec<String> {
    let vector_index = format!(
        "CREATE VECTOR INDEX recommended_plots IF NOT EXISTS FOR (n:Movie) ON (n.name_embedding) \
         OPTIONS {{indexConfig: {{`vector.dimensions`: {DIMENSION}, `vector.similarity_function`: 'cosine'}}}}"
    );
    // Fractions of powers of two, which are the same in 32 bits and in 64.
    let films = format!(
        "UNWIND range(1, 600) AS i
            CREATE (:Movie {{movieId: toString(i), tmdbId: '' + i * 13, title: 'film ' + i, year: 1920 + i % 100, imdbRating: (i % 100) / 10.0,
                released: toString(date('1990-01-01') + duration({{days: i}})), languages: ['English', 'Français', '日本語'][0..(1 + i % 3)],
                plot: reduce(text = '', w IN range(1, 60) | text + 'word' + (w * i % 97) + ' '), budget: i * 1000000000,
                name_embedding: [d IN range(1, {DIMENSION}) | ((d * i) % 33 - 16) / 32.0]}})"
    );
    let texts = [
        "CREATE CONSTRAINT recommended_movie IF NOT EXISTS FOR (n:Movie) REQUIRE n.movieId IS UNIQUE",
        "CREATE INDEX recommended_year IF NOT EXISTS FOR (n:Movie) ON (n.year)",
        "CREATE FULLTEXT INDEX recommended_text IF NOT EXISTS FOR (n:Movie|Person) ON EACH [n.title, n.plot, n.name]",
        "CREATE TEXT INDEX recommended_name IF NOT EXISTS FOR (n:Person) ON (n.name)",
        "UNWIND ['Drama', 'Comedy', 'Sci-Fi', 'Film-Noir', '(no genres listed)'] AS name CREATE (:Genre {name: name})",
    ];
    let more = [
        "MATCH (m:Movie) UNWIND range(0, toInteger(m.movieId) % 3) AS k
            MATCH (g:Genre {name: ['Drama', 'Comedy', 'Sci-Fi', 'Film-Noir', '(no genres listed)'][(k + m.year) % 5]}) CREATE (m)-[:IN_GENRE]->(g)",
        "UNWIND range(1, 400) AS i CREATE (p:Person {tmdbId: toString(i), name: 'person ' + i, bio: 'line one\\nline \"two\" \\\\ ' + i,
                poster: 'https://example.com/' + i + '.jpg?a=b&c=%20', born: CASE WHEN i % 4 = 0 THEN null ELSE date('1950-06-01') END})
            FOREACH (_ IN CASE WHEN i % 2 = 0 THEN [1] ELSE [] END | SET p:Actor) FOREACH (_ IN CASE WHEN i % 5 = 0 THEN [1] ELSE [] END | SET p:Director)",
        "MATCH (p:Person) WITH p, toInteger(p.tmdbId) AS i UNWIND range(1, 3) AS k MATCH (m:Movie {movieId: toString(1 + i * k % 600)})
            FOREACH (_ IN CASE WHEN p:Actor THEN [1] ELSE [] END | CREATE (p)-[:ACTED_IN {role: 'role ' + k}]->(m))
            FOREACH (_ IN CASE WHEN p:Director THEN [1] ELSE [] END | CREATE (p)-[:DIRECTED]->(m))",
        "UNWIND range(1, 200) AS i CREATE (u:User {userId: toString(i), name: 'user ' + i})
            WITH u, i UNWIND range(1, 15) AS k MATCH (m:Movie {movieId: toString(1 + i * k % 600)})
            CREATE (u)-[:RATED {rating: (1 + (i + k) % 10) / 2.0, timestamp: 1260759144 + i * k}]->(m)",
    ];
    [vector_index].into_iter().chain(texts.map(str::to_owned)).chain([films]).chain(more.map(str::to_owned)).collect()
}
