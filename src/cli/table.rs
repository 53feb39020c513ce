//! A table of text with aligned columns.

/// The gap between two columns.
const GAP: &str = "  ";

/// Rows under a head, each column as wide as its widest cell. No line ends with blanks.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|cell| cell.to_uppercase()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&head).chain(rows).collect();
    let all: Vec<Vec<String>> = all.into_iter().map(|row| row.iter().map(|cell| one_line(cell)).collect()).collect();
    let width = |column: usize| all.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..head.len()).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join(GAP).trim_end().to_owned()
    };
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The text on one line: characters that would begin another line or move the cursor are escaped.
pub(super) fn one_line(text: &str) -> String {
    let breaks = |character: char| character.is_control() || matches!(character, '\u{2028}' | '\u{2029}');
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if breaks(character) { line.extend(character.escape_default()) } else { line.push(character) }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_one_another() {
        let rows = [vec!["research".to_owned(), "in step".to_owned()], vec!["é".to_owned(), String::new()]];
        assert_eq!(table(&["pipeline", "state"], &rows), "PIPELINE  STATE\nresearch  in step\né");
    }

    #[test]
    fn a_cell_stays_in_its_line() {
        let rows = [vec!["two\nlines\r\t\u{2028}\u{1b}[1m ü".to_owned(), "x".to_owned()]];
        let text = table(&["kind", "n"], &rows);
        assert_eq!(text.lines().nth(1).unwrap(), "two\\nlines\\r\\t\\u{2028}\\u{1b}[1m ü  x");
        assert_eq!(text.lines().count(), 2);
    }
}
