//! A query with its parameters, for any client.

use chrono::{DateTime, NaiveDateTime, Utc};

use crate::model::bookmark::Bookmark;

/// The value of a parameter: the few types that our queries take.
#[derive(Debug, Clone, PartialEq)]
pub enum Parameter {
    /// A text of Cypher's type `STRING`.
    Text(String),
    /// A list of texts only.
    Texts(Vec<String>),
    /// An integer of 64 bits.
    Integer(i64),
    /// A list of integers only.
    Integers(Vec<i64>),
    /// A datetime with a zone.
    Instant(DateTime<Utc>),
    /// A datetime without a zone.
    Local(NaiveDateTime),
}

/// A query that reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The Cypher text of the query.
    pub text: String,
    /// Its parameters by name.
    pub parameters: Vec<(&'static str, Parameter)>,
    /// The commit that the server must apply before it runs the query. If absent, the server runs the query at once.
    pub after: Option<Bookmark>,
}

impl Request {
    /// Creates a query that has no parameters yet.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), parameters: Vec::new(), after: None }
    }

    /// Adds a parameter to the query.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Parameter>) -> Self {
        self.parameters.push((name, value.into()));
        self
    }

    /// Makes the server apply this commit before it runs the query.
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
