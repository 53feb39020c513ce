//! Locked doors: passwords, access lists, certificates, and the read access mode.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::bolt::start_with_tls;
use super::pipeline::{PROGRAM, Pair};
use crate::support::certificates::Certificates;
use crate::support::comparer::assert_equal;
use crate::support::graph::{GraphSpec, World, build};
use crate::support::servers::{FalkorAddress, FalkorOptions, FalkorServer};
use crate::support::service::{Finished, Service};

fn spec() -> GraphSpec {
    GraphSpec { groups: 1, dimension: 16, ..GraphSpec::default() }
}

/// What the README says that a user of FalkorDB needs: for every pass, and for full syncs beside the graph.
const EVERY_PASS: [&str; 17] = [
    "hello",
    "client",
    "graph.query",
    "graph.ro_query",
    "graph.delete",
    "type",
    "get",
    "set",
    "del",
    "pexpire",
    "sadd",
    "srem",
    "smembers",
    "watch",
    "unwatch",
    "multi",
    "exec",
];
const FULL_SYNC: [&str; 4] = ["graph.bulk", "module|list", "rename", "unlink"];

/// And for pipelines that instances share.
const SPREAD: [&str; 4] = ["time", "hset", "hgetall", "hdel"];

async fn redis(server: &FalkorServer, command: &[String]) {
    let mut connection = server.connect().await.unwrap();
    let mut built = redis::cmd(&command[0]);
    built.arg(&command[1..]);
    let _: redis::Value = built.query_async(&mut connection).await.unwrap();
}

/// Lets the user `sync` run these commands on the graph and what stands beside it, and nothing else.
async fn allow(server: &FalkorServer, graph: &str, commands: &[&str]) {
    let fixed = ["ACL", "SETUSER", "sync", "reset", "on", ">s3cret-word"].map(str::to_owned);
    let keys = [format!("~{graph}"), format!("~{{{graph}}}:*")];
    let allowed = commands.iter().map(|command| format!("+{command}"));
    redis(server, &fixed.into_iter().chain(keys).chain(allowed).collect::<Vec<_>>()).await;
}

/// Every kind of pass: a full one, one after changes, a comparison.
async fn all_passes(pair: &Pair, world: &mut World) {
    pair.sync("full").await;
    pair.assert_equal().await;
    world.add_episode(2, 2).await.unwrap();
    let entity = world.some_entity();
    world.delete_node(&entity).await.unwrap();
    pair.sync("incremental").await;
    pair.assert_equal().await;
    pair.sync("differential").await;
}

#[tokio::test]
async fn a_user_with_only_the_commands_of_the_readme_is_enough() {
    let mut pair = Pair::new("acl").await;
    let server = FalkorServer::start_with(FalkorOptions { password: Some("adm1n-word".to_owned()), ..FalkorOptions::default() });
    let server = server.await.unwrap();
    let mut world = build(&pair.source.graph, &spec()).await.unwrap();
    let user = FalkorAddress { username: Some("sync".to_owned()), password: Some("s3cret-word".to_owned()), ..server.address() };
    pair.service = Service::new(PROGRAM, &pair.source.address, &user, &pair.graph).with("FALKORDB_USERNAME", "sync");
    // The comparer reads as the default user.
    pair.cache = server.address();

    let full: Vec<&str> = EVERY_PASS.into_iter().chain(FULL_SYNC).collect();
    allow(&server, &pair.graph, &full).await;
    all_passes(&pair, &mut world).await;
    assert_eq!(check(&pair.service).await.code, 0);

    // Each by itself is missed.
    for without in full.iter().filter(|command| !["hello", "client"].contains(command)) {
        let rest: Vec<&str> = full.iter().copied().filter(|command| command != without).collect();
        allow(&server, &pair.graph, &rest).await;
        let checked = check(&pair.service).await;
        let said = format!("{}{}", checked.stdout, checked.stderr);
        assert!(said.contains(&without.to_uppercase().replace('|', " ")), "{without}: {said}");
        assert!(!said.contains("s3cret-word"), "{said}");
        // It is only slower without that one.
        assert_eq!(checked.code, i32::from(*without != "graph.bulk"), "{without}: {said}");
    }

    // Those for pipelines that instances share are missed only where they are needed.
    allow(&server, &pair.graph, &full).await;
    let spreads = pair.service.clone().with("SYNC_SPREAD", "true");
    let checked = check(&spreads).await;
    assert!(checked.code == 1 && checked.stderr.contains("TIME, HSET, HGETALL, HDEL"), "{}", checked.stderr);
    let all: Vec<&str> = full.iter().copied().chain(SPREAD).collect();
    allow(&server, &pair.graph, &all).await;
    assert_eq!(check(&spreads).await.code, 0);

    // Without those for a full sync beside the graph.
    allow(&server, &pair.graph, &EVERY_PASS).await;
    let in_place = pair.service.clone().with("FULL_SYNC_STRATEGY", "in_place");
    assert_eq!(in_place.finish(&["sync", "--mode", "full"]).await.code, 0);
    pair.assert_equal().await;
}

