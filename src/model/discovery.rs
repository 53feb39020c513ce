//! Kinds that are found in the source instead of named in the profile.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::index::{IndexDefinition, IndexKind, IndexTarget, VectorOptions};
use super::kind::{ElementKind, Step};
use super::kind_rules::Discovery;
use super::kind_rules::{KindRule, NameFilter, PropertyRules};
use super::name::{Label, PropertyName, RelationshipType};
use super::profile::{Identity, NodeKind, Profile, RelationshipKind};
use super::profile_error::ProfileError;

/// The findings of a discovery in the source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiscoveredSchema {
    /// Labels that nodes carry.
    pub labels: BTreeSet<String>,
    /// Types that relationships have.
    pub types: BTreeSet<String>,
    /// Property names in use in the source, of those that the cache should have for itself.
    pub properties: BTreeSet<String>,
    /// The label or type, and the property, of each range index of the source on a single property.
    pub indexed: BTreeSet<(String, String)>,
    /// Key properties that hold numbers: the keys of these labels and types are not texts.
    pub numbers: BTreeSet<(String, String)>,
    /// Properties with a vector index in the source, with the options of the cache's index if the cache can have one.
    pub(crate) vectors: BTreeMap<(IndexTarget, PropertyName), Option<VectorOptions>>,
}

impl DiscoveredSchema {
    /// These findings together with the earlier ones.
    #[must_use]
    pub(crate) fn and(mut self, before: &[Step]) -> Self {
        for step in before {
            match step {
                Step::Nodes(label) => self.labels.insert(label.to_string()),
                Step::Relationships(rel_type) => self.types.insert(rel_type.to_string()),
            };
        }
        self
    }
}

impl Discovery {
    /// Labels that make kinds, in identity order: by the rules' order, then by name. A label that the cache cannot name makes
    /// none.
    fn kinds_of<N: Ord>(
        names: &BTreeSet<String>,
        selection: &NameFilter,
        place: impl Fn(&str) -> usize,
        parse: impl Fn(&str) -> Option<N>,
    ) -> Vec<N> {
        let taken = names.iter().filter(|name| selection.takes(name));
        let mut kinds: Vec<(usize, N)> = taken.filter_map(|name| Some((place(name), parse(name)?))).collect();
        kinds.sort_unstable();
        kinds.into_iter().map(|(_, name)| name).collect()
    }

    fn place_of_label(&self, name: &str) -> usize {
        self.nodes.iter().position(|rule| rule.label.matches(name)).unwrap_or(self.nodes.len())
    }

    fn place_of_type(&self, name: &str) -> usize {
        self.relationships.iter().position(|rule| rule.rel_type.matches(name)).unwrap_or(self.relationships.len())
    }

    /// The key of a kind, and what the key holds.
    fn key(
        &self,
        name: &str,
        rule: Option<&KindRule>,
        found: &DiscoveredSchema,
    ) -> Result<(PropertyName, Identity), ProfileError> {
        let of_its_own = rule.and_then(|rule| rule.key.as_ref());
        let is_text = |key: &&PropertyName| !found.numbers.contains(&(name.to_owned(), key.to_string()));
        if let Some(key) = of_its_own.filter(is_text) {
            return Ok((key.clone(), Identity::Property));
        }
        let identity = self.identity.clone().ok_or_else(|| ProfileError::NoIdentity(name.to_owned()))?;
        Ok((identity, Identity::ElementNumber))
    }

    fn timestamps(&self, name: &str, rule: Option<&KindRule>, found: &DiscoveredSchema) -> Vec<PropertyName> {
        let indexed = |property: &&PropertyName| found.indexed.contains(&(name.to_owned(), property.to_string()));
        let of_all = self.timestamps.iter().filter(indexed);
        union(rule.map(|rule| rule.timestamps.as_slice()).unwrap_or_default(), of_all)
    }

    fn vectors(&self, rule: Option<&KindRule>) -> Vec<PropertyName> {
        union(rule.map(|rule| rule.vectors.as_slice()).unwrap_or_default(), self.vectors.iter())
    }

