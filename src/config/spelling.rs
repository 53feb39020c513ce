//! Finds the setting that was probably meant.

use strsim::levenshtein;

/// The most letters that may be added, left out or changed in a name that still counts as a misspelling of another.
const MAX_MISTAKES: usize = 2;

/// Returns the known name closest to an unknown one, if any is close.
pub(super) fn closest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (levenshtein(unknown, name), name))
        .filter(|(count, name)| *count <= MAX_MISTAKES && *count < name.len())
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_name_is_found() {
        let known = ["port", "host", "password"];
        assert_eq!(closest("prot", known), Some("port"));
        assert_eq!(closest("passwd", known), Some("password"));
        assert_eq!(closest("pasword", known), Some("password"));
        assert_eq!(closest("ports", known), Some("port"));
        assert_eq!(closest("database", known), None);
    }
}
