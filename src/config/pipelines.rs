//! Pipelines, each of which keeps one cache equal to one source.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde_yaml::{Mapping, Value};
use thiserror::Error;

use super::document::{Document, join};
use super::falkordb::{FalkorConfig, GraphTarget};
use super::full_sync::FullSyncConfig;
use super::indexes::IndexesConfig;
use super::neo4j::Neo4jConfig;
use super::profile::ProfileChoice;
use super::report::Report;
use super::routing::{FilterConfig, RoutingConfig};
use super::section::Section;
use super::sync::SyncConfig;
use crate::model::graph_name::GraphName;

/// The settings that each pipeline may have separately; all others belong to the service.
pub(super) const PIPELINE_SETTINGS: [&str; 8] =
    ["neo4j", "falkordb", "profile", "sync", "full_sync", "indexes", "routing", "filter"];

/// The name of the only pipeline if none are listed.
const DEFAULT_NAME: &str = "default";

/// The limit is long enough for any name and short enough for a metric label.
const MAX_NAME_LENGTH: usize = 63;

/// The name of a pipeline, in logs, metrics and HTTP. It is also a valid graph name, and serves as such in the keys of a pipeline
/// that fills a graph for each group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PipelineName(GraphName);

/// The error for a text that cannot name a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("is not a valid pipeline name (1 to {MAX_NAME_LENGTH} letters, digits, - and _)")]
pub(crate) struct PipelineNameError;

/// The complete settings of one pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineConfig {
    /// The name of the pipeline.
    pub(crate) name: PipelineName,
    /// The settings of the source.
    pub(crate) neo4j: Neo4jConfig,
    /// The settings of the cache.
    pub(crate) falkordb: FalkorConfig,
    /// The profile of the graph.
    pub(crate) profile: ProfileChoice,
    /// The ways and intervals of keeping the cache equal to the source.
    pub(crate) sync: SyncConfig,
    /// The settings for building a graph anew.
    pub(crate) full_sync: FullSyncConfig,
    /// The treatment of indices with which FalkorDB answers wrongly.
    pub(crate) indexes: IndexesConfig,
    /// The graph for groups that cannot name one.
    pub(crate) routing: RoutingConfig,
    /// The part of the source that is copied.
    pub(crate) filter: FilterConfig,
}

impl PipelineName {
    /// The name as text.
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for PipelineName {
    type Err = PipelineNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let valid = (1..=MAX_NAME_LENGTH).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        let name = GraphName::new(text).ok().filter(|_| valid);
        name.map(Self).ok_or(PipelineNameError)
    }
}

impl fmt::Display for PipelineName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl PipelineConfig {
    /// The name for the pipeline's checkpoint, lease, quarantine, history and pause flag: the graph's, or the pipeline's own if
    /// it fills a graph for each group.
    pub(crate) fn control_name(&self) -> &GraphName {
        match &self.falkordb.database {
            GraphTarget::Single(graph) => graph,
            GraphTarget::PerGroup => &self.name.0,
        }
    }

    fn read(name: Option<PipelineName>, root: &Section<'_>) -> Option<Self> {
        // All are read before the first `?`, so that the problems of all are found.
        let neo4j = root.section("neo4j", Neo4jConfig::read);
        let falkordb = root.section("falkordb", FalkorConfig::read);
        let profile = read_profile(root);
        let sync = root.section("sync", SyncConfig::read);
        let full_sync = root.section("full_sync", FullSyncConfig::read);
        let indexes = root.section("indexes", IndexesConfig::read);
        let routing = root.section("routing", RoutingConfig::read);
        let filter = root.section("filter", FilterConfig::read);
        let (name, neo4j, falkordb, routing) = (name?, neo4j?, falkordb?, routing?);
        Some(Self { name, neo4j, falkordb, profile, sync, full_sync, indexes, routing, filter })
    }

    fn same_server(&self, other: &Self) -> bool {
        self.falkordb.location.may_be(&other.falkordb.location)
    }

    /// Whether two pipelines on one server could both write the same graph, or the same keys beside a graph.
    fn collides_with(&self, other: &Self) -> bool {
        self.same_server(other) && (self.control_name() == other.control_name() || self.may_fill(other) || other.may_fill(self))
    }

