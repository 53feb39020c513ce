//! Which part of the source goes where.

use std::collections::BTreeSet;

use super::scalar::shown;
use super::section::Section;
use crate::model::graph_name::GraphName;

/// The graph that graphiti's FalkorDB driver opens if none is named.
const DEFAULT_GRAPH: &str = "default_db";

/// Where groups go that cannot name a graph; of use only with a graph for each group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutingConfig {
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

/// Which part of the source is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterConfig {
    /// The groups to copy; none named is all of them. The empty text is a group too: graphiti's default on Neo4j.
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
