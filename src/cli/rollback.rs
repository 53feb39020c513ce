//! `rollback`: restores the graph that the last full sync replaced.

use serde::Serialize;

use super::arguments::Output;
use super::exit::Exit;
use super::print;
use crate::actors::rollback::roll_back;
use crate::config::{Config, PipelineConfig};
use crate::connector::ServerConnector;
use crate::error::Result;

#[derive(Serialize)]
struct RollbackReport {
    pipeline: String,
    graph: String,
    rolled_back: bool,
    paused: bool,
}

/// Rolls every pipeline back; continues after a failure, and fails at the end.
pub(super) async fn rollback(config: &Config, output: Output) -> Exit {
    let mut exit = Exit::Done;
    let mut reports = Vec::new();
    for pipeline in config.pipelines() {
        match one(pipeline).await {
            Ok(report) => reports.push(report),
            Err(error) => exit = print::failed(&error),
        }
    }
    print::result(output, &reports, || reports.iter().map(RollbackReport::text).collect::<Vec<_>>().join("\n"));
    exit
}

async fn one(config: &PipelineConfig) -> Result<RollbackReport> {
    let connector = ServerConnector::new(config)?;
    roll_back(&connector).await?;
    Ok(RollbackReport {
        pipeline: config.name.to_string(),
        graph: config.falkordb.database.to_string(),
        rolled_back: true,
        paused: true,
    })
}

impl RollbackReport {
    fn text(&self) -> String {
        format!("{}: graph {} is the previous one again; the pipeline is paused until you resume it", self.pipeline, self.graph)
    }
}
