//! The environment as a layer of settings. It is passed as an argument, so that no test touches the process's own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use serde_yaml::{Mapping, Value};

use super::document::{Document, insert_at};
use super::report::Report;

/// Each variable and the path of the setting that it gives.
pub(super) const VARIABLES: [(&str, &str); 60] = [
    ("NEO4J_URI", "neo4j.uri"),
    ("NEO4J_USER", "neo4j.user"),
    ("NEO4J_PASSWORD", "neo4j.password"),
    ("NEO4J_PASSWORD_FILE", "neo4j.password_file"),
    ("NEO4J_DATABASE", "neo4j.database"),
    ("NEO4J_POOL_SIZE", "neo4j.pool_size"),
    ("NEO4J_TLS_CA_FILE", "neo4j.tls.ca_file"),
    ("NEO4J_TRANSACTION_LOG_DIRECTORY", "neo4j.transaction_log.directory"),
    ("FALKORDB_HOST", "falkordb.host"),
    ("FALKORDB_PORT", "falkordb.port"),
    ("FALKORDB_USERNAME", "falkordb.username"),
    ("FALKORDB_PASSWORD", "falkordb.password"),
    ("FALKORDB_PASSWORD_FILE", "falkordb.password_file"),
    ("FALKORDB_DATABASE", "falkordb.database"),
    ("FALKORDB_POOL_SIZE", "falkordb.pool_size"),
    ("FALKORDB_TAKE_OVER", "falkordb.take_over"),
    ("FALKORDB_TLS_ENABLED", "falkordb.tls.enabled"),
    ("FALKORDB_TLS_CA_FILE", "falkordb.tls.ca_file"),
    ("FALKORDB_CLUSTER", "falkordb.cluster"),
    ("FALKORDB_SENTINEL_SERVICE", "falkordb.sentinel.service"),
    ("FALKORDB_SENTINEL_HOSTS", "falkordb.sentinel.hosts"),
    ("FALKORDB_SENTINEL_USERNAME", "falkordb.sentinel.username"),
    ("FALKORDB_SENTINEL_PASSWORD", "falkordb.sentinel.password"),
    ("FALKORDB_SENTINEL_PASSWORD_FILE", "falkordb.sentinel.password_file"),
    ("FALKORDB_SENTINEL_TLS_ENABLED", "falkordb.sentinel.tls.enabled"),
    ("FALKORDB_SENTINEL_TLS_CA_FILE", "falkordb.sentinel.tls.ca_file"),
    ("SYNC_PROFILE", "profile"),
    ("SYNC_INTERVAL_SECONDS", "sync.interval_seconds"),
    ("SYNC_PROBE_INTERVAL_MS", "sync.probe_interval_ms"),
    ("SYNC_BATCH_SIZE", "sync.batch_size"),
    ("SYNC_NODE_BATCH_SIZE", "sync.node_batch_size"),
    ("SYNC_RELATIONSHIP_BATCH_SIZE", "sync.relationship_batch_size"),
    ("SYNC_BATCH_BYTES", "sync.batch_bytes"),
    ("SYNC_OVERLAP_SECONDS", "sync.overlap_seconds"),
    ("SYNC_LATE_CHECK_SECONDS", "sync.late_check_seconds"),
    ("SYNC_FULL_ON_STARTUP", "sync.full_sync_on_startup"),
    ("SYNC_ENABLE_INCREMENTAL", "sync.enable_incremental"),
    ("SYNC_DIFFERENTIAL_INTERVAL_SECONDS", "sync.differential_interval_seconds"),
    ("SYNC_SCRUB_ROWS_PER_SECOND", "sync.scrub_rows_per_second"),
    ("SYNC_MAX_DELETE_FRACTION", "sync.max_delete_fraction"),
    ("SYNC_SPREAD", "sync.spread"),
    ("FULL_SYNC_STRATEGY", "full_sync.strategy"),
    ("FULL_SYNC_KEEP_PREVIOUS", "full_sync.keep_previous"),
    ("INDEXES_UNSAFE", "indexes.unsafe"),
    ("ROUTING_DEFAULT_GRAPH", "routing.default_graph"),
    ("FILTER_GROUP_IDS", "filter.group_ids"),
    ("LOG_LEVEL", "logging.level"),
    ("LOG_FORMAT", "logging.format"),
    ("LOG_DIRECTORY", "logging.directory"),
    ("LOG_BACKUP_COUNT", "logging.keep_files"),
    ("LOG_AUDIT", "logging.audit"),
    ("HEALTH_PORT", "monitoring.health_port"),
    ("HEALTH_BIND", "monitoring.bind"),
    ("ALLOWED_HOSTS", "monitoring.allowed_hosts"),
    ("METRICS_ENABLED", "monitoring.metrics_enabled"),
    ("API_TOKEN", "monitoring.api_token"),
    ("API_TOKEN_FILE", "monitoring.api_token_file"),
    ("READY_LAG_SECONDS", "monitoring.ready_lag_seconds"),
    ("STANDBY_IS_READY", "monitoring.standby_is_ready"),
    ("ADVERTISED_URL", "monitoring.advertised_url"),
];

