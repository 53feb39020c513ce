//! From a pipeline's configuration to its connections.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::actors::launch::{Connector, Fitted, Shadow};
use crate::config::{FalkorConfig, FullSyncConfig, FullSyncStrategy, GraphTarget, Neo4jConfig, PipelineConfig, ProfileChoice};
use crate::error::{Error, ErrorKind, Result};
use crate::model::graph_name::GraphName;
use crate::model::profile::Profile;
use crate::model::routes::Routes;
use crate::sink::{
    BulkLoader, CacheAddress, CacheTls, CheckpointStore, Connection, FalkorSink, FalkorView, GraphSwap, Lease, Ownership, Place,
    RedisCheckpointStore, RedisLease, RoutedCache, RoutedSink, RoutedSwap, RoutedView, Safety, Sink, StageKey, StageSink, Swap,
    TakeOver, adoption_refusal, missing_commands, taken_graphs,
};
use crate::source::bolt::BoltSource;
use crate::source::{ControlPlane, Source, SourceAddress};
use crate::sync::CacheView;

/// Connects to a real Neo4j and a real FalkorDB.
#[derive(Debug, Clone)]
pub struct ServerConnector {
    source: SourceAddress,
    control_plane: Arc<ControlPlane>,
    cache: CacheAddress,
    /// The graph, or the name that all is kept under beside the graphs of the groups.
    graph: GraphName,
    /// How elements find their graphs, where each group has one of its own.
    routed: Option<RoutedCache>,
    profile: Arc<Profile>,
    ownership: Ownership,
    take_over: TakeOver,
    full_sync: FullSyncConfig,
    safety: Safety,
}

impl ServerConnector {
    /// The connections of a pipeline. Reads the profile, and nothing else yet.
    pub fn new(config: &PipelineConfig) -> Result<Self> {
        let graph = config.control_name().clone();
        let cache = cache_address(&config.falkordb);
        let profile = Arc::new(scoped(read_profile(&config.profile)?, config)?);
        let ownership = Ownership::claim(&graph)?;
        let safety = Safety::new(graph.clone(), config.indexes.unsafe_ones);
        let routed = profile.routes.clone().map(|routes| RoutedCache {
            address: cache.clone(),
            control: graph.clone(),
            ownership: ownership.clone(),
            routes,
            profile: Arc::clone(&profile),
            pool_size: config.falkordb.pool_size,
            safety: safety.clone(),
        });
        let (source, full_sync) = (source_address(&config.neo4j), config.full_sync);
        let take_over = if config.falkordb.take_over { TakeOver::Allowed } else { TakeOver::Refused };
        let control_plane = Arc::new(ControlPlane::new(&source));
        Ok(Self { source, control_plane, cache, graph, routed, profile, ownership, take_over, full_sync, safety })
    }

    /// The profile in use.
    pub fn profile(&self) -> &Arc<Profile> {
        &self.profile
    }

    /// The graph's name; where each group has a graph, the name that is theirs together.
    pub fn graph(&self) -> &GraphName {
        &self.graph
    }

    /// Where the source is.
    pub fn source_address(&self) -> &str {
        &self.source.uri
    }

    /// Neo4j itself, apart from what it holds.
    pub fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// Where the cache is.
    pub fn cache_address(&self) -> &CacheAddress {
        &self.cache
    }

    /// Which graph each group goes to, where each has one of its own.
    pub fn routes(&self) -> Option<&Routes> {
        self.routed.as_ref().map(|routed| &routed.routes)
    }

    /// The graphs among these that another program owns, each with its owner.
    pub async fn taken_graphs<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<BTreeMap<String, String>> {
        taken_graphs(&self.cache, &self.graph, names).await
    }

    /// The lease, to look at who holds it.
    pub fn redis_lease(&self) -> RedisLease {
        let (cache, ownership) = (self.cache.clone(), self.ownership.clone());
        // The graphs of groups are claimed one by one.
        if self.routed.is_some() {
            RedisLease::new(cache, ownership)
        } else {
            RedisLease::of_graph(cache, ownership, self.take_over)
        }
    }

