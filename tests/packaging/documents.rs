//! The documents say what is so: every setting, every error with its remedy, every command, and no link leads nowhere.

use std::path::Path;

use neo4j_falkordb_sync::config::Environment;
use neo4j_falkordb_sync::error::ErrorKind;
use serde_yaml::Value;

use super::{shipped, text};

const DOCUMENTS: [&str; 15] = [
    "README.md",
    "CHANGELOG.md",
    "docs/cluster.md",
    "docs/compatibility.md",
    "docs/configuration.md",
    "docs/glossary.md",
    "docs/kubernetes.md",
    "docs/monitoring.md",
    "docs/neo4j-cluster.md",
    "docs/profiles.md",
    "docs/quarantine.md",
    "docs/sentinel.md",
    "docs/standby.md",
    "docs/transaction-log.md",
    "docs/troubleshooting.md",
];

/// A setting's default as the shipped configuration has it, which a test of the configuration holds equal to the code.
fn default_of(path: &str) -> Option<Value> {
    let shipped: Value = serde_yaml::from_str(&text("config/sync.yaml")).unwrap();
    let found = path.split('.').try_fold(&shipped, |value, name| value.get(name))?;
    Some(found.clone())
}

#[test]
fn every_setting_stands_in_the_reference_with_its_variable_and_default() {
    let reference = text("docs/configuration.md");
    for (variable, path) in Environment::variables() {
        let row = reference.lines().find(|line| line.starts_with(&format!("| `{path}` | `{variable}` |")));
        let row = row.unwrap_or_else(|| panic!("{path} with {variable} is not in the reference"));
        let shown = row.split('|').nth(3).unwrap().trim();
        let default = match default_of(path) {
            None | Some(Value::Null) => String::new(),
            Some(Value::Sequence(list)) if list.is_empty() => "`[]`".to_owned(),
            Some(value) => format!("`{}`", serde_yaml::to_string(&value).unwrap().trim().trim_matches('\'')),
        };
        assert_eq!(shown, default, "{path}");
    }
    let rows = reference.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, Environment::variables().count(), "a setting that does not exist");
}

#[test]
fn every_error_stands_in_the_page_of_remedies() {
    let page = text("docs/troubleshooting.md");
    for kind in ErrorKind::ALL {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{}` |", kind.word())));
        let row = row.unwrap_or_else(|| panic!("{} is not explained", kind.word()));
        assert!(row.ends_with(&format!("| {} |", kind.remedy())), "{row}\nthe program says: {}", kind.remedy());
    }
}

/// A claim about what arrives how is worth as much as the test that holds it.
#[test]
fn every_line_on_compatibility_names_a_test_that_exists() {
    let mut lines = 0;
    for line in text("docs/compatibility.md").lines().filter(|line| line.starts_with("| ") && !line.ends_with("| test |")) {
        let named = line.trim_end_matches(" |").rsplit("| ").next().unwrap().trim_matches('`');
        let (module, name) = named.rsplit_once("::").unwrap_or_else(|| panic!("no test is named in: {line}"));
        let path = module.replace("::", "/");
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let places = [format!("tests/integration/{path}.rs"), format!("src/{path}.rs")];
        let file = places.iter().map(|place| root.join(place)).find(|place| place.is_file());
        let file = file.unwrap_or_else(|| panic!("neither of {places:?} is there: {line}"));
        let code = std::fs::read_to_string(file).unwrap();
        let is_test = |(at, _): (usize, &str)| {
            let before = code[..at].trim_end().trim_end_matches("async").trim_end();
            before.ends_with("#[test]") || before.ends_with("#[tokio::test]")
        };
        assert!(code.match_indices(&format!("fn {name}()")).any(is_test), "there is no test {named}: {line}");
        lines += 1;
    }
    assert!(lines > 40, "the tables are read: {lines}");
}

#[test]
fn no_link_leads_nowhere() {
    for document in DOCUMENTS {
        let written = text(document);
        let directory = shipped(document).parent().unwrap().to_owned();
        for rest in written.split("](").skip(1) {
            let link = rest.split(')').next().unwrap();
            if link.starts_with("http") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { shipped(document) } else { directory.join(file) };
            assert!(target.exists(), "{document}: {link}");
            if !anchor.is_empty() {
                let heading = |line: &str| line.starts_with('#') && line.to_lowercase().replace(' ', "-").ends_with(anchor);
                assert!(std::fs::read_to_string(&target).unwrap().lines().any(heading), "{document}: {link}");
            }
        }
    }
}

#[test]
fn the_package_says_under_which_licences_it_is_and_holds_them() {
    let manifest = text("Cargo.toml");
    assert!(manifest.contains("license = \"MIT OR Apache-2.0\""));
    assert!(text("LICENSE-MIT").contains("MIT License") && text("LICENSE-APACHE").contains("Apache License"));
    let version = format!("## {}", env!("CARGO_PKG_VERSION"));
    assert!(text("CHANGELOG.md").lines().any(|line| line.starts_with(&version)), "the changes do not name {version}");
}
