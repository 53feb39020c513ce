//! Makes a pipeline's connections from its configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::actors::connection_factory::{ConnectionFactory, FittedPipeline, StageAccess};
use crate::actors::spreading::{Membership, Participant};
use crate::config::{
    FalkorConfig, FalkorLocation, FalkorTls, FullSyncConfig, FullSyncStrategy, GraphTarget, Neo4jConfig, PipelineConfig,
    ProfileChoice, SentinelConfig,
};
use crate::error::{Error, ErrorKind, Result};
use crate::model::leader::Leader;
use crate::model::profile::Profile;
use crate::model::routes::Routes;
use crate::sink::{
    CacheAddress, CacheLocation, CacheTls, CheckpointStore, ClusterAddress, GraphLease, GraphRole, GraphSet, Ownership,
    RedisLease, SentinelAddress, Sink, StageSink, TakeOver, UnsafeIndexCheck,
};
use crate::source::BoltSource;
use crate::source::transaction_log::LogDirectory;
use crate::source::{ControlPlane, Source, SourceAddress};
use crate::sync::CacheView;

/// This process, as others find it.
#[derive(Debug, Clone, Default)]
pub(crate) struct LocalInstance {
    /// The address of its HTTP server, if it has one.
    pub(crate) url: Option<String>,
    /// The instances that it shares pipelines with, and its own id among them.
    pub(crate) membership: Arc<Membership>,
}

/// Connects to a real Neo4j and a real FalkorDB.
#[derive(Debug, Clone)]
pub(crate) struct ServerConnector {
    name: String,
    /// The instances that share the pipeline; absent if it is not spread over them.
    membership: Option<Arc<Membership>>,
    source: SourceAddress,
    transaction_log: Option<LogDirectory>,
    control_plane: Arc<ControlPlane>,
    graphs: GraphSet,
    take_over: TakeOver,
    full_sync: FullSyncConfig,
}

impl ServerConnector {
    /// The connections of a pipeline. Reads only the profile at this point.
    pub(crate) fn new(config: &PipelineConfig) -> Result<Self> {
        Self::of_process(config, &LocalInstance::default())
    }

    /// As [`Self::new`], for a process that others find.
    pub(crate) fn of_process(config: &PipelineConfig, process: &LocalInstance) -> Result<Self> {
        let name = config.control_name();
        let profile = Arc::new(scoped(read_profile(&config.profile)?, config)?);
        let claim = Ownership::claim_by(name, process.membership.id().clone(), process.url.clone())?;
        let graphs = GraphSet::new(cache_address(&config.falkordb), profile, claim)
            .with_safety(UnsafeIndexCheck::new(name.clone(), config.indexes.unsafe_ones))
            .with_pool_size(config.falkordb.pool_size);
        let (source, full_sync) = (source_address(&config.neo4j), config.full_sync);
        let take_over = if config.falkordb.take_over { TakeOver::Allowed } else { TakeOver::Refused };
        let control_plane = Arc::new(ControlPlane::new(&source));
        let transaction_log = config.neo4j.transaction_log.clone().map(LogDirectory::new);
        let membership = config.sync.spread.then(|| Arc::clone(&process.membership));
        let name = config.name.to_string();
        Ok(Self { name, membership, source, transaction_log, control_plane, graphs, take_over, full_sync })
    }

    /// The profile of the pipeline.
    pub(crate) fn profile(&self) -> &Arc<Profile> {
        self.graphs.profile()
    }

    /// The address of the source.
    pub(crate) fn source_address(&self) -> &str {
        &self.source.uri
    }

    /// Neo4j itself, apart from its data.
    pub(crate) fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// The address of the cache.
    pub(crate) fn cache_address(&self) -> &CacheAddress {
        self.graphs.address()
    }

    /// The graph of each group, if each has its own.
    pub(crate) fn routes(&self) -> Option<&Routes> {
        self.graphs.routes()
    }

    /// Returns the given names under which another program owns a graph, each with its owner.
    pub(crate) async fn taken_graphs<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<BTreeMap<String, String>> {
        self.graphs.taken(names).await
    }

    /// The lease, for reading its holder.
    pub(crate) fn redis_lease(&self) -> RedisLease {
        self.graphs.lease(self.take_over)
    }

    /// Returns why the graph may not be filled, or nothing if it may.
    pub(crate) async fn refusal(&self) -> Result<Option<Error>> {
        self.graphs.refusal(self.take_over).await
    }

    /// Returns the commands that the cache's user may not run.
    pub(crate) async fn missing_commands(&self) -> Result<Vec<&'static str>> {
        self.graphs.missing_commands(self.membership.is_some()).await
    }

    fn sink_of(&self, role: GraphRole) -> Box<dyn Sink> {
        Box::new(self.graphs.sink(role).of_one_life())
    }

    fn store_of(&self, role: GraphRole) -> Box<dyn CheckpointStore> {
        Box::new(self.graphs.checkpoint_store(role).of_one_life())
    }

    async fn neo4j(&self) -> Result<Arc<dyn Source>> {
        let (control_plane, profile) = (Arc::clone(&self.control_plane), Arc::clone(self.profile()));
        Ok(Arc::new(BoltSource::connect_beside(control_plane, &self.source, profile).await?))
    }

    /// The same connections with the kinds that the source has now, if the profile does not name them.
    pub(crate) async fn fit(&self) -> Result<Self> {
        if self.profile().discover.is_none() {
            return Ok(self.clone());
        }
        self.control_plane.connect().await?;
        let identity = self.control_plane.identity().await?;
        let stored = self.store().await?.load().await?.filter(|stored| stored.source == identity);
        let before = stored.map(|stored| stored.found_kinds).unwrap_or_default();
        let profile = Arc::new(self.control_plane.discovered(self.profile(), &before).await?);
        Ok(Self { graphs: self.graphs.clone().with_profile(profile), ..self.clone() })
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
        location: match &config.location {
            FalkorLocation::Fixed(server) => CacheLocation::Fixed(server.clone()),
            FalkorLocation::Sentinel(sentinel) => CacheLocation::Sentinel(sentinel_address(sentinel)),
            FalkorLocation::Cluster(nodes) => {
                CacheLocation::Cluster(ClusterAddress { hosts: nodes.clone(), graph: config.database.to_string() })
            }
        },
        username: config.username.clone(),
        password: config.password.clone(),
        tls: config.tls.as_ref().map(cache_tls),
    }
}

