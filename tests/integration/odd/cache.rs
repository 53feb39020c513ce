//! Elements that somebody else wrote into the cache, with values of every type of FalkorDB for keys.

use neo4rs::query;

use super::{applied, is_usable, keys_of_every_character, service, small, started};
use crate::pipeline::Pair;
use crate::support::copier::run;
use crate::support::graph::build;

/// A value of each type that FalkorDB stores, and the texts that its index does not find.
const VALUES: [&str; 14] = [
    "5",
    "1.5",
    "true",
    "[1]",
    "['a', 2]",
    "[]",
    "vecf32([1, 2])",
    "point({latitude: 1, longitude: 2})",
    "date('2026-01-02')",
    "localtime('10:00:00')",
    "localdatetime('2026-01-02T03:04:05')",
    "duration('P1D')",
    "''",
    "' a'",
];

/// One element of each kind for each value.
async fn write_strangers(pair: &Pair) {
    let mut cache = pair.cache.connect().await.unwrap();
    let create = |value: &str| {
        let properties = format!("{{uuid: {value}, created_at: {value}, group_id: ''}}");
        format!(
            "CREATE (a:Entity {properties}), (b:Episodic {properties}), (c:Community {properties}), (d:Saga {properties}), \
             (a)-[:RELATES_TO {properties}]->(a), (b)-[:MENTIONS {properties}]->(a), (c)-[:HAS_MEMBER {properties}]->(a), \
             (d)-[:HAS_EPISODE {properties}]->(b), (b)-[:NEXT_EPISODE {properties}]->(b)"
        )
    };
    for value in VALUES {
        run(&mut cache, &pair.graph, &create(value)).await.unwrap_or_else(|error| panic!("{value}: {error}"));
    }
    let characters = list(keys_of_every_character('z').iter().filter(|key| !key.contains('\0')));
    run(&mut cache, &pair.graph, &format!("UNWIND {characters} AS k {}", create("k"))).await.unwrap();
}

fn list<'k>(keys: impl Iterator<Item = &'k String>) -> String {
    let keys: Vec<String> = keys.map(|key| format!("'{}'", key.replace('\\', r"\\").replace('\'', r"\'"))).collect();
    format!("[{}]", keys.join(", "))
}

/// Strangers whose text can be a key are elements that the source does not have.
async fn assert_orphans_are_gone(pair: &Pair) {
    let mut cache = pair.cache.connect().await.unwrap();
    let keys = list(keys_of_every_character('z').iter().filter(|key| is_usable(key)));
    for pattern in ["(x:Entity)", "(x:Saga)", "()-[x:RELATES_TO]->()", "()-[x:HAS_MEMBER]->()"] {
        let text = format!("WITH {keys} AS keys MATCH {pattern} WHERE typeOf(x.uuid) = 'String' RETURN x.uuid IN keys, count(x)");
        let answer = format!("{:?}", run(&mut cache, &pair.graph, &text).await.unwrap());
        assert!(answer.contains("false") && !answer.contains("true"), "{pattern}: {answer}");
    }
}

async fn is_in_cache(pair: &Pair, pattern: &str) -> bool {
    let mut cache = pair.cache.connect().await.unwrap();
    let answer = run(&mut cache, &pair.graph, &format!("MATCH {pattern} RETURN count(*) > 0")).await.unwrap();
    format!("{answer:?}").contains("true")
}

#[tokio::test]
async fn a_stranger_with_a_key_of_any_type_stops_nothing() {
    let pair = Pair::new("odd_cache").await;
    build(&pair.source.graph, &small()).await.unwrap();
    let write = async |text: &str| pair.source.graph.run(query(text)).await.unwrap();
    let relate = async |key: &str| {
        let nodes = "{name: 'n', group_id: '', created_at: datetime()}";
        let ends = format!("(a:Entity {{uuid: '{key}-a'}}), (b:Episodic {{uuid: '{key}-b'}}), (c:Saga {{uuid: '{key}-c'}})");
        let facts = "(b)-[:MENTIONS {uuid: $k, group_id: ''}]->(a), (c)-[:HAS_EPISODE {uuid: $k, group_id: ''}]->(b)";
        let text = format!("CREATE {ends} SET a += {nodes}, b += {nodes}, c += {nodes} CREATE {facts}");
        pair.source.graph.run(query(&text).param("k", key)).await.unwrap();
    };
    relate("first").await;
    let (mut running, http) = started(&pair).await;
    write_strangers(&pair).await;
    // What has no timestamp and what is deleted is found by counts and keys.
    relate("second").await;
    write("MATCH (n) WHERE n.uuid STARTS WITH 'first' DETACH DELETE n").await;
    applied(&pair, &http, &running).await;
    assert_orphans_are_gone(&pair).await;
    assert!(
        is_in_cache(&pair, "({uuid: 'second-c'})-[:HAS_EPISODE]->({uuid: 'second-b'})-[:MENTIONS]->({uuid: 'second-a'})").await
    );
    for gone in ["first-a", "first-b", "first-c"] {
        assert!(!is_in_cache(&pair, &format!("({{uuid: '{gone}'}})")).await, "{gone}");
    }
    assert_eq!(running.terminate_now().await, 0);

    // A new process meets them at its start.
    let (mut running, http) = started(&pair).await;
    relate("third").await;
    write("MATCH (n) WHERE n.uuid STARTS WITH 'second' DETACH DELETE n").await;
    applied(&pair, &http, &running).await;
    assert!(is_in_cache(&pair, "({uuid: 'third-c'})-[:HAS_EPISODE]->({uuid: 'third-b'})-[:MENTIONS]->({uuid: 'third-a'})").await);
    assert!(!is_in_cache(&pair, "({uuid: 'second-a'})").await);
    assert_eq!(running.terminate_now().await, 0);

    assert_eq!(pair.service.finish(&["sync", "--mode", "differential"]).await.code, 0);
    let verified = pair.service.finish(&["verify"]).await;
    assert!([0, 1].contains(&verified.code), "it could not be told: {}", verified.stderr);
    // The strangers that have no key count as losses, which the setting of this test lets go.
    service(&pair).json(&["sync", "--mode", "full"]).await;
    pair.assert_equal().await;
}
