//! Two hundred labels and relationship types with names of all kinds, a few nodes of each.

pub(super) const LABELS: usize = 200;

/// What a name may hold: blanks, other scripts, punctuation, quotes.
const ENDINGS: [&str; 10] = ["", " с пробелом", "_标签", " \"quoted\"", "-é", "::", " it's", ".x", " \\\\", "😀"];

pub(super) fn label(number: usize) -> String {
    format!("L{number}{}", ENDINGS[number % ENDINGS.len()])
}

pub(super) fn rel_type(number: usize) -> String {
    format!("T{number}{}", ENDINGS[(number + 3) % ENDINGS.len()])
}

pub(super) fn statements() -> Vec<String> {
    let nodes = (0..LABELS).map(|number| {
        let also = if number % 3 == 0 { format!(":`{}`", label((number + 1) % LABELS)) } else { String::new() };
        format!(
            "UNWIND range(1, 3) AS i CREATE (:`{}`{also} {{`ключ с пробелом`: i, `key {number}`: 'x' + i, n: {number}}})",
            label(number)
        )
    });
    let relationships = (0..LABELS).map(|number| {
        let (start, end) = (label(number), label((number * 7 + 1) % LABELS));
        format!(
            "MATCH (a:`{start}`) WITH a LIMIT 1 MATCH (b:`{end}`) WITH a, b LIMIT 2 CREATE (a)-[:`{0}`]->(b), \
             (a)-[:`{0}` {{`ä ö`: {number}}}]->(b)",
            rel_type(number)
        )
    });
    nodes.chain(relationships).collect()
}
