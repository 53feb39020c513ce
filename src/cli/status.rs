//! `status`: shows the state of a running service.

use std::fmt::Write;
use std::net::SocketAddr;

use chrono::Utc;

use super::arguments::Output;
use super::exit::Exit;
use super::print;
use super::table::table;
use crate::error::{Error, ErrorKind, Result};
use crate::http::get;
use crate::telemetry::status::{PipelineState, PipelineStatus, ServiceStatus};

pub(super) async fn status(address: SocketAddr, output: Output) -> Exit {
    match ask(address).await {
        Ok(status) => {
            print::result(output, &status, || text(&status));
            Exit::Done
        }
        Err(error) => {
            print::line_to_stderr(&error.chain());
            Exit::Unknown
        }
    }
}

async fn ask(address: SocketAddr) -> Result<ServiceStatus> {
    let answer = get(address, "/api/sync/status").await?;
    serde_json::from_str(&answer.body)
        .map_err(|error| Error::caused(ErrorKind::Configuration, format!("the server on {address} is not this service"), error))
}

/// A line for each pipeline, and below the table the special conditions of each.
fn text(status: &ServiceStatus) -> String {
    let head = ["pipeline", "graph", "state", "behind", "fresh", "last pass", "quarantined", "held"];
    let rows: Vec<Vec<String>> = status.pipelines.values().map(row).collect();
    let details = status.pipelines.values().map(details);
    std::iter::once(table(&head, &rows)).chain(details).collect::<Vec<_>>().join("\n\n").trim_end().to_owned()
}

fn row(pipeline: &PipelineStatus) -> Vec<String> {
    let fresh = pipeline.statistics.freshness.last_seconds;
    let last = pipeline.last_pass.as_ref().map(|pass| format!("{} at {}", pass.mode, pass.ended_at.format("%H:%M:%S UTC")));
    let held: u64 = pipeline.held.iter().map(|held| held.held.number).sum();
    vec![
        pipeline.name.clone(),
        pipeline.graph.clone(),
        short_state(pipeline),
        format!("{:.1} s", pipeline.lag_seconds(Utc::now())),
        fresh.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1} s")),
        last.unwrap_or_else(|| "-".to_owned()),
        pipeline.quarantined.to_string(),
        held.to_string(),
    ]
}

fn short_state(pipeline: &PipelineStatus) -> String {
    if let Some((side, _)) = pipeline.unreachable() {
        return format!("{side} does not answer");
    }
    match &pipeline.state {
        PipelineState::Running { mode, .. } => format!("{mode} pass"),
        PipelineState::Idle => "in step".to_owned(),
        PipelineState::BackingOff { .. } => "waiting".to_owned(),
        PipelineState::Standby { .. } => "standby".to_owned(),
        other => state(other),
    }
}

