//! Spreads pipelines evenly over the instances of the service.
//!
//! Every instance computes the same plan from what it sees, so there is no coordinator. What an instance leads stays where it is,
//! up to the instance's share. Only the rest finds a place by rendezvous hashing: each pipeline takes the instance that it
//! prefers, of those with room. The leaders therefore belong to the input: a plan of names and instances alone would exchange
//! pipelines between instances that stay, because each arrival and each departure changes all shares.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

/// The start value and the prime of FNV-1a with 64 bits.
const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// The factors of MurmurHash3's last step.
const MIX: [u64; 2] = [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53];

/// Separates the parts of what is hashed: no text contains this byte.
const SEPARATOR: u8 = 0xff;

/// Distinguishes one process from all others while it lives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceId(String);

impl InstanceId {
    /// An id that no other process has.
    pub(crate) fn random() -> Self {
        Self(format!("{:032x}", rand::random::<u128>()))
    }

    /// The id that another process gave itself.
    pub(crate) fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An instance with the pipelines that it should lead.
struct Share<'a> {
    instance: &'a InstanceId,
    pipelines: Vec<&'a str>,
    /// The most pipelines that the instance should lead.
    limit: usize,
}

impl Share<'_> {
    fn has_room(&self) -> bool {
        self.pipelines.len() < self.limit
    }
}

/// Returns the instance that should lead each pipeline. `leaders` names all pipelines, each with the instance that leads it now,
/// if any does; a leader that is not present does not count.
///
/// The numbers of pipelines of two instances differ by at most one. As few pipelines move as that allows.
pub(crate) fn spread<'a>(
    leaders: &'a BTreeMap<String, Option<InstanceId>>,
    present: &'a BTreeSet<InstanceId>,
) -> BTreeMap<&'a str, &'a InstanceId> {
    let mut led: BTreeMap<&InstanceId, Vec<&str>> = present.iter().map(|instance| (instance, Vec::new())).collect();
    let mut homeless = Vec::new();
    for (pipeline, leader) in leaders {
        match leader.as_ref().and_then(|leader| led.get_mut(leader)) {
            Some(pipelines) => pipelines.push(pipeline.as_str()),
            None => homeless.push(pipeline.as_str()),
        }
    }
    let mut shares = shares(led, leaders.len());
    for share in &mut shares {
        homeless.extend(surplus(share));
    }
    homeless.sort_unstable();
    for pipeline in homeless {
        let preferred = shares.iter_mut().filter(|share| share.has_room()).max_by_key(|share| weight(pipeline, share.instance));
        // The limits add up to the number of pipelines, so there is room unless there is no instance.
        if let Some(share) = preferred {
            share.pipelines.push(pipeline);
        }
    }
    let planned = |share: Share<'a>| share.pipelines.into_iter().map(move |pipeline| (pipeline, share.instance));
    shares.into_iter().flat_map(planned).collect()
}

/// The share of each instance. Where the number of pipelines is not a multiple, those that lead most keep one more.
fn shares<'a>(led: BTreeMap<&'a InstanceId, Vec<&'a str>>, pipelines: usize) -> Vec<Share<'a>> {
    let mut shares: Vec<Share<'a>> =
        led.into_iter().map(|(instance, pipelines)| Share { instance, pipelines, limit: 0 }).collect();
    // The sort is stable, so ids decide among equals.
    shares.sort_by_key(|share| Reverse(share.pipelines.len()));
    let number = shares.len().max(1);
    let (each, with_one_more) = (pipelines / number, pipelines % number);
    for (rank, share) in shares.iter_mut().enumerate() {
        share.limit = each + usize::from(rank < with_one_more);
    }
    shares
}

/// Takes from an instance what is more than its share: the pipelines that prefer it least.
fn surplus<'a>(share: &mut Share<'a>) -> Vec<&'a str> {
    if share.pipelines.len() <= share.limit {
        return Vec::new();
    }
    let instance = share.instance;
    share.pipelines.sort_by_key(|pipeline| Reverse(weight(pipeline, instance)));
    share.pipelines.split_off(share.limit)
}

