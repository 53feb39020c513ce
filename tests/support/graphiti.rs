//! Graphiti itself: its library in a Python environment of its own, and the scripts that use it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::servers::download::{self, cached, run};
use super::servers::{FalkorAddress, Neo4jAddress, blocking};
use super::{Error, Result};

const REQUIREMENTS: &str = include_str!("../graphiti/requirements.txt");

/// Some thirty packages; slow mirrors are worth waiting for, dead ones are not.
const INSTALL: Duration = Duration::from_secs(900);

/// A step takes some hundred transactions one after the other; on a busy machine that is a minute.
const SCRIPT: Duration = Duration::from_secs(600);

/// graphiti-core, ready to be used.
pub struct Graphiti {
    python: PathBuf,
}

/// What `write_graph.py` can do.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Create,
    Mutate,
    Delete,
    Episodes(usize),
}

impl Graphiti {
    /// Installs it at the first call on this machine, into the directory of downloads.
    pub async fn new() -> Result<Self> {
        blocking(|| Ok(Self { python: environment()?.join("bin/python") })).await
    }

    /// Takes a step, and returns how many nodes of each label and relationships of each type there are then.
    pub async fn write(&self, neo4j: &Neo4jAddress, step: Step) -> Result<serde_json::Value> {
        let step = match step {
            Step::Create => vec!["create".to_owned()],
            Step::Mutate => vec!["mutate".to_owned()],
            Step::Delete => vec!["delete".to_owned()],
            Step::Episodes(count) => vec!["episodes".to_owned(), count.to_string()],
        };
        let printed = self.run("write_graph.py", &step, environment_of(neo4j)).await?;
        let summary = printed.lines().last().unwrap_or_default();
        serde_json::from_str(summary).map_err(|error| Error::Unexpected(format!("no summary but {summary:?}: {error}")))
    }

    /// Searches both through graphiti, and returns a line for each check. Fails if the answers differ.
    pub async fn read_parity(&self, neo4j: &Neo4jAddress, falkordb: &FalkorAddress, graph: &str) -> Result<String> {
        let mut variables = environment_of(neo4j);
        variables.push(("FALKORDB_HOST", falkordb.host.clone()));
        variables.push(("FALKORDB_PORT", falkordb.port.to_string()));
        variables.push(("FALKORDB_DATABASE", graph.to_owned()));
        variables.extend(falkordb.username.iter().map(|username| ("FALKORDB_USERNAME", username.clone())));
        variables.extend(falkordb.password.iter().map(|password| ("FALKORDB_PASSWORD", password.clone())));
        self.run("read_parity.py", &[], variables).await
    }

    /// Runs a script to its end; what it printed is in the error if it fails.
    async fn run(&self, script: &str, arguments: &[String], variables: Vec<(&'static str, String)>) -> Result<String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/graphiti").join(script);
        let mut command = tokio::process::Command::new(&self.python);
        // -B: the checkout is to stay as it is.
        command.arg("-B").arg(&script).args(arguments).envs(variables).kill_on_drop(true).stdin(std::process::Stdio::null());
        let what = format!("{} {}", script.display(), arguments.join(" "));
        let Ok(ended) = tokio::time::timeout(SCRIPT, command.output()).await else {
            return Err(Error::Timeout { what, after: SCRIPT });
        };
        let output = ended.map_err(|source| Error::Spawn { program: what.clone(), source })?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(printed);
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        Err(Error::Command { command: what, status: output.status.to_string(), output: format!("{printed}{errors}") })
    }
}

fn environment_of(neo4j: &Neo4jAddress) -> Vec<(&'static str, String)> {
    vec![("NEO4J_URI", neo4j.uri.clone()), ("NEO4J_USER", neo4j.user.clone()), ("NEO4J_PASSWORD", neo4j.password.clone())]
}

/// The Python environment with exactly the packages that are required. Blocking.
fn environment() -> Result<PathBuf> {
    download::require_pip()?;
    cached(&format!("graphiti-{}", key()?), |directory| {
        let mut make = download::python();
        make.args(["-m", "venv"]).arg(directory);
        run(&mut make, INSTALL)?;
        let requirements = directory.join("requirements.txt");
        std::fs::write(&requirements, REQUIREMENTS).map_err(Error::file("cannot write", &requirements))?;
        // By `-m pip`: the directory gets another name later, and the scripts in it keep the one of now.
        let mut install = Command::new(directory.join("bin/python"));
        install.env("PIP_DISABLE_PIP_VERSION_CHECK", "1").args(["-m", "pip", "install", "--quiet", "-r"]).arg(&requirements);
        run(&mut install, INSTALL)
    })
}

/// Other requirements or another Python make another environment: compiled packages serve one version of Python only.
fn key() -> Result<String> {
    let version = download::python().args(["-c", "import sys; print(sys.version, sys.prefix)"]).output();
    let version = version.map_err(|source| Error::Spawn { program: "python3".to_owned(), source })?;
    let digest = Sha256::new().chain_update(REQUIREMENTS).chain_update(version.stdout).finalize();
    Ok(digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}