    /// The vectors that a profile names, and those on which the source has an index. Properties that are left out or renamed in
    /// the cache stay as they are, and so do those that identify an element.
    fn with_found(
        &self,
        said: Vec<PropertyName>,
        on: &IndexTarget,
        rule: Option<&KindRule>,
        found: &DiscoveredSchema,
    ) -> Vec<PropertyName> {
        let properties = self.properties(rule);
        let key = rule.and_then(|rule| rule.key.as_ref());
        let is_free =
            |name: &PropertyName| !properties.disturbs(name) && Some(name) != key && Some(name) != self.identity.as_ref();
        let indexed = found.vectors.keys().filter(|(place, name)| place == on && is_free(name)).map(|(_, name)| name);
        union(&said, indexed)
    }

    fn rule_of(&self, on: &IndexTarget) -> Option<&KindRule> {
        match on {
            IndexTarget::Label(label) => self.nodes.get(self.place_of_label(label.as_str())).map(|rule| &rule.rule),
            IndexTarget::Type(name) => self.relationships.get(self.place_of_type(name.as_str())).map(|rule| &rule.rule),
        }
    }

    fn properties(&self, rule: Option<&KindRule>) -> PropertyRules {
        rule.map_or_else(|| self.properties.clone(), |rule| self.properties.with(rule))
    }

    fn node_kind(&self, label: Label, found: &DiscoveredSchema) -> Result<NodeKind, ProfileError> {
        let rule = self.nodes.get(self.place_of_label(label.as_str())).map(|rule| &rule.rule);
        let (key, identity) = self.key(label.as_str(), rule, found)?;
        let timestamps = self.timestamps(label.as_str(), rule, found);
        let vectors = self.with_found(self.vectors(rule), &IndexTarget::Label(label.clone()), rule, found);
        Ok(NodeKind { label, key, identity, unlabelled: false, properties: self.properties(rule), timestamps, vectors })
    }

    /// Nodes without a label have neither a key nor an index.
    fn unlabelled_kind(&self, label: Label) -> Result<NodeKind, ProfileError> {
        let key = self.identity.clone().ok_or_else(|| ProfileError::NoIdentity(label.to_string()))?;
        Ok(NodeKind {
            label,
            key,
            identity: Identity::ElementNumber,
            unlabelled: true,
            properties: self.properties.clone(),
            timestamps: Vec::new(),
            vectors: self.vectors.clone(),
        })
    }

    fn relationship_kind(&self, rel_type: RelationshipType, found: &DiscoveredSchema) -> Result<RelationshipKind, ProfileError> {
        let rule = self.relationships.get(self.place_of_type(rel_type.as_str())).map(|rule| &rule.rule);
        let (key, identity) = self.key(rel_type.as_str(), rule, found)?;
        let timestamps = self.timestamps(rel_type.as_str(), rule, found);
        let vectors = self.with_found(self.vectors(rule), &IndexTarget::Type(rel_type.clone()), rule, found);
        Ok(RelationshipKind { rel_type, key, identity, properties: self.properties(rule), timestamps, vectors })
    }
}

fn union<'a>(own: &[PropertyName], others: impl Iterator<Item = &'a PropertyName>) -> Vec<PropertyName> {
    let mut all = own.to_vec();
    for other in others {
        if !all.contains(other) {
            all.push(other.clone());
        }
    }
    all
}

