//! Films and the people who make them.

const FILMS: &str = "
    CREATE (matrix:Movie {title: 'The Matrix', released: 1999, tagline: 'Welcome to the Real World'})
    CREATE (cloud:Movie:Epic {title: 'Cloud Atlas', released: 2012, parts: ['a', 'b'], budget: 102.5})
    CREATE (keanu:Person:Actor {name: 'Keanu Reeves', born: 1964})
    CREATE (tom:Person:Actor:Director {name: 'Tom', born: date('1956-07-09')})
    CREATE (lana:Person:Director {name: 'Lana Wachowski'})
    CREATE (nobody:Person)
    CREATE (:Person), (:Actor), (:Epic), (:Director)
    CREATE ({note: 'no label at all'})-[:ABOUT]->(matrix)
    CREATE (), ()-[:ABOUT {why: 'nothing'}]->()
    CREATE (keanu)-[:ACTED_IN {roles: ['Neo']}]->(matrix), (tom)-[:ACTED_IN {roles: ['Zachry', 'Dr. Goose']}]->(cloud)
    CREATE (tom)-[:ACTED_IN {roles: ['Isaac']}]->(cloud), (lana)-[:DIRECTED]->(matrix), (lana)-[:DIRECTED]->(cloud)
    CREATE (lana)-[:DIRECTED]->(cloud), (nobody)-[:FOLLOWS]->(nobody), (nobody)-[:FOLLOWS]->(tom)
    CREATE (keanu)-[:REVIEWED {rating: 95, at: datetime('2020-01-01T10:00:00+02:00')}]->(cloud)";

/// Enough people and films to have more than a page of each.
const MORE: &str = "
    UNWIND range(1, 1500) AS i
    CREATE (p:Person {name: 'person ' + i, born: 1900 + i % 100})
    CREATE (m:Movie {title: 'film ' + i, score: i / 7.0})
    CREATE (p)-[:ACTED_IN {roles: ['r' + i]}]->(m)
    FOREACH (_ IN CASE WHEN i % 5 = 0 THEN [1] ELSE [] END | SET p:Actor CREATE (p)-[:FOLLOWS]->(p))
    FOREACH (_ IN CASE WHEN i % 7 = 0 THEN [1] ELSE [] END | SET p:Director CREATE (p)-[:DIRECTED]->(m))";

pub(super) fn statements() -> Vec<String> {
    vec![FILMS.to_owned(), MORE.to_owned()]
}
