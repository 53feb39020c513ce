//! Discovers the labels, types and property names of a source, for a profile that does not name them.

use std::collections::BTreeSet;

use super::Questions;
use crate::error::{Error, ErrorKind, Result};
use crate::model::discovery::DiscoveredSchema;
use crate::model::index::{Similarity, VectorOptions};
use crate::model::kind::Step;
use crate::model::name::PropertyName;
use crate::model::profile::Profile;
use crate::source::new_kinds::target;
use crate::source::queries::SeekTarget;
use crate::source::{SourceIndex, SourceIndexKind, queries};

/// Returns the profile with the kinds that the source has now, and with those that were found before.
pub(super) async fn discovered(questions: &Questions<'_>, profile: &Profile, before: &[Step]) -> Result<Profile> {
    if profile.discover.is_none() {
        return Ok(profile.clone());
    }
    let mut found = kinds(questions).await?.and(before);
    forget_unused_label(questions, profile, &mut found).await?;
    note_identity(questions, profile, &mut found).await?;
    for index in questions.indexes().await? {
        note_index(&mut found, &index);
        note_vector(&mut found, &index);
    }
    note_numbers(questions, profile, &mut found).await?;
    profile.discovered(&found).map_err(|error| {
        Error::caused(ErrorKind::Configuration, format!("profile {} does not fit the source", profile.name), error)
    })
}

async fn kinds(questions: &Questions<'_>) -> Result<DiscoveredSchema> {
    let labels = questions.names("labels", queries::server::LABELS).await?;
    let types = questions.names("relationship types", queries::server::RELATIONSHIP_TYPES).await?;
    Ok(DiscoveredSchema { labels, types, ..DiscoveredSchema::default() })
}

/// Forgets the label that is to mark nodes without one, if no node carries it. Neo4j lists an unused label while an index or a
/// constraint is on it.
async fn forget_unused_label(questions: &Questions<'_>, profile: &Profile, found: &mut DiscoveredSchema) -> Result<()> {
    let label = profile.discover.as_ref().and_then(|discovery| discovery.unlabelled.as_ref());
    let Some(label) = label.filter(|label| found.labels.contains(label.as_str())) else { return Ok(()) };
    if !questions.exists("nodes with a label", &queries::server::label_count(label)).await? {
        found.labels.remove(label.as_str());
    }
    Ok(())
}

/// Notes the property that is to hold the elements' numbers, if an element has it.
async fn note_identity(questions: &Questions<'_>, profile: &Profile, found: &mut DiscoveredSchema) -> Result<()> {
    let identity = profile.discover.as_ref().and_then(|discovery| discovery.identity.as_ref());
    let Some(identity) = identity else { return Ok(()) };
    let known: BTreeSet<String> = questions.names("property names", queries::server::PROPERTY_KEYS).await?;
    if !known.contains(identity.as_str()) {
        return Ok(());
    }
    for text in queries::server::has_property(identity) {
        if questions.exists("elements with a property", &text).await? {
            found.properties.insert(identity.to_string());
        }
    }
    Ok(())
}

/// Notes a range index on one property. Neo4j does not use an index on several properties for a condition on one of them.
fn note_index(found: &mut DiscoveredSchema, index: &SourceIndex) {
    let (SourceIndexKind::Range, [property]) = (&index.kind, &index.properties[..]) else { return };
    found.indexed.extend(index.on.iter().map(|name| (name.clone(), property.clone())));
}

/// Notes the property of a vector index. FalkorDB's vector index needs a dimension and knows fewer similarities.
fn note_vector(found: &mut DiscoveredSchema, index: &SourceIndex) {
    let SourceIndexKind::Vector { dimension, similarity, m, ef_construction } = &index.kind else { return };
    let Some(property) = index.properties.first().and_then(|name| PropertyName::parse(name).ok()) else { return };
    let options = dimension.zip(Similarity::parse(similarity)).map(|(dimension, similarity)| VectorOptions {
        dimension,
        similarity,
        m: *m,
        ef_construction: *ef_construction,
    });
    for name in &index.on {
        let on = target(index.of_nodes, name);
        found.vectors.extend(on.map(|on| ((on, property.clone()), options)));
    }
}

/// Notes keys that a rule names and that hold numbers. Asks only if the key has an index: without one, the question is a scan.
async fn note_numbers(questions: &Questions<'_>, profile: &Profile, found: &mut DiscoveredSchema) -> Result<()> {
    let Some(discovery) = &profile.discover else { return Ok(()) };
    let keyed_labels = found.labels.iter().filter_map(|name| {
        let rule = discovery.nodes.iter().find(|rule| rule.label.matches(name))?;
        Some((true, name, rule.rule.key.as_ref()?))
    });
    let keyed_types = found.types.iter().filter_map(|name| {
        let rule = discovery.relationships.iter().find(|rule| rule.rel_type.matches(name))?;
        Some((false, name, rule.rule.key.as_ref()?))
    });
    let keyed = keyed_labels.chain(keyed_types).filter_map(|(of_nodes, name, key)| {
        let place = (name.clone(), key.to_string());
        found.indexed.contains(&place).then_some((SeekTarget::new(&target(of_nodes, name)?, key), place))
    });
    let (indexed, of): (Vec<_>, Vec<_>) = keyed.unzip();
    for place in questions.having("keys that are numbers", &indexed, queries::with_numbers).await? {
        let Some((kind, key)) = of.get(place) else { continue };
        tracing::warn!(kind, key, "key property holds numbers: elements are identified by their ids in Neo4j");
        found.numbers.insert((kind.clone(), key.clone()));
    }
    Ok(())
}