impl Profile {
    /// This profile with the kinds that were found, each with an index on its key. A profile that names its kinds stays as it is.
    pub fn discovered(&self, found: &DiscoveredSchema) -> Result<Profile, ProfileError> {
        let Some(discovery) = &self.discover else { return Ok(self.clone()) };
        let taken = |name: &str, names: &BTreeSet<String>| names.contains(name);
        if let Some(identity) = discovery.identity.as_ref().filter(|name| taken(name.as_str(), &found.properties)) {
            return Err(ProfileError::Taken(format!("a property {identity}"), "discover.identity"));
        }
        if let Some(label) = discovery.unlabelled.as_ref().filter(|name| taken(name.as_str(), &found.labels)) {
            return Err(ProfileError::Taken(format!("a label {label}"), "discover.unlabelled"));
        }
        let place = |name: &str| discovery.place_of_label(name);
        let labels = Discovery::kinds_of(&found.labels, &discovery.labels, place, |name| Label::parse(name).ok());
        let place = |name: &str| discovery.place_of_type(name);
        let types = Discovery::kinds_of(&found.types, &discovery.types, place, |name| RelationshipType::parse(name).ok());
        let mut profile = self.clone();
        profile.nodes = labels.into_iter().map(|label| discovery.node_kind(label, found)).collect::<Result<_, _>>()?;
        if let Some(label) = &discovery.unlabelled {
            profile.nodes.push(discovery.unlabelled_kind(label.clone())?);
        }
        let kinds = types.into_iter().map(|rel_type| discovery.relationship_kind(rel_type, found));
        profile.relationships = kinds.collect::<Result<_, _>>()?;
        profile.index_keys();
        profile.index_vectors(found);
        // A rule about a kind that the graph does not have yet leads nowhere.
        let known = profile.clone();
        profile.follow.retain(|rule| !matches!(known.check_follow(rule), Err(ProfileError::FollowsUnknown(_))));
        profile.check_kinds()?;
        Ok(profile)
    }

    /// A label or type that was found and makes a kind that the profile does not have.
    pub(crate) fn outgrown_by(&self, found: &DiscoveredSchema) -> Option<String> {
        let discovery = self.discover.as_ref()?;
        let labels: HashSet<&str> = self.nodes.iter().map(|kind| kind.label.as_str()).collect();
        let types: HashSet<&str> = self.relationships.iter().map(|kind| kind.rel_type.as_str()).collect();
        let new_label =
            |name: &&String| !labels.contains(name.as_str()) && discovery.labels.takes(name) && Label::parse(name).is_ok();
        let new_type = |name: &&String| {
            !types.contains(name.as_str()) && discovery.types.takes(name) && RelationshipType::parse(name).is_ok()
        };
        let label = found.labels.iter().find(new_label).map(|name| format!("the label {name}"));
        let rel_type = || found.types.iter().find(new_type).map(|name| format!("the relationship type {name}"));
        label.or_else(rel_type).or_else(|| self.new_vector(discovery, found))
    }

    /// A vector index of the source on a property that this profile holds as a list.
    fn new_vector(&self, discovery: &Discovery, found: &DiscoveredSchema) -> Option<String> {
        let is_new = |(on, name): &&(IndexTarget, PropertyName)| {
            let Some(kind) = self.kind_on(on) else { return false };
            let wanted = discovery.with_found(Vec::new(), on, discovery.rule_of(on), found);
            wanted.contains(name) && !self.vectors(kind).contains(name)
        };
        found.vectors.keys().find(is_new).map(|(on, name)| format!("a vector index on {on}.{name}"))
    }

    fn kind_on(&self, on: &IndexTarget) -> Option<ElementKind> {
        match on {
            IndexTarget::Label(label) => self.node_kind(label).map(ElementKind::Node),
            IndexTarget::Type(name) => self.relationship_kind(name).map(ElementKind::Relationship),
        }
    }

    /// The kinds that were found in the source.
    pub(crate) fn found_kinds(&self) -> Vec<Step> {
        let found = self.discover.is_some();
        let is_found = |kind: &ElementKind| !matches!(kind, ElementKind::Node(id) if self.node(*id).unlabelled);
        self.kinds().into_iter().filter(|kind| found && is_found(kind)).map(|kind| self.step(kind)).collect()
    }

    /// Adds the source's vector indices. Their dimension is also the dimension of the property in the cache.
    fn index_vectors(&mut self, found: &DiscoveredSchema) {
        if !self.mirror_indexes {
            return;
        }
        for ((on, name), options) in &found.vectors {
            let held = self.kind_on(on).is_some_and(|kind| self.vectors(kind).contains(name));
            let is_there =
                |index: &IndexDefinition| index.kind == IndexKind::Vector && index.on == *on && index.properties.contains(name);
            if let Some(vector) = options.filter(|_| held && !self.indexes.iter().any(is_there)) {
                let plain = IndexDefinition::plain(IndexKind::Vector, on.clone(), vec![name.clone()]);
                self.indexes.push(IndexDefinition { vector: Some(vector), ..plain });
            }
        }
    }