fn sentinel_address(config: &SentinelConfig) -> SentinelAddress {
    SentinelAddress {
        service: config.service.clone(),
        hosts: config.hosts.clone(),
        username: config.username.clone(),
        password: config.password.clone(),
        tls: config.tls.as_ref().map(cache_tls),
    }
}

fn cache_tls(config: &FalkorTls) -> CacheTls {
    CacheTls { ca_file: config.ca_file.clone() }
}

fn read_profile(choice: &ProfileChoice) -> Result<Profile> {
    let unusable = |error| Error::caused(ErrorKind::Configuration, format!("cannot use profile {choice}"), error);
    match choice {
        ProfileChoice::Graphiti => Profile::graphiti().map_err(unusable),
        ProfileChoice::Generic => Profile::generic().map_err(unusable),
        ProfileChoice::File(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Error::caused(ErrorKind::Configuration, format!("cannot read profile {}", path.display()), error)
            })?;
            Profile::parse(&text).map_err(unusable)
        }
    }
}

/// The profile for the groups that a pipeline copies, and for its target.
fn scoped(profile: Profile, config: &PipelineConfig) -> Result<Profile> {
    let unusable = |error| Error::caused(ErrorKind::Configuration, "cannot apply the groups of the pipeline", error);
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
impl ConnectionFactory for ServerConnector {
    async fn fitted(&self) -> Result<Option<FittedPipeline>> {
        if self.profile().discover.is_none() {
            return Ok(None);
        }
        let connector = self.fit().await?;
        let profile = Arc::clone(connector.profile());
        Ok(Some(FittedPipeline { connector: Arc::new(connector), profile }))
    }

    async fn source(&self) -> Result<Arc<dyn Source>> {
        self.neo4j().await
    }

    async fn sink(&self) -> Result<Box<dyn Sink>> {
        Ok(self.sink_of(GraphRole::Live))
    }

    async fn store(&self) -> Result<Box<dyn CheckpointStore>> {
        Ok(self.store_of(GraphRole::Live))
    }

    async fn view(&self) -> Result<Box<dyn CacheView>> {
        Ok(Box::new(self.graphs.view(GraphRole::Live)))
    }

    async fn lease(&self) -> Result<Box<dyn GraphLease>> {
        Ok(Box::new(self.redis_lease()))
    }

    fn participant(&self) -> Option<Participant> {
        let membership = self.membership.clone()?;
        Some(Participant::new(&self.name, membership, Box::new(self.graphs.presence())))
    }

    fn takes_over(&self) -> bool {
        self.take_over == TakeOver::Allowed
    }

    fn transaction_log(&self) -> Option<LogDirectory> {
        self.transaction_log.clone()
    }

    async fn stage_access(&self) -> Result<Option<StageAccess>> {
        if self.full_sync.strategy == FullSyncStrategy::InPlace {
            return Ok(None);
        }
        let stage = |by_payloads| Arc::new(StageConnector { live: self.clone(), by_payloads });
        Ok(Some(StageAccess {
            by_payloads: stage(true),
            by_statements: stage(false),
            swap: Box::new(self.graphs.swap()),
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
impl ConnectionFactory for StageConnector {
    async fn source(&self) -> Result<Arc<dyn Source>> {
        self.live.neo4j().await
    }

    async fn sink(&self) -> Result<Box<dyn Sink>> {
        Ok(self.live.sink_of(GraphRole::Stage))
    }

    async fn store(&self) -> Result<Box<dyn CheckpointStore>> {
        Ok(self.live.store_of(GraphRole::Stage))
    }

    async fn view(&self) -> Result<Box<dyn CacheView>> {
        Ok(Box::new(self.live.graphs.view(GraphRole::Stage)))
    }

    async fn lease(&self) -> Result<Box<dyn GraphLease>> {
        Ok(Box::new(LentLease))
    }

    fn transaction_log(&self) -> Option<LogDirectory> {
        self.live.transaction_log()
    }

    async fn stage(&self) -> Result<Option<Box<dyn StageSink>>> {
        let loader = if self.by_payloads { self.live.graphs.bulk_loader() } else { None };
        Ok(loader.map(|loader| Box::new(loader.of_one_life()) as Box<dyn StageSink>))
    }
}

/// The lease of the live graph, which its own generation renews and gives back: every checkpoint and every payload of a stage is
/// written only while this process holds it.
struct LentLease;

#[async_trait]
impl GraphLease for LentLease {
    async fn acquire(&mut self) -> Result<()> {
        Ok(())
    }

    async fn leader(&mut self) -> Result<Option<Leader>> {
        Ok(None)
    }

    async fn renew(&mut self) -> Result<()> {
        Ok(())
    }

    async fn release(&mut self) -> Result<()> {
        Ok(())
    }
}
