//! How many nodes have no label. Neo4j keeps counts of labels and of all nodes, not of these: only a scan of all nodes tells. So
//! they are counted again only when the counts that it keeps say that they may have changed, and never so often that the scans
//! become a burden.

use std::time::{Duration, Instant};

use super::census::counted;
use super::queries;
use super::reader::Reader;
use super::request::Request;
use crate::error::Result;
use crate::model::profile::Profile;

/// For a scan that took some time, the source is left alone so many times as long.
const REST: u32 = 50;

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
    /// Until when it is believed whatever the difference.
    rests_until: Instant,
}

impl Unlabelled {
    /// Puts the number of nodes without a label in the place of the number of all nodes.
    pub(super) async fn count(&mut self, reader: &impl Reader, profile: &Profile, mut counts: Vec<u64>) -> Result<Vec<u64>> {
        let Some(place) = profile.nodes.iter().position(|kind| kind.unlabelled) else { return Ok(counts) };
        let labels: u64 = (0..profile.nodes.len()).filter(|other| *other != place).map(|other| counts[other]).sum();
        let difference = counts[place].cast_signed() - labels.cast_signed();
        counts[place] = match &self.last {
            Some(last) if last.difference == difference || Instant::now() < last.rests_until => last.count,
            _ => {
                let begun = Instant::now();
                let count = counted(reader, "nodes without a label", Request::new(queries::UNLABELLED)).await?;
                self.last = Some(Last { difference, count, rests_until: rest_after(begun.elapsed()) });
                count
            }
        };
        Ok(counts)
    }
}

fn rest_after(scan: Duration) -> Instant {
    Instant::now() + scan * REST
}
