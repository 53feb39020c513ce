//! A pause between scans of the whole source. Some questions cost a scan, and while commits come, they would be asked again and
//! again: the pause limits the share of the source's time that they take.

use std::time::{Duration, Instant};

/// The length of the pause as a multiple of the scan's duration: scans take at most 2 % of the source's time.
const MULTIPLE: u32 = 50;

/// The time at which the next scan may begin. The first scan may begin at once.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ScanPause {
    ends_at: Option<Instant>,
}

impl ScanPause {
    /// The pause after a scan that ended at `now`.
    #[must_use]
    pub(crate) fn after(scan: Duration, now: Instant) -> Self {
        Self { ends_at: Some(now + scan * MULTIPLE) }
    }

    /// Whether the next scan has to wait.
    #[must_use]
    pub(crate) fn lasts(&self, now: Instant) -> bool {
        self.ends_at.is_some_and(|end| now < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_lasts_fifty_times_the_scan() {
        let now = Instant::now();
        assert!(!ScanPause::default().lasts(now), "nothing was scanned yet");
        let pause = ScanPause::after(Duration::from_millis(100), now);
        assert!(pause.lasts(now + Duration::from_millis(4_999)));
        assert!(!pause.lasts(now + Duration::from_secs(5)));
    }
}
