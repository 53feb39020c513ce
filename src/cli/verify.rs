//! `verify`: checks whether source and cache are equal, element by element. Without the repair it writes nothing and takes no
//! lease, so it can run beside a service.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use super::arguments::Output;
use super::exit::Exit;
use super::parts::CountedParts;
use super::progress::{Progress, ProgressStep};
use super::{print, sync};
use crate::actors::connection_factory::ConnectionFactory;
use crate::config::{Config, PipelineConfig};
use crate::connector::ServerConnector;
use crate::error::Result;
use crate::model::bookmark::Bookmark;
use crate::model::comparison::{Difference, Finding, ProofExceptions, Verdict};
use crate::model::element::ElementIdentity;
use crate::model::guard::HeldDeletes;
use crate::model::pass::PassMode;
use crate::model::quarantine_index::QuarantineIndex;
use crate::model::quarantined::Quarantined;
use crate::sink::GraphState;
use crate::source::{Source, expected_elements};
use crate::sync::CacheView;
use crate::sync::comparison::{Comparison, ComparisonContext, look_again};
use crate::transform::Encoder;

/// The number of elements compared in one step, so that only listed findings stay in memory.
const SLICE: usize = 5_000;

/// A difference beside a running service may be a change on its way. So each difference is checked again after these pauses, and
/// counts only if every check finds it. Deletes take a service two passes.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// The most differences printed for people; programs get all listed ones.
const PRINTED: usize = 50;

/// The reason for the exit code if the comparison did not find everything.
const INCOMPLETE: &str = "the cache may hold more elements that the source does not have than one comparison finds";

#[derive(Serialize)]
struct VerifyReport {
    pipeline: String,
    graph: String,
    /// Whether nothing differs any more.
    equal: bool,
    /// Whether the cache may hold elements that the source does not have and that the comparison did not find.
    incomplete: bool,
    /// Elements of the source that were compared.
    rows: u64,
    differences: u64,
    /// The number of repaired differences.
    #[serde(skip_serializing_if = "Option::is_none")]
    mended: Option<u64>,
    /// The bookmark as of which both sides were equal. Absent if something differed, or was committed meanwhile.
    equal_as_of: Option<Bookmark>,
    /// The parts of the source's elements: elements that are not kept are not differences.
    parts: CountedParts,
    /// Entries of the quarantine for whole elements.
    excluded: usize,
    /// Elements of the cache without a kind of the profile or a usable key: differences that no pass repairs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    foreign: BTreeMap<String, u64>,
    /// The first differences found, each with its element.
    found: Vec<ListedDifference>,
    /// Deletes that wait for approval.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    held: Vec<HeldDeletes>,
}

#[derive(Serialize)]
struct ListedDifference {
    kind: String,
    key: String,
    /// The element, with its ends if it is a relationship.
    element: String,
    difference: &'static str,
    /// Properties that differ, and labels with a colon before them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    names: Vec<String>,
}

/// Compares every pipeline; continues after a failure.
pub(super) async fn verify(config: &Config, repair: bool, output: Output, progress: &Progress) -> Exit {
    let mut exit = Exit::Done;
    let mut reports = Vec::new();
    for pipeline in config.pipelines() {
        let report = if repair { compare_and_repair(pipeline, progress).await } else { compare(pipeline, progress).await };
        match report {
            Ok(report) => {
                if report.incomplete {
                    print::line_to_stderr(&format!("{}: {INCOMPLETE}", report.pipeline));
                }
                if report.incomplete && report.differences == 0 {
                    exit = Exit::Unknown;
                } else if !report.equal && exit == Exit::Done {
                    exit = Exit::Failed;
                }
                reports.push(report);
            }
            Err(error) => {
                print::failed(&error);
                exit = Exit::Unknown;
            }
        }
    }
    print::result(output, &reports, || reports.iter().map(VerifyReport::text).collect::<Vec<_>>().join("\n"));
    exit
}

/// Both sides of a pipeline, for comparisons.
struct BothSides {
    source: std::sync::Arc<dyn Source>,
    view: Box<dyn CacheView>,
    encoder: Encoder,
    excluded: QuarantineIndex,
    connector: ServerConnector,
}

