//! Turns rows of the source into payloads of GRAPH.BULK.

use std::collections::{BTreeSet, HashMap};

use super::super::admission::{KeptNode, KeptRelationship};
use super::super::collapse::{Identified, collapse};
use super::super::encode::refusals;
use super::super::encoder::Encoder;
use super::super::layout::{Cell, Layout};
use super::header::{Header, MAX_COLUMNS, can_say};
use super::packer::Packer;
use super::payload::BulkPayload;
use crate::model::element::{NodeIdentity, Properties, RelationshipIdentity, SourceNode, SourceRelationship};
use crate::model::key::Key;
use crate::model::kind::{KindName, NodeKindId, RelationshipKindId};
use crate::model::name::{Label, PropertyName, RelationshipType};
use crate::model::prepared::{Conversions, PreparedRows};
use crate::model::profile::NodeKind;
use crate::model::quarantined::Quarantined;

/// A batch encoded for the bulk load. Every row is in exactly one place: a payload, `by_parameters`, `quarantined`,
/// `absent_endpoints`, or counted in `collapsed`; a node that was loaded before is in none of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BulkBatch {
    /// The payloads, to be sent in this order.
    pub payloads: Vec<BulkPayload>,
    /// Rows that the binary form cannot express, to be written like any other batch.
    pub by_parameters: PreparedRows,
    /// Elements and properties that cannot be written.
    pub(crate) quarantined: Vec<Quarantined>,
    /// Counts of conversions by rule, without those of `by_parameters`.
    pub(crate) conversions: Conversions,
    /// The number of elements that gave way to another element of this batch with the same identity.
    pub(crate) collapsed: u64,
    /// Relationships with an end that is not loaded.
    pub absent_endpoints: Vec<RelationshipIdentity>,
    /// The numbers of relationships in the payloads, by type.
    pub(crate) types: Vec<(RelationshipType, u64)>,
}

impl BulkBatch {
    /// Adds a batch of another kind. Its payloads come after these; small payloads are merged.
    pub(super) fn append(&mut self, mut other: BulkBatch) {
        for payload in other.payloads {
            match self.payloads.last_mut().filter(|last| last.has_room_for(&payload)) {
                Some(last) => last.append(payload),
                None => self.payloads.push(payload),
            }
        }
        self.by_parameters.append(other.by_parameters);
        self.quarantined.append(&mut other.quarantined);
        self.conversions.add(other.conversions);
        self.collapsed += other.collapsed;
        self.absent_endpoints.append(&mut other.absent_endpoints);
        self.types.append(&mut other.types);
    }
}

/// A row with the layout of its properties.
struct Arranged<I> {
    identity: I,
    layout: Layout,
    properties: Properties,
}

impl<I> Arranged<I> {
    fn cells(&self) -> impl Iterator<Item = (&str, Cell<'_>)> {
        self.layout.cells(&self.properties)
    }
}

impl Encoder {
    /// Encodes nodes of one kind. `id_of` returns the ids of nodes that were loaded before.
    pub fn bulk_nodes(&self, kind: NodeKindId, rows: Vec<SourceNode>, id_of: impl Fn(&NodeIdentity) -> Option<u64>) -> BulkBatch {
        let kind = self.profile().node(kind);
        let mut batch = BulkBatch::default();
        let mut rows = self.identified_nodes(kind, rows, &mut batch.quarantined);
        batch.collapsed = collapse(&mut rows);
        rows.retain(|row| id_of(&node_identity(kind, &row.identity)).is_none());
        let (rows, others) = rows.into_iter().partition(|row| self.can_say_node(kind, row));
        batch.by_parameters = self.encode_nodes(kind, others);
        let groups = self.arranged_nodes(kind, rows, &mut batch.quarantined);
        batch.payloads = pack_nodes(kind, groups, &mut batch.conversions);
        batch
    }

    /// Encodes relationships of one kind between nodes for which `id_of` returns an id.
    pub fn bulk_relationships(
        &self,
        kind: RelationshipKindId,
        rows: Vec<SourceRelationship>,
        id_of: impl Fn(&NodeIdentity) -> Option<u64>,
    ) -> BulkBatch {
        let kind = self.profile().relationship(kind);
        let mut batch = BulkBatch::default();
        let mut rows = self.identified_relationships(kind, rows, &mut batch.quarantined);
        batch.collapsed = collapse(&mut rows);
        let sayable = can_say(kind.rel_type.as_str()) && !kind.vectors.contains(&kind.key);
        let (rows, others) = rows.into_iter().partition(|row| sayable && fits_a_token(&row.row.relationship.properties));
        batch.by_parameters = self.encode_relationships(kind, others);
        let vectors = self.relationship_vectors(kind);
        let mut arranged = Vec::with_capacity(rows.len());
        for Identified { identity, row: KeptRelationship { mut relationship, .. }, .. } in rows {
            let (Some(start), Some(end)) = (id_of(&identity.start), id_of(&identity.end)) else {
                batch.absent_endpoints.push(identity);
                continue;
            };
            let mut layout = Layout::default();
            let refuse = refusals(KindName::Type(kind.rel_type.as_str()), &identity.key, &mut batch.quarantined);
            layout.arrange(&mut relationship.properties, &vectors, self.names(), refuse);
            arranged.push(Arranged { identity: [start, end], layout, properties: relationship.properties });
        }
        if !arranged.is_empty() {
            batch.types.push((kind.rel_type.clone(), arranged.len() as u64));
        }
        let mut packer = Packer::default();
        for rows in tokens(&arranged) {
            let header = Header::of_relationships(&kind.rel_type, names(rows));
            packer.next_header();
            for row in rows {
                packer.relationship(&header, |out| {
                    row.identity.iter().for_each(|id| out.extend_from_slice(&id.to_le_bytes()));
                    write_record(&header, out, row, &mut batch.conversions);
                });
            }
        }
        batch.payloads = packer.finish();
        batch
    }

