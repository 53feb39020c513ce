//! The choice of the profile that describes the graph.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;

/// The names of the built-in profiles.
const GRAPHITI: &str = "graphiti";
const GENERIC: &str = "generic";

/// The choice of the profile that describes the graph: its labels and types, keys, timestamps, vectors and indices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProfileChoice {
    /// The built-in profile for graphs that graphiti makes.
    Graphiti,
    /// The built-in profile for any other graph.
    Generic,
    /// A file with the operator's own profile.
    File(PathBuf),
}

/// The error for a word that is neither a built-in profile nor a file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("is not a profile (write {GRAPHITI} or {GENERIC}, or the path of a profile file that ends in .yaml or .yml)")]
pub(crate) struct ProfileChoiceError;

impl FromStr for ProfileChoice {
    type Err = ProfileChoiceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.eq_ignore_ascii_case(GRAPHITI) {
            return Ok(Self::Graphiti);
        }
        if text.eq_ignore_ascii_case(GENERIC) {
            return Ok(Self::Generic);
        }
        let path = PathBuf::from(text);
        let is_yaml = path.extension().is_some_and(|end| end == "yaml" || end == "yml");
        if is_yaml { Ok(Self::File(path)) } else { Err(ProfileChoiceError) }
    }
}

impl fmt::Display for ProfileChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Graphiti => formatter.write_str(GRAPHITI),
            Self::Generic => formatter.write_str(GENERIC),
            Self::File(path) => Path::display(path).fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_profile_choice_is_a_name_or_a_file() {
        assert_eq!("Graphiti".parse(), Ok(ProfileChoice::Graphiti));
        assert_eq!("generic".parse(), Ok(ProfileChoice::Generic));
        let file: ProfileChoice = "profiles/mine.yaml".parse().unwrap();
        assert_eq!(file, ProfileChoice::File("profiles/mine.yaml".into()));
        assert_eq!(file.to_string(), "profiles/mine.yaml");
        for text in ["graphity", "", "mine.json", "profiles/"] {
            assert_eq!(text.parse::<ProfileChoice>(), Err(ProfileChoiceError), "{text}");
        }
    }
}
