//! The ways and intervals of keeping the cache equal to the source.

use std::time::Duration;

use super::section::Section;
use super::size::ByteSize;
use crate::model::scrub_rate::ScrubRate;

/// The longest interval, overlap or late check: a day, as in the replaced Python service.
const MAX_SECONDS: u64 = 86_400;

/// The longest interval between two comparisons of everything: a month.
const MAX_DIFFERENTIAL_SECONDS: u64 = 31 * 86_400;

/// More frequent probes cost the source more than they gain: a probe takes a millisecond or two.
const MIN_PROBE_MS: u64 = 10;
const MAX_PROBE_MS: u64 = 60_000;

/// Above this limit, the bytes close a batch in any case, and FalkorDB holds its graph for one write too long.
const MAX_BATCH_ROWS: u64 = 100_000;

/// Below this limit, a single row with an embedding may not fit.
const MIN_BATCH_BYTES: ByteSize = ByteSize::from_kib(64);

/// A batch exists several times on its way (read, encoded, in flight), and Redis refuses a value of 512 MiB.
const MAX_BATCH_BYTES: ByteSize = ByteSize::from_mib(128);

const MAX_SCRUB_ROWS: u64 = 1_000_000;

const DEFAULT_INTERVAL: Duration = Duration::from_secs(300);
const DEFAULT_PROBE_MS: u64 = 200;
const DEFAULT_BATCH_ROWS: u64 = 1_000;
const DEFAULT_BATCH_BYTES: ByteSize = ByteSize::from_mib(4);
const DEFAULT_OVERLAP: Duration = Duration::from_secs(900);
const DEFAULT_LATE_CHECK: Duration = Duration::from_secs(30);
const DEFAULT_DIFFERENTIAL_SECONDS: u64 = 86_400;
const DEFAULT_SCRUB_RATE: ScrubRate = ScrubRate::RowsPerSecond(2_000);

/// The word for a scrub without a limit.
const UNLIMITED: &str = "unlimited";

const DEFAULT_MAX_DELETE_FRACTION: f64 = 0.5;

/// The ways and intervals of keeping the cache equal to the source.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SyncConfig {
    /// The longest time without a pass.
    pub interval: Duration,
    /// The interval at which the source is probed for a new commit; `None` means never.
    pub probe_interval: Option<Duration>,
    /// The most nodes in a batch.
    pub node_batch_size: usize,
    /// The most relationships in a batch.
    pub relationship_batch_size: usize,
    /// The most bytes in a batch; it is closed by the limit that it reaches first.
    pub batch_bytes: ByteSize,
    /// The period before the watermark in which late commits are looked for.
    pub overlap: Duration,
    /// The interval at which the overlap is read.
    pub late_check: Duration,
    /// Whether each start begins with a full sync; the first start always does.
    pub full_sync_on_startup: bool,
    /// Whether changes are followed. If not, only full and differential passes run.
    pub enable_incremental: bool,
    /// The interval at which everything is compared; `None` means never.
    pub differential_interval: Option<Duration>,
    /// The speed of the background comparison; `None` turns it off.
    pub scrub_rate: Option<ScrubRate>,
    /// The largest share of a kind that may be deleted without approval; 1 allows everything.
    pub max_delete_fraction: f64,
    /// Whether instances share the pipelines evenly. If not, an instance leads what it gets.
    pub spread: bool,
}

impl SyncConfig {
    pub(super) fn read(section: &Section<'_>) -> Self {
        let batch_size = read_rows(section, "batch_size").unwrap_or(DEFAULT_BATCH_ROWS as usize);
        let config = Self {
            interval: section.seconds("interval_seconds", 1..=MAX_SECONDS).unwrap_or(DEFAULT_INTERVAL),
            probe_interval: section
                .integer_or_off("probe_interval_ms", MIN_PROBE_MS..=MAX_PROBE_MS, "milliseconds")
                .unwrap_or(Some(DEFAULT_PROBE_MS))
                .map(Duration::from_millis),
            node_batch_size: read_rows(section, "node_batch_size").unwrap_or(batch_size),
            relationship_batch_size: read_rows(section, "relationship_batch_size").unwrap_or(batch_size),
            batch_bytes: section.size("batch_bytes", MIN_BATCH_BYTES..=MAX_BATCH_BYTES).unwrap_or(DEFAULT_BATCH_BYTES),
            overlap: section.seconds("overlap_seconds", 1..=MAX_SECONDS).unwrap_or(DEFAULT_OVERLAP),
            late_check: section.seconds("late_check_seconds", 1..=MAX_SECONDS).unwrap_or(DEFAULT_LATE_CHECK),
            full_sync_on_startup: section.flag("full_sync_on_startup").unwrap_or(false),
            enable_incremental: section.flag("enable_incremental").unwrap_or(true),
            differential_interval: section
                .integer_or_off("differential_interval_seconds", 60..=MAX_DIFFERENTIAL_SECONDS, "seconds")
                .unwrap_or(Some(DEFAULT_DIFFERENTIAL_SECONDS))
                .map(Duration::from_secs),
            scrub_rate: read_scrub_rate(section),
            max_delete_fraction: section.share("max_delete_fraction").unwrap_or(DEFAULT_MAX_DELETE_FRACTION),
            spread: section.flag("spread").unwrap_or(false),
        };
        config.check_overlap(section);
        config
    }

    /// Late commits are found only if each read of the overlap reaches back to the previous one.
    fn check_overlap(&self, section: &Section<'_>) {
        if self.overlap < self.late_check {
            let (overlap, late_check) = (self.overlap.as_secs(), self.late_check.as_secs());
            section.problem(
                "overlap_seconds",
                format_args!("{overlap} is shorter than late_check_seconds ({late_check}): passes could miss late commits"),
            );
        }
    }
}

fn read_rows(section: &Section<'_>, name: &'static str) -> Option<usize> {
    section.integer(name, 1..=MAX_BATCH_ROWS, "rows").map(|rows| rows as usize)
}

fn read_scrub_rate(section: &Section<'_>) -> Option<ScrubRate> {
    const NAME: &str = "scrub_rows_per_second";
    if section.is_word(NAME, UNLIMITED) {
        return Some(ScrubRate::Unlimited);
    }
    let rate = section.integer_or_off(NAME, 1..=MAX_SCRUB_ROWS, "rows a second, unlimited");
    rate.map_or(Some(DEFAULT_SCRUB_RATE), |rate| rate.map(ScrubRate::RowsPerSecond))
}