/// How much a pipeline prefers an instance. Processes and versions must agree on it, which the standard library's hash does not
/// promise.
fn weight(pipeline: &str, instance: &InstanceId) -> u64 {
    let bytes = pipeline.bytes().chain([SEPARATOR]).chain(instance.0.bytes());
    let hash = bytes.fold(FNV_START, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME));
    // The last bytes hardly reach the high bits of FNV, which decide a comparison.
    let mixed = MIX.iter().fold(hash, |hash, factor| (hash ^ (hash >> 33)).wrapping_mul(*factor));
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instances(number: usize) -> BTreeSet<InstanceId> {
        (0..number).map(|index| InstanceId::new(format!("instance-{index}"))).collect()
    }

    fn unled(number: usize) -> BTreeMap<String, Option<InstanceId>> {
        (0..number).map(|index| (format!("pipeline-{index}"), None)).collect()
    }

    /// The leaders once everybody has followed the plan.
    fn followed(
        leaders: &BTreeMap<String, Option<InstanceId>>,
        present: &BTreeSet<InstanceId>,
    ) -> BTreeMap<String, Option<InstanceId>> {
        spread(leaders, present).into_iter().map(|(pipeline, instance)| (pipeline.to_owned(), Some(instance.clone()))).collect()
    }

    fn loads(leaders: &BTreeMap<String, Option<InstanceId>>, present: &BTreeSet<InstanceId>) -> Vec<usize> {
        present.iter().map(|instance| leaders.values().filter(|leader| leader.as_ref() == Some(instance)).count()).collect()
    }

    fn moved<'a>(
        before: &'a BTreeMap<String, Option<InstanceId>>,
        after: &'a BTreeMap<String, Option<InstanceId>>,
    ) -> Vec<&'a String> {
        before.keys().filter(|pipeline| before[*pipeline] != after[*pipeline]).collect()
    }

    #[test]
    fn one_instance_leads_all_and_none_leads_nothing() {
        let (leaders, present) = (unled(5), instances(1));
        assert_eq!(loads(&followed(&leaders, &present), &present), [5]);
        assert_eq!(spread(&leaders, &BTreeSet::new()).len(), 0);
        assert_eq!(spread(&BTreeMap::new(), &present).len(), 0);
    }

    #[test]
    fn instances_lead_as_many_as_the_others_or_one_more() {
        for (pipelines, number) in [(6, 3), (7, 3), (8, 3), (2, 5), (100, 7)] {
            let present = instances(number);
            let loads = loads(&followed(&unled(pipelines), &present), &present);
            assert_eq!(loads.iter().sum::<usize>(), pipelines);
            let bounds = pipelines / number..=pipelines.div_ceil(number);
            assert!(loads.iter().all(|load| bounds.contains(load)), "{pipelines} over {number}: {loads:?}");
        }
    }

    #[test]
    fn a_plan_that_was_followed_stays_the_plan() {
        for (pipelines, number) in [(6, 3), (7, 3), (2, 5), (100, 7)] {
            let (leaders, present) = (unled(pipelines), instances(number));
            let led = followed(&leaders, &present);
            assert_eq!(followed(&leaders, &present), led);
            assert_eq!(followed(&led, &present), led);
        }
    }

    #[test]
    fn an_instance_that_joins_takes_its_share_and_nothing_else_moves() {
        for (pipelines, number) in [(6, 2), (7, 3), (3, 3), (100, 7)] {
            let before = followed(&unled(pipelines), &instances(number));
            let joined = instances(number + 1);
            let after = followed(&before, &joined);
            let moved = moved(&before, &after);
            assert!(moved.len() <= pipelines.div_ceil(number + 1), "{pipelines} over {number}: {moved:?}");
            let newcomer = joined.difference(&instances(number)).next().cloned();
            assert!(moved.iter().all(|pipeline| after[*pipeline] == newcomer), "{moved:?}");
        }
    }

    #[test]
    fn only_the_pipelines_of_an_instance_that_goes_move() {
        for (pipelines, number) in [(6, 3), (7, 3), (100, 7)] {
            let present = instances(number);
            let before = followed(&unled(pipelines), &present);
            for gone in &present {
                let left: BTreeSet<InstanceId> = present.iter().filter(|instance| *instance != gone).cloned().collect();
                let after = followed(&before, &left);
                assert!(moved(&before, &after).iter().all(|pipeline| before[*pipeline].as_ref() == Some(gone)));
                assert_eq!(loads(&after, &left).iter().sum::<usize>(), pipelines);
            }
        }
    }

    /// A part of the plan may have been followed when the others look.
    #[test]
    fn a_pipeline_on_its_way_goes_to_the_newcomer() {
        let before = followed(&unled(6), &instances(2));
        let joined = instances(3);
        let after = followed(&before, &joined);
        for pipeline in moved(&before, &after) {
            let mut free = before.clone();
            free.insert(pipeline.clone(), None);
            assert_eq!(followed(&free, &joined)[pipeline], after[pipeline], "{pipeline}");
        }
    }

    /// Versions must agree, so these numbers never change.
    #[test]
    fn weights_are_the_same_everywhere() {
        assert_eq!(weight("research", &InstanceId::new("a")), 0x8f58_f99d_6ba6_df18);
        assert_eq!(weight("research", &InstanceId::new("b")), 0x9bbf_c0fe_e258_b885);
        assert_eq!(weight("support", &InstanceId::new("a")), 0xe040_4831_1c23_0c68);
    }
}
