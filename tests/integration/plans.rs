//! Every query that reads the source is served by an index: a scan that hides in a plan costs the user's server, not ours.

use neo4j_falkordb_sync::model::discovery::DiscoveredSchema;
use neo4j_falkordb_sync::model::kind::ElementKind;
use neo4j_falkordb_sync::model::name::Label;
use neo4j_falkordb_sync::model::profile::Profile;
use neo4j_falkordb_sync::model::projection::Projection;
use neo4j_falkordb_sync::source::queries::Queries;
use serde_json::{Value, json};

use crate::support::graph::{GraphSpec, build, create_indices};
use crate::support::servers::{Neo4jOptions, Neo4jServer, source_lock};

/// A server's plan for a query, through the HTTP interface: the Bolt driver does not hand plans out.
async fn plan_of(server: &Neo4jServer, text: &str) -> String {
    // As many as a batch asks for: the planner goes by the length of the list.
    let keys: Vec<String> = (0..1000).map(|i| format!("a{i}")).collect();
    let body = json!({
        "statement": format!("EXPLAIN {text}"),
        "parameters": {
            "after": "", "limit": 10, "keys": keys, "zoned": "2026-01-01T00:00:00Z", "local": "2026-01-01T00:00:00",
            "prefixes": ["ab", "c"], "length": 2, "grown": 4
        },
        "accessMode": "Read"
    });
    let script = "import base64, json, sys, urllib.request\n\
        url, login, body = sys.argv[1:]\n\
        token = base64.b64encode(login.encode()).decode()\n\
        headers = {'Authorization': 'Basic ' + token, 'Content-Type': 'application/json', 'Accept': 'application/json'}\n\
        request = urllib.request.Request(url, body.encode(), headers)\n\
        print(urllib.request.urlopen(request, timeout=60).read().decode())";
    let url = format!("http://127.0.0.1:{}/db/neo4j/query/v2", server.http_port());
    let login = format!("{}:{}", server.user(), server.password());
    let output =
        tokio::process::Command::new("python3").args(["-c", script, &url, &login, &body.to_string()]).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut operators = Vec::new();
    collect(&answer["queryPlan"], &mut operators);
    assert!(!operators.is_empty(), "no plan in {answer}");
    operators.join("\n")
}

fn collect(plan: &Value, operators: &mut Vec<String>) {
    if let Some(operator) = plan["operatorType"].as_str() {
        operators.push(format!("{operator} {}", plan["arguments"]["Details"].as_str().unwrap_or_default()));
    }
    for child in plan["children"].as_array().into_iter().flatten() {
        collect(child, operators);
    }
}

fn assert_indexed(plan: &str, text: &str) {
    assert!(plan.contains("Index"), "no index for {text}:\n{plan}");
    // A scan of a whole index is one of the whole kind.
    for scan in ["AllNodesScan", "NodeByLabelScan", "RelationshipTypeScan", "IndexScan", "CartesianProduct"] {
        assert!(!plan.contains(scan), "{scan} for {text}:\n{plan}");
    }
}

