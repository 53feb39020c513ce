//! A graph shaped as Graphiti writes it, of any size, the same for the same seed.
//!
//! It holds on purpose what is awkward to copy: extra labels, attributes, several kinds of datetimes, empty
//! strings and lists, absent properties, text with quotes and NUL, self-loops and parallel relationships.

mod changes;
mod content;
mod indices;
mod write;

use neo4rs::Graph;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::support::Result;
pub use changes::Episode;
use content::Content;
pub use indices::create_indices;
use write::{Statement, write_nodes, write_relationships};

#[derive(Clone, Debug)]
pub struct GraphSpec {
    pub entities: usize,
    pub facts: usize,
    pub episodes: usize,
    pub mentions: usize,
    pub communities: usize,
    pub members: usize,
    pub sagas: usize,
    /// How many group ids. The first is the empty string, Graphiti's default on Neo4j. Nothing crosses groups.
    pub groups: usize,
    pub dimension: usize,
    pub seed: u64,
}

impl Default for GraphSpec {
    fn default() -> Self {
        Self {
            entities: 120,
            facts: 300,
            episodes: 40,
            mentions: 160,
            communities: 6,
            members: 60,
            sagas: 3,
            groups: 2,
            dimension: 256,
            seed: 1,
        }
    }
}

impl GraphSpec {
    /// 25,000 nodes and 70,000 relationships with 60,000 vectors of 256.
    pub fn large() -> Self {
        Self {
            entities: 15_200,
            facts: 44_400,
            episodes: 9_300,
            mentions: 15_400,
            communities: 400,
            members: 1_000,
            sagas: 100,
            ..Self::default()
        }
    }

    /// So many times as large.
    pub fn times(self, scale: usize) -> Self {
        Self {
            entities: self.entities * scale,
            facts: self.facts * scale,
            episodes: self.episodes * scale,
            mentions: self.mentions * scale,
            communities: self.communities * scale,
            members: self.members * scale,
            sagas: self.sagas * scale,
            ..self
        }
    }

    pub fn nodes(&self) -> usize {
        self.entities + self.episodes + self.communities + self.sagas
    }

    pub fn relationships(&self) -> usize {
        let chain = self.saga_chain();
        let next = chain.iter().filter(|link| link.previous.is_some()).count();
        self.facts + self.mentions + self.members + chain.len() + next
    }

    pub fn vectors(&self) -> usize {
        self.entities + self.communities + self.facts
    }

    /// Half of the episodes belong to sagas of their group, each after the previous one of its saga.
    fn saga_chain(&self) -> Vec<SagaLink> {
        let groups = self.groups.max(1);
        let mut last = vec![None; self.sagas];
        let in_turn = (0..self.episodes / 2).filter_map(|episode| {
            let group = episode % groups;
            let in_group = (self.sagas + groups - 1 - group) / groups;
            let turn = (episode / groups).checked_rem(in_group)?;
            let saga = group + turn * groups;
            let previous = last[saga].replace(episode);
            Some(SagaLink { saga, episode, previous })
        });
        in_turn.collect()
    }

    /// The group of the element at a position. Positions of one group are `groups` apart.
    fn group(&self, position: usize) -> String {
        match position % self.groups.max(1) {
            0 => String::new(),
            number => format!("group-{number}"),
        }
    }
}

/// The positions of a saga, of an episode in it, and of the one before.
struct SagaLink {
    saga: usize,
    episode: usize,
    previous: Option<usize>,
}

/// What was written, and the means to change it.
pub struct World {
    graph: Graph,
    content: Content,
    spec: GraphSpec,
    pub entities: Vec<String>,
    pub facts: Vec<String>,
    pub episodes: Vec<String>,
    pub communities: Vec<String>,
    pub sagas: Vec<String>,
    /// How many changes were made, which tells them apart in their texts.
    changes: usize,
}

