//! What a profile says of kinds that it does not name: which labels and types it takes, what holds of some of them, and what becomes
//! of their properties.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::name::{Label, PropertyName};
use super::pattern::NamePattern;
use super::profile_error::ProfileError;

/// How the kinds of a graph are found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Discovery {
    /// The property of the cache that holds an element's number in the source, for kinds without a key of their own. Absent
    /// where each kind has one.
    #[serde(default)]
    pub identity: Option<PropertyName>,
    /// The label that nodes without one get in the cache. Absent where such nodes are left out.
    #[serde(default)]
    pub unlabelled: Option<Label>,
    /// Which labels make kinds. A node comes along with all its labels if one of them does.
    #[serde(default)]
    pub labels: Selection,
    /// Which relationship types are taken.
    #[serde(default)]
    pub types: Selection,
    /// What holds of some labels; of each label, the first that fits. Their order is the identity order.
    #[serde(default)]
    pub nodes: Vec<NodeRule>,
    /// What holds of some types; of each type, the first that fits.
    #[serde(default)]
    pub relationships: Vec<RelationshipRule>,
    /// Timestamps of all kinds whose source has a range index on them.
    #[serde(default)]
    pub timestamps: Vec<PropertyName>,
    /// Vectors of all kinds.
    #[serde(default)]
    pub vectors: Vec<PropertyName>,
    /// Properties of all kinds that are left out or renamed.
    #[serde(default)]
    pub properties: PropertyRules,
}

impl Discovery {
    /// Whether no node is left out on purpose.
    pub(crate) fn takes_all_nodes(&self) -> bool {
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

/// Names by pattern.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// Those that are taken.
    #[serde(default = "everything")]
    pub include: Vec<NamePattern>,
    /// Those of them that are not.
    #[serde(default)]
    pub exclude: Vec<NamePattern>,
}

fn everything() -> Vec<NamePattern> {
    vec![NamePattern::everything()]
}

impl Default for Selection {
    fn default() -> Self {
        Self { include: everything(), exclude: Vec::new() }
    }
}

impl Selection {
    /// Whether nothing is left out.
    pub(crate) fn takes_all(&self) -> bool {
        self.include.contains(&NamePattern::everything()) && self.exclude.is_empty()
    }

    /// Whether a name is taken.
    pub(crate) fn takes(&self, name: &str) -> bool {
        let any = |patterns: &[NamePattern]| patterns.iter().any(|pattern| pattern.matches(name));
        any(&self.include) && !any(&self.exclude)
    }
}

/// What holds of the nodes of some labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeRule {
    /// Which labels.
    pub label: NamePattern,
    /// What holds of them.
    #[serde(flatten)]
    pub rule: KindRule,
}

/// What holds of the relationships of some types.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelationshipRule {
    /// Which types.
    #[serde(rename = "type")]
    pub rel_type: NamePattern,
    /// What holds of them.
    #[serde(flatten)]
    pub rule: KindRule,
}

/// What holds of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KindRule {
    /// The property whose text identifies an element; else its number does.
    #[serde(default)]
    pub key: Option<PropertyName>,
    /// Timestamps beside those of all kinds; the source has an index on each.
    #[serde(default)]
    pub timestamps: Vec<PropertyName>,
    /// Vectors beside those of all kinds.
    #[serde(default)]
    pub vectors: Vec<PropertyName>,
    /// Properties left out beside those of all kinds.
    #[serde(default)]
    pub omit: Vec<NamePattern>,
    /// New names beside those of all kinds.
    #[serde(default)]
    pub rename: BTreeMap<PropertyName, PropertyName>,
}

/// Which properties of an element are left out, and which get another name in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PropertyRules {
    /// Those left out.
    #[serde(default)]
    pub omit: Vec<NamePattern>,
    /// New names. An element that has a property of the new name already keeps both under their own names.
    #[serde(default)]
    pub rename: BTreeMap<PropertyName, PropertyName>,
}

impl PropertyRules {
    /// Whether everything stays as it is.
    pub(crate) fn is_empty(&self) -> bool {
        self.omit.is_empty() && self.rename.is_empty()
    }

    /// Whether a property is left out.
    pub(crate) fn omits(&self, name: &str) -> bool {
        self.omit.iter().any(|pattern| pattern.matches(name))
    }

    /// What a property is called in the cache, if not by its own name.
    pub(crate) fn new_name(&self, name: &str) -> Option<&PropertyName> {
        self.rename.iter().find(|(from, _)| from.as_str() == name).map(|(_, to)| to)
    }

    pub(super) fn disturbs(&self, name: &PropertyName) -> bool {
        self.omits(name.as_str()) || self.rename.iter().any(|(from, to)| from == name || to == name)
    }

    /// Whether what an element's properties are called depends on the order in which they are renamed.
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
