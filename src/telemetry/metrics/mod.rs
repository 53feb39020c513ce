//! The metrics for Prometheus. Nearly all come from the status, so the two never disagree.

pub mod names;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use chrono::{DateTime, Utc};
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use names::{ALL, Metric, MetricType, PREFIX};

use super::process::Process;
use super::status::{ChangeDetection, PipelineState, PipelineStatus, ServiceStatus, Side};
use super::tally;
use crate::model::bookmark::Bookmark;
use crate::model::pass::PassMode;

/// The media type of the text.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The range is from a batch of one row to a full pass over hundreds of millions.
const BUCKETS: [f64; 15] = [0.003, 0.01, 0.03, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 10_000.0];

type MetricLabels = Vec<(&'static str, String)>;
type Histograms = Family<MetricLabels, Histogram>;

/// Waiting time is counted in fractions of a second.
type Counters = Family<MetricLabels, Counter<f64, AtomicU64>>;
type Gauges = Family<MetricLabels, Gauge<f64, AtomicU64>>;

/// All metrics of the service.
pub(crate) struct Metrics {
    own: Registry,
    of_every_process: Registry,
    counters: HashMap<&'static str, Counters>,
    gauges: HashMap<&'static str, Gauges>,
    histograms: HashMap<&'static str, Histograms>,
}

impl Metrics {
    /// Metrics that have counted nothing yet.
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            own: Registry::with_prefix(PREFIX),
            of_every_process: Registry::default(),
            counters: HashMap::new(),
            gauges: HashMap::new(),
            histograms: HashMap::new(),
        };
        for metric in ALL {
            let registry = if metric.own { &mut metrics.own } else { &mut metrics.of_every_process };
            match metric.sort {
                MetricType::Counter => {
                    let counters = metrics.counters.entry(metric.name).or_default();
                    registry.register(metric.name, metric.help, counters.clone());
                }
                MetricType::Gauge => {
                    let gauges = metrics.gauges.entry(metric.name).or_default();
                    registry.register(metric.name, metric.help, gauges.clone());
                }
                MetricType::Histogram => {
                    let make = || Histograms::new_with_constructor(|| Histogram::new(BUCKETS));
                    let histograms = metrics.histograms.entry(metric.name).or_insert_with(make);
                    registry.register(metric.name, metric.help, histograms.clone());
                }
            }
        }
        metrics.set(names::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1.0);
        metrics
    }

    /// Counts the changes of a pipeline between two of its states.
    pub(crate) fn count(&self, before: Option<&PipelineStatus>, now: &PipelineStatus) {
        let nothing = PipelineStatus::new(&now.name, &now.graph);
        let before = before.unwrap_or(&nothing);
        let name = now.name.as_str();
        let (was, is) = (&before.statistics, &now.statistics);
        let grown = |metric, labels: &[&str], was: u64, is: u64| self.add(metric, labels, is.saturating_sub(was) as f64);
        for (kind, count) in &is.kinds {
            let before = was.kinds.get(kind).copied().unwrap_or_default();
            grown(names::ROWS_READ, &[name, kind], before.read, count.read);
            grown(names::ROWS_WRITTEN, &[name, kind], before.written, count.written);
            grown(names::ROWS_DELETED, &[name, kind], before.deleted, count.deleted);
        }
        grown(names::ROWS_UNCHANGED, &[name], was.rows_unchanged, is.rows_unchanged);
        grown(names::KEYS_LISTED, &[name], was.keys_listed, is.keys_listed);
        grown(names::AUDIT_DIFFERENCES, &[name], was.audit_differences, is.audit_differences);
        grown(names::BATCHES, &[name], was.batches, is.batches);
        grown(names::GENERATIONS, &[name], before.generation, now.generation);
        for (cause, faults) in &is.faults {
            grown(names::FAULTS, &[name, cause], was.faults.get(cause).copied().unwrap_or_default(), *faults);
        }
        for (mode, count) in &is.passes {
            let before = was.passes.get(mode).copied().unwrap_or_default();
            let mode = mode.to_string();
            grown(names::PASSES, &[name, &mode, names::ENDED], before.ended, count.ended);
            grown(names::PASSES, &[name, &mode, names::FAILED], before.failed, count.failed);
            // Each pass that ends is reported separately, so this is one pass.
            if count.ended > before.ended {
                self.observe(names::PASS_DURATION, &[name, &mode], count.seconds - before.seconds);
            }
        }
        // The same applies to each commit.
        if is.freshness.count > was.freshness.count {
            self.observe(names::FRESHNESS, &[name], is.freshness.seconds - was.freshness.seconds);
        }
    }

    /// Counts the duration of a batch.
    pub(crate) fn count_batch(&self, pipeline: &str, took: Duration) {
        self.observe(names::BATCH_DURATION, &[pipeline], took.as_secs_f64());
    }

    /// Counts the waiting time of an actor since the last call, and the batches before it.
    pub(crate) fn count_waiting(&self, pipeline: &str, actor: &str, waited: Duration, queued: usize) {
        self.add(names::WAITING, &[pipeline, actor], waited.as_secs_f64());
        self.set(names::QUEUED_BATCHES, &[pipeline, actor], queued as f64);
    }

    /// The text of all metrics, with the gauges as of this status and moment.
    pub(crate) fn text(&self, status: &ServiceStatus, now: DateTime<Utc>) -> Result<String, fmt::Error> {
        for (name, pipeline) in &status.pipelines {
            self.show(name, pipeline, now);
        }
        self.show_process();
        let mut text = String::new();
        encode_registry(&mut text, &self.own)?;
        encode_registry(&mut text, &self.of_every_process)?;
        encode_eof(&mut text)?;
        Ok(text)
    }

    fn show(&self, name: &str, status: &PipelineStatus, now: DateTime<Utc>) {
        let set = |metric, value| self.set(metric, &[name], value);
        let flag = |condition: bool| f64::from(u8::from(condition));
        if let Some(commits) = status.commits_behind {
            set(names::COMMITS_BEHIND, commits as f64);
        }
        set(names::SECONDS_BEHIND, status.lag_seconds(now));
        set(names::QUARANTINED, status.quarantined as f64);
        set(names::UNSAFE_INDEXES, status.indexes.unsafe_ones.len() as f64);
        set(names::DROPPED_INDEXES, status.indexes.dropped.len() as f64);
        set(names::ROWS_IN_FLIGHT, status.in_flight.rows as f64);
        set(names::BYTES_IN_FLIGHT, status.in_flight.bytes as f64);
        set(names::IN_STEP, flag(status.is_in_step()));
        set(names::PAUSED, flag(status.paused));
        set(names::STANDBY, flag(status.leader().is_some()));
        set(names::HALTED, flag(status.state == PipelineState::Halted));
        let lost = status.unreachable().map(|(side, _)| side);
        for (server, side) in [(names::NEO4J, Side::Source), (names::FALKORDB, Side::Cache)] {
            self.set(names::SERVER_UP, &[name, server], flag(lost != Some(side)));
        }
        set(names::TRANSACTION_LOG_READ, flag(status.change_source == ChangeDetection::TransactionLog));
        let oldest = status.log_reach.as_ref().and_then(|reach| reach.oldest_at);
        let reach = oldest.map(|oldest| (now - oldest).as_seconds_f64().max(0.0));
        self.set_if_known(names::TRANSACTION_LOG_REACH, &[name], reach);
        self.set_if_known(names::TRANSACTION_LOG_MARGIN, &[name], status.log_margin().map(|margin| margin as f64));
        set(names::HELD_DELETES, status.held.iter().map(|held| held.held.number).sum::<u64>() as f64);
        let equal = status.equal_as_of.as_ref();
        set(names::PROVEN_EQUAL, flag(equal.is_some() && equal == status.source_bookmark.as_ref()));
        set(names::EQUAL_AS_OF_COMMIT, equal.and_then(Bookmark::transaction).map_or(-1.0, |number| number as f64));
        set(names::COMPARED_AT, status.compared_at.map_or(0.0, |at| at.timestamp() as f64));
        let comparison = status.comparison.as_ref();
        set(names::COMPARISON_READ, comparison.map_or(0, |comparison| comparison.rows) as f64);
        set(names::COMPARISON_EXPECTED, comparison.and_then(|comparison| comparison.expected).unwrap_or(0) as f64);
        let (read, expected) = full_sync(status).unwrap_or_default();
        set(names::FULL_SYNC_READ, read as f64);
        set(names::FULL_SYNC_EXPECTED, expected as f64);
    }

    fn show_process(&self) {
        for (kind, count) in tally::retries().filter(|(_, count)| *count > 0) {
            self.raise(names::RETRIES, &[kind.word()], count as f64);
        }
        let connections = tally::connections();
        let idle = connections.neo4j.saturating_sub(connections.neo4j_busy);
        self.set(names::CONNECTIONS, &[names::NEO4J, names::BUSY], connections.neo4j_busy as f64);
        self.set(names::CONNECTIONS, &[names::NEO4J, names::IDLE], idle as f64);
        self.set(names::CONNECTIONS, &[names::FALKORDB, names::OPEN], connections.falkordb as f64);
        if let Some(process) = Process::now() {
            self.set(names::PROCESS_MEMORY, &[], process.resident_bytes);
            self.raise(names::PROCESS_CPU, &[], process.cpu_seconds);
            self.set(names::PROCESS_FILES, &[], process.open_files);
            self.set(names::PROCESS_START, &[], process.began_at);
        }
    }

    fn add(&self, metric: Metric, labels: &[&str], value: f64) {
        if let Some(counters) = self.counters.get(metric.name) {
            counters.get_or_create(&labelled(metric, labels)).inc_by(value.max(0.0));
        }
    }

    /// Raises counters to values that are counted elsewhere.
    fn raise(&self, metric: Metric, labels: &[&str], value: f64) {
        if let Some(counters) = self.counters.get(metric.name) {
            let labels = labelled(metric, labels);
            let known = counters.get_or_create(&labels).get();
            counters.get_or_create(&labels).inc_by((value - known).max(0.0));
        }
    }

    fn set(&self, metric: Metric, labels: &[&str], value: f64) {
        if let Some(gauges) = self.gauges.get(metric.name) {
            gauges.get_or_create(&labelled(metric, labels)).set(value);
        }
    }

    /// Sets a gauge, or removes it if its value is unknown.
    fn set_if_known(&self, metric: Metric, labels: &[&str], value: Option<f64>) {
        match (value, self.gauges.get(metric.name)) {
            (Some(value), _) => self.set(metric, labels, value),
            (None, Some(gauges)) => drop(gauges.remove(&labelled(metric, labels))),
            (None, None) => {}
        }
    }

    fn observe(&self, metric: Metric, labels: &[&str], seconds: f64) {
        if let Some(histograms) = self.histograms.get(metric.name) {
            histograms.get_or_create(&labelled(metric, labels)).observe(seconds.max(0.0));
        }
    }
}

