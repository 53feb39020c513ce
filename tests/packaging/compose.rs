//! compose.yaml: it parses, what it names is there, and the service would start with the environment that it gives.

use std::collections::BTreeSet;

use neo4j_falkordb_sync::config::{Config, Environment, Overrides};
use serde_yaml::Value;

use super::{shipped, text};

fn compose() -> Value {
    serde_yaml::from_str(&text("compose.yaml")).unwrap()
}

fn names(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Mapping(mapping) => mapping.keys().map(|key| key.as_str().unwrap().to_owned()).collect(),
        Value::Sequence(list) => list.iter().map(|name| name.as_str().unwrap().to_owned()).collect(),
        Value::Null => BTreeSet::new(),
        other => panic!("{other:?}"),
    }
}

/// The variables of the service, as text.
pub(super) fn environment() -> Vec<(String, String)> {
    let compose = compose();
    let variables = compose["services"]["sync"]["environment"].as_mapping().unwrap();
    let value = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        other => panic!("{other:?}: quote it, or Compose reads something else"),
    };
    variables.iter().map(|(name, setting)| (name.as_str().unwrap().to_owned(), value(setting))).collect()
}

/// Makes the secrets as a user would; returns the environment with their files in the place of the container's.
pub(super) fn environment_with_secrets(directory: &std::path::Path) -> Vec<(String, String)> {
    let secrets = directory.join("secrets");
    let made = std::process::Command::new(shipped("config/make-secrets")).arg(&secrets).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let place = |value: String| value.replace("/run/secrets", secrets.to_str().unwrap());
    environment().into_iter().map(|(name, value)| (name, place(value))).collect()
}

#[test]
fn whatever_a_service_refers_to_is_declared() {
    let compose = compose();
    let services = compose["services"].as_mapping().unwrap();
    assert_eq!(names(&compose["services"]), BTreeSet::from(["falkordb", "neo4j", "sync"].map(str::to_owned)));
    for (name, service) in services {
        for kind in ["secrets", "networks"] {
            let (used, declared) = (names(&service[kind]), names(&compose[kind]));
            assert!(!used.is_empty() && used.is_subset(&declared), "{name:?}: {used:?} of {declared:?}");
        }
        // A secret that is mounted is at /run/secrets by its name: what reads one must have it mounted.
        let written = serde_yaml::to_string(service).unwrap();
        for rest in written.split("/run/secrets/").skip(1) {
            let secret: String = rest.chars().take_while(|char| char.is_ascii_alphanumeric() || *char == '_').collect();
            assert!(names(&service["secrets"]).contains(&secret), "{name:?} reads {secret}, which is not mounted");
        }
        for volume in service["volumes"].as_sequence().into_iter().flatten() {
            let volume = volume.as_str().unwrap().split(':').next().unwrap();
            assert!(names(&compose["volumes"]).contains(volume), "{volume}");
        }
    }
}

#[test]
fn the_service_waits_for_databases_that_say_they_are_healthy() {
    let compose = compose();
    let waits = compose["services"]["sync"]["depends_on"].as_mapping().unwrap();
    assert_eq!(waits.len(), 2);
    for (name, wait) in waits {
        assert_eq!(wait["condition"], "service_healthy");
        assert!(compose["services"][name]["healthcheck"]["test"].is_sequence(), "{name:?} has no health check");
    }
}

#[test]
fn the_service_is_small_and_shut_in() {
    let compose = compose();
    let sync = &compose["services"]["sync"];
    let limits = &sync["deploy"]["resources"]["limits"];
    assert_eq!((limits["cpus"].as_str(), limits["memory"].as_str()), (Some("0.5"), Some("512M")));
    assert_eq!(sync["read_only"], true);
    assert_eq!(sync["cap_drop"][0], "ALL");
    let published: Vec<String> = compose["services"]
        .as_mapping()
        .unwrap()
        .values()
        .flat_map(|service| service["ports"].as_sequence().cloned().unwrap_or_default())
        .map(|port| port.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(published, ["127.0.0.1:8080:8080"], "only the status page, on this machine");
    assert_eq!(compose["networks"]["databases"]["internal"], true);
}

#[test]
fn the_environment_makes_a_configuration() {
    let known: BTreeSet<&str> = Environment::variables().map(|(name, _)| name).collect();
    for (name, value) in environment() {
        assert!(known.contains(name.as_str()), "{name} is no variable of this program");
        let secret = ["PASSWORD", "TOKEN"].iter().any(|word| name.contains(word));
        assert!(!secret || value.starts_with("/run/secrets/"), "{name} gives a secret by value");
    }
    let directory = tempfile::tempdir().unwrap();
    let environment: Environment = environment_with_secrets(directory.path()).into_iter().collect();
    // No file: the container has none unless one is mounted.
    let empty = directory.path().join("empty.yaml");
    std::fs::write(&empty, "").unwrap();
    let config = Config::load(Some(&empty), &environment, &Overrides::default()).unwrap();
    assert_eq!(config.pipelines().len(), 1);
    assert!(config.monitoring.api_token.is_some());
    // The page is published on the port that the service listens on, on an address that a container is reached by.
    let address = config.monitoring.address().unwrap();
    assert_eq!((address.port(), address.ip().is_unspecified()), (8080, true));
}

#[test]
fn secrets_are_made_once_and_agree_with_one_another() {
    let directory = tempfile::tempdir().unwrap();
    let environment = environment_with_secrets(directory.path());
    let read = |name: &str| std::fs::read_to_string(directory.path().join("secrets").join(name)).unwrap();
    assert_eq!(read("neo4j_auth"), format!("neo4j/{}", read("neo4j_password")));
    assert!(read("falkordb_users").contains(&format!(" >{} ", read("falkordb_password"))));
    let declared = names(&compose()["secrets"]);
    let made = std::fs::read_dir(directory.path().join("secrets")).unwrap();
    let made: BTreeSet<String> = made.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(made, declared);
    let token = read("api_token");
    assert_eq!(environment_with_secrets(directory.path()), environment);
    assert_eq!(read("api_token"), token, "made again, which locks whoever has the first one out");
    assert!(text(".gitignore").lines().any(|line| line == "/secrets"));
}
