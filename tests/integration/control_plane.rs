//! What the control plane tells of a real server, and what it says of one that it cannot use.

use std::sync::Arc;

use neo4j_falkordb_sync::config::Secret;
use neo4j_falkordb_sync::error::ErrorKind;
use neo4j_falkordb_sync::model::profile::Profile;
use neo4j_falkordb_sync::source::BoltSource;
use neo4j_falkordb_sync::source::{ControlPlane, Source, SourceAddress, SourceIndex, SourceIndexKind};
use neo4rs::query;

use crate::bolt::source_address;
use crate::support::proxy::Proxy;
use crate::support::servers::{Neo4jOptions, Neo4jServer, source_lock};

#[tokio::test]
async fn the_server_and_its_database_are_told() {
    let turn = source_lock().await;
    let control = ControlPlane::new(&source_address(&turn.address));
    let version = control.connect().await.unwrap().unwrap();
    let mut rows =
        turn.graph.execute(query("CALL dbms.components() YIELD versions RETURN versions[0] AS version")).await.unwrap();
    let expected: String = rows.next().await.unwrap().unwrap().get("version").unwrap();
    assert_eq!(version, format!("{expected} (community)"));
    let identity = control.identity().await.unwrap();
    assert_eq!(identity.name, turn.address.database);
    turn.graph.run(query("CREATE (:Entity {uuid: 'a'})")).await.unwrap();
    let mut rows = turn.graph.execute(query("MATCH (n) RETURN elementId(n) AS id")).await.unwrap();
    assert!(rows.next().await.unwrap().unwrap().get::<String>("id").unwrap().starts_with("4:"));
}

#[tokio::test]
async fn what_cannot_work_is_told_with_its_reason() {
    let turn = source_lock().await;
    let address = source_address(&turn.address);
    let error = async |address: SourceAddress| ControlPlane::new(&address).connect().await.unwrap_err();
    let wrong = error(SourceAddress { password: Secret::new("tr0ub4dor"), ..address.clone() }).await;
    assert_eq!(wrong.kind(), ErrorKind::SourceAuthentication);
    assert!(
        wrong.chain().contains("Neo.ClientError.Security.Unauthorized") && !wrong.chain().contains("tr0ub4dor"),
        "{}",
        wrong.chain()
    );
    let missing = error(SourceAddress { database: Some("nosuchdatabase".to_owned()), ..address.clone() }).await;
    assert_eq!(missing.kind(), ErrorKind::SourceRefused, "{}", missing.chain());
    let unreadable =
        error(SourceAddress { uri: "bolt+s://127.0.0.1:1".to_owned(), ca_file: Some("/no/such/file".into()), ..address.clone() });
    assert_eq!(unreadable.await.kind(), ErrorKind::Configuration);
    // The same by the source as a whole, which connects the control plane first.
    let profile = Arc::new(Profile::graphiti().unwrap());
    let wrong = SourceAddress { password: Secret::new("tr0ub4dor"), ..address };
    assert_eq!(BoltSource::connect(&wrong, profile).await.map(drop).unwrap_err().kind(), ErrorKind::SourceAuthentication);
}

#[tokio::test]
async fn every_form_of_address_of_one_server_is_the_same() {
    let turn = source_lock().await;
    let address = source_address(&turn.address);
    let port = address.uri.rsplit(':').next().unwrap().to_owned();
    for uri in [format!("bolt://localhost:{port}"), format!("neo4j://127.0.0.1:{port}"), format!("NEO4J://localhost:{port}/")] {
        let control = ControlPlane::new(&SourceAddress { uri: uri.clone(), database: None, ..address.clone() });
        control.connect().await.unwrap_or_else(|error| panic!("{uri}: {}", error.chain()));
        assert_eq!(control.identity().await.unwrap().name, turn.address.database, "{uri}");
    }
}

