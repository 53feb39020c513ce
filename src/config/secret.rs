//! A text that must never be shown.

use std::fmt;
use std::fs;
use std::path::Path;

const REDACTED: &str = "[redacted]";

/// A password or token. `Debug` and `Display` hide it, and it cannot be serialized. Code that needs the text has to call
/// [`Secret::expose`], which is easy to search for.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Makes a secret from a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Reads the text of a file. One line end at the end is not part of the secret: editors and `echo` add it.
    pub(super) fn read_file(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() {
            return Err("is empty".to_owned());
        }
        Ok(Self::new(text))
    }

    /// The text itself, only for the driver that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether a presented text is this secret. The comparison takes the same time wherever the two differ, so that the time does
    /// not reveal how much of a guess was right.
    pub(crate) fn matches(&self, candidate: &str) -> bool {
        let (ours, theirs) = (self.0.as_bytes(), candidate.as_bytes());
        if ours.len() != theirs.len() {
            return false;
        }
        let difference = ours.iter().zip(theirs).fold(0u8, |all, (a, b)| std::hint::black_box(all | (a ^ b)));
        difference == 0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(&other.0)
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(REDACTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_secret_is_hidden_however_it_is_printed() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?} {secret:#?}"), "[redacted] [redacted] [redacted]");
        assert_eq!(format!("{:?}", Some(secret)), "Some([redacted])");
    }

    #[test]
    fn test_secret_matches_only_itself() {
        let secret = Secret::new("hunter2");
        assert_eq!(secret.expose(), "hunter2");
        assert!(secret.matches("hunter2"));
        for wrong in ["", "hunter", "hunter3", "Hunter2", "hunter22"] {
            assert!(!secret.matches(wrong), "{wrong}");
        }
    }
}