    /// Why the graph may not be filled, if it may not.
    pub async fn refusal(&self) -> Result<Option<Error>> {
        match self.routed {
            Some(_) => Ok(None),
            None => adoption_refusal(&mut Connection::new(self.cache.clone()), &self.graph, self.take_over).await,
        }
    }

    /// The commands that the cache's user lacks.
    pub async fn missing_commands(&self) -> Result<Vec<&'static str>> {
        missing_commands(self.cache.clone(), &self.graph).await
    }

    fn sink_at(&self, place: Place) -> Box<dyn Sink> {
        if let Some(routed) = &self.routed {
            return Box::new(RoutedSink::new(routed, place));
        }
        let (cache, profile, ownership) = (self.cache.clone(), Arc::clone(&self.profile), self.ownership.clone());
        let sink = FalkorSink::new(cache, self.key_at(place), profile, ownership).of_one_life();
        Box::new(sink.guarded(self.safety.clone()))
    }

    fn view_at(&self, place: Place) -> Box<dyn CacheView> {
        if let Some(routed) = &self.routed {
            return Box::new(RoutedView::new(routed, place));
        }
        Box::new(FalkorView::new(self.cache.clone(), self.key_at(place), Arc::clone(&self.profile)))
    }

    fn key_at(&self, place: Place) -> String {
        match place {
            Place::Live => self.graph.as_str().to_owned(),
            Place::Stage => self.graph.stage_key(),
        }
    }

    fn swap(&self) -> Box<dyn Swap> {
        if let Some(routed) = &self.routed {
            return Box::new(RoutedSwap::new(routed));
        }
        Box::new(GraphSwap::new(self.cache.clone(), &self.graph, self.ownership.clone()))
    }

    async fn neo4j(&self) -> Result<Arc<dyn Source>> {
        let (control_plane, profile) = (Arc::clone(&self.control_plane), Arc::clone(&self.profile));
        Ok(Arc::new(BoltSource::connect_beside(control_plane, &self.source, profile).await?))
    }

    /// The same with the kinds that the source has now, where the profile does not name them.
    pub async fn fit(&self) -> Result<Self> {
        if self.profile.discover.is_none() {
            return Ok(self.clone());
        }
        self.control_plane.connect().await?;
        let identity = self.control_plane.identity().await?;
        let stored = self.store().await?.load().await?.filter(|stored| stored.source == identity);
        let before = stored.map(|stored| stored.found_kinds).unwrap_or_default();
        let profile = Arc::new(self.control_plane.discovered(&self.profile, &before).await?);
        let of_profile = |routed| RoutedCache { profile: Arc::clone(&profile), ..routed };
        let routed = self.routed.clone().map(of_profile);
        Ok(Self { profile, routed, ..self.clone() })
    }
}

fn source_address(config: &Neo4jConfig) -> SourceAddress {
    SourceAddress {
        uri: config.uri.to_string(),
        user: config.user.clone(),
        password: config.password.clone(),
        database: config.database.clone(),
        pool_size: config.pool_size,
        ca_file: config.ca_file.clone(),
    }
}

fn cache_address(config: &FalkorConfig) -> CacheAddress {
    CacheAddress {
        host: config.host.clone(),
        port: config.port,
        username: config.username.clone(),
        password: config.password.clone(),
        tls: config.tls.as_ref().map(|tls| CacheTls { ca_file: tls.ca_file.clone() }),
    }
}

fn read_profile(choice: &ProfileChoice) -> Result<Profile> {
    let unusable = |error| Error::caused(ErrorKind::Configuration, format!("profile {choice} cannot be used"), error);
    match choice {
        ProfileChoice::Graphiti => Profile::graphiti().map_err(unusable),
        ProfileChoice::Generic => Profile::generic().map_err(unusable),
        ProfileChoice::File(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Error::caused(ErrorKind::Configuration, format!("profile {} cannot be read", path.display()), error)
            })?;
            Profile::parse(&text).map_err(unusable)
        }
    }
}

