//! Elements of one kind as the source holds them.

use super::element::{ElementNumber, Properties, SourceNode, SourceRelationship, property_text};
use super::kind::{ElementKind, NodeKindId, RelationshipKindId};
use super::name::PropertyName;

/// Elements of one kind. Operations that are the same for nodes and relationships are implemented here once.
#[derive(Debug, Clone, PartialEq)]
pub enum KindRows {
    /// Nodes of a kind.
    Nodes(NodeKindId, Vec<SourceNode>),
    /// Relationships of a kind.
    Relationships(RelationshipKindId, Vec<SourceRelationship>),
}

impl KindRows {
    /// No elements of a kind.
    pub(crate) fn none(kind: ElementKind) -> Self {
        match kind {
            ElementKind::Node(id) => KindRows::Nodes(id, Vec::new()),
            ElementKind::Relationship(id) => KindRows::Relationships(id, Vec::new()),
        }
    }

    /// The kind of the elements.
    pub(crate) fn kind(&self) -> ElementKind {
        match self {
            KindRows::Nodes(id, _) => ElementKind::Node(*id),
            KindRows::Relationships(id, _) => ElementKind::Relationship(*id),
        }
    }

    /// The nodes; none if these are relationships.
    pub fn into_nodes(self) -> Vec<SourceNode> {
        if let KindRows::Nodes(_, rows) = self { rows } else { Vec::new() }
    }

    /// The relationships; none if these are nodes.
    pub fn into_relationships(self) -> Vec<SourceRelationship> {
        if let KindRows::Relationships(_, rows) = self { rows } else { Vec::new() }
    }

    /// The number and the properties of each element.
    pub fn elements(&self) -> Box<dyn Iterator<Item = (ElementNumber, &Properties)> + Send + '_> {
        match self {
            KindRows::Nodes(_, rows) => Box::new(rows.iter().map(|row| (row.number, &row.properties))),
            KindRows::Relationships(_, rows) => Box::new(rows.iter().map(|row| (row.number, &row.properties))),
        }
    }

    /// The labels of each element; none for a relationship.
    pub(crate) fn labels(&self) -> Box<dyn Iterator<Item = &[String]> + Send + '_> {
        match self {
            KindRows::Nodes(_, rows) => Box::new(rows.iter().map(|row| &row.labels[..])),
            KindRows::Relationships(_, rows) => Box::new(rows.iter().map(|_| &[][..])),
        }
    }

    /// The value of the key property of each element, if it is a text.
    pub(crate) fn keys<'r>(&'r self, key: &'r PropertyName) -> impl Iterator<Item = Option<&'r str>> + Send + 'r {
        self.elements().map(|(_, properties)| property_text(properties, key.as_str()))
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
            KindRows::Nodes(_, rows) => rows.len(),
            KindRows::Relationships(_, rows) => rows.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The approximate bytes that they hold in memory.
    pub(crate) fn weight(&self) -> usize {
        match self {
            KindRows::Nodes(_, rows) => rows.iter().map(SourceNode::weight).sum(),
            KindRows::Relationships(_, rows) => rows.iter().map(SourceRelationship::weight).sum(),
        }
    }

    /// Keeps the elements with properties that satisfy `keep`.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Properties) -> bool) {
        match self {
            KindRows::Nodes(_, rows) => rows.retain(|row| keep(&row.properties)),
            KindRows::Relationships(_, rows) => rows.retain(|row| keep(&row.properties)),
        }
    }

    /// Keeps only the first elements, at most `most`.
    pub(crate) fn truncate(&mut self, most: usize) {
        match self {
            KindRows::Nodes(_, rows) => rows.truncate(most),
            KindRows::Relationships(_, rows) => rows.truncate(most),
        }
    }

    /// The same elements in the order of their keys.
    #[must_use]
    pub(crate) fn in_key_order(mut self, key: &PropertyName) -> Self {
        fn text<'r>(properties: &'r Properties, key: &PropertyName) -> Option<&'r str> {
            property_text(properties, key.as_str())
        }
        match &mut self {
            KindRows::Nodes(_, rows) => rows.sort_by(|a, b| text(&a.properties, key).cmp(&text(&b.properties, key))),
            KindRows::Relationships(_, rows) => rows.sort_by(|a, b| text(&a.properties, key).cmp(&text(&b.properties, key))),
        }
        self
    }

    /// Cuts the elements into parts of about this many bytes, with the last key of each. Elements of one key are never separated:
    /// they must meet to collapse to one. A heavier element gets its own part.
    pub(crate) fn cut(self, bytes: usize, key: &PropertyName) -> Vec<RowsPart> {
        match self {
            KindRows::Nodes(id, rows) => cut(rows, bytes, SourceNode::weight, |row| property_text(&row.properties, key.as_str()))
                .into_iter()
                .map(|part| part.of(|rows| KindRows::Nodes(id, rows)))
                .collect(),
            KindRows::Relationships(id, rows) => {
                cut(rows, bytes, SourceRelationship::weight, |row| property_text(&row.properties, key.as_str()))
                    .into_iter()
                    .map(|part| part.of(|rows| KindRows::Relationships(id, rows)))
                    .collect()
            }
        }
    }
}

/// A part of the elements of a kind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RowsPart<R = KindRows> {
    /// The elements of the part.
    pub rows: R,
    /// The approximate bytes that they hold in memory.
    pub bytes: usize,
    /// The key of the last element, if it is a text.
    pub last_key: Option<String>,
}

impl<R> RowsPart<R> {
    fn of<S>(self, rows: impl FnOnce(R) -> S) -> RowsPart<S> {
        RowsPart { rows: rows(self.rows), bytes: self.bytes, last_key: self.last_key }
    }
}

fn cut<T>(rows: Vec<T>, most: usize, weight: impl Fn(&T) -> usize, key: impl Fn(&T) -> Option<&str>) -> Vec<RowsPart<Vec<T>>> {
    let mut parts: Vec<RowsPart<Vec<T>>> = Vec::new();
    for row in rows {
        let (bytes, row_key) = (weight(&row), key(&row).map(str::to_owned));
        match parts.last_mut() {
            Some(part) if part.bytes + bytes <= most || (part.last_key == row_key && row_key.is_some()) => {
                part.rows.push(row);
                part.bytes += bytes;
                part.last_key = row_key;
            }
            _ => parts.push(RowsPart { rows: vec![row], bytes, last_key: row_key }),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_end_by_bytes_but_never_between_rows_of_one_key() {
        let parts = cut(vec!["a", "b", "b", "b", "c"], 2, |_| 1, |row| Some(*row));
        let rows: Vec<_> = parts.iter().map(|part| part.rows.clone()).collect();
        assert_eq!(rows, [vec!["a", "b", "b", "b"], vec!["c"]]);
        assert_eq!(parts[0].last_key.as_deref(), Some("b"));
    }

    #[test]
    fn a_row_heavier_than_a_part_stands_alone() {
        assert_eq!(cut(vec!["a", "b"], 2, |_| 9, |row| Some(*row)).len(), 2);
    }
}
