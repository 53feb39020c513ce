//! Looks up the current kind and key of elements that a change feed names by their numbers.

use std::collections::BTreeSet;

use super::FoundElement;
use super::census::texts;
use super::columns::{column, lacking, take_text};
use super::expressions::number_key;
use super::reader::Reader;
use super::request::Request;
use super::scope::Scope;
use super::unusable::numbers;
use crate::error::Result;
use crate::model::element::{ElementNumber, Properties};
use crate::model::key::{Key, MAX_KEY_BYTES};
use crate::model::kind::ElementKind;
use crate::model::name::{RelationshipType, quoted_for_neo4j};
use crate::model::profile::{Identity, Profile};
use crate::model::value::Value;

/// Reads nodes by their numbers; returns those that exist.
pub(super) async fn nodes(reader: &impl Reader, profile: &Profile, of: &[ElementNumber]) -> Result<Vec<FoundElement>> {
    const DOING: &str = "changed nodes";
    let columns = format!("id(n) AS number, labels(n) AS labels{}", deciding_columns(profile, true));
    let text = format!("MATCH (n) WHERE id(n) IN $numbers RETURN {columns}");
    let rows = reader.rows(DOING, Request::new(text).with("numbers", numbers(of))).await?;
    rows.into_iter().map(|mut row| node(profile, &mut row).ok_or_else(|| lacking(DOING))).collect()
}

/// Reads relationships by their numbers; returns those that exist.
pub(super) async fn relationships(reader: &impl Reader, profile: &Profile, of: &[ElementNumber]) -> Result<Vec<FoundElement>> {
    const DOING: &str = "changed relationships";
    let text = format!("MATCH ()-[n]->() WHERE id(n) IN $numbers RETURN {}", relationship_columns(profile));
    let rows = reader.rows(DOING, Request::new(text).with("numbers", numbers(of))).await?;
    rows.into_iter().map(|mut row| relationship(profile, &mut row, DOING)).collect()
}

/// Reads relationships that begin or end at these nodes, in the order of their numbers: up to `limit` after a number.
pub(super) async fn attached(
    reader: &impl Reader,
    profile: &Profile,
    to: &[ElementNumber],
    after: Option<ElementNumber>,
    limit: usize,
) -> Result<Vec<FoundElement>> {
    const DOING: &str = "relationships of changed nodes";
    let text = format!(
        "MATCH (a) WHERE id(a) IN $numbers MATCH (a)-[n]-() WHERE id(n) > $after WITH DISTINCT n ORDER BY id(n) LIMIT $limit \
         RETURN {}",
        relationship_columns(profile)
    );
    let after = after.and_then(|after| i64::try_from(after.0).ok()).unwrap_or(-1);
    let request = Request::new(text).with("numbers", numbers(to)).with("after", after).with("limit", limit);
    let rows = reader.rows(DOING, request).await?;
    rows.into_iter().map(|mut row| relationship(profile, &mut row, DOING)).collect()
}

fn relationship_columns(profile: &Profile) -> String {
    format!("id(n) AS number, type(n) AS type{}", deciding_columns(profile, false))
}

/// The properties that are keys of some kind.
fn key_names(profile: &Profile, of_nodes: bool) -> Vec<String> {
    let kinds = profile.kinds().into_iter().filter(|kind| kind.is_node() == of_nodes);
    let named = kinds.filter(|kind| profile.identity(*kind) == Identity::Property);
    let names: BTreeSet<&str> = named.map(|kind| profile.key(kind).as_str()).collect();
    names.into_iter().map(str::to_owned).collect()
}

/// Returns the columns that decide about an element: whether its group is copied, and each property that can be a key and is a
/// text. The texts are cut just above the length limit of keys.
fn deciding_columns(profile: &Profile, of_nodes: bool) -> String {
    let column = |(place, name): (usize, String)| {
        let key = format!("n.{}", quoted_for_neo4j(&name));
        format!(", CASE WHEN {key} IS :: STRING NOT NULL THEN left({key}, {}) END AS k{place}", MAX_KEY_BYTES + 1)
    };
    let keys: String = key_names(profile, of_nodes).into_iter().enumerate().map(column).collect();
    format!(", {} AS copied{keys}", Scope::of(profile).holds("n"))
}

fn node(profile: &Profile, row: &mut Properties) -> Option<FoundElement> {
    let number = number(row)?;
    let labels = texts(column(row, "labels")?)?;
    Some(found(profile, number, profile.kind_of(&labels).map(ElementKind::Node), row, true))
}

fn relationship(profile: &Profile, row: &mut Properties, doing: &str) -> Result<FoundElement> {
    let number = number(row).ok_or_else(|| lacking(doing))?;
    let rel_type = take_text(row, "type", doing)?;
    let kind = RelationshipType::parse(&rel_type).ok().and_then(|rel_type| profile.relationship_kind(&rel_type));
    Ok(found(profile, number, kind.map(ElementKind::Relationship), row, false))
}

fn number(row: &mut Properties) -> Option<ElementNumber> {
    let Some(Value::Integer(number)) = column(row, "number") else { return None };
    u64::try_from(number).ok().map(ElementNumber)
}

fn found(
    profile: &Profile,
    number: ElementNumber,
    kind: Option<ElementKind>,
    row: &mut Properties,
    of_nodes: bool,
) -> FoundElement {
    let mut texts = BTreeSet::new();
    let mut key = None;
    for (place, name) in key_names(profile, of_nodes).into_iter().enumerate() {
        let Some(Value::String(text)) = column(row, &format!("k{place}")) else { continue };
        if kind.is_some_and(|kind| profile.identity(kind) == Identity::Property && profile.key(kind).as_str() == name) {
            key = Some(text.clone());
        }
        texts.insert(text);
    }
    let kind = kind.filter(|_| matches!(column(row, "copied"), Some(Value::Boolean(true))));
    if kind.is_some_and(|kind| profile.identity(kind) == Identity::ElementNumber) {
        key = number_key(number);
    }
    FoundElement { number, kind, key: key.filter(|key| Key::parse(key).is_ok()), texts }
}
