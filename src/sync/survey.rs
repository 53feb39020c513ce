//! The survey: shows, without writing anything, what a full pass would make of the source. It reads and prepares rows like that
//! pass, and counts them instead of sending them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::bundles::bundled;
use super::mirror::mirrored;
use crate::error::Result;
use crate::model::element::{Properties, property_text};
use crate::model::index::IndexDefinition;
use crate::model::kind::ElementKind;
use crate::model::kind_rows::KindRows;
use crate::model::prepared::{Conversions, PreparedRows};
use crate::model::profile::{Identity, Profile};
use crate::model::projection::Projection;
use crate::model::quarantined::Quarantined;
use crate::model::routes::Routes;
use crate::model::value::Value;
use crate::source::{Page, Source, missing_indexes};
use crate::transform::Encoder;
use crate::transform::values::kept_as;

mod graphs;
mod memory;
mod waiting;

pub(crate) use graphs::GraphSurvey;
use waiting::Refusals;

use graphs::Graphs;
use memory::Estimate;

/// Rows of a page.
const PAGE: usize = 5000;

/// The most rows without a usable key that are read of a kind; a full pass has the same limit.
const UNREACHABLE_LIMIT: usize = 1000;

/// Examples per reason of what would be quarantined.
const EXAMPLES: usize = 3;

/// The result that a full pass would have.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Survey {
    /// The kinds, in the order of a pass.
    pub kinds: Vec<KindSurvey>,
    /// The graphs that the groups would get, by name; empty if everything goes to one graph.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub graphs: BTreeMap<String, GraphSurvey>,
    /// Statements for the indices that the cache would get.
    pub indexes: Vec<String>,
    /// Indices of the source that FalkorDB cannot express, and why.
    pub inexpressible: Vec<String>,
    /// Statements for the indices that the source lacks: without them, pages and searches for changes read whole kinds.
    pub missing_source_indexes: Vec<String>,
    /// Elements and properties that would be quarantined.
    pub quarantined: u64,
    /// The number of property names that the graph would have.
    pub property_names: usize,
    /// About how much memory the graph would take in FalkorDB.
    pub memory_bytes: u64,
    /// Whether every element was looked at.
    pub complete: bool,
}

/// The result that a full pass would have for one kind.
#[derive(Debug, Default, Serialize)]
pub(crate) struct KindSurvey {
    /// The label or type.
    pub kind: String,
    /// Whether it is a kind of nodes.
    pub is_node: bool,
    /// The number of elements that carry the label, or have the type.
    pub count: u64,
    /// The number of elements that were looked at. Elements that also belong to an earlier kind are looked at there.
    pub looked_at: u64,
    /// Whether all of them were looked at.
    pub complete: bool,
    /// The identity of an element: a property, or its number in the source.
    pub identity: String,
    /// Elements without a usable key.
    pub without_key: u64,
    /// Elements that would collapse into another one with the same key.
    pub sharing_key: u64,
    pub properties: BTreeMap<String, PropertySurvey>,
    /// The number of vectors of each dimension, by the vector's property.
    pub vectors: BTreeMap<String, BTreeMap<usize, u64>>,
    /// Values that would be converted, by the rule.
    pub conversions: Conversions,
    /// Elements and properties that would be quarantined, by the reason.
    pub quarantined: BTreeMap<String, RefusedElements>,
    /// About how much memory the kind would take.
    pub memory_bytes: u64,
}

/// The types of a property's values.
#[derive(Debug, Default, Serialize)]
pub(crate) struct PropertySurvey {
    /// The number of values of each type.
    pub(crate) types: BTreeMap<String, u64>,
    /// The types that the cache holds instead of those that it does not have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) becomes: BTreeMap<String, String>,
}

/// Elements and properties that would be quarantined for one reason.
#[derive(Debug, Default, Serialize)]
pub(crate) struct RefusedElements {
    pub number: u64,
    /// The number of refused properties among them.
    pub properties: u64,
    /// Keys or numbers of some elements, with the property if only a property is refused.
    pub examples: Vec<String>,
}