/// Writes the graph, with Graphiti's indices.
pub async fn build(graph: &Graph, spec: &GraphSpec) -> Result<World> {
    indices::create_key_indices(graph).await?;
    let mut world = World::empty(graph.clone(), spec.clone());
    world.write_all_nodes().await?;
    world.write_all_relationships().await?;
    // The rest of the indices last: filling them once is cheaper than maintaining them row by row.
    create_indices(graph).await?;
    world.content.go_live();
    Ok(world)
}

impl World {
    fn empty(graph: Graph, spec: GraphSpec) -> Self {
        let mut content = Content::new(StdRng::seed_from_u64(spec.seed), spec.dimension);
        Self {
            graph,
            entities: content.uuids(spec.entities),
            facts: content.uuids(spec.facts),
            episodes: content.uuids(spec.episodes),
            communities: content.uuids(spec.communities),
            sagas: content.uuids(spec.sagas),
            content,
            spec,
            changes: 0,
        }
    }

    async fn write_all_nodes(&mut self) -> Result<()> {
        let Self { content, spec, entities, facts, .. } = self;
        let rows = entities.iter().enumerate().map(|(at, uuid)| content.entity(uuid, &spec.group(at), at));
        write_nodes(&self.graph, Statement::Entity, rows).await?;
        let rows = self.episodes.iter().enumerate().map(|(at, uuid)| {
            let known: Vec<String> = facts.iter().skip(at).step_by(spec.groups.max(1)).take(at % 4).cloned().collect();
            content.episode(uuid, &spec.group(at), at, known)
        });
        write_nodes(&self.graph, Statement::Episode, rows).await?;
        let rows = self.communities.iter().enumerate().map(|(at, uuid)| content.community(uuid, &spec.group(at), at));
        write_nodes(&self.graph, Statement::Community, rows).await?;
        let rows = self.sagas.iter().enumerate().map(|(at, uuid)| content.saga(uuid, &spec.group(at), at));
        write_nodes(&self.graph, Statement::Saga, rows).await
    }

    async fn write_all_relationships(&mut self) -> Result<()> {
        let Self { content, spec, entities, episodes, .. } = self;
        let rows = self.facts.iter().enumerate().map(|(at, uuid)| {
            let source = content.pick(entities, at, spec.groups);
            let target = content.pick(entities, at, spec.groups);
            let known = episodes.iter().skip(at % spec.groups.max(1)).step_by(spec.groups.max(1)).take(at % 3);
            content.fact(uuid, &spec.group(at), at, [source, target], known.cloned().collect())
        });
        write_relationships(&self.graph, Statement::Fact, rows).await?;
        let rows = (0..spec.mentions).map(|at| {
            let ends = [content.pick(episodes, at, spec.groups), content.pick(entities, at, spec.groups)];
            content.link(&spec.group(at), at, ends)
        });
        write_relationships(&self.graph, Statement::Mention, rows).await?;
        let rows = (0..spec.members).map(|at| {
            let ends = [content.pick(&self.communities, at, spec.groups), content.pick(entities, at, spec.groups)];
            content.link(&spec.group(at), at, ends)
        });
        write_relationships(&self.graph, Statement::Member, rows).await?;
        self.write_sagas().await
    }

    async fn write_sagas(&mut self) -> Result<()> {
        let Self { content, spec, episodes, sagas, .. } = self;
        let chain = spec.saga_chain();
        let rows = chain.iter().map(|link| {
            let ends = [sagas[link.saga].clone(), episodes[link.episode].clone()];
            content.link(&spec.group(link.episode), link.episode, ends)
        });
        write_relationships(&self.graph, Statement::SagaEpisode, rows).await?;
        let rows = chain.iter().filter_map(|link| {
            let ends = [episodes[link.previous?].clone(), episodes[link.episode].clone()];
            Some(content.link(&spec.group(link.episode), link.episode, ends))
        });
        write_relationships(&self.graph, Statement::NextEpisode, rows).await
    }
}
