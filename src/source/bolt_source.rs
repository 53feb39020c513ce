//! The source that reads by our own Bolt client.

use std::sync::Arc;

use super::address::SourceAddress;
use super::bolt::{BoltReader, Probe};
use super::control_plane::ControlPlane;
use super::graph_source::GraphSource;
use crate::error::Result;
use crate::model::profile::Profile;

/// A Neo4j database, read by Bolt 5.
pub type BoltSource = GraphSource<BoltReader>;

impl BoltSource {
    /// Connects with a control plane of its own.
    pub async fn connect(address: &SourceAddress, profile: Arc<Profile>) -> Result<Self> {
        Self::connect_beside(Arc::new(ControlPlane::new(address)), address, profile).await
    }

    /// Connects beside the control plane of the same database. Each of them proves with a query that it can read.
    pub(crate) async fn connect_beside(
        control: Arc<ControlPlane>,
        address: &SourceAddress,
        profile: Arc<Profile>,
    ) -> Result<Self> {
        control.connect().await?;
        // One router knows the members of the cluster from one source to the next: the configured server may have left.
        let router = control.router()?;
        let reader = BoltReader::connect_by(Arc::clone(&router), address.pool_size).await?;
        Ok(Self::new(reader, Probe::by(router), control, profile))
    }
}
