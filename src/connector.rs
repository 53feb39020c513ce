//! From a pipeline's configuration to its connections.

use std::sync::Arc;

use async_trait::async_trait;

use crate::actors::launch::{Connector, Fitted, Shadow};
use crate::config::{FalkorConfig, FullSyncConfig, FullSyncStrategy, GraphTarget, Neo4jConfig, PipelineConfig, ProfileChoice};
use crate::error::{Error, ErrorKind, Result};
use crate::model::graph_name::GraphName;
use crate::model::profile::Profile;
use crate::sink::{
    BulkLoader, CacheAddress, CacheTls, CacheView, CheckpointStore, FalkorSink, FalkorView, GraphSwap, Lease, Ownership,
    RedisCheckpointStore, RedisLease, Sink, StageKey, StageSink, missing_commands,
};
use crate::source::bolt::BoltSource;
use crate::source::{Source, SourceAddress};

/// Connects to a real Neo4j and a real FalkorDB.
#[derive(Debug, Clone)]
pub struct ServerConnector {
    source: SourceAddress,
    cache: CacheAddress,
    graph: GraphName,
    profile: Arc<Profile>,
    ownership: Ownership,
    full_sync: FullSyncConfig,
}

impl ServerConnector {
    /// The connections of a pipeline. Reads the profile, and nothing else yet.
    pub fn new(config: &PipelineConfig) -> Result<Self> {
        let GraphTarget::Single(graph) = &config.falkordb.database else {
            return Err(Error::new(ErrorKind::Configuration, "falkordb.database: a graph for each group is not supported yet"));
        };
        Ok(Self {
            source: source_address(&config.neo4j),
            cache: cache_address(&config.falkordb),
            graph: graph.clone(),
            profile: Arc::new(read_profile(&config.profile)?),
            ownership: Ownership::claim(graph.owner_key())?,
            full_sync: config.full_sync,
        })
    }

    /// The profile in use.
    pub fn profile(&self) -> &Arc<Profile> {
        &self.profile
    }

    /// The graph's name.
    pub fn graph(&self) -> &GraphName {
        &self.graph
    }

    /// The lease, to look at who holds it.
    pub fn redis_lease(&self) -> RedisLease {
        RedisLease::new(self.cache.clone(), self.ownership.clone())
    }

    /// The commands that the cache's user lacks.
    pub async fn missing_commands(&self) -> Result<Vec<&'static str>> {
        missing_commands(self.cache.clone(), &self.graph).await
    }

    async fn neo4j(&self) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(self.bolt().await?))
    }

    async fn bolt(&self) -> Result<BoltSource> {
        BoltSource::connect(&self.source, Arc::clone(&self.profile)).await
    }

    /// The same with the kinds that the source has now, where the profile does not name them.
    pub async fn fit(&self) -> Result<Self> {
        if self.profile.discover.is_none() {
            return Ok(self.clone());
        }
        let source = self.bolt().await?;
        let identity = source.identity().await?;
        let stored = self.store().await?.load().await?.filter(|stored| stored.source == identity);
        let before = stored.map(|stored| stored.found_kinds).unwrap_or_default();
        let profile = Arc::new(source.discovered(&before).await?);
        Ok(Self { profile, ..self.clone() })
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
        let sink = FalkorSink::new(self.cache.clone(), self.graph.as_str(), Arc::clone(&self.profile));
        Ok(Box::new(sink.of_one_life()))
    }

    async fn store(&self) -> Result<Box<dyn CheckpointStore>> {
        let store = RedisCheckpointStore::new(self.cache.clone(), &self.graph, self.ownership.clone());
        Ok(Box::new(store.of_one_life()))
    }

    async fn view(&self) -> Result<Box<dyn CacheView>> {
        Ok(Box::new(FalkorView::new(self.cache.clone(), self.graph.as_str(), Arc::clone(&self.profile))))
    }

    async fn lease(&self) -> Result<Box<dyn Lease>> {
        Ok(Box::new(self.redis_lease()))
    }

    async fn shadow(&self) -> Result<Option<Shadow>> {
        if self.full_sync.strategy == FullSyncStrategy::InPlace {
            return Ok(None);
        }
        let stage = |by_payloads| Arc::new(StageConnector { live: self.clone(), by_payloads });
        Ok(Some(Shadow {
            filler: stage(true),
            feeder: stage(false),
            swap: Box::new(GraphSwap::new(self.cache.clone(), &self.graph, self.ownership.clone())),
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
        let sink = FalkorSink::new(self.live.cache.clone(), self.live.graph.stage_key(), Arc::clone(&self.live.profile));
        Ok(Box::new(sink.of_one_life()))
    }

    async fn store(&self) -> Result<Box<dyn CheckpointStore>> {
        let store = RedisCheckpointStore::of_stage(self.live.cache.clone(), &self.live.graph, self.live.ownership.clone());
        Ok(Box::new(store.of_one_life()))
    }

    async fn view(&self) -> Result<Box<dyn CacheView>> {
        let (cache, profile) = (self.live.cache.clone(), Arc::clone(&self.live.profile));
        Ok(Box::new(FalkorView::new(cache, self.live.graph.stage_key(), profile)))
    }

    async fn lease(&self) -> Result<Box<dyn Lease>> {
        Ok(Box::new(LentLease))
    }

    async fn stage(&self) -> Result<Option<Box<dyn StageSink>>> {
        if !self.by_payloads {
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
