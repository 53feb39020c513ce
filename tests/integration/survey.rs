//! What `check` says: where it looked, and the whole truth about names and keys that FalkorDB or the profile cannot take.

use std::sync::Arc;

use neo4j_falkordb_sync::config::Secret;
use neo4j_falkordb_sync::model::profile::Profile;
use neo4j_falkordb_sync::source::BoltSource;
use neo4j_falkordb_sync::source::{ControlPlane, SourceAddress, expected_elements};
use neo4rs::query;

use super::full_sync::ask;
use super::pipeline::Pair;
use crate::support::servers::Neo4jAddress;

async fn pair(test: &str, profile: &str) -> Pair {
    let mut pair = Pair::new(test).await;
    pair.service = pair.service.clone().with("SYNC_PROFILE", profile).with("SYNC_SCRUB_ROWS_PER_SECOND", 0);
    pair
}

#[tokio::test]
async fn check_says_where_it_looked_whatever_the_file_says() {
    let pair = pair("addresses", "generic").await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sync.yaml");
    std::fs::write(&file, "neo4j: {uri: 'bolt://elsewhere:1'}\nfalkordb: {host: elsewhere, port: 2}").unwrap();
    let checked = pair.service.finish(&["check", "--config", file.to_str().unwrap()]).await;
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    let cache = format!("{}:{}", pair.cache.host, pair.cache.port);
    for address in [pair.source.address.uri.as_str(), &cache] {
        assert!(checked.stdout.contains(address), "{address}: {}", checked.stdout);
    }
    assert!(!checked.stdout.contains("elsewhere"), "{}", checked.stdout);
}

#[tokio::test]
async fn a_label_that_falkordb_cannot_name_is_left_out_for_that_reason() {
    let pair = pair("backtick", "generic").await;
    let text = "CREATE (:`tick``label`)-[:`tick``type`]->(:Plain), (:Plain)-[:`tick``type`]->(:Plain), (:`two\nlines` {x: 1})";
    pair.source.graph.run(query(text)).await.unwrap();
    let checked = pair.service.finish(&["check"]).await;
    let left_out: Vec<&str> = checked.stdout.lines().filter(|line| line.contains("left out")).collect();
    assert_eq!(left_out.len(), 2, "{}", checked.stdout);
    assert!(
        left_out.iter().all(|line| line.contains("contains a backtick") && !line.contains("outside the profile")),
        "{left_out:?}"
    );
    // A line break in a name does not make another line.
    assert!(checked.stdout.lines().any(|line| line.trim_start().starts_with("(:two\\nlines)")), "{}", checked.stdout);
    assert!(!checked.stdout.lines().any(|line| line.starts_with("lines)")), "{}", checked.stdout);
}

/// Elements that share a key become one, and everything that counts says so.
#[tokio::test]
async fn elements_that_share_a_key_become_one_and_are_counted() {
    let pair = pair("twins", "graphiti").await;
    let text = "UNWIND range(1, 3) AS i CREATE (:Entity {uuid: 'same', name: 'n' + i, group_id: '', created_at: datetime()}) \
                WITH count(*) AS made CREATE (:Entity {uuid: 'other', name: 'n\\u0000', group_id: '', created_at: datetime()})";
    pair.source.graph.run(query(text)).await.unwrap();
    // A server gives numbers of deleted elements again, in any order.
    let by_number = "MATCH (n:Entity {uuid: 'same'}) WITH n ORDER BY id(n) WITH collect(n) AS same UNWIND range(0, 2) AS i \
                     WITH same[i] AS n, i SET n.name = 'n' + (i + 1)";
    pair.source.graph.run(query(by_number)).await.unwrap();
    let checked = pair.service.finish(&["check"]).await;
    assert_eq!(checked.code, 0, "{}", checked.stdout);
    for said in ["2 elements share their key with another element, which is copied instead", "1 text loses a NUL"] {
        assert!(checked.stdout.contains(said), "{said}: {}", checked.stdout);
    }
    let pass = pair.sync("full").await;
    assert_eq!((&pass["totals"]["nodes"], &pass["totals"]["collapsed"]), (&2.into(), &2.into()), "{pass}");
    let mut cache = pair.cache.connect().await.unwrap();
    let kept = ask(&mut cache, &pair.graph, "MATCH (n:Entity {uuid: 'same'}) RETURN count(n), min(n.name)").await;
    assert!(kept.contains("int(1)") && kept.contains("n1"), "the one with the lowest number: {kept}");
}

#[tokio::test]
async fn a_property_of_the_identitys_name_is_refused_with_the_way_out() {
    let pair = pair("identity_name", "generic").await;
    pair.source.graph.run(query("CREATE (:Plain {`taken id`: 1})")).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("own.yaml");
    let profile = |identity: &str| format!("name: own\ndiscover: {{identity: '{identity}', unlabelled: _Unlabelled}}\n");
    std::fs::write(&file, profile("taken id")).unwrap();
    let service = pair.service.clone().with("SYNC_PROFILE", file.display());
    let refused = service.finish(&["check"]).await;
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    for said in ["taken id", "copy the profile", "discover.identity", "SYNC_PROFILE"] {
        assert!(refused.stderr.contains(said), "{said}: {}", refused.stderr);
    }
    std::fs::write(&file, profile("free id")).unwrap();
    assert_eq!(service.finish(&["check"]).await.code, 0);
    pair.source.graph.run(query("MATCH (n:Plain) REMOVE n.`taken id`")).await.unwrap();
}

/// A node that carries two labels of the profile is one element.
#[tokio::test]
async fn progress_counts_a_node_with_several_labels_once() {
    let pair = pair("progress", "generic").await;
    let text = "UNWIND range(1, 3000) AS i CREATE (:One:Two:Three {i: i})-[:R]->(:One)";
    pair.source.graph.run(query(text)).await.unwrap();
    let Neo4jAddress { uri, user, password, database } = pair.source.address.clone();
    let (password, database) = (Secret::new(password), Some(database));
    let address = SourceAddress { uri, user, password, database, pool_size: 1, ca_file: None };
    let profile = ControlPlane::new(&address).discovered(&Profile::generic().unwrap(), &[]).await.unwrap();
    let source = BoltSource::connect(&address, Arc::new(profile.clone())).await.unwrap();
    assert_eq!(expected_elements(&source, &profile).await.unwrap(), 9000);
    // As many as a full pass reads, and as a comparison compares.
    assert_eq!(pair.sync("full").await["totals"]["read"], 9000);
    let verified = pair.service.finish(&["verify"]).await;
    assert!(verified.stdout.contains("9000 elements compared"), "{}", verified.stdout);
}
