//! Every metric with its name, its labels and its meaning. Names are an interface: dashboards and alerts rely on them.

/// The prefix of every name of this program.
pub const PREFIX: &str = "neo4j_falkordb_sync";

/// The name of the pipeline.
pub(crate) const PIPELINE: &str = "pipeline";
/// A label or a relationship type.
pub(crate) const KIND: &str = "kind";
/// `full`, `incremental` or `differential`.
pub(crate) const MODE: &str = "mode";
/// The result: [`ENDED`] or [`FAILED`].
pub(crate) const RESULT: &str = "result";
/// `extractor`, `transformer` or `loader`.
pub(crate) const ACTOR: &str = "actor";
/// The word for the error's kind.
pub(crate) const CAUSE: &str = "cause";
/// The server: [`NEO4J`] or [`FALKORDB`].
pub(crate) const SERVER: &str = "server";
/// [`BUSY`] or [`IDLE`], or [`OPEN`] if requests share connections.
pub(crate) const STATE: &str = "state";
/// The version of the program.
pub(crate) const VERSION: &str = "version";

/// The pass ended, and all its rows are applied.
pub(crate) const ENDED: &str = "ended";
/// A fault ended the pass early.
pub(crate) const FAILED: &str = "failed";
/// The server of the source.
pub(crate) const NEO4J: &str = "neo4j";
/// The server of the cache.
pub(crate) const FALKORDB: &str = "falkordb";
/// A query runs on the connection.
pub(crate) const BUSY: &str = "busy";
/// The connection waits for the next query.
pub(crate) const IDLE: &str = "idle";
/// The connection may be in either state.
pub(crate) const OPEN: &str = "open";

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricType {
    /// A value that only grows; exported with the suffix `_total`.
    Counter,
    /// The present value of a quantity.
    Gauge,
    /// Seconds, counted in buckets.
    Histogram,
}

/// The description of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// The name without the prefix, and without the suffix of its type.
    pub name: &'static str,
    /// The type of the metric.
    pub sort: MetricType,
    /// The labels of its series.
    pub labels: &'static [&'static str],
    /// The meaning of the metric, for people.
    pub help: &'static str,
    /// Whether it is this program's own; metrics that every process has keep their common names.
    pub own: bool,
}

impl Metric {
    const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, sort: MetricType::Counter, labels, help, own: true }
    }

    const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, sort: MetricType::Gauge, labels, help, own: true }
    }

    const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, sort: MetricType::Histogram, labels, help, own: true }
    }

    const fn of_every_process(self) -> Self {
        Self { own: false, ..self }
    }

    /// The name as used in a query.
    pub fn exported(&self) -> String {
        let prefix = if self.own { format!("{PREFIX}_") } else { String::new() };
        let suffix = if self.sort == MetricType::Counter { "_total" } else { "" };
        format!("{prefix}{}{suffix}", self.name)
    }
}

const BY_PIPELINE: &[&str] = &[PIPELINE];
const BY_KIND: &[&str] = &[PIPELINE, KIND];
const BY_MODE: &[&str] = &[PIPELINE, MODE];
const BY_ACTOR: &[&str] = &[PIPELINE, ACTOR];

/// Rows read from the source.
pub(crate) const ROWS_READ: Metric = Metric::counter("rows_read", BY_KIND, "Rows read from the source");
/// Rows written to the cache.
pub(crate) const ROWS_WRITTEN: Metric = Metric::counter("rows_written", BY_KIND, "Nodes and relationships written to the cache");
/// Rows deleted from the cache.
pub(crate) const ROWS_DELETED: Metric =
    Metric::counter("rows_deleted", BY_KIND, "Nodes and relationships deleted from the cache by key");
/// Rows that the cache already held.
pub(crate) const ROWS_UNCHANGED: Metric = Metric::counter("rows_unchanged", BY_PIPELINE, "Rows that the cache already held");
/// Keys transferred by sweeps.
pub(crate) const KEYS_LISTED: Metric =
    Metric::counter("keys_listed", BY_PIPELINE, "Keys transferred to find elements that only one side has");
/// Batches that were applied.
pub(crate) const BATCHES: Metric = Metric::counter("batches", BY_PIPELINE, "Batches applied and acknowledged");
/// The duration of batches.
pub(crate) const BATCH_DURATION: Metric = Metric::histogram(
    "batch_duration_seconds",
    BY_PIPELINE,
    "Time that the cache took to apply a batch and store its checkpoint",
);
/// Passes by strategy and result.
pub(crate) const PASSES: Metric = Metric::counter("passes", &[PIPELINE, MODE, RESULT], "Passes, by strategy and result");
/// The duration of passes.
pub(crate) const PASS_DURATION: Metric = Metric::histogram("pass_duration_seconds", BY_MODE, "Duration of passes that ended");
/// The freshness of the cache.
pub(crate) const FRESHNESS: Metric =
    Metric::histogram("freshness_seconds", BY_PIPELINE, "Time from seeing a commit until the cache can return it");
