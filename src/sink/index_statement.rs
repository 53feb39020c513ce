//! The statements that make indices.

use super::parameters::push_string;
use crate::model::index::{IndexDefinition, IndexKind, IndexTarget, VectorOptions};

/// The statement for an index definition, as graphiti's own driver writes it.
pub(crate) fn statement(definition: &IndexDefinition) -> String {
    let word = match definition.kind {
        IndexKind::Range => "INDEX",
        IndexKind::Fulltext => "FULLTEXT INDEX",
        IndexKind::Vector => "VECTOR INDEX",
    };
    let (on, variable) = match &definition.on {
        IndexTarget::Label(label) => (format!("(n:{})", plain_or_quoted(label.as_str())), 'n'),
        IndexTarget::Type(name) => (format!("()-[e:{}]-()", plain_or_quoted(name.as_str())), 'e'),
    };
    let properties: Vec<String> =
        definition.properties.iter().map(|name| format!("{variable}.{}", plain_or_quoted(name.as_str()))).collect();
    format!("CREATE {word} FOR {on} ON ({}){}", properties.join(", "), options(definition))
}

fn options(definition: &IndexDefinition) -> String {
    let language = definition.language.as_deref().map(|language| format!("language: {}", quoted(language)));
    let stopwords = definition.stopwords.as_deref().map(|words| {
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        format!("stopwords: [{}]", words.join(", "))
    });
    let options: Vec<String> = language.into_iter().chain(stopwords).chain(definition.vector.map(vector_options)).collect();
    if options.is_empty() { String::new() } else { format!(" OPTIONS {{{}}}", options.join(", ")) }
}

fn vector_options(vector: VectorOptions) -> String {
    let VectorOptions { dimension, similarity, m, ef_construction } = vector;
    let m = m.map(|m| format!(", M: {m}")).unwrap_or_default();
    let ef_construction = ef_construction.map(|ef| format!(", efConstruction: {ef}")).unwrap_or_default();
    format!("dimension: {dimension}, similarityFunction: '{}'{m}{ef_construction}", similarity.as_str())
}

fn quoted(text: &str) -> String {
    let mut quoted = Vec::new();
    push_string(&mut quoted, text);
    String::from_utf8_lossy(&quoted).into_owned()
}

fn plain_or_quoted(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if plain { name.to_owned() } else { format!("`{name}`") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::profile::Profile;

    const STOPWORDS: &str = "['a', 'is', 'the', 'an', 'and', 'are', 'as', 'at', 'be', 'but', 'by', 'for', 'if', 'in', 'into', 'it', \
        'no', 'not', 'of', 'on', 'or', 'such', 'that', 'their', 'then', 'there', 'these', 'they', 'this', 'to', 'was', 'will', 'with']";

    #[test]
    fn the_built_in_profile_gives_graphitis_own_statements() {
        let profile = Profile::graphiti().unwrap();
        let statements: Vec<String> = profile.indexes.iter().map(statement).collect();
        let wanted = [
            "CREATE INDEX FOR (n:Entity) ON (n.uuid, n.group_id, n.name, n.created_at)",
            "CREATE INDEX FOR (n:Episodic) ON (n.uuid, n.group_id, n.created_at, n.valid_at)",
            "CREATE INDEX FOR (n:Community) ON (n.uuid)",
            "CREATE INDEX FOR (n:Saga) ON (n.uuid, n.group_id, n.name)",
            "CREATE INDEX FOR ()-[e:RELATES_TO]-() ON (e.uuid, e.group_id, e.name, e.created_at, e.expired_at, e.valid_at, e.invalid_at)",
            "CREATE INDEX FOR ()-[e:MENTIONS]-() ON (e.uuid, e.group_id)",
            "CREATE INDEX FOR ()-[e:HAS_MEMBER]-() ON (e.uuid)",
            "CREATE INDEX FOR ()-[e:HAS_EPISODE]-() ON (e.uuid, e.group_id)",
            "CREATE INDEX FOR ()-[e:NEXT_EPISODE]-() ON (e.uuid, e.group_id)",
            &format!(
                "CREATE FULLTEXT INDEX FOR (n:Episodic) ON (n.content, n.source, n.source_description, n.group_id) OPTIONS {{stopwords: {STOPWORDS}}}"
            ),
            &format!(
                "CREATE FULLTEXT INDEX FOR (n:Entity) ON (n.name, n.summary, n.group_id) OPTIONS {{stopwords: {STOPWORDS}}}"
            ),
            &format!("CREATE FULLTEXT INDEX FOR (n:Community) ON (n.name, n.group_id) OPTIONS {{stopwords: {STOPWORDS}}}"),
            "CREATE FULLTEXT INDEX FOR ()-[e:RELATES_TO]-() ON (e.name, e.fact, e.group_id)",
        ];
        assert_eq!(statements, wanted);
    }
}
