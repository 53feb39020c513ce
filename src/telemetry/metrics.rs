//! What Prometheus collects. Everything is taken from the status, so the two never disagree. Names are an interface.

use std::fmt;
use std::sync::atomic::AtomicU64;

use chrono::{DateTime, Utc};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::status::{PassCount, PipelineStatus, ServiceStatus, Statistics};
use crate::model::bookmark::Bookmark;
use crate::model::pass::Mode;

/// The media type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What every name begins with.
pub const PREFIX: &str = "neo4j_falkordb_sync";

/// Counter: rows read from the source. As all counters, it is exported with `_total` at its end.
pub const ROWS_READ: &str = "rows_read";
/// Counter: nodes and relationships written.
pub const ROWS_WRITTEN: &str = "rows_written";
/// Counter: nodes and relationships deleted.
pub const ROWS_DELETED: &str = "rows_deleted";
/// Counter: keys that travelled, of both sides, to find what only one of them has.
pub const KEYS_LISTED: &str = "keys_listed";
/// Counter: passes, by strategy and result.
pub const PASSES: &str = "passes";
/// Histogram: how long passes that ended took, by strategy.
pub const PASS_DURATION: &str = "pass_duration_seconds";
/// Gauge: commits of the source that are not applied.
pub const COMMITS_BEHIND: &str = "commits_behind";
/// Gauge: seconds since a probe first saw a commit that is not applied yet.
pub const SECONDS_BEHIND: &str = "seconds_behind";
/// Gauge: elements and properties that the cache cannot hold.
pub const QUARANTINED: &str = "quarantined";
/// Counter: generations of a pipeline's actors.
pub const GENERATIONS: &str = "generations";
/// Counter: generations that ended by a fault.
pub const FAULTS: &str = "faults";
/// Gauge: rows between reading and acknowledgement.
pub const ROWS_IN_FLIGHT: &str = "rows_in_flight";
/// Gauge: 1 if the cache is whole and nothing is broken, else 0.
pub const IN_STEP: &str = "in_step";
/// Gauge: 1 while an operator holds passes back, else 0.
pub const PAUSED: &str = "paused";

/// Gauge: deletes that wait for a person.
pub const HELD_DELETES: &str = "held_deletes";
/// Gauge: 1 if both sides are proven equal as of the source's last commit that was seen, else 0.
pub const PROVEN_EQUAL: &str = "proven_equal";
/// Gauge: the number of the commit as of which both sides were last proven equal; -1 where there is none.
pub const EQUAL_AS_OF_COMMIT: &str = "equal_as_of_commit";
/// Gauge: when a comparison last came to its end, in seconds since 1970; 0 if none did.
pub const COMPARED_AT: &str = "compared_at_seconds";

/// The pipeline's name.
pub const LABEL_PIPELINE: &str = "pipeline";
/// `full` or `incremental`.
pub const LABEL_MODE: &str = "mode";
/// [`RESULT_ENDED`] or [`RESULT_FAILED`].
pub const LABEL_RESULT: &str = "result";

/// The pass ended, and all that it read is applied.
pub const RESULT_ENDED: &str = "ended";
/// A fault broke the pass off.
pub const RESULT_FAILED: &str = "failed";

/// From a pass over a handful of rows to a full one over hundreds of millions.
const DURATION_BUCKETS: [f64; 12] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 10_000.0];

