//! What `check` found, for people.

use std::collections::BTreeMap;

use super::{BULK, Findings};
use crate::cli::table::table;
use crate::sink::IndexReport;
use crate::sync::survey::{KindSurvey, PropertySurvey, Survey};
use crate::transform::MAX_PROPERTY_NAMES;

impl Findings {
    pub(super) fn text(&self) -> String {
        let mut lines = vec![
            format!("{} → graph {}", self.pipeline, self.graph),
            format!("  Neo4j       database {} ({})", self.source.name, self.source.id),
            format!("  FalkorDB    {}", self.cache_version.as_deref().unwrap_or("version unknown")),
            format!("  graph       {}", self.graph_text()),
            format!("  owner       {}", self.owner.as_deref().unwrap_or("nobody")),
            format!("  profile     {}", self.profile),
        ];
        let outside = self.outside_profile.nodes.iter().chain(&self.outside_profile.relationships);
        if !self.bulk_allowed {
            lines.push(format!("  slower      {BULK} may not be used: full syncs load by parameters"));
        }
        lines.extend(outside.map(|(name, count)| format!("  left out    {name}: {count}, outside the profile")));
        lines.push(format!("  memory      about {}", megabytes(self.survey.memory_bytes)));
        lines.push(format!("  names       {} of at most {MAX_PROPERTY_NAMES} of properties", self.survey.property_names));
        lines.push(format!("  quarantine  {}", quarantine_text(&self.survey)));
        lines.push(format!("  would do    {}", self.would_do));
        lines.extend(survey_lines(&self.survey));
        lines.extend(index_lines(&self.indexes));
        lines.join("\n")
    }

    fn graph_text(&self) -> String {
        if !self.graph_exists {
            return "not there yet".to_owned();
        }
        format!("{} nodes, {} relationships", self.cache.nodes, self.cache.relationships)
    }
}

fn quarantine_text(survey: &Survey) -> String {
    let beyond = if survey.complete { "" } else { ", of those looked at (--all looks at every one)" };
    match survey.quarantined {
        0 => format!("nothing{beyond}"),
        some => format!("{some} elements or properties{beyond}"),
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
        lines.extend(remarks(kind).into_iter().map(|remark| format!("  {}: {remark}", kind_name(kind))));
    }
    lines.extend(survey.indexes.iter().map(|index| format!("  index: {index}")));
    lines.extend(survey.inexpressible.iter().map(|index| format!("  no index: {index}")));
    lines
}

fn index_lines(indexes: &IndexReport) -> Vec<String> {
    let lists = [
        ("not made, FalkorDB would answer wrongly by it", &indexes.left_out),
        ("is there, and FalkorDB answers wrongly by it", &indexes.unsafe_ones),
        ("not the profile's, left alone", &indexes.foreign),
    ];
    let lines = lists.into_iter().flat_map(|(what, list)| list.iter().map(move |index| format!("  index {index}: {what}")));
    let constraints =
        indexes.constraints.iter().map(|constraint| format!("  constraint {constraint}: not the profile's, left alone"));
    let lost = indexes.lost.iter().map(|what| format!("  lost by a full sync: {what}"));
    lines.chain(constraints).chain(lost).collect()
}

fn kind_name(kind: &KindSurvey) -> String {
    if kind.is_node { format!("(:{})", kind.kind) } else { format!("[:{}]", kind.kind) }
}

fn remarks(kind: &KindSurvey) -> Vec<String> {
    let mut remarks = Vec::new();
    if kind.sharing_key > 0 {
        remarks.push(format!("{} elements share their key with another one, which is kept for them", kind.sharing_key));
    }
    for (reason, refused) in &kind.quarantined {
        remarks.push(format!("{} quarantined, such as {}: {reason}", refused.number, refused.examples.join(", ")));
    }
    remarks.extend(kind.properties.iter().filter_map(|(name, property)| property_remark(name, property)));
    remarks.extend(kind.vectors.iter().map(|(name, dimensions)| vector_remark(name, dimensions)));
    let conversions = kind.conversions;
    for (number, what) in [
        (conversions.nul_removed, "texts lose a NUL, which FalkorDB cannot hold"),
        (conversions.nanoseconds_cut, "times lose what is below a microsecond"),
    ] {
        if number > 0 {
            remarks.push(format!("{number} {what}"));
        }
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