/// Whatever user is named, the driver sends one, and such a server looks at none.
#[tokio::test]
async fn a_server_without_a_log_on_is_used_without_a_user() {
    let settings = vec![("dbms.security.auth_enabled".to_owned(), "false".to_owned())];
    let server = Neo4jServer::start_with(Neo4jOptions { settings, heap: "512m".to_owned(), ..Neo4jOptions::default() });
    let server = server.await.unwrap();
    let address = SourceAddress { user: String::new(), password: Secret::new(""), ..source_address(&server.address()) };
    assert!(ControlPlane::new(&address).connect().await.unwrap().is_some());
}

#[tokio::test]
async fn a_connection_that_was_cut_is_replaced() {
    let turn = source_lock().await;
    let address = source_address(&turn.address);
    let port = address.uri.rsplit(':').next().unwrap().parse().unwrap();
    let proxy = Proxy::before(port).await.unwrap();
    let control = ControlPlane::new(&SourceAddress { uri: format!("bolt://127.0.0.1:{}", proxy.port), ..address });
    let identity = control.identity().await.unwrap();
    proxy.reset().await;
    assert_eq!(control.identity().await.unwrap(), identity);
    proxy.freeze().await;
    assert_eq!(control.identity().await.unwrap(), identity);
}

#[tokio::test]
async fn every_kind_of_index_is_read() {
    let turn = source_lock().await;
    let make = [
        "CREATE (:A {text: 't', number: 1, at: datetime()})-[:R {text: 't', number: 1}]->(:B)",
        "CREATE INDEX a_text FOR (n:A) ON (n.text, n.number)",
        "CREATE INDEX a_number FOR (n:A) ON n.number",
        "CREATE INDEX r_number FOR ()-[e:R]-() ON e.number",
        "CREATE TEXT INDEX b_text FOR (n:B) ON n.text",
        "CREATE FULLTEXT INDEX words FOR (n:A|B) ON EACH [n.text, n.name] OPTIONS {indexConfig: {`fulltext.analyzer`: 'english'}}",
        "CREATE VECTOR INDEX near FOR ()-[e:R]-() ON e.v OPTIONS {indexConfig: {`vector.dimensions`: 3, \
         `vector.similarity_function`: 'euclidean'}}",
        "CALL db.awaitIndexes(60)",
    ];
    for text in make {
        turn.graph.run(query(text)).await.unwrap();
    }
    let source = BoltSource::connect(&source_address(&turn.address), Arc::new(Profile::graphiti().unwrap())).await.unwrap();
    let mut indexes = source.indexes_with_texts().await.unwrap();
    // Other tests leave theirs.
    indexes.retain(|index| index.on.iter().any(|name| ["A", "B", "R"].contains(&name.as_str())));
    let index =
        |name: &str, kind: SourceIndexKind, of_nodes: bool, on: &[&str], properties: &[&str], texts: &[&str]| SourceIndex {
            name: name.to_owned(),
            kind,
            of_nodes,
            on: on.iter().map(ToString::to_string).collect(),
            properties: properties.iter().map(ToString::to_string).collect(),
            texts: texts.iter().map(ToString::to_string).collect(),
        };
    let (similarity, m, ef_construction) = ("EUCLIDEAN".to_owned(), Some(16), Some(100));
    let vector = SourceIndexKind::Vector { dimension: Some(3), similarity, m, ef_construction };
    let fulltext = SourceIndexKind::Fulltext { analyzer: "english".to_owned() };
    let expected = [
        index("a_number", SourceIndexKind::Range, true, &["A"], &["number"], &[]),
        index("a_text", SourceIndexKind::Range, true, &["A"], &["text", "number"], &["text"]),
        index("b_text", SourceIndexKind::Other("TEXT".to_owned()), true, &["B"], &["text"], &["text"]),
        index("near", vector, false, &["R"], &["v"], &["v"]),
        index("r_number", SourceIndexKind::Range, false, &["R"], &["number"], &[]),
        index("words", fulltext, true, &["A", "B"], &["text", "name"], &["text", "name"]),
    ];
    assert_eq!(indexes, expected);
    // The next test on this server counts its own.
    for index in &expected {
        turn.graph.run(query(&format!("DROP INDEX {}", index.name))).await.unwrap();
    }
}
