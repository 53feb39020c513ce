//! Counts, keys and identities: they show where two graphs differ without a read of the content.

use std::collections::{BTreeMap, BTreeSet};

use super::Followed;
use super::columns::{column, count_of, lacking, take_text};
use super::queries::Queries;
use super::reader::Reader;
use super::request::Request;
use super::tallies::{FEW, Tallies};
use crate::error::Result;
use crate::model::element::{ElementIdentity, NodeIdentity, Properties, RelationshipIdentity};
use crate::model::follow_rule::FollowRule;
use crate::model::key::{Key, KeyPrefixes};
use crate::model::kind::ElementKind;
use crate::model::name::Label;
use crate::model::profile::Profile;
use crate::model::value::Value;

pub(super) async fn counts(reader: &impl Reader, profile: &Profile, tallies: &Tallies) -> Result<Vec<u64>> {
    const DOING: &str = "counts";
    if profile.nodes.len() + profile.relationships.len() > FEW {
        return tallies.of_kinds(reader, profile).await;
    }
    let kinds = profile.kinds().len();
    if kinds == 0 {
        return Ok(Vec::new());
    }
    let answer = reader.rows(DOING, Request::new(Queries::new(profile).counts())).await?.pop();
    let Some(Value::List(counts)) = answer.and_then(|mut row| column(&mut row, "counts")) else { return Err(lacking(DOING)) };
    let counts = counts.into_iter().map(|count| if let Value::Integer(count) = count { u64::try_from(count).ok() } else { None });
    counts.collect::<Option<Vec<u64>>>().filter(|counts| counts.len() == kinds).ok_or_else(|| lacking(DOING))
}

/// Returns the single count of an answer; zero if the answer has no row.
pub(super) async fn counted(reader: &impl Reader, doing: &str, request: Request) -> Result<u64> {
    match reader.rows(doing, request).await?.into_iter().next() {
        Some(row) => count_of(row, doing),
        None => Ok(0),
    }
}

pub(super) async fn key_groups(
    reader: &impl Reader,
    profile: &Profile,
    kind: ElementKind,
    with: Option<&Label>,
    beginnings: &KeyPrefixes,
    length: usize,
) -> Result<BTreeMap<String, u64>> {
    let doing = format!("groups of keys of {}", profile.kind_name(kind));
    let request = beginning(Queries::new(profile).key_groups(kind, with), beginnings).with("grown", length);
    let rows = reader.rows(&doing, request).await?;
    rows.into_iter().map(|mut row| Ok((take_text(&mut row, "name", &doing)?, count_of(row, &doing)?))).collect()
}

pub(super) async fn identities(
    reader: &impl Reader,
    profile: &Profile,
    kind: ElementKind,
    with: Option<&Label>,
    beginnings: &KeyPrefixes,
) -> Result<BTreeSet<ElementIdentity>> {
    let doing = format!("keys of {}", profile.kind_name(kind));
    let request = beginning(Queries::new(profile).identities(kind, with), beginnings);
    let rows = reader.rows(&doing, request).await?;
    Ok(rows.into_iter().filter_map(|row| identity(profile, kind, row)).collect())
}

fn beginning(text: String, beginnings: &KeyPrefixes) -> Request {
    Request::new(text).with("prefixes", beginnings.names.clone()).with("length", beginnings.length)
}

/// Returns the identity of a row; `None` if it is not usable, the cache cannot keep the element, or a node belongs to an earlier
/// kind: the cache does not hold such an element as this kind.
fn identity(profile: &Profile, kind: ElementKind, mut row: Properties) -> Option<ElementIdentity> {
    let key = Key::from_value(column(&mut row, "key").as_ref()).ok()?;
    match kind {
        ElementKind::Node(id) => {
            let labels = texts(column(&mut row, "labels")?)?;
            let label = profile.node(id).label.clone();
            // A label that the cache cannot express keeps the whole node out of it.
            let kept = profile.kind_of(&labels) == Some(id) && labels.iter().all(|label| Label::parse(label).is_ok());
            kept.then_some(ElementIdentity::Node(NodeIdentity { label, key }))
        }
        ElementKind::Relationship(id) => {
            let rel_type = profile.relationship(id).rel_type.clone();
            let start = endpoint(profile, &mut row, "start_labels", "start_key")?;
            let end = endpoint(profile, &mut row, "end_labels", "end_key")?;
            Some(ElementIdentity::Relationship(RelationshipIdentity { rel_type, key, start, end }))
        }
    }
}

fn endpoint(profile: &Profile, row: &mut Properties, labels: &str, key: &str) -> Option<NodeIdentity> {
    let labels = texts(column(row, labels)?)?;
    let key = Key::from_value(column(row, key).as_ref()).ok()?;
    let label = profile.node(profile.kind_of(&labels)?).label.clone();
    Some(NodeIdentity { label, key })
}

pub(super) fn texts(value: Value) -> Option<Vec<String>> {
    let Value::List(items) = value else { return None };
    items.into_iter().map(|item| if let Value::String(text) = item { Some(text) } else { None }).collect()
}

pub(super) async fn followed(reader: &impl Reader, profile: &Profile, rule: &FollowRule, keys: &[String]) -> Result<Followed> {
    const DOING: &str = "relationships of changed elements";
    let Some(text) = Queries::new(profile).followed(rule) else { return Ok(Followed::default()) };
    let mut followed = Followed::default();
    for mut row in reader.rows(DOING, Request::new(text).with("keys", keys.to_vec())).await? {
        if let Some(Value::String(edge)) = column(&mut row, "edge") {
            followed.relationships.insert(edge);
        }
        let (Some(Value::String(key)), Some(labels)) = (column(&mut row, "key"), column(&mut row, "labels")) else { continue };
        if let Some(kind) = texts(labels).and_then(|labels| profile.kind_of(&labels)) {
            followed.nodes.entry(kind).or_default().insert(key);
        }
    }
    Ok(followed)
}
