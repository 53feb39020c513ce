//! The source's indices, as far as FalkorDB can express them, for a profile that asks for them.

use super::Memory;
use super::reader::PassReader;
use crate::error::Result;
use crate::model::batch::BatchContent;
use crate::model::index::{IndexDefinition, IndexKind, IndexTarget, MirroredIndexes, Similarity, VectorOptions};
use crate::model::name::{Label, PropertyName, RelationshipType};
use crate::model::pass::PassMode;
use crate::model::profile::Profile;
use crate::source::{SourceIndex, SourceIndexKind};

/// Sends the source's indices to the loader: once in a generation, after each full pass, and before each comparison.
pub(super) async fn send(reader: &mut PassReader<'_>, memory: &mut Memory, mode: PassMode) -> Result<()> {
    if !reader.profile.mirror_indexes || !memory.take_mirroring_due(mode) {
        return Ok(());
    }
    let source = reader.source;
    let indexes = source.indexes_with_texts().await?;
    reader.emit.emit(BatchContent::Indexes(mirrored(&indexes, reader.profile)), 0).await
}

/// Languages with stemming that both sides know by the same name.
const LANGUAGES: [&str; 23] = [
    "arabic",
    "armenian",
    "basque",
    "catalan",
    "danish",
    "dutch",
    "english",
    "finnish",
    "french",
    "german",
    "greek",
    "hindi",
    "hungarian",
    "indonesian",
    "irish",
    "italian",
    "norwegian",
    "portuguese",
    "romanian",
    "russian",
    "spanish",
    "swedish",
    "turkish",
];

/// Analyzers that are closest to FalkorDB's default.
const PLAIN_ANALYZERS: [&str; 2] = ["standard-no-stop-words", "standard"];

/// Returns the indices to make for those of the source.
pub(super) fn mirrored(indexes: &[SourceIndex], profile: &Profile) -> MirroredIndexes {
    let mut mirrored = MirroredIndexes::default();
    for index in indexes {
        for (part, name) in parts(index).iter().flat_map(|part| index.on.iter().map(move |name| (part, name))) {
            match definition(part, name, profile) {
                Ok((definition, remark)) => {
                    mirrored.wanted.push(definition);
                    mirrored.inexpressible.extend(remark.map(|remark| format!("{}: {remark}", index.name)));
                }
                Err(reason) => mirrored.inexpressible.push(format!("{}: {reason}", index.name)),
            }
        }
    }
    mirrored
}

/// Splits a range index over texts and other values into two for the cache, which may not have the one over texts.
fn parts(index: &SourceIndex) -> Vec<SourceIndex> {
    let is_text = |property: &String| index.texts.contains(property);
    let (texts, others): (Vec<String>, Vec<String>) = index.properties.iter().cloned().partition(is_text);
    if index.kind != SourceIndexKind::Range || texts.is_empty() || others.is_empty() {
        return vec![index.clone()];
    }
    let part = |properties: Vec<String>| SourceIndex { texts: texts.clone(), properties, ..index.clone() };
    vec![part(texts.clone()), part(others)]
}

/// Defines an index on one label or type, and returns what of it is lost.
fn definition(index: &SourceIndex, name: &str, profile: &Profile) -> Result<(IndexDefinition, Option<String>), String> {
    let unusable = |error| format!("{name} is not a valid name in FalkorDB: {error}");
    let on = if index.of_nodes {
        IndexTarget::Label(Label::parse(name).map_err(unusable)?)
    } else {
        let rel_type = RelationshipType::parse(name).map_err(unusable)?;
        profile.relationship_kind(&rel_type).ok_or_else(|| format!("{name} is outside the profile"))?;
        IndexTarget::Type(rel_type)
    };
    let names = index.properties.iter().map(|name| PropertyName::parse(name).map_err(unusable));
    let properties = names.collect::<Result<Vec<_>, _>>()?;
    let plain = |kind| IndexDefinition::plain(kind, on.clone(), properties.clone());
    match &index.kind {
        SourceIndexKind::Range => Ok((
            IndexDefinition { text: index.properties.iter().any(|name| index.texts.contains(name)), ..plain(IndexKind::Range) },
            None,
        )),
        SourceIndexKind::Fulltext { analyzer } => {
            let own = profile.indexes.iter().any(|index| index.kind == IndexKind::Fulltext && index.on == on);
            let (language, remark) = language(analyzer, own);
            Ok((IndexDefinition { language, ..plain(IndexKind::Fulltext) }, remark))
        }
        SourceIndexKind::Vector { dimension, similarity, m, ef_construction } => {
            let held_as_vector = |property: &PropertyName| is_vector(profile, &on, property);
            if !properties.iter().all(held_as_vector) {
                return Err(format!("{name} has a property that the profile does not copy as a vector"));
            }
            let dimension = dimension.ok_or("it has no dimension, which FalkorDB requires")?;
            let similarity =
                Similarity::parse(similarity).ok_or_else(|| format!("similarity {similarity} does not exist in FalkorDB"))?;
            let vector = VectorOptions { dimension, similarity, m: *m, ef_construction: *ef_construction };
            Ok((IndexDefinition { vector: Some(vector), ..plain(IndexKind::Vector) }, None))
        }
        SourceIndexKind::Other(kind) => Err(format!("FalkorDB has no index of the kind {kind}")),
    }
}

