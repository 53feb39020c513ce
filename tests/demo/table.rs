//! The table on the terminal.

use std::fmt::Write;
use std::io::{IsTerminal, Write as _};

use crate::counts::Counts;
use crate::places::{Places, Service};
use crate::traffic::{Kind, Traffic};

/// Cursor home, and clear what is below.
const CLEAR: &str = "\x1b[H\x1b[2J";

pub struct Table {
    heading: String,
    terminal: bool,
}

impl Table {
    pub fn new(places: &Places, service: &Service) -> Self {
        let heading = format!(
            "Neo4j {}  →  FalkorDB {}\nStatus page {}   Ctrl-C ends everything\n",
            places.source(),
            places.target(),
            service.status_page
        );
        let terminal = std::io::stdout().is_terminal();
        if !terminal {
            println!("{heading}");
        }
        Self { heading, terminal }
    }

    /// On a terminal in place of the one before; elsewhere, one line.
    pub fn show(&self, counts: &Counts, traffic: &Traffic) {
        let text = if self.terminal { self.table(counts, traffic) } else { line(counts, traffic) };
        print!("{text}");
        // A terminal that is gone is no reason to stop; the signal that comes with it is.
        let _ = std::io::stdout().flush();
    }

    fn table(&self, counts: &Counts, traffic: &Traffic) -> String {
        let mut text = format!("{CLEAR}{}\n{:<38}{:>10}{:>10}\n", self.heading, "elements", "Neo4j", "FalkorDB");
        for count in &counts.0 {
            let mark = if count.source == count.cache { "=" } else { "≠" };
            let _ = writeln!(text, "{:<38}{:>10}{:>10}  {mark}", count.kind, count.source, count.cache);
        }
        let _ = writeln!(text, "\n{:<38}{:>10}{:>10}{:>14}", "changes", "made", "arrived", "last one took");
        for kind in Kind::ALL {
            let record = traffic.record(kind);
            let took = took(traffic, kind);
            let _ = writeln!(text, "{:<38}{:>10}{:>10}{took:>14}", kind.name(), record.made, record.arrived);
        }
        text
    }
}

fn line(counts: &Counts, traffic: &Traffic) -> String {
    let (source, cache) = counts.0.iter().fold((0, 0), |sum, count| (sum.0 + count.source, sum.1 + count.cache));
    let mut text = format!("elements {source} / {cache}");
    for kind in Kind::ALL {
        let record = traffic.record(kind);
        let _ = write!(text, " · {} {}/{} {}", kind.name(), record.arrived, record.made, took(traffic, kind));
    }
    text + "\n"
}

fn took(traffic: &Traffic, kind: Kind) -> String {
    traffic.record(kind).last.map_or_else(|| "–".to_owned(), |last| format!("{:.1} s", last.as_secs_f64()))
}