/// The profile for what a pipeline copies, and where to.
fn scoped(profile: Profile, config: &PipelineConfig) -> Result<Profile> {
    let unusable = |error| Error::caused(ErrorKind::Configuration, "the pipeline's groups cannot be told apart", error);
    let profile = profile.limited_to(&config.filter.group_ids).map_err(unusable)?;
    match config.falkordb.database {
        GraphTarget::Single(_) => Ok(profile),
        GraphTarget::PerGroup => {
            let routes = Routes::new(config.routing.default_graph.clone());
            profile.with_a_graph_for_each_group(routes).map_err(unusable)
        }
    }
}

#[async_trait]
impl Connector for ServerConnector {
    async fn fitted(&self) -> Result<Option<Fitted>> {
        if self.profile.discover.is_none() {
            return Ok(None);
        }
        let connector = self.fit().await?;
        let profile = Arc::clone(&connector.profile);
        Ok(Some(Fitted { connector: Arc::new(connector), profile }))
    }

    async fn source(&self) -> Result<Arc<dyn Source>> {
        self.neo4j().await
    }

    async fn sink(&self) -> Result<Box<dyn Sink>> {
        Ok(self.sink_at(Place::Live))
    }

    async fn store(&self) -> Result<Box<dyn CheckpointStore>> {
        let store = RedisCheckpointStore::new(self.cache.clone(), &self.graph, self.ownership.clone());
        Ok(Box::new(store.of_one_life()))
    }

    async fn view(&self) -> Result<Box<dyn CacheView>> {
        Ok(self.view_at(Place::Live))
    }

    async fn lease(&self) -> Result<Box<dyn Lease>> {
        Ok(Box::new(self.redis_lease()))
    }

    fn takes_over(&self) -> bool {
        self.take_over == TakeOver::Allowed
    }

    async fn shadow(&self) -> Result<Option<Shadow>> {
        if self.full_sync.strategy == FullSyncStrategy::InPlace {
            return Ok(None);
        }
        let stage = |by_payloads| Arc::new(StageConnector { live: self.clone(), by_payloads });
        Ok(Some(Shadow {
            filler: stage(true),
            feeder: stage(false),
            swap: self.swap(),
            keep_previous: self.full_sync.keep_previous,
        }))
    }
}

/// Connects to the stage of a graph that this process owns.
#[derive(Debug)]
struct StageConnector {
    live: ServerConnector,
    by_payloads: bool,
}

#[async_trait]
impl Connector for StageConnector {
    async fn source(&self) -> Result<Arc<dyn Source>> {
        self.live.neo4j().await
    }

    async fn sink(&self) -> Result<Box<dyn Sink>> {
        Ok(self.live.sink_at(Place::Stage))
    }

    async fn store(&self) -> Result<Box<dyn CheckpointStore>> {
        let store = RedisCheckpointStore::of_stage(self.live.cache.clone(), &self.live.graph, self.live.ownership.clone());
        Ok(Box::new(store.of_one_life()))
    }

    async fn view(&self) -> Result<Box<dyn CacheView>> {
        Ok(self.live.view_at(Place::Stage))
    }

    async fn lease(&self) -> Result<Box<dyn Lease>> {
        Ok(Box::new(LentLease))
    }

    async fn stage(&self) -> Result<Option<Box<dyn StageSink>>> {
        // A payload is of one graph: the graphs of groups are filled by parameters.
        if !self.by_payloads || self.live.routed.is_some() {
            return Ok(None);
        }
        let loader = BulkLoader::new(self.live.cache.clone(), StageKey::of(&self.live.graph), self.live.ownership.clone());
        Ok(Some(Box::new(loader.of_one_life())))
    }
}

/// The lease of the live graph, which its own generation renews and gives back: every checkpoint and every payload of a stage is
/// written only while this process holds it.
struct LentLease;

#[async_trait]
impl Lease for LentLease {
    async fn acquire(&mut self) -> Result<()> {
        Ok(())
    }

    async fn renew(&mut self) -> Result<()> {
        Ok(())
    }

    async fn release(&mut self) -> Result<()> {
        Ok(())
    }
}
