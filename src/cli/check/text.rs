//! The findings of `check` as text.

use std::collections::BTreeMap;

use super::{BULK, Findings, LogFindings, LogState};
use crate::cli::table::{one_line, table};
use crate::model::name::Label;
use crate::sink::IndexReport;
use crate::sync::survey::{GraphSurvey, KindSurvey, PropertySurvey, Survey};
use crate::transform::MAX_PROPERTY_NAMES;

/// The most graphs of groups in the text; there may be thousands.
const LISTED_GRAPHS: usize = 20;

impl Findings {
    pub(super) fn text(&self) -> String {
        let mut lines = vec![
            format!("{} → graph {}", self.pipeline, self.graph),
            format!(
                "  Neo4j       {}, {}, database {} ({})",
                self.source_address,
                version(&self.source_version),
                self.source.name,
                self.source.id
            ),
            format!("  FalkorDB    {}, {}", self.cache_address, version(&self.cache_version)),
            format!("  graph       {}", self.graph_text()),
            format!("  owner       {}", self.owner.as_deref().unwrap_or("none")),
            format!("  profile     {}", self.profile),
        ];
        if let Some(milliseconds) = self.short_busy_reply_threshold_ms {
            lines.push(format!(
                "  hazard      busy-reply-threshold is {milliseconds} ms: this FalkorDB may end itself during a long write; start it \
                 with --busy-reply-threshold 600000"
            ));
        }
        let outside = self.outside_profile.nodes.iter().chain(&self.outside_profile.relationships);
        lines.extend(self.transaction_log.iter().flat_map(log_lines));
        lines.extend(self.graphs_to_come());
        if !self.bulk_allowed {
            lines.push(format!("  slower      {BULK} is not permitted: full syncs load by parameters"));
        }
        lines.extend(outside.map(|(name, count)| format!("  left out    {}: {count}, {}", one_line(name), why_left_out(name))));
        lines.push(format!("  memory      about {}", megabytes(self.survey.memory_bytes)));
        lines.push(format!("  names       {} of at most {MAX_PROPERTY_NAMES} property names", self.survey.property_names));
        lines.push(format!("  quarantine  {}", quarantine_text(&self.survey)));
        lines.push(format!("  elements    {}", self.parts.text()));
        lines.push(match &self.refused {
            Some(reason) => format!("  would do    nothing: {reason}"),
            None => format!("  would do    {}", self.would_do),
        });
        lines.extend(survey_lines(&self.survey));
        lines.extend(index_lines(&self.indexes));
        lines.join("\n")
    }

    fn graph_text(&self) -> String {
        // If each group has its own graph, no graph can be missing.
        let none_yet = self.is_per_group && self.cache.is_empty();
        if !self.graph_exists || none_yet {
            return "does not exist yet".to_owned();
        }
        elements(self.cache.nodes, self.cache.relationships)
    }

    /// A line for each group's graph, as far as the source was read.
    fn graphs_to_come(&self) -> Vec<String> {
        let graphs = &self.survey.graphs;
        let line = |(name, graph): (&String, &GraphSurvey)| {
            let taken = graph.taken.as_ref().map(|reason| format!(": quarantined, because {reason}")).unwrap_or_default();
            let name = one_line(name);
            format!("  for groups  graph {name}: {}{taken}", elements(graph.nodes, graph.relationships))
        };
        let mut lines: Vec<String> = graphs.iter().take(LISTED_GRAPHS).map(line).collect();
        if graphs.len() > LISTED_GRAPHS {
            lines.push(format!("  for groups  and {} more graphs (--output json lists all)", graphs.len() - LISTED_GRAPHS));
        }
        lines
    }
}

fn log_lines(log: &LogFindings) -> Vec<String> {
    let LogFindings { directory, state, short_retention } = log;
    let directory = one_line(directory);
    let state = match state {
        LogState::Readable(extent) => format!("{directory}, transactions {} to {}", extent.oldest, extent.newest),
        LogState::Refused { refused, remedy } => format!("{directory} cannot be followed: {refused}; {remedy}"),
    };
    let short = |policy: &String| {
        format!("  log kept    too briefly, by {policy:?}: set db.tx_log.rotation.retention_policy to \"2 days\" in Neo4j")
    };
    std::iter::once(format!("  log         {state}")).chain(short_retention.iter().map(short)).collect()
}

fn version(version: &Option<String>) -> &str {
    version.as_deref().unwrap_or("version unknown")
}

/// The reason why elements with these labels, or of this type, are not copied.
fn why_left_out(name: &str) -> String {
    match Label::check(name) {
        Ok(()) => "outside the profile".to_owned(),
        Err(reason) => format!("because {reason}"),
    }
}

fn elements(nodes: u64, relationships: u64) -> String {
    format!("{}, {}", counted(nodes, "node", "nodes"), counted(relationships, "relationship", "relationships"))
}

/// A number and its noun, in words.
fn counted(number: u64, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}

fn quarantine_text(survey: &Survey) -> String {
    let beyond = if survey.complete { "" } else { ", of the elements that were read (--all reads every element)" };
    match survey.quarantined {
        0 => format!("nothing{beyond}"),
        some => format!("{}{beyond}", counted(some, "element or property", "elements or properties")),
    }
}

