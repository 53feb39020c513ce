//! The extent to which an element is read.

use std::fmt::Write;

use super::name::PropertyName;

/// The properties of an element to read. The key is always among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Projection {
    /// All properties of the element.
    Whole,
    /// All properties but the vectors of the element's kind, which take most of its bytes and most of the time to read it.
    WithoutVectors,
    /// Only the vectors of the element's kind.
    Vectors,
    /// Only the element's key.
    Key,
}

impl Projection {
    /// The Cypher for these properties as a map. Neo4j and FalkorDB understand it alike, except for the quoting of names. A
    /// property that is left out, or that the element does not have, may be null in the map.
    pub(crate) fn projection(
        self,
        variable: &str,
        key: &PropertyName,
        vectors: &[PropertyName],
        quoted: fn(&PropertyName) -> String,
    ) -> String {
        let mut entries = match self {
            Projection::WithoutVectors if !vectors.is_empty() => ".*".to_owned(),
            Projection::Key => return format!("{variable}{{.{}}}", quoted(key)),
            Projection::Vectors => format!(".{}", quoted(key)),
            Projection::Whole | Projection::WithoutVectors => return format!("properties({variable})"),
        };
        for vector in vectors {
            // Writing to a text cannot fail.
            let _ = match self {
                Projection::Vectors => write!(entries, ", .{}", quoted(vector)),
                Projection::Whole | Projection::WithoutVectors | Projection::Key => write!(entries, ", {}: null", quoted(vector)),
            };
        }
        format!("{variable}{{{entries}}}")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_left_out_or_taken_alone() {
        let name = |text| PropertyName::parse(text).unwrap();
        let (key, vectors) = (name("uuid"), [name("v"), name("w")]);
        let all = [Projection::Whole, Projection::WithoutVectors, Projection::Vectors, Projection::Key];
        assert_eq!(
            all.map(|detail| detail.projection("n", &key, &vectors, PropertyName::quoted)),
            ["properties(n)", "n{.*, `v`: null, `w`: null}", "n{.`uuid`, .`v`, .`w`}", "n{.`uuid`}"]
        );
        let without = all.map(|detail| detail.projection("n", &key, &[], PropertyName::quoted));
        assert_eq!(without, ["properties(n)", "properties(n)", "n{.`uuid`}", "n{.`uuid`}"]);
    }
}
