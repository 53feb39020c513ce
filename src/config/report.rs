//! Collects every problem of a configuration, so that all are reported at once.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

/// One problem, and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The setting's path in the file, its environment variable or its command line option: the place that the operator has to
    /// change.
    pub place: String,
    /// The problem and the allowed values; never the value of a secret.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.message)
    }
}

/// The findings while a configuration is read. The sections of a document share one report, hence the interior mutability.
#[derive(Debug, Default)]
pub(super) struct Report {
    problems: RefCell<Vec<Problem>>,
    settings: RefCell<BTreeSet<String>>,
}

impl Report {
    /// Notes a problem, but only once: several pipelines read their shared settings.
    pub(super) fn add(&self, place: impl Into<String>, message: impl fmt::Display) {
        let problem = Problem { place: place.into(), message: message.to_string() };
        let mut problems = self.problems.borrow_mut();
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }

    /// Notes that a setting of this path exists.
    pub(super) fn setting(&self, path: String) {
        self.settings.borrow_mut().insert(path);
    }

    /// The paths of all settings that exist.
    #[cfg(test)]
    pub(super) fn settings(&self) -> BTreeSet<String> {
        self.settings.borrow().clone()
    }

    /// All problems, in the order in which they were found.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_report_keeps_each_problem_once_and_in_order() {
        let report = Report::default();
        report.add("b", "second letter");
        report.add("a", "first letter");
        report.add("b", "second letter");
        let problems: Vec<String> = report.into_problems().iter().map(ToString::to_string).collect();
        assert_eq!(problems, ["b: second letter", "a: first letter"]);
    }
}