/// The rows that the full sync under way has read, and the expected number.
fn full_sync(status: &PipelineStatus) -> Option<(u64, u64)> {
    match (&status.full_sync, &status.state) {
        (Some(full_sync), _) => Some((full_sync.totals.read, full_sync.expected.unwrap_or_default())),
        (None, PipelineState::Running { mode: PassMode::Full, totals, .. }) => {
            Some((totals.read, status.expected.unwrap_or_default()))
        }
        _ => None,
    }
}

fn labelled(metric: Metric, values: &[&str]) -> MetricLabels {
    metric.labels.iter().zip(values).map(|(name, value)| (*name, (*value).to_owned())).collect()
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::changes::{BatchChanges, CacheOperation};

    #[test]
    fn what_the_status_counts_is_exported_once() {
        let metrics = Metrics::new();
        let first = PipelineStatus { generation: 1, quarantined: 2, ..PipelineStatus::new("p", "g") };
        metrics.count(None, &first);
        let mut second = first.clone();
        let mut changes = BatchChanges::default();
        changes.note_read("Entity", 7);
        changes.note("Entity", CacheOperation::Written, ["a", "b", "c"]);
        second.statistics.add_changes(&changes);
        second.statistics.add_ended(PassMode::Full, Duration::from_secs(2));
        second.statistics.add_failed(PassMode::Full);
        second.statistics.add_freshness(0.4);
        second.statistics.add_fault("cache_connection");
        metrics.count(Some(&first), &second);
        metrics.count(Some(&second), &second);
        metrics.count_batch("p", Duration::from_millis(50));
        metrics.count_waiting("p", "loader", Duration::from_millis(1500), 3);
        let status = ServiceStatus { pipelines: BTreeMap::from([("p".to_owned(), second)]) };
        let text = metrics.text(&status, Utc::now()).unwrap();
        for line in [
            "neo4j_falkordb_sync_rows_read_total{pipeline=\"p\",kind=\"Entity\"} 7.0",
            "neo4j_falkordb_sync_rows_written_total{pipeline=\"p\",kind=\"Entity\"} 3.0",
            "neo4j_falkordb_sync_batches_total{pipeline=\"p\"} 1.0",
            "neo4j_falkordb_sync_batch_duration_seconds_count{pipeline=\"p\"} 1",
            "neo4j_falkordb_sync_generations_total{pipeline=\"p\"} 1.0",
            "neo4j_falkordb_sync_faults_total{pipeline=\"p\",cause=\"cache_connection\"} 1.0",
            "neo4j_falkordb_sync_passes_total{pipeline=\"p\",mode=\"full\",result=\"ended\"} 1.0",
            "neo4j_falkordb_sync_passes_total{pipeline=\"p\",mode=\"full\",result=\"failed\"} 1.0",
            "neo4j_falkordb_sync_pass_duration_seconds_sum{pipeline=\"p\",mode=\"full\"} 2.0",
            "neo4j_falkordb_sync_freshness_seconds_sum{pipeline=\"p\"} 0.4",
            "neo4j_falkordb_sync_waiting_seconds_total{pipeline=\"p\",actor=\"loader\"} 1.5",
            "neo4j_falkordb_sync_queued_batches{pipeline=\"p\",actor=\"loader\"} 3.0",
            "neo4j_falkordb_sync_quarantined{pipeline=\"p\"} 2.0",
            "neo4j_falkordb_sync_seconds_behind{pipeline=\"p\"} 0.0",
            "neo4j_falkordb_sync_held_deletes{pipeline=\"p\"} 0.0",
            "neo4j_falkordb_sync_proven_equal{pipeline=\"p\"} 0.0",
            "neo4j_falkordb_sync_equal_as_of_commit{pipeline=\"p\"} -1.0",
            "neo4j_falkordb_sync_server_up{pipeline=\"p\",server=\"neo4j\"} 1.0",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
        }
        assert_eq!(text.matches("# EOF").count(), 1);
    }

    #[test]
    fn every_metric_is_described_and_the_process_is_told() {
        let metrics = Metrics::new();
        let status = ServiceStatus { pipelines: BTreeMap::from([("p".to_owned(), PipelineStatus::new("p", "g"))]) };
        let text = metrics.text(&status, Utc::now()).unwrap();
        let mut described = 0;
        for metric in ALL {
            let name = if metric.own { format!("{PREFIX}_{}", metric.name) } else { metric.name.to_owned() };
            // A counter's family name lacks the suffix of its values.
            let base = name.trim_end_matches("_total");
            // A family without a series is not exported.
            if text.contains(&format!("# TYPE {base} ")) {
                assert!(text.contains(&format!("# HELP {base} {}.", metric.help)), "{base}");
                described += 1;
            }
        }
        assert!(described >= 15, "{described} of:\n{text}");
        let value = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.trim_start_matches("{}").trim().parse::<f64>().ok())
        };
        assert!(value("process_resident_memory_bytes").is_some_and(|bytes| bytes > 1e6), "{text}");
        assert!(value("process_cpu_seconds_total").is_some(), "{text}");
    }
}
