//! The count of nodes without a label. Neo4j keeps counts of labels and of all nodes, but not this one: only a scan of all nodes
//! yields it. So these nodes are counted again only if the kept counts show that their number may have changed, and seldom enough
//! that the scans do not become a burden. The kept counts do not always show a change: a node without a label and a node with two
//! labels may come together. A pass that somebody waits for counts exactly.

use std::time::Instant;

use super::census::counted;
use super::queries;
use super::reader::Reader;
use super::request::Request;
use super::scan_pause::ScanPause;
use crate::error::Result;
use crate::model::profile::Profile;

/// The trust that a caller puts in the last count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Precision {
    /// The last count holds while the counts that Neo4j keeps do not contradict it, and during the pause after a scan.
    Believed,
    /// The last count does not serve: the nodes are counted now.
    Exact,
}

/// The last count, if there is one.
#[derive(Debug, Default)]
pub(super) struct Unlabelled {
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    /// All nodes minus the number of labels that nodes carry. The difference stays the same while only nodes with one label come
    /// and go.
    difference: i64,
    count: u64,
    /// While the pause lasts, the count holds whatever the difference is.
    pause: ScanPause,
}

impl Unlabelled {
    /// Replaces the number of all nodes by the number of nodes without a label.
    pub(super) async fn count(
        &mut self,
        reader: &impl Reader,
        profile: &Profile,
        mut counts: Vec<u64>,
        precision: Precision,
    ) -> Result<Vec<u64>> {
        let Some(place) = profile.nodes.iter().position(|kind| kind.unlabelled) else { return Ok(counts) };
        let labels: u64 = (0..profile.nodes.len()).filter(|other| *other != place).map(|other| counts[other]).sum();
        let difference = counts[place].cast_signed() - labels.cast_signed();
        counts[place] = match &self.last {
            Some(last) if precision == Precision::Believed && last.is_believed(difference) => last.count,
            _ => {
                let begun = Instant::now();
                let count = counted(reader, "nodes without a label", Request::new(queries::server::UNLABELLED)).await?;
                self.last = Some(Last { difference, count, pause: ScanPause::after(begun.elapsed(), Instant::now()) });
                count
            }
        };
        Ok(counts)
    }
}

impl Last {
    fn is_believed(&self, difference: i64) -> bool {
        self.difference == difference || self.pause.lasts(Instant::now())
    }
}
