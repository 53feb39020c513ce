//! `check`: checks the configuration and both servers, and reports what would be done with which elements. Writes nothing.

mod text;

use std::sync::Arc;

use chrono::Utc;
use serde::Serialize;

use super::arguments::{CheckArguments, Output};
use super::exit::Exit;
use super::parts::CountedParts;
use super::print;
use crate::actors::connection_factory::ConnectionFactory;
use crate::config::{Config, FullSyncStrategy, PipelineConfig};
use crate::connector::ServerConnector;
use crate::error::{Error, ErrorKind, Result};
use crate::model::checkpoint::Checkpoint;
use crate::model::index::{IndexDefinition, UnsafeIndexPolicy};
use crate::model::outside_profile::OutsideProfile;
use crate::model::source_identity::SourceIdentity;
use crate::sink::{Counts, GraphState, IndexReport, TELLS_ENGINE, index_statement, made_of};
use crate::source::Source;
use crate::source::transaction_log::{LogRange, keeps_too_little, reaches};
use crate::sync::dimensions::dimensions;
use crate::sync::first_pass::{LaunchDecision, LaunchFacts, first_pass};
use crate::sync::survey::{KindSurvey, RefusedElements, Survey, survey};
use crate::transform::Encoder;

/// The most elements of a kind that are read, unless all are requested.
const LOOKED_AT: u64 = 10_000;

#[derive(Serialize)]
struct Findings {
    pipeline: String,
    graph: String,
    source_address: String,
    source_version: Option<String>,
    source: SourceIdentity,
    cache_address: String,
    cache_version: Option<String>,
    /// The server's `busy-reply-threshold` in milliseconds, if FalkorDB may end itself because of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    short_busy_reply_threshold_ms: Option<u64>,
    graph_exists: bool,
    /// Whether each group has its own graph.
    is_per_group: bool,
    cache: Counts,
    checkpoint_sequence: Option<u64>,
    owner: Option<String>,
    /// Whether a full sync can load in bulk.
    bulk_allowed: bool,
    outside_profile: OutsideProfile,
    /// The existing indices and constraints.
    indexes: IndexReport,
    /// The source's transaction log, if its directory is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_log: Option<LogFindings>,
    would_do: String,
    /// The reason why the graph may not be filled.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    profile: String,
    /// The elements that were read, by what a sync would do with them.
    parts: CountedParts,
    /// The expected result of a full sync of the source.
    survey: Survey,
}