/// The variable with which the replaced Python service copies in the other direction.
const DIRECTION: &str = "SYNC_DIRECTION";

/// The only supported direction.
const FORWARD: &str = "forward";

/// Variables of the replaced Python service that have no effect here: its tasks are always done, its paths are fixed, or it ignored
/// them itself.
const WITHOUT_EFFECT: [&str; 10] = [
    "SYNC_ENABLE_CONTINUOUS",
    "SYNC_ENABLE_REVERSE_INCREMENTAL",
    "SYNC_AUTO_RECOVERY",
    "SYNC_MAX_RETRIES",
    "SYNC_RETRY_DELAY",
    "LOG_FILE_PATH",
    "LOG_MAX_FILE_SIZE_MB",
    "HEALTH_PATH",
    "METRICS_PORT",
    "METRICS_PATH",
];

/// The variables of a process.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// The variables of this process.
    pub(crate) fn of_process() -> Self {
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect()
    }

    /// Each variable that gives a setting, with the setting's path.
    pub fn variables() -> impl Iterator<Item = (&'static str, &'static str)> {
        VARIABLES.into_iter()
    }

    /// The variables that are set but have no effect: each deserves a warning.
    pub(crate) fn without_effect(&self) -> impl Iterator<Item = &'static str> {
        WITHOUT_EFFECT.into_iter().filter(|name| self.0.get(*name).is_some_and(|value| !value.is_empty()))
    }

    /// Lays the settings of the variables over a document. A variable without text counts as not set: a compose file turns
    /// `${FALKORDB_PASSWORD:-}` into such a variable.
    pub(super) fn lay_over(&self, document: &mut Document, report: &Report) {
        let mut layer = Mapping::new();
        for (name, path) in VARIABLES {
            if let Some(text) = self.text(name, report) {
                insert_at(&mut layer, path, Value::String(text));
            }
        }
        document.overlay(layer, &variable_of);
        if self.text(DIRECTION, report).is_some_and(|text| !text.eq_ignore_ascii_case(FORWARD)) {
            report.add(DIRECTION, "must be forward: Neo4j is the source, and the service never writes to it");
        }
    }

    fn text(&self, name: &str, report: &Report) -> Option<String> {
        let value = self.0.get(name).filter(|value| !value.is_empty())?;
        let text = value.to_str();
        if text.is_none() {
            report.add(name, "is not valid UTF-8");
        }
        text.map(str::to_owned)
    }
}

/// The variable for a path, or the path itself for the sections on the way.
fn variable_of(path: &str) -> String {
    let variable = VARIABLES.iter().find(|(_, known)| *known == path);
    variable.map_or(path, |(name, _)| name).to_owned()
}

impl<N: Into<String>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// Shows only names: a value may be a secret.
impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn laid_over(text: &str, variables: &[(&str, &str)]) -> (Document, Vec<String>) {
        let mut document = Document::parse(text).unwrap();
        let report = Report::default();
        variables.iter().copied().collect::<Environment>().lay_over(&mut document, &report);
        (document, report.into_problems().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn test_environment_lies_over_the_file() {
        let (document, problems) = laid_over(
            "neo4j: {uri: a, user: b, password_file: f}\nsync: {batch_size: 5}",
            &[("NEO4J_URI", "x"), ("NEO4J_PASSWORD", "p"), ("SYNC_BATCH_SIZE", ""), ("PATH", "/bin")],
        );
        let expected = Document::parse("neo4j: {uri: x, user: b, password: p}\nsync: {batch_size: 5}").unwrap();
        assert_eq!(document.root(), expected.root());
        assert_eq!(document.place("neo4j.uri"), "NEO4J_URI");
        assert_eq!(document.place("neo4j.user"), "neo4j.user");
        assert!(problems.is_empty());
    }

    #[test]
    fn test_environment_refuses_the_other_direction() {
        assert!(laid_over("", &[("SYNC_DIRECTION", "Forward")]).1.is_empty());
        assert!(laid_over("", &[("SYNC_DIRECTION", "reverse")]).1[0].starts_with("SYNC_DIRECTION: must be forward"));
    }

    #[test]
    fn test_environment_tells_variables_without_effect() {
        let variables = [("LOG_FILE_PATH", "x"), ("METRICS_PORT", ""), ("LOG_LEVEL", "info")];
        let environment: Environment = variables.into_iter().collect();
        assert_eq!(environment.without_effect().collect::<Vec<_>>(), ["LOG_FILE_PATH"]);
    }

    #[test]
    fn test_environment_names_a_variable_that_is_no_text() {
        let environment: Environment = [("NEO4J_USER", OsString::from_vec(vec![0xff]))].into_iter().collect();
        let report = Report::default();
        environment.lay_over(&mut Document::default(), &report);
        assert_eq!(report.into_problems()[0].to_string(), "NEO4J_USER: is not valid UTF-8");
    }

    #[test]
    fn test_environment_debug_shows_names_only() {
        let environment: Environment = [("NEO4J_PASSWORD", "hunter2")].into_iter().collect();
        assert_eq!(format!("{environment:?}"), "{\"NEO4J_PASSWORD\"}");
    }
}
