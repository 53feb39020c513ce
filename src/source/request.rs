//! A query with its parameters, whichever client sends it.

use chrono::{DateTime, NaiveDateTime, Utc};

use crate::model::bookmark::Bookmark;

/// A value of a parameter: the few types that our queries take.
#[derive(Debug, Clone, PartialEq)]
pub enum Parameter {
    /// A text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
    /// An integer.
    Integer(i64),
    /// A list of integers.
    Integers(Vec<i64>),
    /// A datetime with a zone.
    Instant(DateTime<Utc>),
    /// A datetime without one.
    Local(NaiveDateTime),
}

/// A query that reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Its Cypher text.
    pub text: String,
    /// Its parameters by name.
    pub parameters: Vec<(&'static str, Parameter)>,
    /// The commit that the server has to apply before it runs the query. Absent: whatever is applied.
    pub after: Option<Bookmark>,
}

impl Request {
    /// A query without parameters yet.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), parameters: Vec::new(), after: None }
    }

    /// The same with one parameter more.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Parameter>) -> Self {
        self.parameters.push((name, value.into()));
        self
    }

    /// The same, run only once the server has applied this commit.
    #[must_use]
    pub(crate) fn after(mut self, bookmark: Option<Bookmark>) -> Self {
        self.after = bookmark;
        self
    }
}

impl From<&str> for Parameter {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Vec<String>> for Parameter {
    fn from(texts: Vec<String>) -> Self {
        Self::Texts(texts)
    }
}

impl From<i64> for Parameter {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<Vec<i64>> for Parameter {
    fn from(numbers: Vec<i64>) -> Self {
        Self::Integers(numbers)
    }
}

impl From<usize> for Parameter {
    /// Converts a limit of rows. Cypher's integers are signed, so a larger limit becomes the largest of them.
    fn from(number: usize) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<DateTime<Utc>> for Parameter {
    fn from(instant: DateTime<Utc>) -> Self {
        Self::Instant(instant)
    }
}

impl From<NaiveDateTime> for Parameter {
    fn from(local: NaiveDateTime) -> Self {
        Self::Local(local)
    }
}
