//! Why a test or the demonstration could not get what it needs, in one line that can be acted upon.

use std::path::PathBuf;
use std::time::Duration;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{tool} is missing: {need}")]
    MissingTool { tool: &'static str, need: &'static str },
    #[error("`{command}` failed ({status}): {output}")]
    Command { command: String, status: String, output: String },
    #[error("{what} {}: {source}", path.display())]
    File { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error("cannot start {program}: {source}")]
    Spawn { program: String, source: std::io::Error },
    #[error("{server} ended while starting ({status}); the end of its log:\n{log}")]
    Ended { server: &'static str, status: String, log: String },
    #[error("{server} did not answer within {after:?}; last answer: {last}; the end of its log:\n{log}")]
    NotReady { server: &'static str, after: Duration, last: String, log: String },
    #[error("no free port found on the loopback interface")]
    NoPort,
    #[error("{what} took longer than {after:?}")]
    Timeout { what: String, after: Duration },
    #[error("Neo4j: {0}")]
    Neo4j(#[from] neo4rs::Error),
    #[error("a row of Neo4j does not have the expected shape: {0}")]
    Row(#[from] neo4rs::DeError),
    #[error("FalkorDB: {0}")]
    Redis(#[from] redis::RedisError),
    #[error("a reply of FalkorDB does not have the expected shape: {0}")]
    Reply(String),
    #[error("{0}")]
    Unexpected(String),
}

impl Error {
    pub fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { what, path, source }
    }
}