async fn check(service: &Service) -> Finished {
    service.finish(&["check"]).await
}

#[tokio::test]
async fn a_wrong_password_is_refused_in_a_sentence_without_it() {
    let pair = Pair::new("auth").await;
    let server = FalkorServer::start_with(FalkorOptions { password: Some("adm1n-word".to_owned()), ..FalkorOptions::default() });
    let server = server.await.unwrap();
    for (password, words) in [(Some("wr0ng-word"), "falkordb.password"), (None, "falkordb.password")] {
        let address = FalkorAddress { password: password.map(str::to_owned), ..server.address() };
        let finished = check(&Service::new(PROGRAM, &pair.source.address, &address, &pair.graph)).await;
        assert_eq!(finished.code, 1, "{}", finished.stderr);
        assert!(finished.stderr.contains(words), "{}", finished.stderr);
        assert!(!finished.stderr.contains("wr0ng-word"), "{}", finished.stderr);
    }
}

/// Encrypts with this certificate what goes to a server, because this build of Redis cannot; without a server behind it, it hangs
/// up after the greeting, which is as far as a client goes that does not trust it.
async fn encrypt(certificates: &Certificates, name: &str, server: Option<u16>) -> u16 {
    let (certificate, key) = certificates.of(name);
    let chain = CertificateDer::pem_file_iter(certificate).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut client = acceptor.accept(socket).await?;
                let Some(server) = server else { return Ok(()) };
                let mut server = TcpStream::connect(("127.0.0.1", server)).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await.map(drop)
            });
        }
    });
    port
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[tokio::test]
async fn both_sides_are_reached_over_tls_and_strangers_are_refused() {
    let certificates = Certificates::make().unwrap();
    let neo4j = start_with_tls(certificates.directory()).await;
    let falkordb = FalkorServer::start().await.unwrap();
    let encrypted = encrypt(&certificates, "good", Some(falkordb.port())).await;
    let source = neo4j.address().connect().await.unwrap();
    let mut world = build(&source, &spec()).await.unwrap();

    let cache = FalkorAddress { port: encrypted, ..falkordb.address() };
    let authority = text(&certificates.authority());
    let service = Service::new(PROGRAM, &neo4j.address(), &cache, "tls")
        .with("NEO4J_URI", format!("bolt+s://localhost:{}", neo4j.bolt_port()))
        .with("NEO4J_TLS_CA_FILE", &authority)
        .with("FALKORDB_TLS_CA_FILE", &authority);
    assert_eq!(service.finish(&["sync", "--mode", "full"]).await.code, 0);
    world.add_episode(2, 2).await.unwrap();
    assert_eq!(service.finish(&["sync", "--mode", "incremental"]).await.code, 0);
    assert_equal(&source, &falkordb.address(), "tls").await;

    let stranger = text(&certificates.stranger());
    let refused = [
        ("Neo4j of a stranger", service.clone().with("NEO4J_TLS_CA_FILE", &stranger), "UnknownIssuer"),
        ("FalkorDB of a stranger", service.clone().with("FALKORDB_TLS_CA_FILE", &stranger), "UnknownIssuer"),
    ];
    let mut refused = refused.to_vec();
    for (name, words) in [("expired", "expired"), ("elsewhere", "not valid for")] {
        let port = encrypt(&certificates, name, None).await;
        let neo4j = service.clone().with("NEO4J_URI", format!("bolt+s://localhost:{port}"));
        refused.push((name, neo4j, words));
        refused.push((name, service.clone().with("FALKORDB_PORT", port), words));
    }
    for (what, service, words) in refused {
        let finished = service.finish(&["sync", "--mode", "full"]).await;
        println!("{what}: {}", finished.stderr.lines().last().unwrap_or_default());
        assert_eq!(finished.code, 1, "{what}: {}", finished.stderr);
        let said = finished.stderr.to_lowercase();
        assert!(said.contains(&words.to_lowercase()) && said.contains("certificate"), "{what}: {}", finished.stderr);
        assert!(!finished.stderr.contains("panicked"), "{what}: {}", finished.stderr);
    }
    assert_equal(&source, &falkordb.address(), "tls").await;
}
