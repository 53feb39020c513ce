//! What a soak counts and measures.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::Soak;
use crate::support::service::resident_memory;

const SAMPLING: Duration = Duration::from_millis(500);

/// The last third's peak may be so much above the second's.
const FLAT: f64 = 1.10;

pub(super) struct Measures {
    pid: u32,
    began: Instant,
    length: Duration,
    faults: BTreeMap<String, u64>,
    lives: u64,
    /// Of lives that are over, and of the one that runs.
    generations: u64,
    generation: u64,
    retries: usize,
    retries_now: usize,
    quarantined: u64,
    peaks: [u64; 3],
}

impl Measures {
    pub(super) fn new(pid: u32) -> Self {
        Self {
            pid,
            began: Instant::now(),
            length: Duration::MAX,
            faults: BTreeMap::new(),
            lives: 1,
            generations: 0,
            generation: 0,
            retries: 0,
            retries_now: 0,
            quarantined: 0,
            peaks: [0; 3],
        }
    }

    pub(super) fn begin(&mut self, length: Duration) {
        (self.began, self.length) = (Instant::now(), length);
    }

    pub(super) fn count(&mut self, fault: String) {
        *self.faults.entry(fault).or_default() += 1;
    }

    /// Another life of the service.
    pub(super) fn began(&mut self, pid: u32) {
        self.pid = pid;
        self.lives += 1;
        self.generations += std::mem::take(&mut self.generation);
        self.retries += std::mem::take(&mut self.retries_now);
    }

    /// Samples the memory for this long.
    pub(super) async fn watch_for(&mut self, length: Duration) {
        let until = Instant::now() + length;
        loop {
            let third = (3.0 * self.began.elapsed().as_secs_f64() / self.length.as_secs_f64()) as usize;
            let peak = &mut self.peaks[third.min(2)];
            *peak = (*peak).max(resident_memory(self.pid));
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(SAMPLING)).await;
        }
    }

    pub(super) fn assert_flat(&self) {
        let [_, second, last] = self.peaks.map(|peak| peak as f64);
        assert!(last <= FLAT * second, "memory grows: {second} bytes at most in the second third, {last} in the last");
    }
}

impl Soak {
    /// Notes what the service says of itself, if it answers.
    pub(super) async fn look(&mut self) {
        if let Ok(status) = self.http.status().await {
            let number = |name: &str| status[name].as_u64().unwrap_or(0);
            self.measures.generation = self.measures.generation.max(number("generation"));
            self.measures.quarantined = number("quarantined");
        }
        self.measures.retries_now = self.running.log().matches("trying again").count();
    }
}

impl fmt::Display for Measures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number: u64 = self.faults.values().sum();
        writeln!(f, "{number} faults:")?;
        for (fault, number) in &self.faults {
            writeln!(f, "  {number:4} {fault}")?;
        }
        let mebibytes = self.peaks.map(|peak| format!("{:.1}", peak as f64 / f64::from(1 << 20)));
        write!(
            f,
            "lives {}, generations {}, retries {}, quarantined {}, peak memory by thirds {} MiB",
            self.lives,
            self.generations + self.generation,
            self.retries + self.retries_now,
            self.quarantined,
            mebibytes.join(" / ")
        )
    }
}
