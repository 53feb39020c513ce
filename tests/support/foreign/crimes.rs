//! Crimes, and the people, places and calls around them: points, dates, times and durations of all kinds on nodes and relationships.

pub(super) fn statements() -> Vec<String> {
    let texts = [
        "CREATE CONSTRAINT crimes_nhs IF NOT EXISTS FOR (n:Person) REQUIRE n.nhs_no IS UNIQUE",
        "CREATE CONSTRAINT crimes_badge IF NOT EXISTS FOR (n:Officer) REQUIRE n.badge_no IS UNIQUE",
        "CREATE POINT INDEX crimes_place IF NOT EXISTS FOR (n:Location) ON (n.position)",
        "CREATE INDEX crimes_when IF NOT EXISTS FOR (n:Crime) ON (n.date, n.type)",
        "CREATE INDEX crimes_called IF NOT EXISTS FOR ()-[r:CALLED]-() ON (r.date)",
        "UNWIND range(1, 40) AS i CREATE (:Area {areaCode: 'WN' + i, bounds: [i * 1.5, i * -0.25]}), (:PostCode {code: 'WN' + i + ' 1AA'})",
        "UNWIND range(1, 400) AS i
            CREATE (l:Location {address: i + ' Long Street', latitude: 53.5 + i / 1e4, longitude: -2.6 - i / 1e4,
                position: point({latitude: 53.5 + i / 1e4, longitude: -2.6 - i / 1e4}),
                height: point({latitude: 53.5, longitude: -2.6, height: i * 1.0}),
                onPlan: point({x: i * 1.0, y: -i / 3.0}), inHouse: point({x: i, y: 0.5, z: -i})})
            WITH l, i MATCH (a:Area {areaCode: 'WN' + (1 + i % 40)}), (p:PostCode {code: 'WN' + (1 + i % 40) + ' 1AA'})
            CREATE (l)-[:LOCATION_IN_AREA]->(a), (l)-[:HAS_POSTCODE]->(p)",
        "UNWIND range(1, 300) AS i
            CREATE (p:Person {nhs_no: '804-' + i, name: 'name ' + i, surname: 'of ' + (i % 50), age: i % 90,
                born: date('1930-01-01') + duration({days: i * 97}), wanted: i % 17 = 0, aliases: ['a' + i, 'ä' + i]})
            WITH p, i MATCH (l:Location {address: (1 + i % 400) + ' Long Street'})
            CREATE (p)-[:CURRENT_ADDRESS {since: localdatetime('2001-02-03T04:05:06.789'), stay: duration({months: i, seconds: -i})}]->(l)
            FOREACH (_ IN CASE WHEN i % 10 = 0 THEN [1] ELSE [] END |
                CREATE (p)-[:HAS_PHONE]->(:Phone {phoneNo: '1-' + i}), (p)-[:HAS_EMAIL]->(:Email {email_address: 'p' + i + '@example.com'}))",
        "UNWIND range(1, 60) AS i CREATE (:Officer {badge_no: '26-' + i, rank: ['Sergeant', 'Inspector'][i % 2], shift: time('08:30:00.5+01:00')})",
        "UNWIND range(1, 800) AS i
            MATCH (l:Location {address: (1 + i * 7 % 400) + ' Long Street'}), (o:Officer {badge_no: '26-' + (1 + i % 60)})
            CREATE (c:Crime {id: 'c' + i, date: date('2017-08-01') + duration({days: i % 31}), at: localtime('23:59:59.999999999'),
                reported: datetime('2017-08-01T10:00:00[Europe/London]') + duration({minutes: i}), type: 'type ' + (i % 14),
                charge: CASE WHEN i % 3 = 0 THEN null ELSE 'charge ' + i END})
            CREATE (c)-[:OCCURRED_AT]->(l), (c)-[:INVESTIGATED_BY {hours: i / 8.0}]->(o)",
        "MATCH (p:Person), (c:Crime {id: 'c' + toString(toInteger(split(p.nhs_no, '-')[1]))}) CREATE (p)-[:PARTY_TO]->(c)",
        "MATCH (a:Person), (b:Person {nhs_no: '804-' + (1 + a.age * 3 % 300)})
            CREATE (a)-[:KNOWS]->(b), (a)-[:CALLED {date: datetime('2017-08-02T00:00:00Z'), lasted: duration('PT12M3.25S')}]->(b)",
    ];
    texts.map(str::to_owned).to_vec()
}