impl BothSides {
    async fn new(config: &PipelineConfig) -> Result<Self> {
        let connector = ServerConnector::new(config)?.fit().await?;
        let profile = connector.profile();
        let names = connector.sink().await?.property_names().await?;
        let stored = connector.store().await?.load().await?.map(|stored| stored.dimensions);
        let dimensions = stored.unwrap_or_default().with_those_of(profile);
        let encoder = Encoder::new(std::sync::Arc::clone(profile), dimensions).for_graph_with(names);
        let stored = connector.store().await?.quarantine().await?;
        let listed: Vec<Quarantined> = stored.into_iter().map(|entry| entry.told_apart(connector.profile())).collect();
        let excluded = QuarantineIndex::of(&listed);
        let source = connector.source().await?;
        source.heed_shared_keys();
        Ok(Self { source, view: connector.view().await?, encoder, excluded, connector })
    }

    fn sides(&mut self) -> ComparisonContext<'_> {
        ComparisonContext {
            source: self.source.as_ref(),
            view: self.view.as_mut(),
            encoder: &self.encoder,
            profile: self.connector.profile(),
            excluded: &self.excluded,
        }
    }

    /// The findings that still differ at the last of several checks.
    async fn settle(&mut self, mut found: Vec<Finding>) -> Result<Vec<Finding>> {
        let served = self.connector.redis_lease().holder().await?.is_some();
        for pause in PAUSES.into_iter().take_while(|_| served) {
            if found.is_empty() {
                break;
            }
            tokio::time::sleep(pause).await;
            found = look_again(&mut self.sides(), &found).await?;
        }
        Ok(found)
    }
}

async fn compare(config: &PipelineConfig, progress: &Progress) -> Result<VerifyReport> {
    let mut looks = BothSides::new(config).await?;
    let mut sink = looks.connector.sink().await?;
    sink.identify().await?;
    if sink.state().await? == GraphState::Missing {
        return looks.missing(config).await;
    }
    let mut shown = progress.begin(config.name.as_str());
    let elements = expected_elements(looks.source.as_ref(), looks.connector.profile()).await?;
    let mut comparison = Comparison::begin(looks.source.as_ref(), true, 0, elements).await?;
    let verdict = loop {
        let advance = comparison.advance(&mut looks.sides(), SLICE, &BTreeSet::new()).await?;
        // Nothing is tried here: rows that the cache once refused are left out.
        comparison.except(&advance.excluded);
        if advance.is_over {
            break comparison.verdict(&mut looks.sides()).await?;
        }
        shown.show(ProgressStep { what: "comparison".to_owned(), done: comparison.rows(), of: Some(elements) });
    };
    drop(shown);
    // This connection does not outlive a life of the server: a cache that was exchanged meanwhile has no verdict.
    sink.identify().await?;
    let unlisted = verdict.findings - verdict.listed.len() as u64;
    let found = looks.settle(verdict.listed.clone()).await?;
    let differences = found.len() as u64 + unlisted;
    let (held, outside) = (looks.held().await?, looks.source.outside_profile().await?);
    let report = VerifyReport::of(config, &looks, verdict, &found, differences);
    Ok(VerifyReport { mended: None, held, parts: report.parts.beside(&outside), ..report })
}

/// Needs the right to write, like any pass. A running service has this right, and takes a request for a comparison over HTTP.
async fn compare_and_repair(config: &PipelineConfig, progress: &Progress) -> Result<VerifyReport> {
    let done = sync::one_pass(config, PassMode::Differential, false, progress).await?;
    let mut looks = BothSides::new(config).await?;
    let verdict = done.verdict.ok_or_else(sync::interrupted)?;
    let left = look_again(&mut looks.sides(), &verdict.listed).await?.len() as u64;
    let unlisted = verdict.findings - verdict.listed.len() as u64;
    let (found, differences) = (verdict.listed.clone(), verdict.findings);
    let mut report = VerifyReport::of(config, &looks, verdict, &found, differences);
    // Unlisted differences cannot be checked again: another comparison shows their state.
    report.equal = left == 0 && unlisted == 0 && !report.incomplete;
    report.mended = Some(differences - unlisted - left);
    report.held = done.held;
    report.parts = report.parts.beside(&looks.source.outside_profile().await?);
    Ok(report)
}