type Labels = Vec<(&'static str, String)>;
type Counters = Family<Labels, Counter>;
type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;

/// All metrics of the service.
pub struct Metrics {
    registry: Registry,
    rows_read: Counters,
    rows_written: Counters,
    rows_deleted: Counters,
    keys_listed: Counters,
    passes: Counters,
    pass_duration: Family<Labels, Histogram>,
    generations: Counters,
    faults: Counters,
    commits_behind: Gauges,
    seconds_behind: Gauges,
    quarantined: Gauges,
    rows_in_flight: Gauges,
    in_step: Gauges,
    paused: Gauges,
    held_deletes: Gauges,
    proven_equal: Gauges,
    equal_as_of_commit: Gauges,
    compared_at: Gauges,
}

impl Metrics {
    /// Metrics of which nothing is counted.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let mut counter = |name, help| {
            let counters = Counters::default();
            registry.register(name, help, counters.clone());
            counters
        };
        let rows_read = counter(ROWS_READ, "Rows read from the source");
        let rows_written = counter(ROWS_WRITTEN, "Nodes and relationships written");
        let rows_deleted = counter(ROWS_DELETED, "Nodes and relationships deleted");
        let keys_listed = counter(KEYS_LISTED, "Keys that travelled to find what only one side has");
        let passes = counter(PASSES, "Passes, by strategy and result");
        let generations = counter(GENERATIONS, "Generations of the actors of a pipeline");
        let faults = counter(FAULTS, "Generations that ended by a fault");
        let mut gauge = |name, help| {
            let gauges = Gauges::default();
            registry.register(name, help, gauges.clone());
            gauges
        };
        let commits_behind = gauge(COMMITS_BEHIND, "Commits of the source that are not applied");
        let seconds_behind = gauge(SECONDS_BEHIND, "Seconds since a commit was first seen that is not applied yet");
        let quarantined = gauge(QUARANTINED, "Elements and properties that the cache cannot hold");
        let rows_in_flight = gauge(ROWS_IN_FLIGHT, "Rows between reading and acknowledgement");
        let in_step = gauge(IN_STEP, "Whether the cache is whole and nothing is broken");
        let paused = gauge(PAUSED, "Whether an operator holds passes back");
        let held_deletes = gauge(HELD_DELETES, "Deletes that wait for an approval");
        let proven_equal = gauge(PROVEN_EQUAL, "Whether both sides are proven equal as of the last commit that was seen");
        let equal_as_of_commit = gauge(EQUAL_AS_OF_COMMIT, "The commit as of which both sides were last proven equal");
        let compared_at = gauge(COMPARED_AT, "When a comparison last came to its end, in seconds since 1970");
        let pass_duration = Family::<Labels, Histogram>::new_with_constructor(|| Histogram::new(DURATION_BUCKETS));
        registry.register(PASS_DURATION, "How long passes that ended took", pass_duration.clone());
        Self {
            registry,
            rows_read,
            rows_written,
            rows_deleted,
            keys_listed,
            passes,
            pass_duration,
            generations,
            faults,
            commits_behind,
            seconds_behind,
            quarantined,
            rows_in_flight,
            in_step,
            paused,
            held_deletes,
            proven_equal,
            equal_as_of_commit,
            compared_at,
        }
    }

    /// Counts what happened to a pipeline between two of its states.
    pub fn count(&self, before: Option<&PipelineStatus>, now: &PipelineStatus) {
        let nothing = PipelineStatus::new(&now.name, &now.graph);
        let before = before.unwrap_or(&nothing);
        let labels = pipeline(&now.name);
        let add = |counters: &Counters, from: u64, to: u64| {
            counters.get_or_create(&labels).inc_by(to.saturating_sub(from));
        };
        let (was, is) = (&before.statistics, &now.statistics);
        add(&self.rows_read, was.rows_read, is.rows_read);
        add(&self.rows_written, written(was), written(is));
        add(&self.rows_deleted, was.elements_deleted, is.elements_deleted);
        add(&self.keys_listed, was.keys_listed, is.keys_listed);
        add(&self.generations, before.generation, now.generation);
        add(&self.faults, before.faults, now.faults);
        for (mode, count) in &is.passes {
            self.count_passes(&now.name, *mode, &was.passes.get(mode).copied().unwrap_or_default(), count);
        }
    }

    fn count_passes(&self, name: &str, mode: Mode, before: &PassCount, now: &PassCount) {
        let labels = [pipeline(name), vec![(LABEL_MODE, mode.to_string())]].concat();
        for (result, was, is) in [(RESULT_ENDED, before.ended, now.ended), (RESULT_FAILED, before.failed, now.failed)] {
            let labels = [labels.clone(), vec![(LABEL_RESULT, result.to_owned())]].concat();
            self.passes.get_or_create(&labels).inc_by(is.saturating_sub(was));
        }
        // Each pass that ends is reported by itself, so this is one pass.
        if now.ended > before.ended {
            self.pass_duration.get_or_create(&labels).observe(now.seconds - before.seconds);
        }
    }

    /// The text of all metrics, with the gauges as of this status and moment.
    pub fn text(&self, status: &ServiceStatus, now: DateTime<Utc>) -> Result<String, fmt::Error> {
        for (name, pipeline_status) in &status.pipelines {
            let labels = pipeline(name);
            let set = |gauges: &Gauges, value: f64| {
                gauges.get_or_create(&labels).set(value);
            };
            if let Some(commits) = pipeline_status.commits_behind {
                set(&self.commits_behind, commits as f64);
            }
            set(&self.seconds_behind, pipeline_status.lag_seconds(now));
            set(&self.quarantined, pipeline_status.quarantined as f64);
            set(&self.rows_in_flight, pipeline_status.in_flight.rows as f64);
            set(&self.in_step, f64::from(u8::from(pipeline_status.is_in_step())));
            set(&self.paused, f64::from(u8::from(pipeline_status.paused)));
            let held: u64 = pipeline_status.held.iter().map(|held| held.held.number).sum();
            set(&self.held_deletes, held as f64);
            let equal = pipeline_status.equal_as_of.as_ref();
            let proven = equal.is_some() && equal == pipeline_status.source_bookmark.as_ref();
            set(&self.proven_equal, f64::from(u8::from(proven)));
            set(&self.equal_as_of_commit, equal.and_then(Bookmark::transaction).map_or(-1.0, |number| number as f64));
            set(&self.compared_at, pipeline_status.compared_at.map_or(0.0, |at| at.timestamp() as f64));
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

fn pipeline(name: &str) -> Labels {
    vec![(LABEL_PIPELINE, name.to_owned())]
}

const fn written(statistics: &Statistics) -> u64 {
    statistics.nodes_written + statistics.relationships_written
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_the_status_counts_is_exported_once() {
        let metrics = Metrics::new();
        let first = PipelineStatus { generation: 1, quarantined: 2, ..PipelineStatus::new("p", "g") };
        metrics.count(None, &first);
        let mut second = first.clone();
        second.statistics.rows_read = 7;
        second.statistics.nodes_written = 3;
        second.statistics.relationships_written = 2;
        second.statistics.add_ended(Mode::Full, Duration::from_secs(2));
        second.statistics.add_failed(Mode::Full);
        metrics.count(Some(&first), &second);
        metrics.count(Some(&second), &second);
        let status = ServiceStatus { pipelines: BTreeMap::from([("p".to_owned(), second)]) };
        let text = metrics.text(&status, Utc::now()).unwrap();
        for line in [
            "neo4j_falkordb_sync_rows_read_total{pipeline=\"p\"} 7",
            "neo4j_falkordb_sync_rows_written_total{pipeline=\"p\"} 5",
            "neo4j_falkordb_sync_generations_total{pipeline=\"p\"} 1",
            "neo4j_falkordb_sync_passes_total{pipeline=\"p\",mode=\"full\",result=\"ended\"} 1",
            "neo4j_falkordb_sync_passes_total{pipeline=\"p\",mode=\"full\",result=\"failed\"} 1",
            "neo4j_falkordb_sync_pass_duration_seconds_sum{pipeline=\"p\",mode=\"full\"} 2.0",
            "neo4j_falkordb_sync_quarantined{pipeline=\"p\"} 2.0",
            "neo4j_falkordb_sync_seconds_behind{pipeline=\"p\"} 0.0",
            "neo4j_falkordb_sync_held_deletes{pipeline=\"p\"} 0.0",
            "neo4j_falkordb_sync_proven_equal{pipeline=\"p\"} 0.0",
            "neo4j_falkordb_sync_equal_as_of_commit{pipeline=\"p\"} -1.0",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
        }
    }
}