#[tokio::test]
async fn every_query_of_a_pass_is_served_by_an_index() {
    let source = source_lock().await;
    build(&source.graph, &GraphSpec { dimension: 8, ..GraphSpec::default() }).await.unwrap();
    let profile = Profile::graphiti().unwrap();
    let queries = Queries::new(&profile);
    let mut explained = 0;
    for kind in profile.kinds() {
        let texts = [
            Some(queries.page(kind, Projection::Whole)),
            Some(queries.page(kind, Projection::WithoutVectors)),
            Some(queries.page(kind, Projection::Vectors)),
            Some(queries.by_key(kind)),
            if let ElementKind::Node(id) = kind { Some(queries.deciding_by_key(id)) } else { None },
            queries.changed_keys(kind),
        ];
        for text in texts.into_iter().flatten() {
            assert_indexed(&plan_of(source.server, &text).await, &text);
            explained += 1;
        }
    }
    for kind in profile.kinds() {
        for text in [queries.key_groups(kind, None), queries.identities(kind, None)] {
            assert_indexed(&plan_of(source.server, &text).await, &text);
            explained += 1;
        }
    }
    let person = Label::parse("Person").unwrap();
    let entity = ElementKind::Node(profile.node_ids().next().unwrap());
    for text in [queries.key_groups(entity, Some(&person)), queries.identities(entity, Some(&person))] {
        assert_indexed(&plan_of(source.server, &text).await, &text);
        explained += 1;
    }
    for rule in &profile.follow {
        let text = queries.followed(rule).unwrap();
        assert_indexed(&plan_of(source.server, &text).await, &text);
        explained += 1;
    }
    assert_eq!(explained, 4 * 5 + 2 + 5 * 4 + 1 + 9 * 2 + 2 + 5, "each query of each kind");
    // The order of a page comes from the index too: a sort would read the whole kind for each page.
    let page = queries.page(entity, Projection::Whole);
    assert!(!plan_of(source.server, &page).await.contains("Sort"), "{}", plan_of(source.server, &page).await);
    let facts = queries.page(ElementKind::Relationship(profile.relationship_ids().next().unwrap()), Projection::Whole);
    assert!(!plan_of(source.server, &facts).await.contains("Sort"), "{}", plan_of(source.server, &facts).await);
    // And the watermark is found by the timestamp's index, not by walking the keys.
    let changed = queries.changed_keys(entity).unwrap();
    assert!(plan_of(source.server, &changed).await.contains("created_at"), "{}", plan_of(source.server, &changed).await);
}

/// A planner goes by what it counted when it last took a sample of an index: none, where the graph was empty until now.
#[tokio::test]
async fn look_ups_by_key_seek_the_index_of_a_graph_that_has_just_grown() {
    // The time between a large transaction and the next sample, for as long as the test takes.
    let settings = vec![("db.index_sampling.background_enabled".to_owned(), "false".to_owned())];
    let server = Neo4jServer::start_with(Neo4jOptions { settings, ..Neo4jOptions::default() }).await.unwrap();
    let graph = server.address().connect().await.unwrap();
    create_indices(&graph).await.unwrap();
    let first = "CREATE (:Entity {uuid: 'first', group_id: 'g', created_at: datetime()})";
    graph.run(neo4rs::query(first)).await.unwrap();
    let ring = "UNWIND range(1, 20000) AS i CREATE (n:Entity {uuid: 'n' + i, group_id: 'g', created_at: datetime()}) \
                WITH collect(n) AS nodes UNWIND range(0, 19999) AS i WITH nodes[i] AS a, nodes[(i + 1) % 20000] AS b, i \
                CREATE (a)-[:RELATES_TO {uuid: 'e' + i, group_id: 'g', created_at: datetime()}]->(b)";
    graph.run(neo4rs::query(ring)).await.unwrap();
    let profile = Profile::graphiti().unwrap();
    let queries = Queries::new(&profile);
    let (entity, fact) = (profile.node_ids().next().unwrap(), profile.relationship_ids().next().unwrap());
    let of_both = [ElementKind::Node(entity), ElementKind::Relationship(fact)];
    let by_beginning = of_both.into_iter().flat_map(|kind| [queries.key_groups(kind, None), queries.identities(kind, None)]);
    let followed = profile.follow.iter().filter_map(|rule| queries.followed(rule));
    let by_key = of_both.map(|kind| queries.by_key(kind));
    let pages = of_both.map(|kind| queries.page(kind, Projection::Whole));
    let changed = of_both.into_iter().filter_map(|kind| queries.changed_keys(kind));
    for text in by_key.into_iter().chain(by_beginning).chain(followed).chain(pages).chain(changed) {
        assert_indexed(&plan_of(&server, &text).await, &text);
    }
    server.stop().await;
}

