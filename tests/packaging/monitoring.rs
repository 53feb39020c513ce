//! Dashboards, alerts and the document about them speak of metrics and labels that exist, and the document of all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::Command;

use neo4j_falkordb_sync::telemetry::metrics::names::{ALL, MetricType, PREFIX};
use serde_yaml::Value;

use super::{shipped, text};

/// Every series by the name that a query uses, with its labels.
fn series() -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut series = BTreeMap::new();
    for metric in ALL {
        let labels: BTreeSet<&str> = metric.labels.iter().copied().collect();
        let name = metric.exported();
        if metric.sort == MetricType::Histogram {
            series.insert(format!("{name}_bucket"), labels.iter().copied().chain(["le"]).collect());
            series.insert(format!("{name}_sum"), labels.clone());
            series.insert(format!("{name}_count"), labels);
        } else {
            series.insert(name, labels);
        }
    }
    series
}

/// The names in a query that look like ours, or like a process's.
fn metrics_in(query: &str) -> BTreeSet<String> {
    let words = query.split(|char: char| !(char.is_ascii_alphanumeric() || char == '_'));
    words.filter(|word| word.starts_with(PREFIX) || word.starts_with("process_")).map(str::to_owned).collect()
}

/// The labels that a query groups or selects by.
fn labels_in(query: &str) -> BTreeSet<String> {
    let mut labels = BTreeSet::new();
    let word = |text: &str| text.trim().to_owned();
    for rest in query.split("by (").skip(1) {
        labels.extend(rest.split(')').next().unwrap().split(',').map(word));
    }
    for rest in query.split('{').skip(1) {
        labels.extend(rest.split('}').next().unwrap().split(',').map(|pair| word(pair.split(['=', '!']).next().unwrap())));
    }
    labels
}

/// Whether a query asks for what there is.
fn check(query: &str, known: &BTreeMap<String, BTreeSet<&'static str>>) {
    let metrics = metrics_in(query);
    assert!(!metrics.is_empty(), "{query} asks for none of our metrics");
    let labels: BTreeSet<&str> = metrics
        .iter()
        .flat_map(|metric| known.get(metric).unwrap_or_else(|| panic!("{metric} does not exist: {query}")).iter().copied())
        .collect();
    for label in labels_in(query) {
        assert!(labels.contains(label.as_str()), "{query}: no metric of it has the label {label}");
    }
}

fn alerts() -> Vec<Value> {
    let file: Value = serde_yaml::from_str(&text("config/prometheus/alerts.yaml")).unwrap();
    file["groups"].as_sequence().unwrap().iter().flat_map(|group| group["rules"].as_sequence().unwrap().clone()).collect()
}

#[test]
fn every_alert_asks_for_metrics_that_exist_and_is_explained() {
    let known = series();
    let document = text("docs/monitoring.md");
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        check(alert["expr"].as_str().unwrap(), &known);
        assert!(alert["annotations"]["summary"].is_string() && alert["annotations"]["description"].is_string(), "{name}");
        assert!(document.contains(&format!("`{name}`")), "the document does not say what {name} means");
    }
}

#[test]
fn the_dashboard_asks_for_metrics_that_exist_and_leaves_none_out() {
    let known = series();
    let dashboard: serde_json::Value = serde_json::from_str(&text("config/grafana/dashboard.json")).unwrap();
    let mut asked = String::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{}", panel["title"]);
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            check(query, &known);
            asked.push_str(query);
        }
    }
    // Two are for machines that look at one value, one for humans who want to know a number.
    let elsewhere = ["equal_as_of_commit", "compared_at_seconds", "process_start_time_seconds"];
    for metric in ALL.iter().filter(|metric| !elsewhere.contains(&metric.name)) {
        assert!(asked.contains(&metric.exported()), "no panel shows {}", metric.exported());
    }
}

#[test]
fn the_document_says_what_each_metric_means() {
    let document = text("docs/monitoring.md");
    for metric in ALL {
        let row = format!("| `{}` | {} | {} |", metric.exported(), metric.labels.join(", "), metric.help);
        assert!(document.contains(&row), "the document lacks this line:\n{row}");
    }
}

/// Prometheus's own tool, where it is installed.
#[test]
fn prometheus_understands_its_files() {
    let Ok(version) = Command::new("promtool").arg("--version").output() else {
        // Not by a macro, whose output is shown of tests that fail only.
        let text = "SKIPPED: promtool is missing (apt-get install prometheus); the rules are checked by name only\n";
        std::io::stderr().write_all(text.as_bytes()).unwrap();
        return;
    };
    assert!(version.status.success());
    for arguments in [["check", "rules", "alerts.yaml"], ["check", "config", "prometheus.yaml"]] {
        let checked = Command::new("promtool").args(arguments).current_dir(shipped("config/prometheus")).output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
        assert!(checked.status.success(), "{said}");
    }
}