    /// Whether a graph that this pipeline makes for a group may be one that the other pipeline fills.
    fn may_fill(&self, other: &Self) -> bool {
        if self.falkordb.database != GraphTarget::PerGroup {
            return false;
        }
        match &other.falkordb.database {
            GraphTarget::PerGroup => true,
            GraphTarget::Single(graph) => {
                let groups = &self.filter.group_ids;
                *graph == self.routing.default_graph || groups.is_empty() || groups.contains(graph.as_str())
            }
        }
    }
}

fn read_profile(root: &Section<'_>) -> ProfileChoice {
    root.parsed("profile").unwrap_or(ProfileChoice::Graphiti)
}

/// The pipelines of a document. Each listed pipeline is the document's own settings overlaid by the entry's; if none are listed,
/// there is one pipeline with the document's own settings.
pub(super) fn read_pipelines(document: &Document, report: &Report) -> Vec<PipelineConfig> {
    let shared = document.retaining(|name| PIPELINE_SETTINGS.contains(&name));
    let entries = read_entries(document, report);
    if entries.is_empty() {
        let name = DEFAULT_NAME.parse().ok();
        let only = Section::read_root(&shared, report, |root| PipelineConfig::read(name, root));
        return only.into_iter().collect();
    }
    let pipelines = entries.into_iter().enumerate();
    let pipelines: Vec<_> = pipelines.filter_map(|(index, entry)| read_entry(&shared, index, entry, report)).collect();
    check_apart(&pipelines, report);
    pipelines
}

fn read_entries(document: &Document, report: &Report) -> Vec<Mapping> {
    let entries = match document.root().get("pipelines") {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Sequence(entries)) => entries,
        Some(_) => {
            report.add("pipelines", "must be a list; each entry has a name and the settings that differ from the top level");
            return Vec::new();
        }
    };
    let sections = entries.iter().enumerate().filter_map(|(index, entry)| {
        let section = entry.as_mapping().cloned();
        if section.is_none() {
            report.add(place_of(index, None), "must be a section with a name");
        }
        section
    });
    sections.collect()
}

fn read_entry(shared: &Document, index: usize, mut entry: Mapping, report: &Report) -> Option<PipelineConfig> {
    let given = entry.remove("name");
    let name = given.as_ref().and_then(Value::as_str).and_then(|text| text.parse::<PipelineName>().ok());
    let place = place_of(index, name.as_ref());
    match given {
        None => report.add(&place, "has no name"),
        Some(_) if name.is_none() => report.add(join(&place, "name"), PipelineNameError),
        Some(_) => {}
    }
    let mut document = shared.clone();
    document.overlay(entry, &|path| join(&place, path));
    Section::read_root(&document, report, |root| PipelineConfig::read(name, root))
}

fn place_of(index: usize, name: Option<&PipelineName>) -> String {
    match name {
        Some(name) => format!("pipelines[{name}]"),
        None => format!("pipelines[{index}]"),
    }
}

