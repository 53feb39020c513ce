//! The configuration as a whole.

use std::time::Duration;

use super::environment::VARIABLES;
use super::falkordb::FalkorLocation;
use super::size::ByteSize;
use super::*;
use crate::model::host_port::HostPort;
use crate::model::scrub_rate::ScrubRate;

/// The file that the product ships.
const SHIPPED: &str = include_str!("../../config/sync.yaml");

/// What the replaced Python service's users have: it must load as it is.
const REFERENCE: &str = r#"
neo4j:
  uri: "bolt://neo4j:7687"
  user: "neo4j"
  password: "graphiti123"
  database: "neo4j"
  pool_size: 10

falkordb:
  host: "falkordb"
  port: 6379
  database: "graphiti_cache"
  pool_size: 5

sync:
  interval_seconds: 300  # 5 minutes
  batch_size: 1000
  full_sync_on_startup: false
  enable_incremental: true
  
logging:
  level: "INFO"
  format: "json"

monitoring:
  health_port: 8080
  metrics_enabled: true
"#;

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables.iter().copied().collect()
}

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::read(Document::parse(text).unwrap(), &environment(variables), &Overrides::default())
}

fn problems(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    match load(text, variables) {
        Err(ConfigError::Invalid { problems }) => problems.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

/// Without a file and with nothing but the password, which has no default.
fn defaults() -> Config {
    load("", &[("NEO4J_PASSWORD", "p")]).unwrap()
}

#[test]
fn test_config_loads_the_reference_file() {
    let config = load(REFERENCE, &[]).unwrap();
    let [pipeline] = config.pipelines() else { panic!("one pipeline") };
    assert_eq!(pipeline.neo4j.uri.to_string(), "bolt://neo4j:7687");
    assert_eq!(pipeline.neo4j.password.expose(), "graphiti123");
    assert_eq!(pipeline.neo4j.database.as_deref(), Some("neo4j"));
    assert_eq!((pipeline.neo4j.pool_size, pipeline.falkordb.pool_size), (10, 5));
    assert_eq!(pipeline.falkordb.location, FalkorLocation::Fixed(HostPort::new("falkordb", 6379)));
    assert_eq!(pipeline.falkordb.database.to_string(), "graphiti_cache");
    assert_eq!(pipeline.sync, defaults().pipelines()[0].sync);
    assert_eq!((config.logging.level, config.logging.format), (LogLevel::Info, LogFormat::Json));
    assert_eq!(config.monitoring.address().unwrap().to_string(), "0.0.0.0:8080");
}

#[test]
fn test_config_has_the_documented_defaults() {
    let config = defaults();
    let [pipeline] = config.pipelines() else { panic!("one pipeline") };
    assert_eq!(pipeline.name.as_str(), "default");
    assert_eq!(
        pipeline.sync,
        SyncConfig {
            interval: Duration::from_secs(300),
            probe_interval: Some(Duration::from_millis(200)),
            node_batch_size: 1_000,
            relationship_batch_size: 1_000,
            batch_bytes: ByteSize::from_mib(4),
            overlap: Duration::from_secs(900),
            late_check: Duration::from_secs(30),
            full_sync_on_startup: false,
            enable_incremental: true,
            differential_interval: Some(Duration::from_secs(86_400)),
            scrub_rate: Some(ScrubRate::RowsPerSecond(2_000)),
            max_delete_fraction: 0.5,
            spread: false,
        }
    );
    assert_eq!(pipeline.full_sync, FullSyncConfig { strategy: FullSyncStrategy::Shadow, keep_previous: false });
    assert_eq!(pipeline.routing.default_graph.as_str(), "default_db");
    assert_eq!(pipeline.falkordb.tls, None);
    assert_eq!(config.monitoring.ready_lag, Duration::from_secs(60));
    assert_eq!(config.monitoring.api_token, None);
}

#[test]
fn test_shipped_file_holds_the_defaults() {
    assert_eq!(load(SHIPPED, &[("NEO4J_PASSWORD", "p")]).unwrap(), defaults());
}

#[test]
fn test_shipped_file_explains_every_setting_and_variable() {
    let report = Report::default();
    Config::read_into(Document::default(), &environment(&[]), &Overrides::default(), &report);
    let settings = report.settings();
    assert!(settings.len() > 40, "{settings:?}");
    for setting in &settings {
        let name = setting.rsplit('.').next().unwrap();
        let is_there = SHIPPED
            .lines()
            .any(|line| line.trim_start_matches([' ', '#']).strip_prefix(name).is_some_and(|rest| rest.starts_with(':')));
        assert!(is_there, "config/sync.yaml does not mention {setting}");
    }
    for (variable, path) in VARIABLES {
        assert!(settings.contains(path), "{variable} gives {path}, which is not a setting");
        assert!(SHIPPED.contains(&format!("[{variable}]")), "config/sync.yaml does not mention {variable}");
    }
}

#[test]
fn test_shipped_file_holds_no_secret() {
    assert!(matches!(load(SHIPPED, &[]), Err(ConfigError::Invalid { problems }) if problems.len() == 1));
}

#[test]
fn test_config_prefers_command_line_to_environment_to_file() {
    let file = Document::parse("logging: {level: error, format: text}\nmonitoring: {health_port: 1}").unwrap();
    let variables = environment(&[("NEO4J_PASSWORD", "p"), ("LOG_LEVEL", "warn"), ("HEALTH_PORT", "2")]);
    let overrides = Overrides { health_port: Some(3), ..Overrides::default() };
    let config = Config::read(file, &variables, &overrides).unwrap();
    assert_eq!(config.logging.format, LogFormat::Text);
    assert_eq!(config.logging.level, LogLevel::Warn);
    assert_eq!(config.monitoring.health_port, Some(3));
}

#[test]
fn test_config_tells_all_problems_at_once_and_where() {
    let text = "
neo4j: {uri: 'bolt://neo4j:hunter2@host', pool_size: 0, tls: {ca_file: x}}
falkordb: {port: 70000, tls: {enabled: false, ca_file: x}, database: 'cache_{group_id}', host: 'redis://h'}
sync: {batch_size: 0, batch_bytes: 1KiB, overlap_seconds: 10, max_delete_fraction: 2, intervall_seconds: 3}
full_sync: {strategy: in_place, keep_previous: true}
filter: {group_ids: [a, a]}
profile: graphity
logging: {level: loud}
monitoring: {bind: localhost, allowed_hosts: [ok, 'http://x'], api_token: short, health_port: 99999}
extra: 1
";
    assert_eq!(
        problems(text, &[("SYNC_INTERVAL_SECONDS", "often"), ("FALKORDB_POOL_SIZE", "-1")]),
        [
            "logging.level: \"loud\" is not one of error, warn, info, debug, trace, warning, critical",
            "monitoring.health_port: 99999 is not a port (1 to 65535, or 0 for off)",
            "monitoring.bind: is not an IP address (0.0.0.0 accepts all connections, 127.0.0.1 only those of this machine)",
            "monitoring.allowed_hosts: \"http://x\" is not a host name or an address (write it without scheme and port; * allows \
         every host)",
            "monitoring.api_token: must have at least 16 characters, all of them ASCII without spaces",
            "extra: is not a setting (valid settings: falkordb, filter, full_sync, indexes, logging, monitoring, neo4j, pipelines, \
         profile, routing, sync)",
            "neo4j.uri: must not contain a user name or password (set neo4j.user and neo4j.password_file)",
            "neo4j.password: is missing: set neo4j.password_file, NEO4J_PASSWORD_FILE or NEO4J_PASSWORD (to any value \
         if the server requires none)",
            "neo4j.pool_size: 0 is out of range (1 to 1000 connections)",
            "falkordb.database: a graph name cannot contain { or }; write the name of one graph, or {group_id} alone for one \
         graph per group",
            "falkordb.host: must be only a host name or an address (port, username and tls are separate settings)",
            "falkordb.port: 70000 is not a port (1 to 65535)",
            "FALKORDB_POOL_SIZE: -1 is out of range (1 to 1000 connections)",
            "falkordb.tls.ca_file: has no effect while enabled is false",
            "profile: is not a profile (write graphiti or generic, or the path of a profile file that ends in .yaml or .yml)",
            "sync.batch_size: 0 is out of range (1 to 100000 rows)",
            "SYNC_INTERVAL_SECONDS: must be a whole number (1 to 86400 seconds)",
            "sync.batch_bytes: 1KiB is out of range (64KiB to 128MiB)",
            "sync.max_delete_fraction: must be a number from 0 to 1",
            "sync.overlap_seconds: 10 is shorter than late_check_seconds (30): passes could miss late commits",
            "sync.intervall_seconds: is not a setting; did you mean interval_seconds?",
            "full_sync.keep_previous: is not possible with full_sync.strategy in_place, which replaces no graph",
            "filter.group_ids: names \"a\" twice",
        ]
    );
}

#[test]
fn test_config_never_shows_a_secret() {
    let secrets = "neo4j: {password: hunter2}\nfalkordb: {password: hunter2}\nmonitoring: {api_token: hunter2hunter2-hunter2}";
    let shown = format!("{:?}", load(secrets, &[]).unwrap());
    assert!(!shown.contains("hunter2") && shown.contains("[redacted]"), "{shown}");
    let wrong = "neo4j: {password: [hunter2]}\nfalkordb: {password: {hunter2: 1}}\nmonitoring: {api_token: 'hunter2 '}";
    for variables in [[("A", "")], [("LOG_LEVEL", "x")]] {
        let error = load(wrong, &variables).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        assert!(error.to_string().contains("neo4j.password: must be a string (put it in quotes)"), "{error}");
    }
}

#[test]
fn test_config_reads_every_variable() {
    let directory = tempfile::tempdir().unwrap();
    let (ca, token) = (directory.path().join("ca.pem"), directory.path().join("token"));
    std::fs::write(&token, "0123456789abcdef\n").unwrap();
    let (ca, token) = (ca.display().to_string(), token.display().to_string());
    let config = load(
        "falkordb: {password_file: /nowhere}",
        &[
            ("NEO4J_URI", "neo4j+s://n:1"),
            ("NEO4J_USER", "reader"),
            ("NEO4J_PASSWORD", "12345"),
            ("NEO4J_DATABASE", "d"),
            ("NEO4J_POOL_SIZE", "3"),
            ("NEO4J_TLS_CA_FILE", &ca),
            ("FALKORDB_HOST", "f"),
            ("FALKORDB_PORT", "2"),
            ("FALKORDB_USERNAME", "writer"),
            ("FALKORDB_PASSWORD_FILE", &token),
            ("FALKORDB_DATABASE", "{group_id}"),
            ("FALKORDB_TLS_CA_FILE", &ca),
            ("SYNC_INTERVAL_SECONDS", "10"),
            ("SYNC_PROBE_INTERVAL_MS", "0"),
            ("SYNC_BATCH_SIZE", "5"),
            ("SYNC_RELATIONSHIP_BATCH_SIZE", "6"),
            ("SYNC_BATCH_BYTES", "1 MiB"),
            ("SYNC_FULL_ON_STARTUP", "true"),
            ("SYNC_ENABLE_INCREMENTAL", "0"),
            ("SYNC_SCRUB_ROWS_PER_SECOND", "0"),
            ("SYNC_MAX_DELETE_FRACTION", "0.1"),
            ("SYNC_SPREAD", "true"),
            ("SYNC_PROFILE", "p.yml"),
            ("FULL_SYNC_KEEP_PREVIOUS", "yes"),
            ("ROUTING_DEFAULT_GRAPH", "r"),
            ("FILTER_GROUP_IDS", "a,b"),
            ("LOG_FORMAT", "text"),
            ("LOG_BACKUP_COUNT", "5"),
            ("HEALTH_PORT", "0"),
            ("ALLOWED_HOSTS", "sync.example.com, 10.0.0.5"),
            ("API_TOKEN_FILE", &token),
        ],
    )
    .unwrap();
    let [pipeline] = config.pipelines() else { panic!("one pipeline") };
    assert_eq!(pipeline.neo4j.uri.to_string(), "neo4j+s://n:1");
    assert_eq!((pipeline.neo4j.user.as_str(), pipeline.neo4j.password.expose()), ("reader", "12345"));
    assert_eq!(pipeline.falkordb.password.as_ref().unwrap().expose(), "0123456789abcdef");
    assert_eq!(pipeline.falkordb.tls.as_ref().unwrap().ca_file, pipeline.neo4j.ca_file);
    assert_eq!(pipeline.control_name().as_str(), "default");
    assert_eq!((pipeline.sync.probe_interval, pipeline.sync.scrub_rate), (None, None));
    assert_eq!((pipeline.sync.node_batch_size, pipeline.sync.relationship_batch_size), (5, 6));
    assert_eq!(pipeline.sync.batch_bytes, ByteSize::from_mib(1));
    assert!(pipeline.sync.full_sync_on_startup && !pipeline.sync.enable_incremental && pipeline.sync.spread);
    assert_eq!(pipeline.filter.group_ids.len(), 2);
    assert_eq!((config.logging.format, config.logging.keep_files), (LogFormat::Text, 5));
    assert_eq!(config.monitoring.address(), None);
    assert_eq!(config.monitoring.allowed_hosts, ["sync.example.com", "10.0.0.5"].map(|host| host.parse().unwrap()));
    assert!(config.monitoring.api_token.unwrap().matches("0123456789abcdef"));
}

#[test]
fn test_scrub_has_a_rate_or_no_limit_or_is_off() {
    let given = |value| format!("neo4j: {{ password: pw }}\nsync: {{ scrub_rows_per_second: {value} }}");
    for (value, rate) in [("5", Some(ScrubRate::RowsPerSecond(5))), ("Unlimited", Some(ScrubRate::Unlimited)), ("0", None)] {
        let config = load(&given(value), &[]).unwrap();
        assert_eq!(config.pipelines()[0].sync.scrub_rate, rate, "{value}");
    }
    let allowed = "sync.scrub_rows_per_second: must be a whole number (1 to 1000000 rows a second, unlimited, or 0 for off)";
    assert_eq!(problems(&given("fast"), &[]), [allowed]);
}

#[test]
fn test_config_file_that_is_named_must_be_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sync.yaml");
    let load = || Config::load(Some(&path), &environment(&[("NEO4J_PASSWORD", "p")]), &Overrides::default());
    assert!(matches!(load(), Err(ConfigError::Unreadable { .. })));
    std::fs::write(&path, "neo4j:\n  user: a\n  password:hunter2\n").unwrap();
    let error = load().unwrap_err().to_string();
    assert!(error.contains("sync.yaml is not valid YAML") && error.contains("line"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    std::fs::write(&path, "logging: {level: debug}").unwrap();
    assert_eq!(load().unwrap().logging.level, LogLevel::Debug);
}

#[test]
fn test_monitoring_alone_does_not_need_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sync.yaml");
    std::fs::write(&path, "neo4j: {password_file: /nowhere}\nmonitoring: {health_port: 5}\nlogging: 1").unwrap();
    let load = |overrides| MonitoringConfig::load(Some(&path), &environment(&[("LOG_LEVEL", "x")]), &overrides);
    assert_eq!(load(Overrides::default()).unwrap().health_port, Some(5));
    std::fs::write(&path, "monitoring: {health_port: x}").unwrap();
    assert!(matches!(load(Overrides::default()), Err(ConfigError::Invalid { .. })));
    let overrides = Overrides { health_port: Some(6), ..Overrides::default() };
    assert_eq!(load(overrides).unwrap().health_port, Some(6));
}
