//! The configuration: read from a file, the environment and the command line, checked as a whole, and then represented by types
//! that cannot be wrong.
//!
//! Precedence: command line, environment, file, default. An entry of `pipelines` overrides all of them, because it lists the
//! differences of one pipeline. [`Config::load`] reports every problem at once, each with the place to change, and never the
//! value of a secret.

mod connection_uri;
mod document;
mod environment;
mod falkordb;
mod full_sync;
mod hosts;
mod indexes;
mod logging;
mod monitoring;
mod neo4j;
mod overrides;
mod pipelines;
mod profile;
mod report;
mod routing;
mod scalar;
mod secret;
mod section;
mod sentinel;
mod size;
mod spelling;
mod sync;
mod tls;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

pub(crate) use connection_uri::{ConnectionUri, DEFAULT_BOLT_PORT, Scheme};
pub(crate) use document::SyntaxError;
pub use environment::Environment;
pub(crate) use falkordb::{FalkorConfig, FalkorLocation, GraphTarget};
pub(crate) use full_sync::{FullSyncConfig, FullSyncStrategy};
pub(crate) use logging::{LogFormat, LogLevel, LoggingConfig};
pub(crate) use monitoring::MonitoringConfig;
pub(crate) use neo4j::Neo4jConfig;
pub use overrides::Overrides;
pub(crate) use pipelines::PipelineConfig;
pub(crate) use profile::ProfileChoice;
pub(crate) use report::Problem;
pub use secret::Secret;
pub(crate) use sentinel::SentinelConfig;
pub(crate) use sync::SyncConfig;
pub(crate) use tls::FalkorTls;

use document::Document;
use pipelines::{PIPELINE_SETTINGS, read_pipelines};
use report::Report;
use section::Section;

/// The file that is read if none is named and this one exists.
pub(crate) const DEFAULT_FILE: &str = "config/sync.yaml";

/// The whole configuration of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The content and the targets of the log.
    pub(crate) logging: LoggingConfig,
    /// The settings of the HTTP server.
    pub monitoring: MonitoringConfig,
    pipelines: Vec<PipelineConfig>,
}

/// The reason why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file that was named, or the existing default one, cannot be read.
    #[error("cannot read {}", file.display())]
    Unreadable {
        /// The file that cannot be read.
        file: PathBuf,
        /// The error of the read.
        source: io::Error,
    },
    /// The file is not YAML, or not settings.
    #[error("{} {error}", file.display())]
    Syntax {
        /// The file with the error.
        file: PathBuf,
        /// The error and its place.
        error: SyntaxError,
    },
    /// Some settings cannot be used.
    #[error("{}", ProblemList(problems))]
    Invalid {
        /// All problems that were found.
        problems: Vec<Problem>,
    },
}

/// Problems as a list for operators.
struct ProblemList<'a>(&'a [Problem]);

impl fmt::Display for ProblemList<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.0.len() == 1 { "problem" } else { "problems" };
        write!(formatter, "the configuration has {} {noun}:", self.0.len())?;
        self.0.iter().try_for_each(|problem| write!(formatter, "\n  {problem}"))
    }
}

impl Config {
    /// Reads the configuration from a file, or from the [default one](DEFAULT_FILE) if none is named and the default one exists,
    /// from an environment and from a command line.
    pub fn load(file: Option<&Path>, environment: &Environment, overrides: &Overrides) -> Result<Self, ConfigError> {
        Self::read(read_file(file)?, environment, overrides)
    }

    /// The pipelines; there is always at least one.
    pub fn pipelines(&self) -> &[PipelineConfig] {
        &self.pipelines
    }

    fn read(file: Document, environment: &Environment, overrides: &Overrides) -> Result<Self, ConfigError> {
        let report = Report::default();
        let config = Self::read_into(file, environment, overrides, &report);
        report.finish(config)
    }

    fn read_into(mut document: Document, environment: &Environment, overrides: &Overrides, report: &Report) -> Self {
        environment.lay_over(&mut document, report);
        overrides.lay_over(&mut document);
        let (logging, monitoring) = Section::read_root(&document, report, |root| {
            root.leave(&PIPELINE_SETTINGS);
            root.leave(&["pipelines"]);
            (root.section("logging", LoggingConfig::read), root.section("monitoring", MonitoringConfig::read))
        });
        Self { logging, monitoring, pipelines: read_pipelines(&document, report) }
    }
}

impl MonitoringConfig {
    /// Reads only this part, from the same places as [`Config::load`]: a health check has to reach a running service even if, for
    /// example, a password file has disappeared since it started.
    pub(crate) fn load(file: Option<&Path>, environment: &Environment, overrides: &Overrides) -> Result<Self, ConfigError> {
        let mut document = read_file(file)?;
        let about_other_parts = Report::default();
        environment.lay_over(&mut document, &about_other_parts);
        overrides.lay_over(&mut document);
        let document = document.retaining(|name| name == "monitoring");
        let report = Report::default();
        let config = Section::read_root(&document, &report, |root| root.section("monitoring", Self::read));
        report.finish(config)
    }
}

impl Report {
    /// Returns the configuration if there are no problems, otherwise all problems.
    fn finish<T>(self, config: T) -> Result<T, ConfigError> {
        let problems = self.into_problems();
        if problems.is_empty() { Ok(config) } else { Err(ConfigError::Invalid { problems }) }
    }
}

/// A named file must exist; the default one need not.
fn read_file(file: Option<&Path>) -> Result<Document, ConfigError> {
    let path = file.unwrap_or(Path::new(DEFAULT_FILE));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if file.is_none() && error.kind() == io::ErrorKind::NotFound => {
            return Ok(Document::default());
        }
        Err(source) => {
            return Err(ConfigError::Unreadable { file: path.to_owned(), source });
        }
    };
    Document::parse(&text).map_err(|error| ConfigError::Syntax { file: path.to_owned(), error })
}

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
