//! Graphs that are not Graphiti's, of any shape, kept in step by the profile that finds its kinds in the source.

use neo4rs::query;

use super::pipeline::Pair;
use crate::support::comparer::{GENERIC, assert_same_content};

async fn pair(test: &str) -> Pair {
    let mut pair = Pair::new(test).await;
    pair.service = pair.service.clone().with("SYNC_PROFILE", "generic");
    pair
}

async fn write(pair: &Pair, text: &str) {
    pair.source.graph.run(query(text)).await.unwrap();
}

async fn assert_same(pair: &Pair) {
    assert_same_content(&pair.source.graph, &pair.cache, &pair.graph, GENERIC).await;
}

/// Films, people, ratings: some labels several times on a node, some relationships without properties.
const MOVIES: &str = "
    CREATE (matrix:Movie {title: 'The Matrix', released: 1999, tagline: 'Welcome to the Real World'})
    CREATE (cloud:Movie:Epic {title: 'Cloud Atlas', released: 2012, parts: ['a', 'b'], budget: 102.5})
    CREATE (keanu:Person:Actor {name: 'Keanu Reeves', born: 1964})
    CREATE (tom:Person:Actor:Director {name: 'Tom', born: date('1956-07-09')})
    CREATE (lana:Person:Director {name: 'Lana Wachowski'})
    CREATE (nobody:Person)
    CREATE ({note: 'no label at all'})-[:ABOUT]->(matrix)
    CREATE (keanu)-[:ACTED_IN {roles: ['Neo']}]->(matrix), (tom)-[:ACTED_IN {roles: ['Zachry', 'Dr. Goose']}]->(cloud)
    CREATE (tom)-[:ACTED_IN {roles: ['Isaac']}]->(cloud), (lana)-[:DIRECTED]->(matrix), (lana)-[:DIRECTED]->(cloud)
    CREATE (lana)-[:DIRECTED]->(cloud), (nobody)-[:FOLLOWS]->(nobody), (nobody)-[:FOLLOWS]->(tom)
    CREATE (keanu)-[:REVIEWED {rating: 95, at: datetime('2020-01-01T10:00:00+02:00')}]->(cloud)";

#[tokio::test]
async fn a_graph_of_films_is_kept_in_step() {
    let pair = pair("films").await;
    write(&pair, MOVIES).await;
    pair.sync("full").await;
    assert_same(&pair).await;
}
