//! The parts of a source's elements, with the same words in every report.

use crate::model::outside_profile::OutsideProfile;
use serde::Serialize;

/// Elements of a source by their fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(super) struct CountedParts {
    /// Elements of the profile's kinds that were read.
    pub(super) read: u64,
    /// Elements that the cache holds, of those read.
    pub(super) kept: u64,
    /// Elements that share their key with another one, which is kept for them, of those read.
    pub(super) collapsed: u64,
    /// Elements that the cache cannot hold, of those read.
    pub(super) quarantined: u64,
    /// Properties that the cache cannot hold, of elements that it holds.
    pub(super) properties_quarantined: u64,
    /// Elements of no kind of the profile, which nobody reads. Absent if nobody counted them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) outside_profile: Option<u64>,
}

impl CountedParts {
    /// The parts of all elements that were read.
    pub(super) fn of(read: u64, collapsed: u64, quarantined: u64, properties_quarantined: u64) -> Self {
        let kept = read.saturating_sub(collapsed + quarantined);
        Self { read, kept, collapsed, quarantined, properties_quarantined, outside_profile: None }
    }

    /// The same parts with the elements outside the profile.
    pub(super) fn beside(self, outside: &OutsideProfile) -> Self {
        let number = outside.nodes.values().chain(outside.relationships.values()).sum();
        Self { outside_profile: Some(number), ..self }
    }

    pub(super) fn text(&self) -> String {
        let Self { read, kept, collapsed, quarantined, properties_quarantined, .. } = self;
        let mut text = format!("{read} read, {kept} kept, {collapsed} collapsed, {quarantined} quarantined");
        if *properties_quarantined > 0 {
            text.push_str(&format!(", {properties_quarantined} properties quarantined"));
        }
        if let Some(outside) = self.outside_profile {
            text.push_str(&format!(", {outside} outside the profile"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_the_sum_of_its_parts() {
        let parts = CountedParts::of(9, 2, 3, 1);
        assert_eq!(parts.kept, 4);
        assert_eq!(parts.text(), "9 read, 4 kept, 2 collapsed, 3 quarantined, 1 properties quarantined");
        let outside = OutsideProfile { nodes: [("A".to_owned(), 5)].into(), relationships: [("R".to_owned(), 1)].into() };
        assert!(
            CountedParts::of(1, 0, 0, 0)
                .beside(&outside)
                .text()
                .ends_with("1 kept, 0 collapsed, 0 quarantined, 6 outside the profile")
        );
    }
}
