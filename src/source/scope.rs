//! The copied groups, as conditions of queries.

use super::expressions;
use crate::model::profile::Profile;

/// The elements of a profile's kinds that queries read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    profile: &'a Profile,
}

impl<'a> Scope<'a> {
    pub(super) fn of(profile: &'a Profile) -> Self {
        Self { profile }
    }

    /// ` AND …`: an element belongs to a copied group. Empty if all groups are copied.
    pub(super) fn also(self, variable: &str) -> String {
        self.condition(variable).map(|condition| format!(" AND {condition}")).unwrap_or_default()
    }

    /// As [`Self::also`], if it is the only condition.
    pub(super) fn alone(self, variable: &str) -> String {
        self.condition(variable).map(|condition| format!(" WHERE {condition}")).unwrap_or_default()
    }

    /// As [`Self::also`], after other conditions have found the elements: the planner must not begin with the groups.
    pub(super) fn later(self, variable: &str) -> String {
        self.condition(variable).map(|condition| format!(" WITH {variable} WHERE {condition}")).unwrap_or_default()
    }

    /// The same condition as a value: `true` if all groups are copied.
    pub(super) fn holds(self, variable: &str) -> String {
        self.condition(variable).unwrap_or_else(|| "true".to_owned())
    }

    fn condition(self, variable: &str) -> Option<String> {
        let group = self.profile.group.as_ref().filter(|_| !self.profile.only_groups.is_empty())?;
        let groups: Vec<String> = self.profile.only_groups.iter().map(|group| expressions::text(group)).collect();
        Some(format!("{variable}.{} IN [{}]", group.quoted_for_neo4j(), groups.join(", ")))
    }
}