/// Looks at up to `limit` elements of each kind, or at all without a limit. `routes` map each group to its graph, if it has its
/// own. `statement` makes the cache's statement for an index, or none for an index that the cache would not get.
pub(crate) async fn survey(
    source: &dyn Source,
    profile: &Profile,
    encoder: &Encoder,
    routes: Option<&Routes>,
    limit: Option<u64>,
    statement: impl Fn(&IndexDefinition) -> Option<String>,
) -> Result<Survey> {
    let counts = source.counts().await?;
    let (mut graphs, mut refusals) = (Graphs::new(routes), Refusals::default());
    let mut survey = Survey { complete: true, ..Survey::default() };
    let kinds: Vec<(ElementKind, u64)> = profile.kinds().into_iter().zip(counts).collect();
    let mut left = &kinds[..];
    while let Some((kind, count)) = left.first() {
        let number = if profile.has_many_kinds() { bundled(profile, left.iter().copied()) } else { 0 };
        let together: Vec<ElementKind> = left[..number].iter().map(|(kind, _)| *kind).collect();
        let read = if number > 0 { source.bundle(&together, Projection::Whole).await? } else { None };
        let Some(read) = read else {
            survey.add(survey_kind(source, profile, encoder, (*kind, *count), (&mut graphs, &mut refusals), limit).await?);
            left = &left[1..];
            continue;
        };
        let surveyed = |rows: KindRows| (rows.kind(), SurveyedRows::of(encoder, rows));
        let mut rows: BTreeMap<ElementKind, SurveyedRows> = read.into_iter().map(surveyed).collect();
        for (kind, count) in &left[..number] {
            survey.add(survey_rows(
                profile,
                (*kind, *count),
                (&mut graphs, &mut refusals),
                rows.remove(kind).unwrap_or_default(),
            ));
        }
        left = &left[number..];
    }
    survey.graphs = graphs.found;
    let of_source = if profile.mirror_indexes { source.indexes_with_texts().await? } else { source.indexes().await? };
    survey.missing_source_indexes = missing_indexes(profile, &of_source);
    survey.indexes = profile.indexes.iter().filter_map(&statement).collect();
    survey.property_names = encoder.names().len();
    if profile.mirror_indexes {
        let mirrored = mirrored(&of_source, profile);
        survey.indexes.extend(mirrored.wanted.iter().filter_map(&statement));
        survey.indexes.sort();
        survey.indexes.dedup();
        survey.inexpressible = mirrored.inexpressible;
    }
    Ok(survey)
}

impl Survey {
    fn add(&mut self, kind: KindSurvey) {
        self.complete &= kind.complete;
        self.quarantined += kind.quarantined.values().map(|refused| refused.number).sum::<u64>();
        self.memory_bytes += kind.memory_bytes;
        self.kinds.push(kind);
    }
}