#[derive(Serialize)]
struct LogFindings {
    directory: String,
    /// The reach of the log, or the reason why it cannot be followed.
    #[serde(flatten)]
    state: LogState,
    /// The server's setting, if it keeps too little.
    #[serde(skip_serializing_if = "Option::is_none")]
    short_retention: Option<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum LogState {
    Readable(LogRange),
    Refused { refused: String, remedy: &'static str },
}

/// Checks every pipeline; fails if a pipeline could not work, or could not hold everything.
pub(super) async fn check(config: &Config, arguments: &CheckArguments, output: Output) -> Exit {
    let limit = (!arguments.all).then_some(LOOKED_AT);
    let mut exit = Exit::Done;
    let mut all = Vec::new();
    for pipeline in config.pipelines() {
        match look(pipeline, limit).await {
            Ok(findings) => {
                if findings.survey.quarantined > 0 || findings.refused.is_some() {
                    exit = Exit::Failed;
                }
                all.push(findings);
            }
            Err(error) => exit = print::failed(&error),
        }
    }
    print::result(output, &all, || all.iter().map(Findings::text).collect::<Vec<_>>().join("\n"));
    exit
}

async fn look(config: &PipelineConfig, limit: Option<u64>) -> Result<Findings> {
    let connector = ServerConnector::new(config)?.fit().await?;
    let missing = connector.missing_commands().await?;
    refuse_without(&missing, config.full_sync.strategy)?;
    let source_version = connector.control_plane().connect().await?;
    let source = connector.source().await?;
    source.heed_shared_keys();
    let identity = source.identity().await?;
    let bookmark = source.bookmark().await?;
    let mut sink = connector.sink().await?;
    let server = sink.identify().await?;
    let graph_exists = sink.state().await? == GraphState::Present;
    let cache = sink.counts().await?;
    let checkpoint = connector.store().await?.load().await?;
    let owner = connector.redis_lease().holder().await?.map(|holder| holder.leader.to_string());
    let fingerprint = connector.profile().fingerprint();
    let log_reaches = match connector.transaction_log().zip(checkpoint.as_ref().and_then(Checkpoint::told_up_to)) {
        Some((log, position)) => reaches(log, position.clone()).await,
        None => false,
    };
    let facts = LaunchFacts {
        checkpoint: checkpoint.as_ref(),
        profile: &fingerprint,
        routes: connector.routes(),
        source: &identity,
        bookmark: Some(&bookmark),
        last_bookmark: None,
        cache_run_id: server.run_id.as_deref(),
        last_sequence: 0,
        is_last: false,
        graph_exists,
        log_reaches,
        now: Utc::now(),
    };
    let threshold = sink.busy_threshold().await?.filter(|threshold| server.may_end_itself(*threshold));
    let (policy, indexes) = (sink.unsafe_indexes().await?, sink.indexes().await?);
    let survey = look_at_source(&connector, source.as_ref(), policy, limit).await?;
    let outside_profile = source.outside_profile().await?;
    let would_do = describe(first_pass(&facts, None), &cache, checkpoint.is_some());
    Ok(Findings {
        pipeline: config.name.to_string(),
        graph: config.falkordb.database.to_string(),
        parts: parts(&survey).beside(&outside_profile),
        outside_profile,
        source_address: connector.source_address().to_owned(),
        source_version,
        source: identity,
        cache_address: connector.cache_address().to_string(),
        cache_version: server.version_text(),
        short_busy_reply_threshold_ms: threshold.map(|threshold| threshold.as_millis() as u64),
        graph_exists,
        is_per_group: connector.routes().is_some(),
        cache,
        checkpoint_sequence: checkpoint.map(|checkpoint| checkpoint.sequence),
        owner,
        bulk_allowed: !missing.contains(&BULK),
        would_do,
        refused: connector.refusal().await?.map(|error| error.to_string()),
        profile: connector.profile().name.clone(),
        indexes,
        transaction_log: look_at_log(&connector, source.as_ref()).await?,
        survey,
    })
}

async fn look_at_log(connector: &ServerConnector, source: &dyn Source) -> Result<Option<LogFindings>> {
    let Some(directory) = connector.transaction_log() else { return Ok(None) };
    let created_ms = source.created_ms().await?;
    // Neo4j may refuse this query to the user; the log is just as useful without the answer.
    let retention = source.log_retention().await.ok().flatten();
    let state = match LogRange::of(&directory, created_ms) {
        Ok(extent) => LogState::Readable(extent),
        Err(refusal) => LogState::Refused { remedy: refusal.remedy(), refused: refusal.to_string() },
    };
    let short_retention = retention.filter(|policy| keeps_too_little(policy));
    Ok(Some(LogFindings { directory: directory.path().display().to_string(), state, short_retention }))
}

/// Surveys what a full sync would make of the source, and which graphs are foreign.
async fn look_at_source(
    connector: &ServerConnector,
    source: &dyn Source,
    policy: Option<UnsafeIndexPolicy>,
    limit: Option<u64>,
) -> Result<Survey> {
    let profile = connector.profile();
    let encoder = Encoder::new(Arc::clone(profile), dimensions(source, profile).await?);
    let statement = |index: &IndexDefinition| made_of(profile, index, policy).as_ref().map(index_statement);
    let mut survey = survey(source, profile, &encoder, connector.routes(), limit, statement).await?;
    let taken = connector.taken_graphs(survey.graphs.keys().map(String::as_str)).await?;
    for (name, reason) in taken {
        if let Some(graph) = survey.graphs.get_mut(&name) {
            survey.quarantined += graph.nodes + graph.relationships;
            graph.taken = Some(reason);
        }
    }
    Ok(survey)
}

fn parts(survey: &Survey) -> CountedParts {
    let sum = |of: fn(&KindSurvey) -> u64| survey.kinds.iter().map(of).sum();
    let refused = |of: fn(&RefusedElements) -> u64| survey.kinds.iter().flat_map(|kind| kind.quarantined.values()).map(of).sum();
    let taken = survey.graphs.values().filter(|graph| graph.taken.is_some());
    let taken: u64 = taken.map(|graph| graph.nodes + graph.relationships).sum();
    let elements = refused(|refused| refused.number - refused.properties) + taken;
    CountedParts::of(sum(|kind| kind.looked_at), sum(|kind| kind.sharing_key), elements, refused(|refused| refused.properties))
}

/// A full sync works without this command, but takes longer.
const BULK: &str = "GRAPH.BULK";

/// The commands that only the swap of a full sync beside the graph needs.
const SWAP: [&str; 3] = [TELLS_ENGINE, "RENAME", "UNLINK"];

fn refuse_without(missing: &[&str], strategy: FullSyncStrategy) -> Result<()> {
    let is_needed = |name: &&&str| **name != BULK && (strategy == FullSyncStrategy::Shadow || !SWAP.contains(*name));
    let needed: Vec<&str> = missing.iter().filter(is_needed).copied().collect();
    if needed.is_empty() {
        return Ok(());
    }
    let message = format!("the FalkorDB user is not allowed to run {}", needed.join(", "));
    Err(Error::new(ErrorKind::CachePermission, message))
}

fn describe(decision: LaunchDecision, cache: &Counts, has_checkpoint: bool) -> String {
    match decision {
        LaunchDecision::Resume(pass) => {
            format!("resume the {} pass of {}", pass.mode, pass.began_at.format("%Y-%m-%d %H:%M:%S UTC"))
        }
        LaunchDecision::Begin(mode, reason) => {
            let replaced = if has_checkpoint || cache.is_empty() {
                String::new()
            } else {
                format!(" (this replaces a graph of {} nodes that this service did not write)", cache.nodes)
            };
            format!("a {mode} pass: {reason}{replaced}")
        }
    }
}
