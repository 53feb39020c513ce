//! The commands that swap the versions of a pipeline's graphs.

use std::collections::{BTreeMap, BTreeSet};

use redis::{Cmd, cmd};

use super::graph::{self, GRAPH_TYPE};
use super::keys::{GraphKeys, GraphRole};
use super::pipeline_graphs::mark;
use super::routing::Routing;
use crate::error::{Error, ErrorKind, Result};
use crate::model::graph_name::GraphName;

/// The types that Redis reports for a checkpoint's key, and for a quarantine's or a list's.
const TEXT: &str = "string";
const SET: &str = "set";

/// The state that a pipeline has once beside its graphs. An empty set has no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Companion {
    /// The list of the groups' graphs.
    Groups,
    Checkpoint,
    Quarantine,
}

/// One version of the pipeline's graphs with everything that belongs to it.
#[derive(Debug, Clone)]
pub(super) struct GraphVersion {
    role: GraphRole,
    /// The graphs that the pipeline has in this role.
    graphs: BTreeSet<GraphName>,
    /// The graphs of the version that exist in the cache.
    present: BTreeSet<GraphName>,
    /// The companions that exist beside them.
    beside: BTreeSet<Companion>,
}

impl GraphVersion {
    /// A version from the types of all existing keys.
    pub(super) fn found(
        moves: &SwapCommands,
        role: GraphRole,
        graphs: BTreeSet<GraphName>,
        types: &BTreeMap<String, String>,
    ) -> Result<Self> {
        let mut version = Self { role, graphs, present: BTreeSet::new(), beside: BTreeSet::new() };
        for graph in &version.graphs {
            if has_type(types, &(GraphKeys::of(graph).graph(role), GRAPH_TYPE))? {
                version.present.insert(graph.clone());
            }
        }
        for companion in moves.companions() {
            if has_type(types, &moves.beside(role, *companion))? {
                version.beside.insert(*companion);
            }
        }
        Ok(version)
    }

    pub(super) fn is_whole(&self) -> bool {
        self.beside.contains(&Companion::Checkpoint) && self.graphs == self.present
    }

    pub(super) fn is_absent(&self) -> bool {
        !self.beside.contains(&Companion::Checkpoint) && self.present.is_empty()
    }
}

/// The versions that a swap finds.
pub(super) struct GraphVersions {
    pub(super) live: GraphVersion,
    pub(super) stage: GraphVersion,
    pub(super) previous: GraphVersion,
    /// The stages that would take a name in use by something that the live version does not list.
    pub(super) blocked: BTreeSet<GraphName>,
}

