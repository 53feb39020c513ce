//! What a source is made of: its labels, types and property names, for a profile that does not name them.

use std::collections::BTreeSet;

use super::census::{self, counted};
use super::graph_source::take_text;
use super::queries;
use super::reader::Reader;
use super::request::Request;
use super::{SourceIndex, SourceIndexKind};
use crate::error::{Error, ErrorKind, Result};
use crate::model::discovery::Found;
use crate::model::index::{IndexTarget, Similarity, VectorOptions};
use crate::model::kind::Step;
use crate::model::name::{Label, PropertyName, RelationshipType};
use crate::model::profile::Profile;

/// The profile with the kinds that the source has now, and with those that were found before.
pub(super) async fn discovered(reader: &impl Reader, profile: &Profile, before: &[Step]) -> Result<Profile> {
    if profile.discover.is_none() {
        return Ok(profile.clone());
    }
    let mut found = kinds(reader).await?.and(before);
    forget_unused_label(reader, profile, &mut found).await?;
    note_identity(reader, profile, &mut found).await?;
    for index in census::indexes(reader).await? {
        note_index(&mut found, &index);
        note_vector(&mut found, &index);
    }
    note_numbers(reader, profile, &mut found).await?;
    profile.discovered(&found).map_err(|error| {
        Error::caused(ErrorKind::Configuration, format!("profile {} does not fit the source", profile.name), error)
    })
}

/// What the source has by now that the profile does not.
pub(super) async fn outgrown(reader: &impl Reader, profile: &Profile) -> Result<Option<String>> {
    match profile.discover {
        Some(_) => {
            let mut found = kinds(reader).await?;
            census::indexes(reader).await?.iter().for_each(|index| note_vector(&mut found, index));
            Ok(profile.outgrown_by(&found))
        }
        None => Ok(None),
    }
}

async fn kinds(reader: &impl Reader) -> Result<Found> {
    let labels = names(reader, "labels", queries::LABELS).await?;
    let types = names(reader, "relationship types", queries::RELATIONSHIP_TYPES).await?;
    Ok(Found { labels, types, ..Found::default() })
}

async fn names(reader: &impl Reader, doing: &str, text: &str) -> Result<BTreeSet<String>> {
    let rows = reader.rows(doing, Request::new(text)).await?;
    rows.into_iter().map(|mut row| take_text(&mut row, "name", doing)).collect()
}

/// The label that is to mark nodes without one. Neo4j lists a label that no node carries while there is an index or a constraint
/// on it.
async fn forget_unused_label(reader: &impl Reader, profile: &Profile, found: &mut Found) -> Result<()> {
    let label = profile.discover.as_ref().and_then(|discovery| discovery.unlabelled.as_ref());
    let Some(label) = label.filter(|label| found.labels.contains(label.as_str())) else { return Ok(()) };
    if counted(reader, "nodes with a label", Request::new(queries::label_count(label))).await? == 0 {
        found.labels.remove(label.as_str());
    }
    Ok(())
}

/// The property that is to hold the elements' numbers, if an element has it.
async fn note_identity(reader: &impl Reader, profile: &Profile, found: &mut Found) -> Result<()> {
    let identity = profile.discover.as_ref().and_then(|discovery| discovery.identity.as_ref());
    let Some(identity) = identity else { return Ok(()) };
    if !names(reader, "property names", queries::PROPERTY_KEYS).await?.contains(identity.as_str()) {
        return Ok(());
    }
    for text in queries::has_property(identity) {
        if counted(reader, "elements with a property", Request::new(text)).await? > 0 {
            found.properties.insert(identity.to_string());
        }
    }
    Ok(())
}

/// Of an index on several properties, Neo4j uses nothing for a condition on one of them.
fn note_index(found: &mut Found, index: &SourceIndex) {
    let (SourceIndexKind::Range, [property]) = (&index.kind, &index.properties[..]) else { return };
    found.indexed.extend(index.on.iter().map(|name| (name.clone(), property.clone())));
}

/// The properties of a vector index. FalkorDB's needs a dimension, and knows fewer similarities.
fn note_vector(found: &mut Found, index: &SourceIndex) {
    let SourceIndexKind::Vector { dimension, similarity, m, ef_construction } = &index.kind else { return };
    let Some(property) = index.properties.first().and_then(|name| PropertyName::parse(name).ok()) else { return };
    let options = dimension.zip(Similarity::parse(similarity)).map(|(dimension, similarity)| VectorOptions {
        dimension,
        similarity,
        m: *m,
        ef_construction: *ef_construction,
    });
    for name in &index.on {
        let on = if index.of_nodes {
            Label::parse(name).ok().map(IndexTarget::Label)
        } else {
            RelationshipType::parse(name).ok().map(IndexTarget::Type)
        };
        found.vectors.extend(on.map(|on| ((on, property.clone()), options)));
    }
}

/// Keys that a rule names and that hold numbers. Only where there is an index on the key: without one the question is a scan.
async fn note_numbers(reader: &impl Reader, profile: &Profile, found: &mut Found) -> Result<()> {
    let Some(discovery) = &profile.discover else { return Ok(()) };
    for name in found.labels.clone() {
        let rule = discovery.nodes.iter().find(|rule| rule.label.matches(&name));
        let (Some(key), Ok(label)) = (rule.and_then(|rule| rule.rule.key.as_ref()), Label::parse(&name)) else { continue };
        note_number(reader, found, &name, &format!("(n:{})", label.quoted_for_neo4j()), key).await?;
    }
    for name in found.types.clone() {
        let rule = discovery.relationships.iter().find(|rule| rule.rel_type.matches(&name));
        let (Some(key), Ok(rel_type)) = (rule.and_then(|rule| rule.rule.key.as_ref()), RelationshipType::parse(&name)) else {
            continue;
        };
        note_number(reader, found, &name, &format!("()-[n:{}]->()", rel_type.quoted_for_neo4j()), key).await?;
    }
    Ok(())
}

async fn note_number(reader: &impl Reader, found: &mut Found, name: &str, pattern: &str, key: &PropertyName) -> Result<()> {
    let place = (name.to_owned(), key.to_string());
    let request = Request::new(queries::has_number(pattern, "n", key));
    if found.indexed.contains(&place) && counted(reader, "keys that are numbers", request).await? > 0 {
        tracing::warn!(kind = name, key = key.as_str(), "the key holds numbers: elements are identified by their own numbers");
        found.numbers.insert(place);
    }
    Ok(())
}
