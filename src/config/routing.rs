//! The routing and the filter of the source's groups.

use std::collections::BTreeSet;

use super::scalar::shown;
use super::section::Section;
use crate::model::graph_name::GraphName;

/// The graph that graphiti's FalkorDB driver opens if none is named.
const DEFAULT_GRAPH: &str = "default_db";

/// The graph for groups that cannot name one; useful only with a graph for each group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoutingConfig {
    /// The graph of the groups `''` and `'_'`, which are graphiti's own defaults.
    pub default_graph: GraphName,
}

impl RoutingConfig {
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let default_graph = if section.value("default_graph").is_some() {
            section.parsed("default_graph")
        } else {
            GraphName::new(DEFAULT_GRAPH).ok()
        };
        Some(Self { default_graph: default_graph? })
    }
}

/// The part of the source that is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FilterConfig {
    /// The groups to copy; if empty, all of them. The empty text is a group too: graphiti's default on Neo4j.
    pub group_ids: BTreeSet<String>,
}

impl FilterConfig {
    pub(super) fn read(section: &Section<'_>) -> Self {
        let mut group_ids = BTreeSet::new();
        for group_id in section.texts("group_ids").unwrap_or_default() {
            if let Some(twice) = group_ids.replace(group_id) {
                section.problem("group_ids", format_args!("names {} twice", shown(&twice)));
            }
        }
        Self { group_ids }
    }
}