/// A key of the pipeline, and the type that Redis must report for it.
pub(super) type TypedKey = (String, &'static str);

/// The commands that swap versions.
#[derive(Debug)]
pub(super) struct SwapCommands {
    pipeline: GraphName,
    routing: Routing,
}

impl SwapCommands {
    pub(super) fn new(pipeline: GraphName, routing: Routing) -> Self {
        Self { pipeline, routing }
    }

    fn companions(&self) -> &'static [Companion] {
        match self.routing {
            Routing::OnlyGraph(_) => &[Companion::Checkpoint, Companion::Quarantine],
            Routing::ByGroup(_) => &[Companion::Groups, Companion::Checkpoint, Companion::Quarantine],
        }
    }

    fn beside(&self, role: GraphRole, companion: Companion) -> TypedKey {
        let keys = GraphKeys::of(&self.pipeline);
        match companion {
            Companion::Groups => (keys.groups(role), SET),
            Companion::Checkpoint => (keys.checkpoint(role), TEXT),
            Companion::Quarantine => (keys.quarantine(role), SET),
        }
    }

    /// The keys of everything that may be beside the graphs of a version.
    pub(super) fn all_beside(&self, role: GraphRole) -> impl Iterator<Item = String> {
        self.companions().iter().map(move |companion| self.beside(role, *companion).0)
    }

    /// The signs of a stage. The list is made with the first group, and a source may have none.
    pub(super) fn signs_of_a_stage(&self) -> Vec<TypedKey> {
        match &self.routing {
            Routing::OnlyGraph(name) => vec![(GraphKeys::of(name).graph(GraphRole::Stage), GRAPH_TYPE)],
            Routing::ByGroup(_) => {
                vec![self.beside(GraphRole::Stage, Companion::Groups), self.beside(GraphRole::Stage, Companion::Checkpoint)]
            }
        }
    }

    /// `RENAME` of a missing key is an error that would not stop the commands after it. So only existing keys move, and the keys
    /// that they would replace are dropped before.
    fn relocate(&self, version: &GraphVersion, to: GraphRole) -> Vec<Cmd> {
        let rename = |from: String, to: String| cmd("RENAME").arg(from).arg(to).to_owned();
        let graphs = version.present.iter().map(GraphKeys::of).map(|keys| rename(keys.graph(version.role), keys.graph(to)));
        let beside = version.beside.iter().map(|what| rename(self.beside(version.role, *what).0, self.beside(to, *what).0));
        graphs.chain(beside).collect()
    }

    pub(super) fn discard(&self, version: &GraphVersion) -> Vec<Cmd> {
        let graphs = version.present.iter().map(|graph| graph::delete(&GraphKeys::of(graph).graph(version.role)));
        let beside: Vec<String> = self.all_beside(version.role).collect();
        graphs.chain([cmd("UNLINK").arg(beside).to_owned()]).collect()
    }

    /// Anybody may take a name that the live version no longer uses.
    fn release(before: &GraphVersion, after: &GraphVersion) -> Option<Cmd> {
        let markers: Vec<String> = before.graphs.difference(&after.graphs).map(|graph| GraphKeys::of(graph).marker()).collect();
        (!markers.is_empty()).then(|| cmd("UNLINK").arg(markers).to_owned())
    }

    /// The error for a stage that lacks a part.
    pub(super) fn not_whole(&self, version: &GraphVersion) -> Error {
        let has = if version.beside.contains(&Companion::Checkpoint) { "exists" } else { "is missing" };
        let checkpoint = GraphKeys::of(&self.pipeline).checkpoint(version.role);
        let absent = version.graphs.difference(&version.present).count();
        let message = format!("the stage is incomplete: {checkpoint} {has}, and {absent} of its graphs are missing");
        Error::new(ErrorKind::CacheProtocol, message)
    }

    /// Marks the graph of each group as the pipeline's. Taking the lease marks a single graph.
    fn mark(&self, version: &GraphVersion) -> Vec<Cmd> {
        match self.routing {
            Routing::OnlyGraph(_) => Vec::new(),
            Routing::ByGroup(_) => version.graphs.iter().map(|graph| mark(graph, &self.pipeline)).collect(),
        }
    }

    pub(super) fn swap(&self, versions: &GraphVersions, keep_previous: bool) -> Vec<Cmd> {
        let GraphVersions { live, stage, previous, blocked } = versions;
        let mut commands = self.discard(previous);
        if keep_previous && live.is_whole() {
            commands.extend(self.relocate(live, GraphRole::Previous));
        } else {
            commands.extend(self.discard(live));
        }
        commands.extend(Self::release(live, stage));
        // Empty graphs that a search has left under the names of stages.
        commands.extend(blocked.iter().map(|graph| graph::delete(graph.as_str())));
        commands.extend(self.relocate(stage, GraphRole::Live));
        commands.extend(self.mark(stage));
        commands
    }

    pub(super) fn rollback(&self, versions: &GraphVersions) -> Vec<Cmd> {
        let GraphVersions { live, previous, .. } = versions;
        let mut commands = self.relocate(live, GraphRole::Exchange);
        commands.extend(Self::release(live, previous));
        commands.extend(self.relocate(previous, GraphRole::Live));
        commands.extend(self.mark(previous));
        commands.extend(self.relocate(&GraphVersion { role: GraphRole::Exchange, ..live.clone() }, GraphRole::Previous));
        commands
    }
}