/// The lag in commits.
pub(crate) const COMMITS_BEHIND: Metric =
    Metric::gauge("commits_behind", BY_PIPELINE, "Commits of the source that are not applied");
/// The lag in seconds.
pub(crate) const SECONDS_BEHIND: Metric =
    Metric::gauge("seconds_behind", BY_PIPELINE, "Seconds since the service first saw a commit that is not applied yet");
/// Whether readers can rely on the cache.
pub(crate) const IN_STEP: Metric =
    Metric::gauge("in_step", BY_PIPELINE, "Whether the cache is complete and nothing is failing: 1 or 0");
/// Whether the pipeline is paused.
pub(crate) const PAUSED: Metric = Metric::gauge("paused", BY_PIPELINE, "Whether an operator paused the pipeline: 1 or 0");
/// Whether another process leads the pipeline.
pub(crate) const STANDBY: Metric =
    Metric::gauge("standby", BY_PIPELINE, "Whether another process leads the pipeline and this one stands by: 1 or 0");
/// Whether the pipeline needs an operator.
pub(crate) const HALTED: Metric =
    Metric::gauge("halted", BY_PIPELINE, "Whether the pipeline is halted and needs an operator: 1 or 0");
/// Whether a server answers.
pub(crate) const SERVER_UP: Metric =
    Metric::gauge("server_up", &[PIPELINE, SERVER], "Whether the server answered the last probes: 1 or 0");
/// Elements and properties in quarantine.
pub(crate) const QUARANTINED: Metric =
    Metric::gauge("quarantined", BY_PIPELINE, "Elements and properties that the cache cannot hold");
/// The number of unsafe indices.
pub(crate) const UNSAFE_INDEXES: Metric =
    Metric::gauge("unsafe_indexes", BY_PIPELINE, "Indices of the cache with which FalkorDB returns wrong results");
/// Unsafe indices that were dropped.
pub(crate) const DROPPED_INDEXES: Metric = Metric::gauge(
    "dropped_indexes",
    BY_PIPELINE,
    "Indices dropped since the generation began because FalkorDB returns wrong results with them",
);
/// Whether the transaction log is read.
pub(crate) const TRANSACTION_LOG_READ: Metric =
    Metric::gauge("transaction_log_read", BY_PIPELINE, "Whether passes read Neo4j's transaction log: 1 or 0");
/// The reach of the transaction log.
pub(crate) const TRANSACTION_LOG_REACH: Metric = Metric::gauge(
    "transaction_log_reach_seconds",
    BY_PIPELINE,
    "How far back Neo4j's transaction log reaches: a service that is down for longer finds changes by comparison",
);
/// The margin of the transaction log.
pub(crate) const TRANSACTION_LOG_MARGIN: Metric = Metric::gauge(
    "transaction_log_margin_transactions",
    BY_PIPELINE,
    "Transactions that Neo4j's transaction log may still lose before it lacks one that is not applied",
);
/// Differences that contradict proven equality.
pub(crate) const AUDIT_DIFFERENCES: Metric = Metric::counter(
    "audit_differences",
    BY_PIPELINE,
    "Differences that comparisons found where the transaction log had proven equality",
);
/// Deletes that are held.
pub(crate) const HELD_DELETES: Metric = Metric::gauge("held_deletes", BY_PIPELINE, "Deletes that wait for approval");
/// Whether both sides are proven equal.
pub(crate) const PROVEN_EQUAL: Metric =
    Metric::gauge("proven_equal", BY_PIPELINE, "Whether both sides are proven equal as of the last commit that was seen: 1 or 0");
/// The commit as of which both sides were last proven equal.
pub(crate) const EQUAL_AS_OF_COMMIT: Metric = Metric::gauge(
    "equal_as_of_commit",
    BY_PIPELINE,
    "The number of the commit as of which both sides were last proven equal; -1 if there is none",
);
/// The time of the last comparison.
pub(crate) const COMPARED_AT: Metric = Metric::gauge(
    "compared_at_seconds",
    BY_PIPELINE,
    "When the last comparison ended, in seconds since 1970; 0 if none has ended",
);
/// The progress of a comparison.
pub(crate) const COMPARISON_READ: Metric =
    Metric::gauge("comparison_read_rows", BY_PIPELINE, "Elements that the running comparison has compared; 0 if none is running");
/// The expected size of a comparison.
pub(crate) const COMPARISON_EXPECTED: Metric = Metric::gauge(
    "comparison_expected_rows",
    BY_PIPELINE,
    "Elements that the running comparison will compare in total; 0 if none is running",
);
/// The progress of a full sync.
pub(crate) const FULL_SYNC_READ: Metric =
    Metric::gauge("full_sync_read_rows", BY_PIPELINE, "Rows that the running full sync has read; 0 if none is running");
