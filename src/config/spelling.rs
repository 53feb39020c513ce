//! Finds the setting that was probably meant.

/// How many letters may be added, left out or changed for a name to still count as a misspelling of another.
const MAX_MISTAKES: usize = 2;

/// The known name that is closest to an unknown one, if any is close.
pub(super) fn closest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (mistakes(unknown, name), name))
        .filter(|(count, name)| *count <= MAX_MISTAKES && *count < name.len())
        .min()
        .map(|(_, name)| name)
}

/// The Levenshtein distance of two texts.
fn mistakes(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let changed = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_closest_finds_a_misspelled_name() {
        let known = ["port", "host", "password"];
        assert_eq!(closest("prot", known), Some("port"));
        assert_eq!(closest("passwd", known), Some("password"));
        assert_eq!(closest("pasword", known), Some("password"));
        assert_eq!(closest("ports", known), Some("port"));
        assert_eq!(closest("database", known), None);
    }

    #[test]
    fn test_mistakes_counts_letters() {
        assert_eq!(mistakes("kitten", "sitting"), 3);
        assert_eq!(mistakes("", "ab"), 2);
        assert_eq!(mistakes("ab", ""), 2);
        assert_eq!(mistakes("größe", "größe"), 0);
    }
}