/// Whether a key exists. A key of another type is an error, because it would be replaced.
pub(super) fn has_type(types: &BTreeMap<String, String>, (key, wanted): &TypedKey) -> Result<bool> {
    match types.get(key) {
        None => Ok(false),
        Some(found) if found == wanted => Ok(true),
        Some(found) => {
            let message = format!("the key '{key}' is a {found}, but a {wanted} is expected");
            Err(Error::new(ErrorKind::CacheWrongType, message))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::routes::Routes;

    fn name(name: &str) -> GraphName {
        GraphName::new(name).unwrap()
    }

    fn names(names: &[&str]) -> BTreeSet<GraphName> {
        names.iter().copied().map(name).collect()
    }

    fn one_graph() -> SwapCommands {
        SwapCommands::new(name("g"), Routing::OnlyGraph(name("g")))
    }

    fn by_group() -> SwapCommands {
        SwapCommands::new(name("p"), Routing::ByGroup(Routes::new(name("default_db"))))
    }

    /// A version in which all named graphs exist.
    fn version(role: GraphRole, graphs: &[&str], beside: &[Companion]) -> GraphVersion {
        GraphVersion { role, graphs: names(graphs), present: names(graphs), beside: beside.iter().copied().collect() }
    }

    const WHOLE: [Companion; 2] = [Companion::Checkpoint, Companion::Quarantine];
    const WITHOUT_QUARANTINE: [Companion; 1] = [Companion::Checkpoint];
    const OF_GROUPS: [Companion; 2] = [Companion::Groups, Companion::Checkpoint];

    /// The live version of one graph.
    fn live(is_there: bool, beside: &[Companion]) -> GraphVersion {
        let version = version(GraphRole::Live, &["g"], beside);
        if is_there { version } else { GraphVersion { present: BTreeSet::new(), ..version } }
    }

    fn around(live: GraphVersion) -> GraphVersions {
        GraphVersions {
            live,
            stage: version(GraphRole::Stage, &["g"], &WITHOUT_QUARANTINE),
            previous: version(GraphRole::Previous, &["g"], &WHOLE),
            blocked: BTreeSet::new(),
        }
    }

    /// Keys as `l` for the live graph of `g`, `s.c` for the checkpoint of its stage, and so on.
    fn texts(commands: &[Cmd]) -> Vec<String> {
        let word = |argument: redis::Arg<&[u8]>| match argument {
            redis::Arg::Simple(bytes) => short(&String::from_utf8_lossy(bytes)),
            _ => String::new(),
        };
        commands.iter().map(|command| command.args_iter().map(word).collect::<Vec<_>>().join(" ")).collect()
    }

    fn short(key: &str) -> String {
        let Some(rest) = key.strip_prefix("{g}:") else { return if key == "g" { "l".to_owned() } else { key.to_owned() } };
        let rest = rest.replace("stage", "s").replace("previous", "p").replace("exchange", "x");
        let rest = rest.replace(":checkpoint", ".c").replace(":quarantine", ".q");
        rest.replace("checkpoint", "l.c").replace("quarantine", "l.q")
    }

    fn swapped(live: GraphVersion, keep: bool) -> Vec<String> {
        texts(&one_graph().swap(&around(live), keep))
    }

    #[test]
    fn the_live_graph_is_kept_only_whole() {
        let kept = [
            "GRAPH.DELETE p",
            "UNLINK p.c p.q",
            "RENAME l p",
            "RENAME l.c p.c",
            "RENAME l.q p.q",
            "RENAME s l",
            "RENAME s.c l.c",
        ];
        assert_eq!(swapped(live(true, &WHOLE), true), kept);
        let dropped = ["GRAPH.DELETE p", "UNLINK p.c p.q", "GRAPH.DELETE l", "UNLINK l.c l.q", "RENAME s l", "RENAME s.c l.c"];
        assert_eq!(swapped(live(true, &WHOLE), false), dropped);
        assert_eq!(swapped(live(true, &[]), true), dropped);
        let first = ["GRAPH.DELETE p", "UNLINK p.c p.q", "UNLINK l.c l.q", "RENAME s l", "RENAME s.c l.c"];
        assert_eq!(swapped(live(false, &[]), true), first);
    }

    #[test]
    fn a_rollback_is_its_own_inverse() {
        let commands = |live| texts(&one_graph().rollback(&around(live)));
        assert_eq!(
            commands(live(true, &WITHOUT_QUARANTINE)),
            ["RENAME l x", "RENAME l.c x.c", "RENAME p l", "RENAME p.c l.c", "RENAME p.q l.q", "RENAME x p", "RENAME x.c p.c"]
        );
        assert_eq!(commands(live(false, &[])), ["RENAME p l", "RENAME p.c l.c", "RENAME p.q l.q"]);
    }

    /// The group `a` stays, `b` is gone from the source, and `c` is new, with an empty graph that a search has left.
    fn of_groups() -> GraphVersions {
        GraphVersions {
            live: version(GraphRole::Live, &["a", "b"], &OF_GROUPS),
            stage: version(GraphRole::Stage, &["a", "c"], &OF_GROUPS),
            previous: version(GraphRole::Previous, &["b"], &OF_GROUPS),
            blocked: names(&["c"]),
        }
    }

    #[test]
    fn the_graphs_of_groups_move_together_and_carry_markers() {
        let swapped = texts(&by_group().swap(&of_groups(), true));
        let wanted = [
            "GRAPH.DELETE {b}:previous",
            "UNLINK {p}:previous:graphs {p}:previous:checkpoint {p}:previous:quarantine",
            "RENAME a {a}:previous",
            "RENAME b {b}:previous",
            "RENAME {p}:graphs {p}:previous:graphs",
            "RENAME {p}:checkpoint {p}:previous:checkpoint",
            "UNLINK {b}:pipeline",
            "GRAPH.DELETE c",
            "RENAME {a}:stage a",
            "RENAME {c}:stage c",
            "RENAME {p}:stage:graphs {p}:graphs",
            "RENAME {p}:stage:checkpoint {p}:checkpoint",
            "SET {a}:pipeline p",
            "SET {c}:pipeline p",
        ];
        assert_eq!(swapped, wanted);
    }

    #[test]
    fn a_rollback_marks_the_graphs_that_come_back() {
        let commands = texts(&by_group().rollback(&of_groups()));
        let wanted = [
            "RENAME a {a}:exchange",
            "RENAME b {b}:exchange",
            "RENAME {p}:graphs {p}:exchange:graphs",
            "RENAME {p}:checkpoint {p}:exchange:checkpoint",
            "UNLINK {a}:pipeline",
            "RENAME {b}:previous b",
            "RENAME {p}:previous:graphs {p}:graphs",
            "RENAME {p}:previous:checkpoint {p}:checkpoint",
            "SET {b}:pipeline p",
            "RENAME {a}:exchange {a}:previous",
            "RENAME {b}:exchange {b}:previous",
            "RENAME {p}:exchange:graphs {p}:previous:graphs",
            "RENAME {p}:exchange:checkpoint {p}:previous:checkpoint",
        ];
        assert_eq!(commands, wanted);
    }

    #[test]
    fn a_version_is_whole_with_its_checkpoint_and_all_its_graphs() {
        let found = |keys: &[&str]| {
            let typed = |key: &&str| ((*key).to_owned(), if key.ends_with("checkpoint") { TEXT } else { GRAPH_TYPE }.to_owned());
            let types = keys.iter().map(typed).collect();
            GraphVersion::found(&by_group(), GraphRole::Stage, names(&["a", "b"]), &types).unwrap()
        };
        assert!(found(&["{a}:stage", "{b}:stage", "{p}:stage:checkpoint"]).is_whole());
        assert!(!found(&["{a}:stage", "{p}:stage:checkpoint"]).is_whole());
        assert!(!found(&["{a}:stage", "{b}:stage"]).is_whole());
        assert!(!found(&["{a}:stage"]).is_absent() && !found(&["{p}:stage:checkpoint"]).is_absent());
        assert!(found(&[]).is_absent());
    }

    #[test]
    fn a_key_of_another_type_is_never_replaced() {
        let is_there = |found: &[&str]| {
            let types = found.iter().map(|found| ("g".to_owned(), (*found).to_owned())).collect();
            has_type(&types, &("g".to_owned(), GRAPH_TYPE))
        };
        assert!(is_there(&["hash"]).is_err_and(|error| error.kind() == ErrorKind::CacheWrongType));
        assert_eq!(is_there(&[]).ok(), Some(false));
        assert_eq!(is_there(&[GRAPH_TYPE]).ok(), Some(true));
    }
}
