//! What `check` says before anything is written, of a graph with keys of its own.

use neo4rs::query;

use super::full_sync::ask;
use super::pipeline::Pair;
use crate::support::foreign::Foreign;
use crate::support::servers::{FalkorOptions, FalkorServer};

/// Customers by their key; products by theirs, which holds numbers and so cannot be; everything else by number.
const PROFILE: &str = "
name: shop
discover:
  identity: _neo4j_id
  unlabelled: _Unlabelled
  timestamps: [changed]
  vectors: [embedding]
  properties: { omit: ['secret*'], rename: { Fax: fax } }
  nodes:
    - { label: Customer, key: customerID }
    - { label: Product, key: productID }
mirror_indexes: true
";

#[tokio::test]
async fn check_tells_what_would_be_done_and_fails_if_something_would_be_quarantined() {
    let mut pair = Pair::new("check").await;
    Foreign::Shop.build(&pair.source.graph).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("shop.yaml");
    std::fs::write(&file, PROFILE).unwrap();
    pair.service = pair.service.clone().with("SYNC_PROFILE", file.display());

    let found = pair.service.json(&["check"]).await[0].clone();
    let survey = &found["survey"];
    assert_eq!((&survey["quarantined"], &survey["complete"]), (&0.into(), &true.into()), "{survey}");
    assert!(survey["memory_bytes"].as_u64().unwrap() > 1_000_000, "{survey}");
    let kind = |name: &str| survey["kinds"].as_array().unwrap().iter().find(|kind| kind["kind"] == name).unwrap().clone();
    let (customer, product) = (kind("Customer"), kind("Product"));
    assert_eq!((&customer["identity"], &customer["looked_at"]), (&"customerID".into(), &200.into()));
    assert_eq!(product["identity"], "its number in the source, as _neo4j_id", "its key holds numbers");
    assert_eq!(customer["properties"]["point"]["becomes"]["point"], "text with its reference system");
    assert_eq!(product["vectors"]["embedding"]["3"], 300);
    assert!(product["properties"]["secret"].is_null() && !customer["properties"]["fax"].is_null());
    let indexes = survey["indexes"].to_string();
    assert!(indexes.contains("CREATE INDEX FOR (n:Customer) ON (n.customerID)"), "{indexes}");
    assert_eq!(found["graph_exists"], false, "nothing was written");
    assert!(
        found["source_version"].as_str().is_some_and(|version| version.ends_with(" (community)")),
        "{}",
        found["source_version"]
    );
    let text = pair.service.finish(&["check"]).await.stdout;
    assert!(text.contains("quarantine  nothing") && text.contains("(:Customer)"), "{text}");
    assert!(!text.contains("hazard"), "{text}");
    println!("{text}");

    let arguments = ["--busy-reply-threshold", "5000"].map(str::to_owned).to_vec();
    let hazardous = FalkorServer::start_with(FalkorOptions { arguments, ..FalkorOptions::default() }).await.unwrap();
    let at_risk = pair.service.clone().with("FALKORDB_PORT", hazardous.address().port);
    assert!(at_risk.finish(&["check"]).await.stdout.contains("hazard      busy-reply-threshold is 5000 ms"));

    pair.sync("full").await;
    let mut cache = pair.cache.connect().await.unwrap();
    let question = "MATCH (n:Customer {customerID: 'C7'})-[:PLACED]->(o) RETURN n.fax, n.Fax, n._neo4j_id, count(o._neo4j_id)";
    let answer = ask(&mut cache, &pair.graph, question).await;
    assert!(answer.contains("+49 7") && answer.matches("nil").count() == 2 && answer.contains("int(5)"), "{answer}");
    let products =
        "MATCH (n:Product) WHERE n.secret IS NULL AND vec.euclideanDistance(n.embedding, vecf32([1, 1, 1])) >= 0 RETURN count(n)";
    assert!(ask(&mut cache, &pair.graph, products).await.contains("int(300)"));
    assert_eq!(pair.service.finish(&["verify"]).await.code, 0);

    pair.source.graph.run(query("CREATE (:Customer {company: 'no key'}), (:Order {embedding: 'no vector'})")).await.unwrap();
    let refused = pair.service.finish(&["check"]).await;
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert!(refused.stdout.contains("2 elements or properties"), "{}", refused.stdout);
    assert!(refused.stdout.contains("the key property is absent"), "{}", refused.stdout);
    // By a timestamp's index, where the source has one.
    let changed = "MATCH (n:Order {orderID: 3}) SET n.changed = datetime(), n.freight = 0.5";
    pair.source.graph.run(query(changed)).await.unwrap();
    let report = pair.sync("incremental").await;
    assert_eq!(report["mode"], "incremental");
    assert!(ask(&mut cache, &pair.graph, "MATCH (n:Order {orderID: 3}) RETURN n.freight").await.contains("0.5"));
}

/// Films are left out, and nodes without a label.
const PART: &str = "
name: people
discover:
  identity: _neo4j_id
  labels: { exclude: [Movie, 'Ep?c'] }
";

#[tokio::test]
async fn what_a_profile_leaves_out_is_shown_and_is_no_fault() {
    let mut pair = Pair::new("part").await;
    Foreign::Films.build(&pair.source.graph).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("people.yaml");
    std::fs::write(&file, PART).unwrap();
    pair.service = pair.service.clone().with("SYNC_PROFILE", file.display());

    let checked = pair.service.finish(&["check"]).await;
    assert_eq!(checked.code, 0, "{}", checked.stdout);
    assert!(checked.stdout.contains("Movie: 1501, outside the profile"), "{}", checked.stdout);
    let report = pair.sync("full").await;
    assert_eq!(report["totals"]["quarantined"], 0, "relationships to films are left out with them: {report}");
    let question = "MATCH (:Person|Actor|Director)-[e]->(:Person|Actor|Director) RETURN count(e) AS n";
    let mut rows = pair.source.graph.execute(query(question)).await.unwrap();
    let expected: i64 = rows.next().await.unwrap().unwrap().get("n").unwrap();
    let mut cache = pair.cache.connect().await.unwrap();
    let count = ask(&mut cache, &pair.graph, "MATCH ()-[e]->() RETURN count(e)").await;
    assert!(expected > 100 && count.contains(&format!("int({expected})")), "{count} of {expected}");
    assert!(ask(&mut cache, &pair.graph, "MATCH (n:Movie) RETURN count(n)").await.contains("int(0)"));
    // The counts of the types differ for good, and that is known.
    pair.sync("incremental").await;
    assert_eq!(pair.service.finish(&["verify"]).await.code, 0);
}
