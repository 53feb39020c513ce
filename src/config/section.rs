//! Reads the settings of one section, each by its name and as its type.
//!
//! An unusable value is noted in the report and read as absent. The caller continues with a default, so that one run finds all
//! problems. If there are any, the result is discarded.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde_yaml::{Mapping, Value};

use super::document::{Document, join};
use super::report::Report;
use super::scalar::{self, number_text, shown, whole_number};
use super::secret::Secret;
use super::size::ByteSize;
use super::spelling::closest;

/// The longest name that a message repeats; a longer text is not a name but a misplaced value.
const MAX_SHOWN_NAME: usize = 40;

/// One section of a document, or its top level.
pub(super) struct Section<'a> {
    document: &'a Document,
    report: &'a Report,
    path: String,
    values: Option<&'a Mapping>,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    /// Reads the top level of a document.
    pub(super) fn read_root<T>(document: &'a Document, report: &'a Report, read: impl FnOnce(&Self) -> T) -> T {
        Self::read(document, report, String::new(), Some(document.root()), read)
    }

    fn read<T>(
        document: &'a Document,
        report: &'a Report,
        path: String,
        values: Option<&'a Mapping>,
        read: impl FnOnce(&Self) -> T,
    ) -> T {
        let section = Self { document, report, path, values, known: RefCell::default() };
        let result = read(&section);
        section.refuse_unknown_names();
        result
    }

    /// Reads a section of this section. A missing section has no settings.
    pub(super) fn section<T>(&self, name: &'static str, read: impl FnOnce(&Section<'a>) -> T) -> T {
        let values = match self.value(name) {
            None => None,
            Some(Value::Mapping(values)) => Some(values),
            Some(_) => {
                self.problem(name, "must be a section, with its settings indented below it");
                None
            }
        };
        Self::read(self.document, self.report, join(&self.path, name), values, read)
    }

    /// Notes a problem with a setting.
    pub(super) fn problem(&self, name: &str, message: impl Display) {
        self.report.add(self.document.place(&join(&self.path, name)), message);
    }

    /// Notes that a setting exists that is read elsewhere.
    pub(super) fn leave(&self, names: &[&'static str]) {
        self.known.borrow_mut().extend(names);
    }

    /// The unconverted value. An empty value counts as absent.
    pub(super) fn value(&self, name: &'static str) -> Option<&'a Value> {
        self.known.borrow_mut().push(name);
        self.report.setting(join(&self.path, name));
        self.values?.get(name).filter(|value| !value.is_null())
    }

    /// A text that is not empty.
    pub(super) fn text(&self, name: &'static str) -> Option<String> {
        match self.value(name)? {
            Value::String(text) if text.is_empty() => {
                self.problem(name, "is empty (remove the setting to use its default)");
                None
            }
            Value::String(text) => Some(text.clone()),
            // The value is not repeated: it may be a password of digits only.
            _ => {
                self.problem(name, "must be a string (put it in quotes)");
                None
            }
        }
    }

    /// A text that is parsed to another type. The parser's error describes the problem, and may repeat the value only if that is
    /// harmless.
    pub(super) fn parsed<T>(&self, name: &'static str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let text = self.text(name)?;
        text.parse().map_err(|error: T::Err| self.problem(name, error)).ok()
    }

    /// A setting that is a path.
    pub(super) fn path(&self, name: &'static str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    /// One of a few words, in any case.
    pub(super) fn choice<T: Copy>(&self, name: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(name)?;
        let found = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text));
        if found.is_none() {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            self.problem(name, format_args!("{} is not one of {}", shown(&text), words.join(", ")));
        }
        found.map(|(_, choice)| *choice)
    }

    /// A setting that is true or false.
    pub(super) fn flag(&self, name: &'static str) -> Option<bool> {
        let flag = scalar::flag(self.value(name)?);
        if flag.is_none() {
            self.problem(name, "must be true or false");
        }
        flag
    }

    /// Reads a whole number within `range`; `unit` appears in the error message.
    pub(super) fn integer(&self, name: &'static str, range: RangeInclusive<u64>, unit: &str) -> Option<u64> {
        let allowed = format!("{} to {} {unit}", range.start(), range.end());
        self.number_in(name, &range, &allowed)
    }

    /// Whether a setting that is a number otherwise is this word.
    pub(super) fn is_word(&self, name: &'static str, word: &str) -> bool {
        self.value(name).and_then(Value::as_str).is_some_and(|text| text.eq_ignore_ascii_case(word))
    }

    /// A whole number for which zero means off; `None` if the setting is absent, `Some(None)` if it is off.
    pub(super) fn integer_or_off(&self, name: &'static str, range: RangeInclusive<u64>, unit: &str) -> Option<Option<u64>> {
        if self.value(name).and_then(whole_number) == Some(0) {
            return Some(None);
        }
        let allowed = format!("{} to {} {unit}, or 0 for off", range.start(), range.end());
        self.number_in(name, &range, &allowed).map(Some)
    }

    fn number_in(&self, name: &'static str, range: &RangeInclusive<u64>, allowed: &str) -> Option<u64> {
        let value = self.value(name)?;
        let number = whole_number(value).filter(|number| range.contains(number));
        if number.is_none() {
            let message = match number_text(value) {
                Some(text) => format!("{text} is out of range ({allowed})"),
                None => format!("must be a whole number ({allowed})"),
            };
            self.problem(name, message);
        }
        number
    }

    /// The number of a TCP port, with zero meaning off as in [`Section::integer_or_off`].
    pub(super) fn port_or_off(&self, name: &'static str) -> Option<Option<u16>> {
        if self.value(name).and_then(whole_number) == Some(0) {
            return Some(None);
        }
        self.port_allowing(name, "1 to 65535, or 0 for off").map(Some)
    }

    /// The number of a TCP port.
    pub(super) fn port(&self, name: &'static str) -> Option<u16> {
        self.port_allowing(name, "1 to 65535")
    }

    fn port_allowing(&self, name: &'static str, allowed: &str) -> Option<u16> {
        let value = self.value(name)?;
        let port = whole_number(value).and_then(|number| u16::try_from(number).ok()).filter(|port| *port != 0);
        if port.is_none() {
            let text = number_text(value).unwrap_or_else(|| "this".to_owned());
            self.problem(name, format_args!("{text} is not a port ({allowed})"));
        }
        port
    }

    /// A number of seconds.
    pub(super) fn seconds(&self, name: &'static str, range: RangeInclusive<u64>) -> Option<Duration> {
        self.integer(name, range, "seconds").map(Duration::from_secs)
    }

    /// A share between 0 and 1.
    pub(super) fn share(&self, name: &'static str) -> Option<f64> {
        let share = scalar::share(self.value(name)?);
        if share.is_none() {
            self.problem(name, "must be a number from 0 to 1");
        }
        share
    }

    /// A number of bytes.
    pub(super) fn size(&self, name: &'static str, range: RangeInclusive<ByteSize>) -> Option<ByteSize> {
        let size = match self.value(name)? {
            Value::String(text) => text.parse().map_err(|error| self.problem(name, error)).ok(),
            value => whole_number(value).map(ByteSize::from_bytes).or_else(|| {
                self.problem(name, "must be a size (write 4MiB or a number of bytes)");
                None
            }),
        }?;
        if range.contains(&size) {
            return Some(size);
        }
        self.problem(name, format_args!("{size} is out of range ({} to {})", range.start(), range.end()));
        None
    }

    /// A list of texts. The environment gives it as one text with commas.
    pub(super) fn texts(&self, name: &'static str) -> Option<Vec<String>> {
        match self.value(name)? {
            Value::String(text) => Some(text.split(',').map(|part| part.trim().to_owned()).collect()),
            Value::Sequence(values) if values.iter().all(Value::is_string) => {
                Some(values.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            }
            _ => {
                self.problem(name, "must be a list of strings (put each in quotes)");
                None
            }
        }
    }

    /// A secret, given directly or as the file that holds it.
    pub(super) fn secret(&self, name: &'static str, name_of_file: &'static str) -> Option<Secret> {
        let (direct, file) = (self.text(name), self.path(name_of_file));
        match (direct, file) {
            (Some(_), Some(_)) => {
                self.problem(name, format_args!("is set twice: keep either {name} or {name_of_file}"));
                None
            }
            (Some(text), None) => Some(Secret::new(text)),
            (None, Some(path)) => Secret::read_file(&path)
                .map_err(|message| self.problem(name_of_file, format_args!("{}: {message}", path.display())))
                .ok(),
            (None, None) => None,
        }
    }

    fn refuse_unknown_names(&self) {
        let known = self.known.borrow();
        for (name, value) in self.values.into_iter().flatten() {
            match name.as_str() {
                Some(name) if known.contains(&name) => {}
                Some(name) => self.refuse(name, value, &known),
                None => self.report.add(self.here(), "contains a setting whose name is not a string"),
            }
        }
    }

    /// Refuses a name, but repeats it only if it can be a name: in `{user: neo4j, password:secret}` the missing space makes the
    /// secret part of a name, and a comma within a password has the same effect.
    fn refuse(&self, name: &str, value: &Value, known: &[&'static str]) {
        let meant = closest(name, known.iter().copied());
        let looks_like_a_name = !value.is_null()
            && name.len() <= MAX_SHOWN_NAME
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
        match (meant, looks_like_a_name) {
            (Some(meant), true) => self.problem(name, format_args!("is not a setting; did you mean {meant}?")),
            (None, true) => self.problem(name, format_args!("is not a setting (valid settings: {})", sorted(known))),
            (_, false) => self.report.add(
                self.here(),
                format_args!(
                    "contains something that is not a setting (is a space missing after a colon, or are quotes missing? \
                     valid settings: {})",
                    sorted(known)
                ),
            ),
        }
    }

    /// The section itself, as the place of a problem.
    fn here(&self) -> String {
        if self.path.is_empty() { "the top level".to_owned() } else { self.document.place(&self.path) }
    }
}

fn sorted(names: &[&'static str]) -> String {
    let names: std::collections::BTreeSet<_> = names.iter().copied().collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads one text with a closure and returns its result and the problems.
    fn read<T>(text: &str, read: impl FnOnce(&Section<'_>) -> T) -> (T, Vec<String>) {
        let document = Document::parse(text).unwrap();
        let report = Report::default();
        let result = Section::read_root(&document, &report, read);
        (result, report.into_problems().iter().map(ToString::to_string).collect())
    }

    fn problem<T>(text: &str, reader: impl FnOnce(&Section<'_>) -> Option<T>) -> String {
        let (result, problems) = read(text, reader);
        assert!(result.is_none(), "{text}");
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems[0].clone()
    }

    fn value<T>(text: &str, reader: impl FnOnce(&Section<'_>) -> Option<T>) -> T {
        let (result, problems) = read(text, reader);
        assert_eq!(problems, Vec::<String>::new(), "{text}");
        result.unwrap()
    }

    #[test]
    fn test_section_reads_texts_that_stand_for_other_values() {
        assert_eq!(value("a: '5'", |s| s.integer("a", 1..=9, "rows")), 5);
        assert!(value("a: 'On'", |s| s.flag("a")));
        assert_eq!(value("a: '0.25'", |s| s.share("a")), 0.25);
        assert_eq!(value("a: 1", |s| s.share("a")), 1.0);
        assert_eq!(value("a: '7687'", |s| s.port("a")), 7687);
        assert_eq!(value("a: 'x, y,'", |s| s.texts("a")), ["x", "y", ""]);
        assert_eq!(value("a: ['', '_']", |s| s.texts("a")), ["", "_"]);
        assert_eq!(value("a: 2MiB", |s| s.size("a", ByteSize::from_bytes(0)..=ByteSize::from_mib(9))), ByteSize::from_mib(2));
        assert_eq!(value("a: YES", |s| s.choice("a", &[("no", 0), ("yes", 1)])), 1);
    }

    #[test]
    fn test_section_says_what_is_allowed() {
        assert_eq!(problem("a: 70000", |s| s.port("a")), "a: 70000 is not a port (1 to 65535)");
        assert_eq!(problem("a: 0", |s| s.port("a")), "a: 0 is not a port (1 to 65535)");
        assert_eq!(problem("a: [1]", |s| s.port("a")), "a: this is not a port (1 to 65535)");
        assert_eq!(problem("a: -3", |s| s.integer("a", 1..=9, "rows")), "a: -3 is out of range (1 to 9 rows)");
        assert_eq!(problem("a: 1.5", |s| s.integer("a", 1..=9, "rows")), "a: must be a whole number (1 to 9 rows)");
        assert_eq!(problem("a: often", |s| s.seconds("a", 1..=9)), "a: must be a whole number (1 to 9 seconds)");
        assert_eq!(problem("a: maybe", |s| s.flag("a")), "a: must be true or false");
        assert_eq!(problem("a: 1.01", |s| s.share("a")), "a: must be a number from 0 to 1");
        assert_eq!(problem("a: .nan", |s| s.share("a")), "a: must be a number from 0 to 1");
        assert_eq!(problem("a: z", |s| s.choice("a", &[("x", 0), ("y", 1)])), "a: \"z\" is not one of x, y");
        assert_eq!(problem("a: [1]", |s| s.texts("a")), "a: must be a list of strings (put each in quotes)");
        assert_eq!(
            problem("a: 3MiB", |s| s.size("a", ByteSize::from_kib(1)..=ByteSize::from_mib(2))),
            "a: 3MiB is out of range (1KiB to 2MiB)"
        );
        assert!(problem("a: 3 cows", |s| s.size("a", ByteSize::from_kib(1)..=ByteSize::from_mib(2))).contains("4MiB"));
        assert!(problem("a: ''", |s| s.text("a")).contains("is empty"));
        assert_eq!(problem("a: 9", |s| s.integer_or_off("a", 1..=5, "ms")), "a: 9 is out of range (1 to 5 ms, or 0 for off)");
    }

    #[test]
    fn test_section_takes_an_empty_setting_as_not_there() {
        assert_eq!(read("a:\nb:", |s| (s.text("a"), s.section("b", |b| b.text("c")))), ((None, None), vec![]));
        assert_eq!(value("a: 0", |s| s.integer_or_off("a", 1..=5, "ms")), None);
    }

    #[test]
    fn test_section_refuses_names_that_it_does_not_know() {
        let (_, problems) = read("a: {prot: 1, zzz: 2, 5: x}\nb: []", |s| {
            s.section("a", |a| (a.port("port"), a.text("host")));
            s.section("b", |_| ());
        });
        assert_eq!(
            problems,
            [
                "a.prot: is not a setting; did you mean port?",
                "a.zzz: is not a setting (valid settings: host, port)",
                "a: contains a setting whose name is not a string",
                "b: must be a section, with its settings indented below it",
            ]
        );
    }

    #[test]
    fn test_section_never_repeats_a_secret() {
        for text in [
            "password: 123456",
            "password: [hunter2]",
            "password: {hunter2: 1}",
            "password: !x hunter2",
            "{password:hunter2}",
            "{password: a, hunter2}",
            "{password: a, hunter2: }",
        ] {
            let (_, problems) = read(text, |s| s.secret("password", "password_file"));
            assert_eq!(problems.len(), 1, "{text}: {problems:?}");
            assert!(!problems[0].contains("hunter2") && !problems[0].contains("1234"), "{problems:?}");
        }
    }

    #[test]
    fn test_section_reads_a_secret_from_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        let text = format!("p_file: {}", path.display());
        assert!(problem(&text, |s| s.secret("p", "p_file")).contains("cannot be read"));
        for (content, secret) in [("hunter2", "hunter2"), ("hunter2\r\n", "hunter2"), ("a b\n\n", "a b\n")] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(value(&text, |s| s.secret("p", "p_file")).expose(), secret);
        }
        std::fs::write(&path, "\n").unwrap();
        assert!(problem(&text, |s| s.secret("p", "p_file")).ends_with("is empty"));
        let both = format!("{text}\np: hunter2");
        assert_eq!(problem(&both, |s| s.secret("p", "p_file")), "p: is set twice: keep either p or p_file");
    }
}
