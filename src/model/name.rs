//! Names of labels, relationship types and properties that FalkorDB can express.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Later FalkorDB versions refuse longer identifiers, and 4.16.3 crashes on an indexed name of 600 bytes.
pub(crate) const MAX_NAME_BYTES: usize = 512;

/// The reason why a name cannot be used in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UnusableName {
    /// The name is empty.
    #[error("the name is empty")]
    Empty,
    /// FalkorDB has no escape for a backtick, anywhere.
    #[error("the name contains a backtick, which FalkorDB cannot express")]
    Backtick,
    /// FalkorDB cuts its query text at NUL.
    #[error("the name contains NUL, which FalkorDB cannot express")]
    Nul,
    /// The name is longer than [`MAX_NAME_BYTES`].
    #[error("the name is longer than 512 bytes")]
    TooLong,
}

/// Any name in backticks, as Neo4j reads it, including names that the cache cannot hold.
///
/// Neo4j reads `\uXXXX` as one character anywhere in a query, including names, and refuses the query if four digits do not follow
/// (5.26.12). So a backslash itself is written in this way.
pub(crate) fn quoted_for_neo4j(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\u005C").replace('`', "``"))
}

fn check(text: &str) -> Result<(), UnusableName> {
    if text.is_empty() {
        return Err(UnusableName::Empty);
    }
    if text.len() > MAX_NAME_BYTES {
        return Err(UnusableName::TooLong);
    }
    if text.contains('`') {
        return Err(UnusableName::Backtick);
    }
    if text.contains('\0') {
        return Err(UnusableName::Nul);
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks a text and keeps it.
            pub fn parse(text: &str) -> Result<Self, UnusableName> {
                check(text)?;
                Ok(Self(text.into()))
            }

            /// Checks a text without keeping it.
            pub fn check(text: &str) -> Result<(), UnusableName> {
                check(text)
            }

            /// The name without backticks.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The name in backticks, as FalkorDB reads any name.
            pub fn quoted(&self) -> String {
                format!("`{}`", self.0)
            }

            /// The name in backticks, as Neo4j reads any name.
            pub(crate) fn quoted_for_neo4j(&self) -> String {
                quoted_for_neo4j(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = UnusableName;
            fn try_from(text: String) -> Result<Self, UnusableName> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.to_string()
            }
        }
    };
}

name!(
    /// The label of a node.
    Label
);
name!(
    /// The type of a relationship.
    RelationshipType
);
name!(
    /// The name of a property.
    PropertyName
);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_that_falkordb_cannot_express_are_refused() {
        assert_eq!(Label::parse(""), Err(UnusableName::Empty));
        assert_eq!(Label::parse("a`b"), Err(UnusableName::Backtick));
        assert_eq!(PropertyName::parse("a\0"), Err(UnusableName::Nul));
        assert_eq!(RelationshipType::parse(&"x".repeat(513)), Err(UnusableName::TooLong));
        assert_eq!(Label::parse("öffentlich: \"x\"").map(|l| l.quoted()), Ok("`öffentlich: \"x\"`".to_owned()));
    }

    #[test]
    fn neo4j_reads_no_escape_in_a_name() {
        let name = Label::parse(r"C:\users").unwrap();
        assert_eq!((name.quoted().as_str(), name.quoted_for_neo4j().as_str()), (r"`C:\users`", r"`C:\u005Cusers`"));
        assert_eq!(quoted_for_neo4j("a`b"), "`a``b`");
    }
}
