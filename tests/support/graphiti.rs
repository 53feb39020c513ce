//! Graphiti itself: its library in a Python environment of its own, and the scripts that use it.

use std::path::PathBuf;
use std::time::Duration;

use super::servers::{FalkorAddress, Neo4jAddress, blocking};
use super::{Error, Result, python};

const REQUIREMENTS: &str = include_str!("../graphiti/requirements.txt");

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
        blocking(|| Ok(Self { python: python::environment("graphiti", REQUIREMENTS)?.join("bin/python") })).await
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
        let script = python::script("graphiti").join(script);
        let mut command = tokio::process::Command::new(&self.python);
        // -B: the checkout is to stay as it is.
        command.arg("-B").arg(&script).args(arguments).envs(variables);
        python::run_to_end(command, &format!("{} {}", script.display(), arguments.join(" ")), SCRIPT).await
    }
}

fn environment_of(neo4j: &Neo4jAddress) -> Vec<(&'static str, String)> {
    vec![("NEO4J_URI", neo4j.uri.clone()), ("NEO4J_USER", neo4j.user.clone()), ("NEO4J_PASSWORD", neo4j.password.clone())]
}
