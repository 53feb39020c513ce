//! The settings that the command line overrides.

use serde_yaml::{Mapping, Value};

use super::document::{Document, insert_at};
use super::logging::{LogFormat, LogLevel};

const LOG_LEVEL: (&str, &str) = ("logging.level", "--log-level");
const LOG_FORMAT: (&str, &str) = ("logging.format", "--log-format");
const TAKE_OVER: (&str, &str) = ("falkordb.take_over", "--take-over");
const HEALTH_PORT: (&str, &str) = ("monitoring.health_port", "--health-port");

/// Settings from the command line, which override the environment and the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// The value for `logging.level`.
    pub(crate) log_level: Option<LogLevel>,
    /// The value for `logging.format`.
    pub(crate) log_format: Option<LogFormat>,
    /// The value for `monitoring.health_port`.
    pub health_port: Option<u16>,
    /// The value for `falkordb.take_over`.
    pub take_over: Option<bool>,
}

impl Overrides {
    pub(super) fn lay_over(&self, document: &mut Document) {
        let given = [
            (LOG_LEVEL, self.log_level.map(|level| level.to_string().into())),
            (LOG_FORMAT, self.log_format.map(|format| format.to_string().into())),
            (HEALTH_PORT, self.health_port.map(Value::from)),
            (TAKE_OVER, self.take_over.map(Value::from)),
        ];
        let mut layer = Mapping::new();
        for ((path, _), value) in given {
            if let Some(value) = value {
                insert_at(&mut layer, path, value);
            }
        }
        document.overlay(layer, &option_of);
    }
}

/// The option for a path, or the path itself for the sections on the way.
fn option_of(path: &str) -> String {
    let options = [LOG_LEVEL, LOG_FORMAT, HEALTH_PORT, TAKE_OVER];
    let option = options.iter().find(|(known, _)| *known == path);
    option.map_or(path, |(_, option)| option).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_overrides_lie_over_everything_else() {
        let mut document = Document::parse("logging: {level: info, audit: true}").unwrap();
        let given = Overrides { log_level: Some(LogLevel::Debug), log_format: None, health_port: Some(0), take_over: Some(true) };
        given.lay_over(&mut document);
        let expected =
            Document::parse("logging: {level: debug, audit: true}\nmonitoring: {health_port: 0}\nfalkordb: {take_over: true}")
                .unwrap();
        assert_eq!(document.root(), expected.root());
        assert_eq!(document.place("logging.level"), "--log-level");
    }
}
