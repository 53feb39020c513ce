//! Applies a changed configuration to a running service: on SIGHUP, and on request over HTTP.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use actix::Recipient;
use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};

use super::pipelines;
use crate::actors::messages::StatusChanged;
use crate::actors::pipeline::Reconfigure;
use crate::actors::pipeline::Schedule;
use crate::config::{Config, Environment, Overrides, PipelineConfig, SyncConfig};
use crate::connector::LocalInstance;
use crate::error::{Error, ErrorKind, Result};
use crate::http::{Hosts, HttpRules, Reload, Reloaded};
use crate::sink::host_name;
use crate::telemetry::logging::LevelControl;

pub(super) fn rules(config: &Config) -> HttpRules {
    let limit = config.monitoring.ready_lag;
    let limits = config.pipelines().iter().map(|pipeline| (pipeline.name.to_string(), limit)).collect();
    let hosts = Hosts { bound: Some(config.monitoring.bind), allowed: config.monitoring.hosts(&host_name()) };
    let standby_is_ready = config.monitoring.standby_is_ready;
    HttpRules { limits, standby_is_ready, token: config.monitoring.api_token.clone(), hosts }
}

pub(super) fn schedule(sync: &SyncConfig) -> Schedule {
    let interval = sync.enable_incremental.then_some(sync.interval);
    Schedule::Continuous { full_first: sync.full_sync_on_startup, interval }
}

/// The origin of a configuration, so that it can be read again.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    /// The configuration file, if one was named.
    pub(super) file: Option<PathBuf>,
    /// The settings of the command line.
    pub(super) overrides: Overrides,
}

/// Applies a changed configuration.
pub(super) struct Reloader {
    pub(super) origin: Origin,
    /// The configuration in use.
    pub(super) current: Mutex<Config>,
    pub(super) rules: Arc<RwLock<HttpRules>>,
    pub(super) level: LevelControl,
    pub(super) supervisors: BTreeMap<String, Recipient<Reconfigure>>,
    pub(super) health: Recipient<StatusChanged>,
    /// This process, as others find it. Its address changes only with a restart.
    pub(super) process: LocalInstance,
}

#[async_trait(?Send)]
impl Reload for Reloader {
    async fn reload(&self) -> Result<Reloaded> {
        let read = Config::load(self.origin.file.as_deref(), &Environment::of_process(), &self.origin.overrides);
        let wanted = read.map_err(|error| {
            Error::caused(ErrorKind::Configuration, "cannot reload the configuration; the current one stays in use", error)
        })?;
        let before = self.current.lock().clone();
        let mut done = Reloaded::default();
        // Pipelines come first: they may refuse, and then nothing else has changed either.
        for pipeline in wanted.pipelines() {
            self.reconfigure(pipeline, &before, &mut done).await?;
        }
        for gone in before.pipelines().iter().filter(|known| find(&wanted, known).is_none()) {
            done.needs_restart.push(format!("pipeline {} was removed", gone.name));
        }
        self.follow_the_rest(&before, &wanted, &mut done);
        *self.current.lock() = wanted;
        tracing::info!(
            applied = done.applied.join(", "),
            needs_restart = done.needs_restart.join(", "),
            "configuration reloaded"
        );
        Ok(done)
    }
}

impl Reloader {
    async fn reconfigure(&self, wanted: &PipelineConfig, before: &Config, done: &mut Reloaded) -> Result<()> {
        let (Some(known), Some(supervisor)) = (find(before, wanted), self.supervisors.get(wanted.name.as_str())) else {
            done.needs_restart.push(format!("pipeline {} is new", wanted.name));
            return Ok(());
        };
        if known.falkordb.database != wanted.falkordb.database {
            done.needs_restart.push(format!("falkordb.database of pipeline {}", wanted.name));
            return Ok(());
        }
        // A profile or a secret may have changed in its file under the same name: its content decides.
        let pipeline = pipelines::assemble(wanted, &self.process, schedule(&wanted.sync), self.health.clone())?;
        let changed = known != wanted;
        let answered = supervisor.send(Reconfigure { pipeline: Box::new(pipeline), changed }).await;
        let ended = |_| Error::new(ErrorKind::ActorStopped, format!("pipeline {} has ended", wanted.name));
        if answered.map_err(ended)?? {
            done.applied.push(format!("pipeline {}", wanted.name));
        }
        Ok(())
    }

    fn follow_the_rest(&self, before: &Config, wanted: &Config, done: &mut Reloaded) {
        let (was, is) = (&before.logging, &wanted.logging);
        if was.level != is.level {
            let place = if self.level.set(is) { &mut done.applied } else { &mut done.needs_restart };
            place.push("logging.level".to_owned());
        }
        if (was.format, &was.directory, was.keep_files, was.audit) != (is.format, &is.directory, is.keep_files, is.audit) {
            done.needs_restart.push("logging".to_owned());
        }
        let (was, is) = (&before.monitoring, &wanted.monitoring);
        if was.api_token != is.api_token {
            done.applied.push("monitoring.api_token".to_owned());
        }
        if was.allowed_hosts != is.allowed_hosts {
            done.applied.push("monitoring.allowed_hosts".to_owned());
        }
        if was.ready_lag != is.ready_lag {
            done.applied.push("monitoring.ready_lag_seconds".to_owned());
        }
        if was.standby_is_ready != is.standby_is_ready {
            done.applied.push("monitoring.standby_is_ready".to_owned());
        }
        if was.advertised_url != is.advertised_url {
            done.needs_restart.push("monitoring.advertised_url".to_owned());
        }
        if (was.address(), was.metrics_enabled) != (is.address(), is.metrics_enabled) {
            done.needs_restart.push("monitoring".to_owned());
        }
        *self.rules.write() = rules(wanted);
    }
}

fn find<'a>(config: &'a Config, pipeline: &PipelineConfig) -> Option<&'a PipelineConfig> {
    config.pipelines().iter().find(|known| known.name == pipeline.name)
}