    fn can_say_node(&self, kind: &NodeKind, row: &Identified<Key, KeptNode>) -> bool {
        let labels = &row.row.extra_labels;
        can_say(kind.label.as_str())
            && labels.iter().all(|label| can_say(label.as_str()))
            && fits_a_token(&row.row.node.properties)
            && !self.is_vector(kind, labels, &kind.key)
    }

    /// Whether a property is a vector. A record needs one property that is always present, and only a key that is not a vector
    /// is.
    fn is_vector(&self, kind: &NodeKind, extra_labels: &[Label], name: &PropertyName) -> bool {
        let others = self.profile().nodes.iter().filter(|other| extra_labels.contains(&other.label));
        kind.vectors.contains(name) || others.into_iter().any(|other| other.vectors.contains(name))
    }

    /// Groups nodes by label set, in the order of first appearance.
    fn arranged_nodes(
        &self,
        kind: &NodeKind,
        rows: Vec<Identified<Key, KeptNode>>,
        quarantined: &mut Vec<Quarantined>,
    ) -> Vec<(Vec<Label>, Vec<Arranged<Key>>)> {
        let own_vectors = self.node_vectors(kind);
        let mut groups: Vec<(Vec<Label>, Vec<Arranged<Key>>)> = Vec::new();
        let mut places: HashMap<Vec<Label>, usize> = HashMap::new();
        for Identified { identity, row: KeptNode { extra_labels, mut node, .. }, .. } in rows {
            let vectors = self.with_vectors_of(&extra_labels, &own_vectors);
            let mut layout = Layout::default();
            let refuse = refusals(KindName::Label(kind.label.as_str()), &identity, quarantined);
            layout.arrange(&mut node.properties, &vectors, self.names(), refuse);
            let place = *places.entry(extra_labels).or_insert_with_key(|labels| {
                groups.push((labels.clone(), Vec::new()));
                groups.len() - 1
            });
            groups[place].1.push(Arranged { identity, layout, properties: node.properties });
        }
        groups
    }
}

fn node_identity(kind: &NodeKind, key: &Key) -> NodeIdentity {
    NodeIdentity { label: kind.label.clone(), key: key.clone() }
}

fn fits_a_token(properties: &Properties) -> bool {
    properties.len() <= MAX_COLUMNS
}

fn pack_nodes(kind: &NodeKind, groups: Vec<(Vec<Label>, Vec<Arranged<Key>>)>, conversions: &mut Conversions) -> Vec<BulkPayload> {
    let mut packer = Packer::default();
    for (extra_labels, rows) in &groups {
        for rows in tokens(rows) {
            let header = Header::of_nodes(std::iter::once(&kind.label).chain(extra_labels), names(rows));
            packer.next_header();
            for row in rows {
                let identity = node_identity(kind, &row.identity);
                packer.node(&header, identity, |out| write_record(&header, out, row, conversions));
            }
        }
    }
    packer.finish()
}

/// Cuts rows into pieces with no more than [`MAX_COLUMNS`] names each.
fn tokens<I>(mut rows: &[Arranged<I>]) -> Vec<&[Arranged<I>]> {
    let mut pieces = Vec::new();
    let mut columns: BTreeSet<&str> = BTreeSet::new();
    let mut length = 0;
    while let Some(row) = rows.get(length) {
        let before = columns.len();
        let added: Vec<&str> = row.cells().map(|(name, _)| name).filter(|name| !columns.contains(name)).collect();
        if before + added.len() > MAX_COLUMNS {
            let (piece, rest) = rows.split_at(length);
            pieces.push(piece);
            (rows, length) = (rest, 0);
            columns.clear();
            continue;
        }
        columns.extend(added);
        length += 1;
    }
    if !rows.is_empty() {
        pieces.push(rows);
    }
    pieces
}

fn names<I>(rows: &[Arranged<I>]) -> Vec<&str> {
    let names: BTreeSet<&str> = rows.iter().flat_map(|row| row.cells().map(|(name, _)| name)).collect();
    names.into_iter().collect()
}

fn write_record<'a, I>(header: &Header<'a>, out: &mut Vec<u8>, row: &'a Arranged<I>, conversions: &mut Conversions) {
    header.write_record(out, row.cells(), |out, cell| cell.write(out, conversions));
}