fn survey_lines(survey: &Survey) -> Vec<String> {
    let row = |kind: &KindSurvey| {
        vec![
            format!("  {}", kind_name(kind)),
            kind.count.to_string(),
            if kind.complete { "all".to_owned() } else { kind.looked_at.to_string() },
            kind.identity.clone(),
            megabytes(kind.memory_bytes),
        ]
    };
    let rows: Vec<Vec<String>> = survey.kinds.iter().map(row).collect();
    let mut lines = vec![String::new(), table(&["  kind", "elements", "looked at", "identified by", "memory"], &rows)];
    for kind in &survey.kinds {
        lines.extend(remarks(kind).iter().map(|remark| one_line(&format!("  {}: {remark}", kind_name(kind)))));
    }
    let missing = survey.missing_source_indexes.iter();
    lines.extend(missing.map(|index| one_line(&format!("  slow without this index in Neo4j: {index}"))));
    lines.extend(survey.indexes.iter().map(|index| one_line(&format!("  index: {index}"))));
    lines.extend(survey.inexpressible.iter().map(|index| one_line(&format!("  no index: {index}"))));
    lines
}

fn index_lines(indexes: &IndexReport) -> Vec<String> {
    let lists = [
        ("not created, FalkorDB would return wrong results with it", &indexes.left_out),
        ("exists, and FalkorDB returns wrong results with it", &indexes.unsafe_ones),
        ("foreign, left unchanged", &indexes.foreign),
    ];
    let lines = lists.into_iter().flat_map(|(what, list)| list.iter().map(move |index| format!("  index {index}: {what}")));
    let constraints = indexes.constraints.iter().map(|constraint| format!("  constraint {constraint}: foreign, left unchanged"));
    let lost = indexes.lost.iter().map(|what| format!("  lost or changed by the last full sync: {what}"));
    lines.chain(constraints).chain(lost).collect()
}

fn kind_name(kind: &KindSurvey) -> String {
    if kind.is_node { format!("(:{})", kind.kind) } else { format!("[:{}]", kind.kind) }
}

fn remarks(kind: &KindSurvey) -> Vec<String> {
    let mut remarks = Vec::new();
    if kind.sharing_key > 0 {
        let sharing = counted(kind.sharing_key, "element shares its key", "elements share their key");
        remarks.push(format!("{sharing} with another element, which is copied instead"));
    }
    for (reason, refused) in &kind.quarantined {
        remarks.push(format!("{} quarantined, such as {}: {reason}", refused.number, refused.examples.join(", ")));
    }
    remarks.extend(kind.properties.iter().filter_map(|(name, property)| property_remark(name, property)));
    remarks.extend(kind.vectors.iter().map(|(name, dimensions)| vector_remark(name, dimensions)));
    let conversions = kind.conversions;
    if conversions.nul_removed > 0 {
        let texts = counted(conversions.nul_removed, "text loses a NUL", "texts lose a NUL");
        remarks.push(format!("{texts}, which FalkorDB cannot hold"));
    }
    if conversions.nanoseconds_cut > 0 {
        let times = counted(conversions.nanoseconds_cut, "time loses", "times lose");
        remarks.push(format!("{times} the digits below a microsecond"));
    }
    remarks
}

fn property_remark(name: &str, property: &PropertySurvey) -> Option<String> {
    let becomes: Vec<String> = property.becomes.iter().map(|(from, to)| format!("{from} becomes {to}")).collect();
    (!becomes.is_empty()).then(|| format!("{name}: {}", becomes.join(", ")))
}

fn vector_remark(name: &str, dimensions: &BTreeMap<usize, u64>) -> String {
    let each: Vec<String> = dimensions.iter().map(|(dimension, number)| format!("{number} of dimension {dimension}")).collect();
    format!("{name}: vectors, {}", each.join(", "))
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_has_its_reason() {
        assert_eq!(why_left_out("Film"), "outside the profile");
        assert!(why_left_out("A`b").contains("contains a backtick"), "{}", why_left_out("A`b"));
        assert!(why_left_out("Known:A`b").contains("contains a backtick"));
    }

    #[test]
    fn one_thing_is_not_several() {
        let conversions = crate::model::prepared::Conversions { nul_removed: 1, nanoseconds_cut: 1, ..Default::default() };
        let kind = KindSurvey { sharing_key: 1, conversions, ..KindSurvey::default() };
        let said = remarks(&kind).join("; ");
        assert!(
            said.contains("1 element shares its key") && said.contains("1 text loses") && said.contains("1 time loses"),
            "{said}"
        );
        let survey = Survey { quarantined: 1, complete: true, ..Survey::default() };
        assert_eq!(quarantine_text(&survey), "1 element or property");
    }

    #[test]
    fn a_label_with_a_line_break_stays_in_its_line() {
        let kind = KindSurvey { kind: "two\nlines".to_owned(), is_node: true, sharing_key: 2, ..KindSurvey::default() };
        let survey = Survey { kinds: vec![kind], indexes: vec!["ON (n.`a\nb`)".to_owned()], ..Survey::default() };
        let text = survey_lines(&survey).join("\n");
        assert_eq!(text.lines().filter(|line| line.contains("(:two\\nlines)")).count(), 2, "{text}");
        assert!(text.lines().all(|line| line != "lines)" && line != "b`)"), "{text}");
    }
}