/// Queries name the index that serves them. A source with other indices than those, or with none, is read all the same: slower.
#[tokio::test]
async fn a_source_with_any_indices_or_none_is_read() {
    let server = Neo4jServer::start().await.unwrap();
    let graph = server.address().connect().await.unwrap();
    let profile = Profile::graphiti().unwrap();
    let queries = Queries::new(&profile);
    let (entity, fact) = (profile.node_ids().next().unwrap(), profile.relationship_ids().next().unwrap());
    let mut texts = Vec::new();
    for kind in [ElementKind::Node(entity), ElementKind::Relationship(fact)] {
        texts.extend([queries.by_key(kind), queries.page(kind, Projection::Whole)]);
        texts.extend(queries.changed_keys(kind));
        texts.extend([queries.key_groups(kind, None), queries.identities(kind, None)]);
    }
    texts.extend(profile.follow.iter().filter_map(|rule| queries.followed(rule)));

    let ends = ["FOR (n:Entity) ON (n.", "FOR ()-[n:RELATES_TO]-() ON (n."];
    let of_kind = |kind: &'static str| {
        ends.into_iter().flat_map(move |end| ["uuid", "created_at"].map(|property| format!("{kind} INDEX {end}{property})")))
    };
    let composite = ends.into_iter().map(|end| format!("INDEX {end}uuid, n.created_at)"));
    let unique =
        ["(n:Entity)", "()-[n:RELATES_TO]-()"].into_iter().map(|of| format!("CONSTRAINT FOR {of} REQUIRE n.uuid IS UNIQUE"));
    let situations: [Vec<String>; 7] = [
        Vec::new(),
        of_kind("RANGE").collect(),
        of_kind("TEXT").collect(),
        of_kind("POINT").collect(),
        of_kind("RANGE").chain(of_kind("TEXT")).chain(of_kind("POINT")).collect(),
        composite.collect(),
        unique.chain(of_kind("TEXT").filter(|index| !index.contains("uuid"))).collect(),
    ];
    for situation in situations {
        let mut made = Vec::new();
        for (number, schema) in situation.iter().enumerate() {
            // The name stands between what is made and for what.
            let (kind, rest) = schema.split_once(" FOR ").unwrap();
            graph.run(neo4rs::query(&format!("CREATE {kind} made_{number} FOR {rest}"))).await.unwrap();
            made.push(format!("DROP {} made_{number}", kind.split(' ').next_back().unwrap()));
        }
        graph.run(neo4rs::query("CALL db.awaitIndexes(60)")).await.unwrap();
        for text in &texts {
            // Reports the answer of the server where there is no plan.
            plan_of(&server, text).await;
        }
        for drop in made {
            graph.run(neo4rs::query(&drop)).await.unwrap();
        }
    }
    server.stop().await;
}

/// A profile whose elements are identified by their numbers, of a graph that is large enough for the planner to care.
#[tokio::test]
async fn elements_without_a_key_are_found_by_their_numbers() {
    let source = source_lock().await;
    build(&source.graph, &GraphSpec { dimension: 8, ..GraphSpec::default() }).await.unwrap();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let mut found = DiscoveredSchema::default();
    (found.labels, found.types) = (names(&["Entity", "Episodic"]), names(&["RELATES_TO"]));
    let profile = Profile::generic().unwrap().discovered(&found).unwrap();
    let queries = Queries::new(&profile);
    for id in profile.node_ids() {
        let kind = ElementKind::Node(id);
        let by_key = plan_of(source.server, &queries.by_key(kind)).await;
        assert!(by_key.contains("NodeByIdSeek") && !by_key.contains("Scan"), "{by_key}");
        let page = plan_of(source.server, &queries.page(kind, Projection::Whole)).await;
        // The scan yields them in order, so that it ends with the page. Of nodes without a label, Neo4j has none but that of all.
        let in_order = page.contains("NodeByLabel") && !page.contains("Sort") && !page.contains("Top");
        assert!(in_order || profile.node(id).unlabelled, "{page}");
    }
    for id in profile.relationship_ids() {
        let kind = ElementKind::Relationship(id);
        let by_key = plan_of(source.server, &queries.by_key(kind)).await;
        assert!(by_key.contains("DirectedRelationshipByIdSeek") && !by_key.contains("Scan"), "{by_key}");
        let page = plan_of(source.server, &queries.page(kind, Projection::Whole)).await;
        assert!(page.contains("DirectedRelationshipTypeScan") && !page.contains("Sort") && !page.contains("Top"), "{page}");
    }
}
