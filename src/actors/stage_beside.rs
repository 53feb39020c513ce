//! The stage that an earlier generation may have left beside the graph.

use super::connection_factory::StageAccess;
use crate::error::Result;
use crate::model::checkpoint::Checkpoint;
use crate::model::profile::Profile;
use crate::model::source_identity::SourceIdentity;
use crate::sync::first_pass::is_routed_otherwise;

/// A stage beside the graph.
pub(super) struct StageBeside {
    access: StageAccess,
    /// Whether a full sync can continue with this stage.
    pub(super) under_way: bool,
}

impl StageBeside {
    pub(super) async fn look(access: StageAccess, profile: &Profile, source: &SourceIdentity) -> Result<Self> {
        let stored = access.by_statements.store().await?.load().await?;
        let fits = |stored: &Checkpoint| {
            stored.profile == profile.fingerprint()
                && stored.source == *source
                && !is_routed_otherwise(stored, profile.routes.as_ref())
        };
        let under_way = stored.as_ref().is_some_and(fits);
        Ok(Self { access, under_way })
    }

    pub(super) async fn drop_what_nobody_owns(&mut self) -> Result<()> {
        if self.under_way || !self.access.swap.is_staged().await? {
            return Ok(());
        }
        tracing::warn!("dropping a stage graph that no full sync owns");
        self.access.swap.drop_stage().await
    }
}