    fn index_keys(&mut self) {
        let labels = self.nodes.iter().map(|kind| (IndexTarget::Label(kind.label.clone()), kind.key.clone()));
        let types = self.relationships.iter().map(|kind| (IndexTarget::Type(kind.rel_type.clone()), kind.key.clone()));
        let missing: Vec<_> = labels.chain(types).filter(|(on, key)| !self.has_range_index(on, key)).collect();
        let range = |(on, key)| IndexDefinition::plain(IndexKind::Range, on, vec![key]);
        // Before full-text indices: FalkorDB looked up ranges wrongly if a full-text index covered the property first.
        let declared = std::mem::take(&mut self.indexes);
        self.indexes = missing.into_iter().map(range).chain(declared).collect();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::index::Similarity;
    use crate::model::kind::{NodeKindId, RelationshipKindId};

    fn found(labels: &[&str], types: &[&str]) -> DiscoveredSchema {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        DiscoveredSchema { labels: names(labels), types: names(types), ..DiscoveredSchema::default() }
    }

    fn labels(profile: &Profile) -> Vec<&str> {
        profile.nodes.iter().map(|kind| kind.label.as_str()).collect()
    }

    #[test]
    fn the_generic_profile_takes_whatever_there_is() {
        let profile = Profile::generic().unwrap();
        let profile = profile.discovered(&found(&["Person", "два слова", "a`b"], &["KNOWS"])).unwrap();
        assert_eq!(labels(&profile), ["Person", "два слова", "_Unlabelled"]);
        assert!(profile.nodes[2].unlabelled && profile.nodes.iter().all(|kind| kind.key.as_str() == "_neo4j_id"));
        assert_eq!(profile.identity(ElementKind::Relationship(RelationshipKindId(0))), Identity::ElementNumber);
        assert_eq!(profile.indexes.len(), 4, "one on each key");
        assert_eq!(profile.kind_of(&["_Unlabelled".to_owned()]), Some(NodeKindId(2)));
    }

    #[test]
    fn rules_decide_on_order_keys_and_the_rest() {
        let text = "name: x\ndiscover:\n  identity: _id\n  labels: { include: [P*, Order], exclude: [Private] }\n  timestamps: [at]\n  \
                    vectors: [v]\n  properties: { omit: ['secret*'] }\n  nodes:\n    - { label: Product, key: sku, timestamps: [made], \
                    rename: { old: new } }\n    - { label: 'Pe*', key: id }\n";
        let mut found = found(&["Order", "Person", "Private", "Product", "Other"], &[]);
        found.indexed.insert(("Order".to_owned(), "at".to_owned()));
        found.numbers.insert(("Person".to_owned(), "id".to_owned()));
        let profile = Profile::parse(text).unwrap().discovered(&found).unwrap();
        assert_eq!(labels(&profile), ["Product", "Person", "Order"]);
        let [product, person, order] = &profile.nodes[..] else { panic!("three kinds") };
        assert_eq!((product.key.as_str(), product.identity), ("sku", Identity::Property));
        assert_eq!((person.key.as_str(), person.identity), ("_id", Identity::ElementNumber), "its key holds numbers");
        let names = |of: &[PropertyName]| of.iter().map(PropertyName::to_string).collect::<Vec<_>>();
        assert_eq!((names(&product.timestamps), names(&order.timestamps)), (vec!["made".to_owned()], vec!["at".to_owned()]));
        assert_eq!(names(&order.vectors), ["v"]);
        assert!(product.properties.omits("secret_one") && !product.properties.omits("old"));
        assert_eq!(product.properties.new_name("old").map(PropertyName::as_str), Some("new"));
        assert!(order.properties.rename.is_empty());
    }

    #[test]
    fn what_would_be_lost_or_clash_is_refused() {
        let parse = |discover: &str| Profile::parse(&format!("name: x\ndiscover: {{ {discover} }}"));
        assert!(matches!(parse("nodes: [{ label: A }]"), Err(ProfileError::NoIdentity(_))));
        assert!(matches!(parse("identity: i, nodes: [{ label: A, key: k, omit: [k] }]"), Err(ProfileError::Disturbed(_))));
        assert!(matches!(parse("identity: i, vectors: [v], properties: { rename: { v: w } }"), Err(ProfileError::Disturbed(_))));
        assert!(matches!(
            Profile::parse("name: x\nnodes: [{label: A, key: k}]\ndiscover: {}"),
            Err(ProfileError::NamedAndDiscovered)
        ));
        let profile = Profile::generic().unwrap();
        let with_property = DiscoveredSchema { properties: ["_neo4j_id".to_owned()].into(), ..DiscoveredSchema::default() };
        assert!(matches!(profile.discovered(&with_property), Err(ProfileError::Taken(..))));
        assert!(matches!(profile.discovered(&found(&["_Unlabelled"], &[])), Err(ProfileError::Taken(..))));
    }

    #[test]
    fn a_vector_index_of_the_source_makes_vectors_and_an_index() {
        let vector =
            |dimension| Some(VectorOptions { dimension, similarity: Similarity::Cosine, m: None, ef_construction: None });
        let name = |text: &str| PropertyName::parse(text).unwrap();
        let on_label = |label: &str| IndexTarget::Label(Label::parse(label).unwrap());
        let before = found(&["A", "B"], &["R"]);
        let mut with = before.clone();
        with.vectors.insert((on_label("B"), name("emb")), vector(3));
        with.vectors.insert((IndexTarget::Type(RelationshipType::parse("R").unwrap()), name("fact")), None);
        with.vectors.insert((on_label("Elsewhere"), name("emb")), vector(3));
        let without = Profile::generic().unwrap().discovered(&before).unwrap();
        assert!(without.outgrown_by(&with).is_some_and(|what| what == "a vector index on (:B).emb"));
        let profile = Profile::generic().unwrap().discovered(&with).unwrap();
        assert_eq!(profile.outgrown_by(&with), None);
        assert_eq!(profile.outgrown_by(&before), None, "what is gone stays until the next start");
        assert!(profile.nodes[0].vectors.is_empty() && profile.nodes[1].vectors == [name("emb")]);
        assert_eq!(profile.relationships[0].vectors, [name("fact")]);
        let made: Vec<_> = profile.indexes.iter().filter(|index| index.kind == IndexKind::Vector).collect();
        assert!(made.len() == 1 && made[0].on == on_label("B") && made[0].vector == vector(3), "{made:?}");
        assert_ne!(profile.fingerprint(), without.fingerprint());

        let leaves_out =
            "name: x\nmirror_indexes: true\ndiscover: { identity: emb2, unlabelled: _U, properties: { omit: [emb] } }";
        let profile = Profile::parse(leaves_out).unwrap().discovered(&with).unwrap();
        assert!(profile.nodes[1].vectors.is_empty(), "what is left out is no vector");
        assert_eq!(profile.outgrown_by(&with), None);
    }

    #[test]
    fn a_new_label_or_type_outgrows_a_profile() {
        let before = found(&["A"], &["R"]);
        let profile = Profile::generic().unwrap().discovered(&before).unwrap();
        assert_eq!(profile.outgrown_by(&before), None);
        assert_eq!(profile.outgrown_by(&found(&[], &[])), None, "what is gone for now may come back");
        assert!(profile.outgrown_by(&found(&["A", "B"], &["R"])).is_some_and(|what| what.ends_with("label B")));
        assert!(profile.outgrown_by(&found(&["A"], &["R", "S"])).is_some());
        let later = profile.discovered(&found(&[], &[]).and(&profile.found_kinds())).unwrap();
        assert_eq!(profile.fingerprint(), later.fingerprint(), "a kind whose last element went");
        let grown = profile.discovered(&found(&["A", "B"], &["R"])).unwrap();
        assert_ne!(profile.fingerprint(), grown.fingerprint());
    }
}
