//! The settings as written, before they are interpreted: a tree, overlaid by further layers, that remembers where each value came
//! from.

use std::collections::BTreeMap;

use serde_yaml::{Mapping, Value};
use thiserror::Error;

/// Settings that can be given directly or as the file that holds them. A layer that gives one form replaces the other form of the
/// layers below; both in one layer are a contradiction, and reported as such.
const GIVEN_DIRECTLY_OR_AS_FILE: [(&str, &str); 2] = [("password", "password_file"), ("api_token", "api_token_file")];

/// The error for a text that is not YAML, or not settings.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SyntaxError {
    /// The parser's message names the line and what the parser expected; it does not quote values.
    #[error("is not valid YAML: {0}")]
    Yaml(String),
    /// The text is a list or a single value.
    #[error("must contain settings, one `name: value` per line")]
    NotAMapping,
}

/// A tree of settings.
#[derive(Clone, Default)]
pub(super) struct Document {
    root: Mapping,
    /// The places of values that do not come from the file's own top level, by path.
    origins: BTreeMap<String, String>,
}

impl Document {
    /// Reads YAML. An empty text is an empty tree.
    pub(super) fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut value: Value = serde_yaml::from_str(text).map_err(|error| SyntaxError::Yaml(error.to_string()))?;
        value.apply_merge().map_err(|error| SyntaxError::Yaml(error.to_string()))?;
        match value {
            Value::Mapping(root) => Ok(Self { root, origins: BTreeMap::new() }),
            Value::Null => Ok(Self::default()),
            _ => Err(SyntaxError::NotAMapping),
        }
    }

    pub(super) fn root(&self) -> &Mapping {
        &self.root
    }

    /// The name by which the operator knows the setting of this path.
    pub(super) fn place(&self, path: &str) -> String {
        self.origins.get(path).cloned().unwrap_or_else(|| path.to_owned())
    }

    /// The tree with only those top-level names that `keep` accepts.
    pub(super) fn retaining(&self, keep: impl Fn(&str) -> bool) -> Self {
        let mut kept = self.clone();
        kept.root.retain(|name, _| keep(name.as_str().unwrap_or_default()));
        kept
    }

    /// Lays further settings over the tree: they replace existing values, and all other values stay. `origin` tells where the
    /// value of a path was given.
    pub(super) fn overlay(&mut self, layer: Mapping, origin: &dyn Fn(&str) -> String) {
        overlay_mapping(&mut self.root, layer, "", &mut |path| {
            self.origins.insert(path.to_owned(), origin(path));
        });
    }
}

/// The path of a name under another path.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Puts a value at a dotted path of a layer, and makes the sections on the way.
pub(super) fn insert_at(layer: &mut Mapping, path: &str, value: Value) {
    let Some((section, rest)) = path.split_once('.') else {
        layer.insert(path.into(), value);
        return;
    };
    let below = layer.entry(section.into()).or_insert_with(|| Value::Mapping(Mapping::new()));
    if let Value::Mapping(below) = below {
        insert_at(below, rest, value);
    }
}

fn overlay_mapping(base: &mut Mapping, layer: Mapping, path: &str, given: &mut dyn FnMut(&str)) {
    remove_other_forms(base, &layer);
    for (name, value) in layer {
        let path = join(path, name.as_str().unwrap_or_default());
        let Value::Mapping(section) = value else {
            base.insert(name, value);
            given(&path);
            continue;
        };
        let below = base.entry(name).or_insert(Value::Null);
        if below.is_null() {
            *below = Value::Mapping(Mapping::new());
            given(&path);
        }
        // A value that is not a section stays: it is wrong, and replacing it would hide this.
        if let Value::Mapping(below) = below {
            overlay_mapping(below, section, &path, given);
        }
    }
}

fn remove_other_forms(base: &mut Mapping, layer: &Mapping) {
    for (direct, file) in GIVEN_DIRECTLY_OR_AS_FILE {
        if layer.contains_key(direct) {
            base.remove(file);
        }
        if layer.contains_key(file) {
            base.remove(direct);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document::parse(text).unwrap()
    }

    fn overlaid(base: &str, layer: &str) -> Document {
        let mut base = document(base);
        base.overlay(document(layer).root, &|path| format!("above:{path}"));
        base
    }

    #[test]
    fn test_document_overlays_section_by_section() {
        let result = overlaid("a: {x: 1, y: 2}\nb: 3", "a: {y: 5, z: {w: 6}}\nc: 7");
        assert_eq!(result.root, document("a: {x: 1, y: 5, z: {w: 6}}\nb: 3\nc: 7").root);
        assert_eq!(result.place("a.x"), "a.x");
        assert_eq!(result.place("a.y"), "above:a.y");
        assert_eq!(result.place("a.z.w"), "above:a.z.w");
    }

    #[test]
    fn test_document_keeps_one_form_of_a_secret() {
        assert_eq!(overlaid("password_file: f", "password: p").root, document("password: p").root);
        assert_eq!(overlaid("password: p", "password_file: f").root, document("password_file: f").root);
        let both = "password: p\npassword_file: f";
        assert_eq!(overlaid("", both).root, document(both).root);
    }

    #[test]
    fn test_document_does_not_hide_a_section_that_is_none() {
        assert_eq!(overlaid("a: 5", "a: {x: 1}").root, document("a: 5").root);
        assert_eq!(overlaid("a:", "a: {x: 1}").root, document("a: {x: 1}").root);
    }

    #[test]
    fn test_document_resolves_merge_keys() {
        let root = document("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}").root;
        assert_eq!(root["b"], Value::Mapping(document("x: 1\ny: 3").root));
    }

    #[test]
    fn test_document_names_the_line_of_a_syntax_error_but_no_value() {
        let error = Document::parse("neo4j:\n  user: neo4j\n  password:hunter2\n  uri: x").err().unwrap().to_string();
        assert!(error.contains("line"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        assert_eq!(Document::parse("- a").err(), Some(SyntaxError::NotAMapping));
        assert!(Document::parse("").unwrap().root.is_empty());
        assert!(Document::parse("# only a comment").unwrap().root.is_empty());
    }

    #[test]
    fn test_insert_at_makes_the_sections_on_the_way() {
        let mut layer = Mapping::new();
        insert_at(&mut layer, "a.b.c", 1.into());
        insert_at(&mut layer, "a.d", 2.into());
        insert_at(&mut layer, "e", 3.into());
        assert_eq!(layer, document("a: {b: {c: 1}, d: 2}\ne: 3").root);
    }
}
