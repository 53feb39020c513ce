//! Relationships around nodes. A relationship is identified by the keys of its ends and goes with them, so a change of a node is
//! a change of its relationships.

use std::collections::BTreeSet;

use super::Memory;
use super::keys::Keys;
use super::reader::PassReader;
use crate::error::Result;
use crate::model::element::ElementNumber;
use crate::model::kind::ElementKind;
use crate::source::KeyLookup;

/// Nodes for which relationships are read at once, and relationships of one answer: some 100 bytes each.
const NUMBERS: usize = 10_000;

impl PassReader<'_> {
    /// Reads the relationships of these nodes and sends them on, whatever the cache seems to hold of them: they may have gone
    /// with a node. Returns their keys.
    pub(super) async fn fetch_attached(&mut self, nodes: &BTreeSet<ElementNumber>) -> Result<Keys> {
        let nodes: Vec<ElementNumber> = nodes.iter().copied().collect();
        let mut keys = Keys::new();
        for some in nodes.chunks(NUMBERS) {
            let mut after = None;
            loop {
                let source = self.source;
                let found = source.relationships_of(some, after, NUMBERS).await?;
                let Some(last) = found.last().map(|found| found.number) else { break };
                after = Some(last);
                let mut wanted = Keys::new();
                for (kind, key) in found.into_iter().filter_map(|found| found.kind.zip(found.key)) {
                    wanted.entry(kind).or_default().insert(key);
                }
                let repairs = std::mem::replace(&mut self.repairs, true);
                let read = self.fetch(&wanted).await;
                self.repairs = repairs;
                read?;
                wanted.into_iter().for_each(|(kind, some)| keys.entry(kind).or_default().extend(some));
            }
        }
        Ok(keys)
    }

    /// Reads the relationships of nodes that a pass over a feed writes before their commits are told: the pass that learns of these
    /// commits finds the nodes in the cache, and assumes that their relationships were read. A listed node is not written.
    pub(super) async fn read_around(&mut self, kind: ElementKind, keys: &[String]) -> Result<()> {
        if !self.is_told || keys.is_empty() {
            return Ok(());
        }
        let name = self.profile.name_of(kind);
        let keys: Vec<String> = keys.iter().filter(|key| !self.excluded.contains(name, key)).cloned().collect();
        let numbers = self.numbers_of(kind, &keys).await?;
        self.fetch_attached(&numbers).await.map(drop)
    }

    /// Reads relationships again that an earlier pass could not keep, whatever the cache seems to hold of them.
    pub(super) async fn fetch_doubtful(&mut self, memory: &mut Memory) -> Result<()> {
        let doubtful = memory.take_doubtful();
        let repairs = std::mem::replace(&mut self.repairs, true);
        let read = self.fetch(&doubtful).await;
        self.repairs = repairs;
        read
    }

    /// The numbers of all elements of a kind that have these keys.
    pub(super) async fn numbers_of(&mut self, kind: ElementKind, keys: &[String]) -> Result<BTreeSet<ElementNumber>> {
        let mut numbers = BTreeSet::new();
        let mut left = keys;
        while !left.is_empty() {
            let asked = &left[..left.len().min(self.limits.nodes)];
            self.emit.reserve(asked.len()).await?;
            let KeyLookup { rows, keys: answered } = self.source.by_key(kind, asked).await?;
            numbers.extend(rows.elements().map(|(number, _)| number));
            left = &left[answered..];
        }
        Ok(numbers)
    }
}
