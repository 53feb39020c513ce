//! The content and the targets of the log.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

use super::section::Section;

/// A week of daily files.
const DEFAULT_KEEP_FILES: u64 = 7;

/// Ten years of daily files.
const MAX_KEEP_FILES: u64 = 3_650;

/// The content and the targets of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoggingConfig {
    /// The least important lines that are logged.
    pub level: LogLevel,
    /// The format of a line.
    pub format: LogFormat,
    /// The directory of daily files, besides the console; `None` means no files.
    pub directory: Option<PathBuf>,
    /// The number of daily files to keep.
    pub keep_files: usize,
    /// Whether each change of the cache and each command of an operator is logged, at any level.
    pub audit: bool,
}

/// The importance of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LogLevel {
    /// An operator must act.
    Error,
    /// Something is wrong, but nothing is lost.
    Warn,
    /// The actions of the service.
    Info,
    /// The details of these actions.
    Debug,
    /// Every single step of the service.
    Trace,
}

/// The format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// One JSON object a line, for machines.
    Json,
    /// Text lines, for people.
    Text,
}

/// The last two are Python's names, which users of the replaced Python service have in their files.
const LEVELS: [(&str, LogLevel); 7] = [
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
    ("warning", LogLevel::Warn),
    ("critical", LogLevel::Error),
];

const FORMATS: [(&str, LogFormat); 2] = [("json", LogFormat::Json), ("text", LogFormat::Text)];

/// The error for a word that is not among the allowed ones.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("is not one of {0}")]
pub(crate) struct UnknownWord(String);

impl LoggingConfig {
    pub(super) fn read(section: &Section<'_>) -> Self {
        Self {
            level: section.choice("level", &LEVELS).unwrap_or(LogLevel::Info),
            format: section.choice("format", &FORMATS).unwrap_or(LogFormat::Json),
            directory: section.path("directory"),
            keep_files: section.integer("keep_files", 1..=MAX_KEEP_FILES, "files").unwrap_or(DEFAULT_KEEP_FILES) as usize,
            audit: section.flag("audit").unwrap_or(true),
        }
    }
}

/// Finds a word in any case.
fn find<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, UnknownWord> {
    let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
    let all = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
    found.map(|(_, value)| *value).ok_or_else(|| UnknownWord(all()))
}

/// The first word for a value.
fn word<T: PartialEq>(value: &T, words: &[(&'static str, T)]) -> &'static str {
    words.iter().find(|(_, other)| other == value).map_or("", |(word, _)| word)
}

impl FromStr for LogLevel {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        find(text, &LEVELS)
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(word(self, &LEVELS))
    }
}

impl FromStr for LogFormat {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        find(text, &FORMATS)
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(word(self, &FORMATS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_log_level_knows_its_words() {
        for text in ["error", "warn", "info", "debug", "trace"] {
            assert_eq!(text.to_uppercase().parse::<LogLevel>().unwrap().to_string(), text);
        }
        assert_eq!("WARNING".parse(), Ok(LogLevel::Warn));
        assert_eq!("CRITICAL".parse(), Ok(LogLevel::Error));
        let error = "loud".parse::<LogLevel>().unwrap_err().to_string();
        assert_eq!(error, "is not one of error, warn, info, debug, trace, warning, critical");
    }

    #[test]
    fn test_log_format_knows_its_words() {
        for text in ["json", "text"] {
            assert_eq!(text.parse::<LogFormat>().unwrap().to_string(), text);
        }
        assert!("xml".parse::<LogFormat>().is_err());
    }
}
