//! From a pipeline's configuration to its connections.

use std::sync::Arc;

use async_trait::async_trait;

use crate::actors::launch::Connector;
use crate::config::{FalkorConfig, GraphTarget, Neo4jConfig, PipelineConfig, ProfileChoice};
use crate::error::{Error, ErrorKind, Result};
use crate::model::graph_name::GraphName;
use crate::model::profile::Profile;
use crate::sink::{
    CacheAddress, CacheTls, CacheView, CheckpointStore, FalkorSink, FalkorView, Lease, Ownership, RedisCheckpointStore,
    RedisLease, Sink,
};
use crate::source::{Neo4jSource, Source, SourceAddress};

/// Connects to a real Neo4j and a real FalkorDB.
#[derive(Debug)]
pub struct ServerConnector {
    source: SourceAddress,
    cache: CacheAddress,
    graph: GraphName,
    profile: Arc<Profile>,
    ownership: Ownership,
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
    async fn source(&self) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(Neo4jSource::connect(&self.source, Arc::clone(&self.profile)).await?))
    }

    async fn sink(&self) -> Result<Box<dyn Sink>> {
        Ok(Box::new(FalkorSink::new(self.cache.clone(), self.graph.as_str(), Arc::clone(&self.profile)).of_one_life()))
    }

    async fn store(&self) -> Result<Box<dyn CheckpointStore>> {
        Ok(Box::new(RedisCheckpointStore::new(self.cache.clone(), &self.graph, self.ownership.clone()).of_one_life()))
    }

    async fn view(&self) -> Result<Box<dyn CacheView>> {
        Ok(Box::new(FalkorView::new(self.cache.clone(), self.graph.as_str(), Arc::clone(&self.profile))))
    }

    async fn lease(&self) -> Result<Box<dyn Lease>> {
        Ok(Box::new(self.redis_lease()))
    }
}
