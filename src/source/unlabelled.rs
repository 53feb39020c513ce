//! How many nodes have no label. Neo4j keeps counts of labels and of all nodes, not of these: only a scan of all nodes tells. So
//! they are counted again only when the counts that it keeps say that they may have changed, and never so often that the scans
//! become a burden. The counts that Neo4j keeps do not always say so: a node without a label and a node with two labels may come
//! together. A pass that somebody waits for counts exactly.

use std::time::Instant;

use super::census::counted;
use super::queries;
use super::reader::Reader;
use super::request::Request;
use super::scan_pause::ScanPause;
use crate::error::Result;
use crate::model::profile::Profile;

/// How far the last count may be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Precision {
    /// While the counts that Neo4j keeps do not say otherwise, and during the pause after a scan.
    Believed,
    /// Not at all: the nodes are counted now.
    Exact,
}

/// The last count.
#[derive(Debug, Default)]
pub(super) struct Unlabelled {
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    /// All nodes, less the number of labels that nodes carry: what stays the same while only labelled nodes of one label come and
    /// go.
    difference: i64,
    count: u64,
    /// While it lasts, the count is believed whatever the difference.
    pause: ScanPause,
}

impl Unlabelled {
    /// Puts the number of nodes without a label in the place of the number of all nodes.
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
                let count = counted(reader, "nodes without a label", Request::new(queries::UNLABELLED)).await?;
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
