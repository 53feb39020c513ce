//! Finds what the source has and its discovered profile lacks. Every pass asks for it on the way from a commit to the cache, so
//! the three questions are sent together.

use std::collections::BTreeSet;

use super::census::texts;
use super::columns::{column, lacking, take_text};
use super::queries;
use super::reader::Reader;
use super::request::Request;
use crate::error::Result;
use crate::model::discovery::DiscoveredSchema;
use crate::model::element::Properties;
use crate::model::index::IndexTarget;
use crate::model::name::{Label, PropertyName, RelationshipType};
use crate::model::profile::Profile;

/// Describes what the source has by now and the profile lacks.
pub(super) async fn outgrown(reader: &impl Reader, profile: &Profile) -> Result<Option<String>> {
    const DOING: &str = "labels, relationship types and vector indices";
    if profile.discover.is_none() {
        return Ok(None);
    }
    let questions =
        [queries::server::LABELS, queries::server::RELATIONSHIP_TYPES, queries::server::VECTOR_INDEXES].map(Request::new);
    let answers: Result<[Vec<Properties>; 3], _> = reader.each(DOING, questions.to_vec()).await?.try_into();
    let [labels, types, indexes] = answers.map_err(|_| lacking(DOING))?;
    let names = |rows: Vec<Properties>| {
        rows.into_iter().map(|mut row| take_text(&mut row, "name", DOING)).collect::<Result<BTreeSet<_>>>()
    };
    let mut found = DiscoveredSchema { labels: names(labels)?, types: names(types)?, ..DiscoveredSchema::default() };
    for mut row in indexes {
        let of_nodes = take_text(&mut row, "entity", DOING)? == "NODE";
        let mut list = |name| column(&mut row, name).and_then(texts).ok_or_else(|| lacking(DOING));
        let (on, properties) = (list("names")?, list("properties")?);
        let Some(property) = properties.first().and_then(|name| PropertyName::parse(name).ok()) else { continue };
        let targets = on.iter().filter_map(|name| target(of_nodes, name));
        found.vectors.extend(targets.map(|on| ((on, property.clone()), None)));
    }
    Ok(profile.outgrown_by(&found))
}

/// Returns the target of an index; `None` for a name that the cache cannot express.
pub(super) fn target(of_nodes: bool, name: &str) -> Option<IndexTarget> {
    if of_nodes {
        Label::parse(name).ok().map(IndexTarget::Label)
    } else {
        RelationshipType::parse(name).ok().map(IndexTarget::Type)
    }
}