/// Surveys a kind that was read whole beside others.
fn survey_rows(
    profile: &Profile,
    (kind, count): (ElementKind, u64),
    (graphs, refusals): (&mut Graphs<'_>, &mut Refusals),
    mut rows: SurveyedRows,
) -> KindSurvey {
    let mut found = KindSurvey::of(profile, kind, count);
    let mut estimate = Estimate::new(profile, kind);
    refusals.note(&mut rows.prepared);
    found.add(profile, kind, &rows, &mut estimate);
    graphs.add(&rows.prepared);
    found.complete = true;
    found.memory_bytes = estimate.bytes();
    found
}

async fn survey_kind(
    source: &dyn Source,
    profile: &Profile,
    encoder: &Encoder,
    (kind, count): (ElementKind, u64),
    (graphs, refusals): (&mut Graphs<'_>, &mut Refusals),
    limit: Option<u64>,
) -> Result<KindSurvey> {
    let mut found = KindSurvey::of(profile, kind, count);
    let mut estimate = Estimate::new(profile, kind);
    let mut after = Some(String::new());
    while let Some(from) = after {
        let Page { rows, next } = source.page(kind, Projection::Whole, &from, PAGE).await?;
        let mut rows = SurveyedRows::of(encoder, rows);
        after = next;
        refusals.note(&mut rows.prepared);
        found.add(profile, kind, &rows, &mut estimate);
        graphs.add(&rows.prepared);
        if limit.is_some_and(|limit| found.looked_at >= limit) {
            break;
        }
        found.complete = after.is_none();
    }
    let unreachable = SurveyedRows::of(encoder, source.without_key(kind, UNREACHABLE_LIMIT).await?);
    found.without_key = unreachable.properties.len() as u64;
    found.add(profile, kind, &unreachable, &mut estimate);
    // Elements that were not looked at take as much on average as those that were.
    let of_each = count.max(found.looked_at).checked_div(found.looked_at);
    found.memory_bytes = match of_each {
        Some(_) if !found.complete => estimate.bytes() / found.looked_at * count.max(found.looked_at),
        _ => estimate.bytes(),
    };
    Ok(found)
}

/// Rows of a kind, as read and as they would be written.
#[derive(Default)]
struct SurveyedRows {
    properties: Vec<Properties>,
    prepared: PreparedRows,
}

impl SurveyedRows {
    fn of(encoder: &Encoder, rows: KindRows) -> Self {
        let properties = rows.elements().map(|(_, properties)| properties.clone()).collect();
        Self { properties, prepared: encoder.encode(rows) }
    }
}

impl KindSurvey {
    fn of(profile: &Profile, kind: ElementKind, count: u64) -> Self {
        let key = profile.key(kind);
        let identity = match profile.identity(kind) {
            Identity::Property => key.to_string(),
            Identity::ElementNumber => format!("its number in the source, as {key}"),
        };
        let name = profile.kind_name(kind).to_owned();
        let is_node = kind.is_node();
        Self { kind: name, is_node, count, identity, ..Self::default() }
    }

    fn add(&mut self, profile: &Profile, kind: ElementKind, rows: &SurveyedRows, estimate: &mut Estimate) {
        let vectors = profile.vectors(kind);
        let is_vector = |name: &str| vectors.iter().any(|vector| vector.as_str() == name);
        self.looked_at += rows.properties.len() as u64;
        for properties in &rows.properties {
            estimate.add(properties, property_text(properties, profile.key(kind).as_str()));
            for (name, value) in properties {
                if is_vector(name) {
                    self.note_vector(name, value);
                } else {
                    self.properties.entry(name.clone()).or_default().note(value);
                }
            }
        }
        self.sharing_key += rows.prepared.collapsed;
        self.conversions.add(rows.prepared.conversions);
        rows.prepared.quarantined.iter().for_each(|refused| self.refuse(refused));
    }

    fn note_vector(&mut self, name: &str, value: &Value) {
        let dimension = match value {
            Value::Floats(floats) => floats.len(),
            Value::List(items) => items.len(),
            _ => 0,
        };
        *self.vectors.entry(name.to_owned()).or_default().entry(dimension).or_default() += 1;
    }

    fn refuse(&mut self, refused: &Quarantined) {
        let place = match &refused.property {
            Some(property) => format!("{}.{property}", refused.key),
            None => refused.key.clone(),
        };
        let entry = self.quarantined.entry(refused.reason.clone()).or_default();
        entry.number += 1;
        entry.properties += u64::from(refused.property.is_some());
        if entry.examples.len() < EXAMPLES {
            entry.examples.push(place);
        }
    }
}

impl PropertySurvey {
    fn note(&mut self, value: &Value) {
        let name = type_name(value);
        if let Some(kept) = kept_as(value) {
            self.becomes.entry(name.clone()).or_insert_with(|| kept.to_owned());
        }
        *self.types.entry(name).or_default() += 1;
    }
}

/// Returns the name of a value's type; for a list, with the type of its items.
fn type_name(value: &Value) -> String {
    match value {
        Value::List(items) => match items.first() {
            Some(first) => format!("list of {}s", first.type_name()),
            None => "empty list".to_owned(),
        },
        other => other.type_name().to_owned(),
    }
}
