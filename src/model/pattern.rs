//! Patterns of names in a profile.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A pattern of names: `*` matches any text, `?` any one character, and every other character itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct NamePattern(String);

impl NamePattern {
    /// The pattern of all names.
    pub(crate) fn everything() -> Self {
        Self("*".to_owned())
    }

    /// A pattern from its text.
    #[cfg(test)]
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The only name that the pattern matches, if there is exactly one.
    pub(crate) fn as_name(&self) -> Option<&str> {
        (!self.0.contains(['*', '?'])).then_some(&self.0)
    }

    /// Whether the pattern matches a name.
    pub(crate) fn matches(&self, name: &str) -> bool {
        if let Some(only) = self.as_name() {
            return only == name;
        }
        let (pattern, name): (Vec<char>, Vec<char>) = (self.0.chars().collect(), name.chars().collect());
        let (mut at, mut seen) = (0, 0);
        // The place to continue from if the last star has to match one more character.
        let mut star: Option<(usize, usize)> = None;
        while seen < name.len() {
            match pattern.get(at) {
                Some('*') => {
                    star = Some((at + 1, seen));
                    at += 1;
                }
                Some(&expected) if expected == '?' || expected == name[seen] => {
                    at += 1;
                    seen += 1;
                }
                _ => {
                    let Some((after, from)) = star else { return false };
                    star = Some((after, from + 1));
                    (at, seen) = (after, from + 1);
                }
            }
        }
        pattern[at..].iter().all(|rest| *rest == '*')
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_stand_for_others() {
        let matches = |pattern: &str, name: &str| NamePattern::new(pattern).matches(name);
        for (pattern, name) in [
            ("*", ""),
            ("*", "x"),
            ("a", "a"),
            ("a*", "a"),
            ("a*c", "abcabc"),
            ("?ä?", "xäx"),
            ("*_tmp*", "a_tmp_b"),
            ("a**b", "ab"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("", "x"), ("a", "A"), ("a*c", "abcd"), ("?", ""), ("?", "ab"), ("*_tmp", "a_tmp_b")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
