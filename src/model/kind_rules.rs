//! The rules of a profile for kinds that it does not name: which labels and types it takes, which keys, timestamps and vectors
//! some of them have, and which properties are left out or renamed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::name::{Label, PropertyName};
use super::pattern::NamePattern;
use super::profile_error::ProfileError;

/// The rules that find the kinds of a graph.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Discovery {
    /// The property of the cache that holds an element's number in the source, for kinds without their own key. Absent if each
    /// kind has one.
    #[serde(default)]
    pub(crate) identity: Option<PropertyName>,
    /// The label in the cache for nodes without a label. If absent, such nodes are left out.
    #[serde(default)]
    pub(crate) unlabelled: Option<Label>,
    /// The labels that make kinds. A node keeps all its labels if one of them makes a kind.
    #[serde(default)]
    pub(crate) labels: NameFilter,
    /// The relationship types that are taken.
    #[serde(default)]
    pub(crate) types: NameFilter,
    /// The rules for some labels; for each label, the first that matches applies. Their order is the identity order.
    #[serde(default)]
    pub(crate) nodes: Vec<NodeRule>,
    /// The rules for some types; for each type, the first that matches applies.
    #[serde(default)]
    pub(crate) relationships: Vec<RelationshipRule>,
    /// Timestamps of all kinds with a range index on them in the source.
    #[serde(default)]
    pub(crate) timestamps: Vec<PropertyName>,
    /// Vectors of all kinds.
    #[serde(default)]
    pub(crate) vectors: Vec<PropertyName>,
    /// Properties of all kinds that are left out or renamed.
    #[serde(default)]
    pub(crate) properties: PropertyRules,
}

impl Discovery {
    /// Whether no node is left out on purpose.
    pub(super) fn takes_all_nodes(&self) -> bool {
        self.labels.takes_all() && self.unlabelled.is_some()
    }

    pub(super) fn check(&self) -> Result<(), ProfileError> {
        let rules = self.nodes.iter().map(|rule| (&rule.label, &rule.rule));
        for (name, rule) in rules.chain(self.relationships.iter().map(|rule| (&rule.rel_type, &rule.rule))) {
            if rule.key.is_none() && self.identity.is_none() {
                return Err(ProfileError::NoIdentity(name.to_string()));
            }
            let properties = self.properties.with(rule);
            let used = rule.key.iter().chain(&rule.timestamps).chain(&rule.vectors);
            self.check_used(&properties, used)?;
        }
        self.check_used(&self.properties, [].iter())
    }

    fn check_used<'a>(
        &'a self,
        properties: &PropertyRules,
        used: impl Iterator<Item = &'a PropertyName>,
    ) -> Result<(), ProfileError> {
        if properties.is_ambiguous() {
            return Err(ProfileError::AmbiguousNames);
        }
        let mut used = used.chain(&self.timestamps).chain(&self.vectors).chain(&self.identity);
        match used.find(|name| properties.disturbs(name)) {
            Some(name) => Err(ProfileError::Disturbed(name.to_string())),
            None => Ok(()),
        }
    }
}

/// A selection of names by pattern.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NameFilter {
    /// The names that are taken.
    #[serde(default = "everything")]
    pub include: Vec<NamePattern>,
    /// The exceptions from these names.
    #[serde(default)]
    pub exclude: Vec<NamePattern>,
}

fn everything() -> Vec<NamePattern> {
    vec![NamePattern::everything()]
}

impl Default for NameFilter {
    fn default() -> Self {
        Self { include: everything(), exclude: Vec::new() }
    }
}

impl NameFilter {
    /// Whether no name is left out.
    pub(crate) fn takes_all(&self) -> bool {
        self.include.contains(&NamePattern::everything()) && self.exclude.is_empty()
    }

    /// Whether a name is taken.
    pub(crate) fn takes(&self, name: &str) -> bool {
        let any = |patterns: &[NamePattern]| patterns.iter().any(|pattern| pattern.matches(name));
        any(&self.include) && !any(&self.exclude)
    }
}

/// The rule for the nodes of some labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeRule {
    /// The labels that it applies to.
    pub label: NamePattern,
    /// The rule for their kinds.
    #[serde(flatten)]
    pub rule: KindRule,
}

/// The rule for the relationships of some types.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RelationshipRule {
    /// The types that it applies to.
    #[serde(rename = "type")]
    pub rel_type: NamePattern,
    /// The rule for their kinds.
    #[serde(flatten)]
    pub rule: KindRule,
}

/// The rule for a kind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct KindRule {
    /// The property that identifies an element by its text. If absent, the element's number does.
    #[serde(default)]
    pub key: Option<PropertyName>,
    /// Timestamps besides those of all kinds; the source has an index on each.
    #[serde(default)]
    pub timestamps: Vec<PropertyName>,
    /// Vectors besides those of all kinds.
    #[serde(default)]
    pub vectors: Vec<PropertyName>,
    /// Properties left out besides those of all kinds.
    #[serde(default)]
    pub omit: Vec<NamePattern>,
    /// New names besides those of all kinds.
    #[serde(default)]
    pub rename: BTreeMap<PropertyName, PropertyName>,
}

/// The properties of an element that are left out or renamed in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PropertyRules {
    /// The properties that are left out.
    #[serde(default)]
    pub omit: Vec<NamePattern>,
    /// New names. An element that already has a property of the new name keeps both under their own names.
    #[serde(default)]
    pub rename: BTreeMap<PropertyName, PropertyName>,
}

impl PropertyRules {
    /// Whether nothing is left out or renamed.
    pub(crate) fn is_empty(&self) -> bool {
        self.omit.is_empty() && self.rename.is_empty()
    }

    /// Whether a property is left out.
    pub(crate) fn omits(&self, name: &str) -> bool {
        self.omit.iter().any(|pattern| pattern.matches(name))
    }

    /// The new name of a property in the cache, if it has one.
    pub(crate) fn new_name(&self, name: &str) -> Option<&PropertyName> {
        self.rename.iter().find(|(from, _)| from.as_str() == name).map(|(_, to)| to)
    }

    pub(super) fn disturbs(&self, name: &PropertyName) -> bool {
        self.omits(name.as_str()) || self.rename.iter().any(|(from, to)| from == name || to == name)
    }

    /// Whether the property names of an element depend on the order of renaming.
    pub(super) fn is_ambiguous(&self) -> bool {
        let targets: BTreeSet<&PropertyName> = self.rename.values().collect();
        targets.len() < self.rename.len() || self.rename.keys().any(|from| targets.contains(from))
    }

    pub(super) fn with(&self, rule: &KindRule) -> Self {
        let mut all = Self { omit: rule.omit.clone(), rename: self.rename.clone() };
        all.omit.extend(self.omit.iter().cloned());
        all.rename.extend(rule.rename.iter().map(|(from, to)| (from.clone(), to.clone())));
        all
    }
}