/// Chooses the language of an index. A label has one for all its full-text indices; an index of the profile itself decides it.
fn language(analyzer: &str, decided: bool) -> (Option<String>, Option<String>) {
    let known = LANGUAGES.contains(&analyzer);
    match (known, decided) {
        _ if PLAIN_ANALYZERS.contains(&analyzer) => (None, None),
        (true, false) => (Some(analyzer.to_owned()), None),
        (true, true) => (None, Some(format!("the profile's own index sets the language, analyzer {analyzer} is ignored"))),
        (false, _) => (None, Some(format!("analyzer {analyzer} does not exist in FalkorDB, which uses its default one"))),
    }
}

fn is_vector(profile: &Profile, on: &IndexTarget, property: &PropertyName) -> bool {
    match on {
        IndexTarget::Label(label) => profile.node_kind(label).is_some_and(|id| profile.node(id).vectors.contains(property)),
        IndexTarget::Type(name) => {
            profile.relationship_kind(name).is_some_and(|id| profile.relationship(id).vectors.contains(property))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn index(kind: SourceIndexKind, of_nodes: bool, on: &str, property: &str) -> SourceIndex {
        SourceIndex {
            name: "i".to_owned(),
            kind,
            of_nodes,
            on: vec![on.to_owned()],
            properties: vec![property.to_owned()],
            texts: vec![property.to_owned()],
        }
    }

    fn vector(dimension: Option<u64>, similarity: &str) -> SourceIndexKind {
        SourceIndexKind::Vector { dimension, similarity: similarity.to_owned(), m: Some(16), ef_construction: None }
    }

    #[test]
    fn what_falkordb_can_express_is_wanted_and_the_rest_is_named() {
        let profile = Profile::graphiti().unwrap();
        let fulltext = |analyzer: &str| SourceIndexKind::Fulltext { analyzer: analyzer.to_owned() };
        let expressible = [
            index(SourceIndexKind::Range, true, "Person", "age"),
            index(fulltext("german"), true, "Person", "note"),
            index(vector(Some(256), "COSINE"), true, "Entity", "name_embedding"),
            index(vector(Some(256), "EUCLIDEAN"), false, "RELATES_TO", "fact_embedding"),
        ];
        let mirrored_ones = mirrored(&expressible, &profile);
        assert_eq!(mirrored_ones.inexpressible, Vec::<String>::new());
        assert_eq!(mirrored_ones.wanted[1].language.as_deref(), Some("german"));
        assert_eq!(mirrored_ones.wanted[2].vector.unwrap().dimension, 256);

        let both = SourceIndex {
            properties: vec!["age".to_owned(), "email".to_owned()],
            texts: vec!["email".to_owned()],
            ..index(SourceIndexKind::Range, true, "Person", "age")
        };
        let of_both = mirrored(&[both], &profile).wanted;
        let shown = |index: &IndexDefinition| (index.properties[0].to_string(), index.properties.len(), index.text);
        assert_eq!(of_both.iter().map(shown).collect::<Vec<_>>(), [("email".to_owned(), 1, true), ("age".to_owned(), 1, false)]);

        let others = [
            index(SourceIndexKind::Other("POINT".to_owned()), true, "Person", "place"),
            index(SourceIndexKind::Range, false, "OTHER", "x"),
            index(SourceIndexKind::Range, true, "a`b", "x"),
            index(vector(None, "COSINE"), true, "Entity", "name_embedding"),
            index(vector(Some(3), "COSINE"), true, "Entity", "age"),
        ];
        let none = mirrored(&others, &profile);
        assert_eq!((none.wanted.len(), none.inexpressible.len()), (0, others.len()), "{none:?}");

        let partly = [index(fulltext("german"), true, "Entity", "name"), index(fulltext("whitespace"), true, "Person", "note")];
        let partly = mirrored(&partly, &profile);
        assert_eq!((partly.wanted.len(), partly.inexpressible.len()), (2, 2), "{partly:?}");
        assert!(partly.wanted.iter().all(|definition| definition.language.is_none()));
    }
}