/// Checks that each graph has only one writer, and each name only one pipeline.
fn check_apart(pipelines: &[PipelineConfig], report: &Report) {
    let mut names = BTreeSet::new();
    for (index, pipeline) in pipelines.iter().enumerate() {
        let place = place_of(index, Some(&pipeline.name));
        if !names.insert(&pipeline.name) {
            report.add(&place, "has the same name as an earlier pipeline");
        }
        for earlier in pipelines.iter().take(index).filter(|earlier| earlier.collides_with(pipeline)) {
            report.add(
                join(&place, "falkordb.database"),
                format_args!(
                    "may name a graph that the pipeline {} fills on the same server ({} and {}); a graph has only one writer",
                    earlier.name, earlier.falkordb.database, pipeline.falkordb.database
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::falkordb::FalkorLocation;
    use super::*;
    use crate::model::host_port::HostPort;

    const SHARED: &str = "neo4j: {password: hunter2}\nfalkordb: {host: cache}\nsync: {batch_size: 5}\n";

    fn read(pipelines: &str) -> (Vec<PipelineConfig>, Vec<String>) {
        let document = Document::parse(&format!("{SHARED}pipelines: {pipelines}")).unwrap();
        let report = Report::default();
        let pipelines = read_pipelines(&document, &report);
        (pipelines, report.into_problems().iter().map(ToString::to_string).collect())
    }

    fn problems(pipelines: &str) -> Vec<String> {
        read(pipelines).1
    }

    #[test]
    fn test_pipelines_default_to_one() {
        for none in ["", "[]"] {
            let (pipelines, problems) = read(none);
            assert!(problems.is_empty(), "{problems:?}");
            let names: Vec<&str> = pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect();
            assert_eq!(names, ["default"]);
            assert_eq!(pipelines[0].control_name().as_str(), "graphiti_cache");
        }
    }

    #[test]
    fn test_pipelines_differ_only_where_they_say_so() {
        let (pipelines, problems) = read(
            "\n- {name: a, falkordb: {database: x}}\
             \n- {name: b, falkordb: {database: y, port: 6380}, sync: {node_batch_size: 7}, profile: p.yaml}",
        );
        assert!(problems.is_empty(), "{problems:?}");
        let [a, b] = pipelines.as_slice() else { panic!("two pipelines") };
        assert_eq!(a.falkordb.location, FalkorLocation::Fixed(HostPort::new("cache", 6379)));
        assert_eq!(b.falkordb.location, FalkorLocation::Fixed(HostPort::new("cache", 6380)));
        assert_eq!((a.sync.node_batch_size, a.sync.relationship_batch_size), (5, 5));
        assert_eq!((b.sync.node_batch_size, b.sync.relationship_batch_size), (7, 5));
        assert_eq!((&a.profile, &b.profile), (&ProfileChoice::Graphiti, &ProfileChoice::File("p.yaml".into())));
        assert_eq!(b.neo4j.password.expose(), "hunter2");
    }

    #[test]
    fn test_pipelines_name_the_entry_that_is_wrong() {
        assert_eq!(
            problems("[{name: a, falkordb: {port: 0, prot: 1}}, {name: b c}, {}, 5]"),
            [
                "pipelines[3]: must be a section with a name",
                "pipelines[a].falkordb.port: 0 is not a port (1 to 65535)",
                "pipelines[a].falkordb.prot: is not a setting; did you mean port?",
                "pipelines[1].name: is not a valid pipeline name (1 to 63 letters, digits, - and _)",
                "pipelines[2]: has no name",
            ]
        );
        assert!(problems("{a: 1}")[0].starts_with("pipelines: must be a list"));
        assert!(problems("[{name: a, logging: {level: info}}]")[0].starts_with("pipelines[a].logging: is not a setting"));
    }

    #[test]
    fn test_pipelines_have_names_of_their_own() {
        let found = problems("[{name: a, falkordb: {database: x}}, {name: a, falkordb: {database: y}}]");
        assert_eq!(found, ["pipelines[a]: has the same name as an earlier pipeline"]);
    }

    #[test]
    fn test_pipelines_never_share_a_graph() {
        for (first, second, collide) in [
            ("{database: x}", "{database: x}", true),
            ("{database: x}", "{database: x, host: CACHE}", true),
            ("{database: x}", "{database: y}", false),
            ("{database: x}", "{database: x, port: 6380}", false),
            ("{database: x}", "{database: x, host: other}", false),
            ("{database: '{group_id}'}", "{database: '{group_id}'}", true),
            ("{database: '{group_id}'}", "{database: '{group_id}', port: 6380}", false),
            ("{database: x}", "{database: '{group_id}'}", true),
            ("{database: x}, filter: {group_ids: [y]}", "{database: '{group_id}'}, filter: {group_ids: [y]}", false),
            ("{database: x}", "{database: '{group_id}'}, filter: {group_ids: [x]}", true),
            ("{database: default_db}", "{database: '{group_id}'}, filter: {group_ids: [x]}", true),
            // The second pipeline's own keys are named after it, like those of a graph named b.
            ("{database: b}", "{database: '{group_id}'}, filter: {group_ids: [y]}", true),
        ] {
            let found = problems(&format!("[{{name: a, falkordb: {first}}}, {{name: b, falkordb: {second}}}]"));
            assert_eq!(found.len(), usize::from(collide), "{first} {second}: {found:?}");
            assert!(found.iter().all(|problem| problem.starts_with("pipelines[b].falkordb.database: ")));
        }
    }

    #[test]
    fn test_pipeline_name_is_a_word() {
        for text in ["a", "A-b_9", "default"] {
            assert_eq!(text.parse::<PipelineName>().unwrap().to_string(), text);
        }
        for text in ["", "a b", "a/b", "ä", "{a}", &"x".repeat(64)] {
            assert_eq!(text.parse::<PipelineName>(), Err(PipelineNameError), "{text}");
        }
    }
}
