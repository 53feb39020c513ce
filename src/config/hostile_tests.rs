//! Whatever is configured: nothing panics, and no secret is told.

use proptest::prelude::*;

use super::environment::VARIABLES;
use super::*;

const SHIPPED: &str = include_str!("../../config/sync.yaml");

/// Stands in every place where a secret may stand.
const SECRET: &str = "s3cr3t-w0rd-of-a-test";

/// What people and machines get wrong.
const WRONG: [&str; 24] = [
    "",
    " ",
    "\t",
    "~",
    "null",
    "yes",
    "-1",
    "0",
    "1e999",
    "NaN",
    "99999999999999999999",
    "[",
    "]",
    "{a: [",
    "&a [*a]",
    "*nobody",
    "!!binary x",
    "!!map",
    "\u{0}",
    "\u{feff}",
    "\"",
    "'",
    "%",
    "bolt+s://[::1",
];

/// One change of a text.
#[derive(Debug, Clone)]
enum Edit {
    Remove(prop::sample::Index),
    Double(prop::sample::Index),
    Indent(prop::sample::Index, usize),
    Value(prop::sample::Index, String),
    Append(prop::sample::Index, String),
    Line(prop::sample::Index, String),
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![prop::sample::select(WRONG.to_vec()).prop_map(str::to_owned), "\\PC{0,20}", ".{0,8}"]
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        at().prop_map(Edit::Remove),
        at().prop_map(Edit::Double),
        (at(), 0..6usize).prop_map(|(at, by)| Edit::Indent(at, by)),
        (at(), text()).prop_map(|(at, text)| Edit::Value(at, text)),
        (at(), text()).prop_map(|(at, text)| Edit::Append(at, text)),
        (at(), text()).prop_map(|(at, text)| Edit::Line(at, text)),
    ]
}

/// The shipped file with secrets in it, changed.
fn edited(edits: &[Edit]) -> String {
    let with_secrets = SHIPPED
        .replace("# password:", &format!("password: {SECRET} #"))
        .replace("# api_token:", &format!("api_token: {SECRET} #"));
    let mut lines: Vec<String> = with_secrets.lines().map(str::to_owned).collect();
    for edit in edits {
        let count = lines.len();
        let place = |at: &prop::sample::Index| at.index(count);
        match edit {
            Edit::Remove(at) => drop(lines.remove(place(at))),
            Edit::Double(at) => lines.insert(place(at), lines[place(at)].clone()),
            Edit::Indent(at, by) => {
                let place = place(at);
                lines[place] = format!("{:by$}{}", "", lines[place].trim_start());
            }
            Edit::Value(at, text) => {
                let place = place(at);
                let name = lines[place].split(':').next().unwrap_or_default().to_owned();
                lines[place] = format!("{name}: {text}");
            }
            Edit::Append(at, text) => {
                let place = place(at);
                lines[place].push_str(text);
            }
            Edit::Line(at, text) => lines.insert(place(at), text.clone()),
        }
    }
    lines.join("\n")
}

/// All that is said of a configuration.
fn said(text: &str, variables: &[(&str, String)]) -> String {
    let environment: Environment = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let read = Document::parse(text).map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error} {cause:?} {error:?}")
    });
    match read.map(|document| Config::read(document, &environment, &Overrides::default())) {
        Err(said) => said,
        Ok(Err(error)) => format!("{error} {error:?}"),
        Ok(Ok(config)) => format!("{config:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn an_edited_file_is_read_or_refused_and_tells_no_secret(
        edits in prop::collection::vec(edit(), 0..8),
        variables in prop::collection::vec((prop::sample::select(VARIABLES.to_vec()), text()), 0..4),
    ) {
        let mut variables: Vec<(&str, String)> = variables.into_iter().map(|((name, _), text)| (name, text)).collect();
        variables.push(("FALKORDB_PASSWORD", SECRET.to_owned()));
        let said = said(&edited(&edits), &variables);
        prop_assert!(!said.contains(SECRET), "{said}");
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}|(.|\n){0,200}") {
        said(&text, &[("NEO4J_PASSWORD", SECRET.to_owned())]);
    }
}

#[test]
fn the_secrets_are_where_they_are_looked_for() {
    assert_eq!(edited(&[]).matches(SECRET).count(), 4);
}