/// The expected size of a full sync.
pub(crate) const FULL_SYNC_EXPECTED: Metric = Metric::gauge(
    "full_sync_expected_rows",
    BY_PIPELINE,
    "Rows that the running full sync will read in total; 0 if none is running",
);
/// Rows that are in flight.
pub(crate) const ROWS_IN_FLIGHT: Metric =
    Metric::gauge("rows_in_flight", BY_PIPELINE, "Rows between reading and acknowledgement");
/// Bytes that are in flight.
pub(crate) const BYTES_IN_FLIGHT: Metric =
    Metric::gauge("bytes_in_flight", BY_PIPELINE, "Memory of the rows between reading and acknowledgement, in bytes");
/// Batches that wait for an actor.
pub(crate) const QUEUED_BATCHES: Metric = Metric::gauge("queued_batches", BY_ACTOR, "Batches that wait for an actor");
/// The waiting time of actors.
pub(crate) const WAITING: Metric =
    Metric::counter("waiting_seconds", BY_ACTOR, "Time that an actor waited for work, or for room to pass work on");
/// Generations of the actors.
pub(crate) const GENERATIONS: Metric = Metric::counter("generations", BY_PIPELINE, "Generations of the actors of a pipeline");
/// Faults by their cause.
pub(crate) const FAULTS: Metric =
    Metric::counter("faults", &[PIPELINE, CAUSE], "Generations and full syncs that ended with a fault");
/// Requests that were repeated.
pub(crate) const RETRIES: Metric = Metric::counter("retries", &[CAUSE], "Requests that failed and were repeated");
/// The number of open connections.
pub(crate) const CONNECTIONS: Metric = Metric::gauge("connections", &[SERVER, STATE], "Open connections");
/// The version of the program.
pub(crate) const BUILD_INFO: Metric = Metric::gauge("build_info", &[VERSION], "Always 1");
/// The memory of the process.
pub(crate) const PROCESS_MEMORY: Metric =
    Metric::gauge("process_resident_memory_bytes", &[], "Memory that the process uses").of_every_process();
/// The processor time of the process.
pub(crate) const PROCESS_CPU: Metric =
    Metric::counter("process_cpu_seconds", &[], "Processor time that the process used").of_every_process();
/// The open files of the process.
pub(crate) const PROCESS_FILES: Metric = Metric::gauge("process_open_fds", &[], "Open files and sockets").of_every_process();
/// The start time of the process.
pub(crate) const PROCESS_START: Metric =
    Metric::gauge("process_start_time_seconds", &[], "When the process began, in seconds since 1970").of_every_process();

/// All metrics, in the order of their export.
pub const ALL: [Metric; 45] = [
    ROWS_READ,
    ROWS_WRITTEN,
    ROWS_DELETED,
    ROWS_UNCHANGED,
    KEYS_LISTED,
    BATCHES,
    BATCH_DURATION,
    PASSES,
    PASS_DURATION,
    FRESHNESS,
    COMMITS_BEHIND,
    SECONDS_BEHIND,
    IN_STEP,
    PAUSED,
    STANDBY,
    HALTED,
    SERVER_UP,
    QUARANTINED,
    UNSAFE_INDEXES,
    DROPPED_INDEXES,
    TRANSACTION_LOG_READ,
    TRANSACTION_LOG_REACH,
    TRANSACTION_LOG_MARGIN,
    AUDIT_DIFFERENCES,
    HELD_DELETES,
    PROVEN_EQUAL,
    EQUAL_AS_OF_COMMIT,
    COMPARED_AT,
    COMPARISON_READ,
    COMPARISON_EXPECTED,
    FULL_SYNC_READ,
    FULL_SYNC_EXPECTED,
    ROWS_IN_FLIGHT,
    BYTES_IN_FLIGHT,
    QUEUED_BATCHES,
    WAITING,
    GENERATIONS,
    FAULTS,
    RETRIES,
    CONNECTIONS,
    BUILD_INFO,
    PROCESS_MEMORY,
    PROCESS_CPU,
    PROCESS_FILES,
    PROCESS_START,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_as_prometheus_wants_them() {
        let names: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len(), "a name twice");
        for metric in ALL {
            let Metric { name, sort, .. } = metric;
            assert!(name.chars().all(|char| char.is_ascii_lowercase() || char == '_'), "{name}");
            assert!(!name.ends_with("_total"), "{name}: the exporter adds it");
            assert!(sort != MetricType::Histogram || name.ends_with("_seconds"), "{name}: a histogram of what?");
            assert!(!metric.help.ends_with('.') && !metric.help.is_empty(), "{name}");
        }
        assert_eq!(ROWS_READ.exported(), "neo4j_falkordb_sync_rows_read_total");
        assert_eq!(PROCESS_CPU.exported(), "process_cpu_seconds_total");
    }
}