impl BothSides {
    async fn held(&self) -> Result<Vec<HeldDeletes>> {
        let checkpoint = self.connector.store().await?.load().await?;
        Ok(checkpoint.map(|checkpoint| checkpoint.guard.shown()).unwrap_or_default())
    }

    /// Without a graph, everything is missing.
    async fn missing(&self, config: &PipelineConfig) -> Result<VerifyReport> {
        let rows = self.source.counts().await?.into_iter().sum();
        let began_at = self.source.bookmark().await?;
        let (excepted, foreign) = (ProofExceptions::default(), BTreeMap::new());
        let listed = Vec::new();
        let verdict = Verdict {
            equal_as_of: None,
            began_at,
            findings: rows,
            rows,
            begun_with: None,
            is_incomplete: false,
            listed,
            read: rows,
            excepted,
            foreign,
        };
        Ok(VerifyReport::of(config, self, verdict, &[], rows))
    }
}

/// Every element was read; every element that was compared and is not listed as unusable is kept.
fn parts(verdict: &Verdict) -> CountedParts {
    let ProofExceptions { elements, properties, collapsed } = verdict.excepted;
    CountedParts::of(verdict.read, collapsed, elements, properties)
}

impl VerifyReport {
    fn of(config: &PipelineConfig, looks: &BothSides, verdict: Verdict, found: &[Finding], differences: u64) -> Self {
        let parts = parts(&verdict);
        Self {
            pipeline: config.name.to_string(),
            graph: config.falkordb.database.to_string(),
            equal: differences == 0 && !verdict.is_incomplete,
            incomplete: verdict.is_incomplete,
            rows: verdict.rows,
            differences,
            mended: None,
            equal_as_of: verdict.equal_as_of,
            parts,
            excluded: looks.excluded.len(),
            foreign: verdict.foreign,
            found: found.iter().map(ListedDifference::of).collect(),
            held: Vec::new(),
        }
    }

    fn text(&self) -> String {
        let mut lines = vec![self.summary()];
        lines.extend(self.found.iter().take(PRINTED).map(|listed| format!("  {}", listed.text())));
        lines.extend(self.foreign.iter().map(|(name, number)| format!("  foreign {name}: {number} in the cache")));
        let foreign: u64 = self.foreign.values().sum();
        let more = self.differences.saturating_sub(foreign + self.found.len().min(PRINTED) as u64);
        if more > 0 {
            lines.push(format!("  and {more} more"));
        }
        lines.extend(self.held.iter().map(|held| format!("  held: {} deletes of {}", held.held.number, held.kind)));
        lines.join("\n")
    }

    fn summary(&self) -> String {
        let Self { pipeline, graph, rows, differences, .. } = self;
        let as_of = self.equal_as_of.as_ref().map(|bookmark| format!(" as of {}", bookmark.as_str())).unwrap_or_default();
        let mended = self.mended.filter(|_| *differences > 0).map(|mended| format!(", {mended} repaired")).unwrap_or_default();
        let parts = self.parts.text();
        match differences {
            0 if self.incomplete => {
                format!("{pipeline}: graph {graph}: no difference found among {rows} elements; {INCOMPLETE}; {parts}")
            }
            0 => format!("{pipeline}: graph {graph} is equal to the source{as_of}: {rows} elements compared; {parts}"),
            _ => format!("{pipeline}: graph {graph} differs: {rows} elements compared, {differences} different{mended}; {parts}"),
        }
    }
}

impl ListedDifference {
    fn of(finding: &Finding) -> Self {
        let kind = match &finding.identity {
            ElementIdentity::Node(node) => node.label.to_string(),
            ElementIdentity::Relationship(relationship) => relationship.rel_type.to_string(),
        };
        let (difference, names) = match &finding.difference {
            Difference::Missing => ("missing", Vec::new()),
            Difference::Orphaned => ("orphaned", Vec::new()),
            Difference::Changed(names) => ("changed", names.clone()),
        };
        let (key, element) = (finding.identity.key().to_string(), finding.identity.to_string());
        Self { kind, key, element, difference, names }
    }

    fn text(&self) -> String {
        let names = if self.names.is_empty() { String::new() } else { format!(": {}", self.names.join(", ")) };
        format!("{} {}{names}", self.difference, self.element)
    }
}
