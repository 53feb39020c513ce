//! Each step at which state and data could part, with a panic, an error, a delay and kill -9 at each.

use std::time::Duration;

use crate::support::arrival::until_equal;
use crate::support::graph::{GraphSpec, World, build};
use crate::support::servers::{FalkorAddress, SourceTurn, fresh_graph_name, shared, source_lock};
use crate::support::service::{Running, Service};

const PROGRAM: &str = env!("CARGO_BIN_EXE_neo4j-falkordb-sync");

/// The steps of every pass: after reading, after encoding, before and after the write, before and after the checkpoint, before
/// the acknowledgement.
const OF_A_PASS: [&str; 7] =
    ["extracted", "encoded", "apply-begin", "apply-end", "checkpoint-begin", "checkpoint-end", "acknowledge"];

/// Those of a full sync alone; kills at these are a test of their own.
const OF_A_FULL_SYNC: [&str; 6] = ["loaded-nodes", "vectors-range", "indices-begin", "catch-up-end", "swap-begin", "swap-end"];

/// Those of an orderly end: the last batch is acknowledged, the lease goes back.
const OF_AN_END: [&str; 2] = ["drained", "lease-release"];

/// Once each, as the second visit.
const ACTIONS: [&str; 4] = ["panic", "return(error)", "sleep(1500)", "return(kill)"];

const KILLED: i32 = -1;

const ARRIVAL: Duration = Duration::from_secs(60);

struct Place {
    source: SourceTurn,
    cache: FalkorAddress,
    graph: String,
    service: Service,
    world: World,
}

impl Place {
    async fn new(test: &str) -> Self {
        let source = source_lock().await;
        let cache = shared().await.falkordb.address();
        let graph = fresh_graph_name(test);
        let spec = GraphSpec { groups: 1, dimension: 16, ..GraphSpec::default() };
        let world = build(&source.graph, &spec).await.unwrap();
        let service = Service::new(PROGRAM, &source.address, &cache, &graph).with("LOG_FORMAT", "text");
        let mut place = Self { source, cache, graph, service, world };
        let mut running = place.service.start(&["run"]);
        place.converges("the first start", &mut running).await;
        assert_eq!(running.terminate().await, 0);
        place
    }

    async fn write(&mut self) {
        self.world.add_episode(2, 2).await.unwrap();
        let entity = self.world.some_entity();
        self.world.delete_node(&entity).await.unwrap();
    }

    async fn converges(&mut self, what: &str, running: &mut Running) {
        let arrived = until_equal(&self.source.graph, &self.cache, &self.graph, ARRIVAL).await;
        let took = arrived.unwrap_or_else(|found| panic!("{what}: {found}\n{}", running.log()));
        println!("{what}: equal after {:.2} s", took.as_secs_f64());
    }

    /// A life with a fault in it, and if it does not survive that, another one.
    async fn lives_through(&mut self, what: &str, mut running: Running, action: &str, then: &str) {
        match action {
            "return(kill)" => {
                assert_eq!(running.ended().await, KILLED, "{what}: not killed\n{}", running.log());
                running = self.service.start(&["run"]);
            }
            "return(error)" => drop(running.line("scripted fault").await),
            "panic" => drop(running.line("panic").await),
            _ => {}
        }
        running.line(then).await;
        self.converges(what, &mut running).await;
        assert_eq!(running.terminate().await, 0, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_of_a_pass_may_fail() {
    let mut place = Place::new("steps").await;
    for step in OF_A_PASS {
        for action in ACTIONS {
            let what = format!("{step}={action}");
            place.write().await;
            let service = place.service.clone().with("FAILPOINTS", format!("{step}=1*off->1*{action}->off"));
            place.lives_through(&what, service.start(&["run"]), action, "pass ended").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_of_a_full_sync_may_fail() {
    let mut place = Place::new("full_steps").await;
    for step in OF_A_FULL_SYNC {
        for action in ACTIONS.into_iter().filter(|action| *action != "return(kill)") {
            let what = format!("{step}={action}");
            place.write().await;
            let service = place.service.clone().with("FAILPOINTS", format!("{step}=1*{action}->off"));
            let mut running = service.with("SYNC_FULL_ON_STARTUP", true).start(&["run"]);
            running.line("full sync begins").await;
            // So that there is something to catch up with.
            place.write().await;
            place.lives_through(&what, running, action, "full sync ended").await;
        }
    }
}

/// Whatever happens at the end, the process ends in its time and the next one goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_of_an_end_may_fail() {
    let mut place = Place::new("end_steps").await;
    for step in OF_AN_END {
        for action in ACTIONS {
            let what = format!("{step}={action}");
            let service = place.service.clone().with("FAILPOINTS", format!("{step}={action}"));
            let mut running = service.start(&["run"]);
            running.line("pass ended").await;
            place.write().await;
            let began = std::time::Instant::now();
            let code = running.terminate().await;
            println!("{what}: ended with {code} after {:.2} s", began.elapsed().as_secs_f64());
            assert_eq!(code, if action == "return(kill)" { KILLED } else { 0 }, "{what}");
            assert!(began.elapsed() < Duration::from_secs(6), "{what}: {:?}", began.elapsed());
            let mut running = place.service.start(&["run"]);
            place.converges(&what, &mut running).await;
            assert_eq!(running.terminate().await, 0, "{what}");
        }
    }
}