fn details(pipeline: &PipelineStatus) -> String {
    let mut text = format!("{}\n", pipeline.name);
    let mut row = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:<13}{value}");
    };
    row("state", state(&pipeline.state));
    let commits = pipeline.commits_behind.map(|commits| format!(", {commits} commits")).unwrap_or_default();
    row("behind", format!("{:.1} s{commits}", pipeline.lag_seconds(Utc::now())));
    if let Some((side, failing)) = pipeline.unreachable() {
        row("unreachable", format!("{side}: {}", failing.error));
    }
    if let Some(full_sync) = &pipeline.full_sync {
        let of = full_sync.expected.map(|expected| format!(" of {expected}")).unwrap_or_default();
        row("full sync", format!("{}{of} elements read", full_sync.totals.read));
    }
    if let Some(comparison) = &pipeline.comparison {
        let of = comparison.expected.map(|expected| format!(" of {expected}")).unwrap_or_default();
        row("comparison", format!("{}{of} elements compared, {} different", comparison.rows, comparison.differences));
    }
    if let Some(pass) = &pipeline.last_pass {
        let seconds = (pass.ended_at - pass.began_at).as_seconds_f64();
        let (nodes, relationships) = (pass.totals.nodes, pass.totals.relationships);
        row("last pass", format!("{}, {seconds:.1} s, {nodes} nodes and {relationships} relationships written", pass.mode));
    }
    row("checkpoint", format!("number {}", pipeline.checkpoint_sequence));
    row("generation", format!("{} ({} faults)", pipeline.generation, pipeline.faults));
    if let Some(held) = pipeline.held_deletes() {
        row("held deletes", format!("{held}: approve them with POST /api/sync/approve"));
    }
    let equal = pipeline.equal_as_of.as_ref().map(|bookmark| bookmark.as_str().to_owned());
    let excepted = pipeline.excepted.map(|excepted| format!(" ({excepted})")).unwrap_or_default();
    row("proven equal", equal.map_or_else(|| "not yet".to_owned(), |bookmark| format!("as of {bookmark}{excepted}")));
    if !pipeline.foreign.is_empty() {
        let list: Vec<_> = pipeline.foreign.iter().map(|(name, count)| format!("{name} {count}")).collect();
        row("foreign", format!("in the cache, but of no kind of the profile: {}", list.join(", ")));
    }
    row("quarantined", pipeline.quarantined.to_string());
    let outside = &pipeline.outside_profile;
    for (what, elements) in [("nodes", &outside.nodes), ("relationships", &outside.relationships)] {
        if !elements.is_empty() {
            let list: Vec<_> = elements.iter().map(|(name, count)| format!("{name} {count}")).collect();
            row("left out", format!("{what} outside the profile: {}", list.join(", ")));
        }
    }
    let indexes = &pipeline.indexes;
    let lists = [
        ("return wrong results", &indexes.unsafe_ones),
        ("not created, would return wrong results", &indexes.left_out),
        ("dropped, returned wrong results", &indexes.dropped),
        ("foreign", &indexes.foreign),
        ("not mirrored", &indexes.inexpressible),
        ("foreign constraints", &indexes.constraints),
        ("lost or changed by the last full sync", &indexes.lost),
    ];
    for (what, list) in lists {
        if !list.is_empty() {
            row("indices", format!("{what}: {}", list.join(", ")));
        }
    }
    if let Some(fault) = &pipeline.last_fault {
        row("last fault", format!("{} at {}", fault.error, fault.at.format("%Y-%m-%d %H:%M:%S UTC")));
        row("remedy", fault.remedy.clone());
    }
    text.trim_end().to_owned()
}

fn state(state: &PipelineState) -> String {
    match state {
        PipelineState::Starting => "starting".to_owned(),
        PipelineState::Running { mode, totals, cursor, .. } => {
            let place = cursor.as_ref().map(|cursor| format!(", at {}", cursor.step)).unwrap_or_default();
            format!("{mode} pass: {} rows read{place}", totals.read)
        }
        PipelineState::Idle => "in step, waiting".to_owned(),
        PipelineState::Paused => "paused".to_owned(),
        PipelineState::BackingOff { until } => format!("next attempt at {}", until.format("%H:%M:%S UTC")),
        PipelineState::Standby { leader, .. } => format!("standby: {leader} leads"),
        PipelineState::Halted => "halted".to_owned(),
        PipelineState::Stopping => "stopping".to_owned(),
        PipelineState::Stopped => "stopped".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::telemetry::status::FaultReport;

    #[test]
    fn a_status_is_a_table_and_what_is_special() {
        let fault = FaultReport { at: Utc::now(), error: "no route".to_owned(), remedy: "check neo4j.uri".to_owned() };
        let halted =
            PipelineStatus { state: PipelineState::Halted, last_fault: Some(fault), ..PipelineStatus::new("support", "tickets") };
        let idle = PipelineStatus { state: PipelineState::Idle, ..PipelineStatus::new("research", "papers") };
        let pipelines = BTreeMap::from([idle, halted].map(|pipeline| (pipeline.name.clone(), pipeline)));
        let text = text(&ServiceStatus { pipelines });
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("PIPELINE  GRAPH    STATE"), "{text}");
        assert!(lines[1].starts_with("research  papers   in step  0.0 s"), "{text}");
        assert!(lines[2].starts_with("support   tickets  halted"), "{text}");
        assert!(text.contains("last fault") && text.contains("check neo4j.uri"), "{text}");
    }
}
