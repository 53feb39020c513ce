//! Looks at the graph from outside its writer: counts, keys and identities, on a connection of its own.
//!
//! Ranges of keys cannot be asked for: a range over strings on an indexed property gives wrong answers on 4.16.3, with both
//! bounds given as well (of sixty random UUIDs, most ranges brought keys beyond their upper bound). So keys are grouped by
//! their first characters, which no index serves: one scan of the kind, some 200,000 keys in a tenth of a second.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Pipeline, Value};

use super::address::CacheAddress;
use super::connection::Connection;
use super::graph::{is_missing, read_failed, read_query};
use super::parameters::{push_string, with_beginnings, with_keys};
use super::{content, foreign, reply, statistics, weight};
use crate::error::{ErrorKind, Result};
use crate::model::detail::Detail;
use crate::model::element::{ElementIdentity, NodeIdentity, RelationshipIdentity};
use crate::model::key::{Beginnings, Key};
use crate::model::kind::ElementKind;
use crate::model::kind::NodeKindId;
use crate::model::name::{Label, PropertyName, RelationshipType};
use crate::model::profile::{NodeKind, Profile, RelationshipKind};
use crate::sync::{Attached, CacheView, Contents, Keyed};
use crate::transform::comparison::Content;

/// How long a look may take: a scan of ten million keys, behind the writes of others.
const LOOK_TIMEOUT: Duration = Duration::from_secs(60);

/// Questions that are sent together: the graph's other readers come in between.
pub(super) const ASKED_TOGETHER: usize = 200;

/// A FalkorDB graph, looked at.
#[derive(Debug)]
pub struct FalkorView {
    connection: Connection,
    graph: String,
    profile: Arc<Profile>,
    /// How many elements could be asked for at once when fewer than all could; the next question begins with twice as many.
    borne: usize,
}

impl FalkorView {
    /// Looks at the graph of this name.
    pub fn new(address: CacheAddress, graph: impl Into<String>, profile: Arc<Profile>) -> Self {
        Self { connection: Connection::new(address), graph: graph.into(), profile, borne: usize::MAX }
    }

    /// Looks at another graph of the same server from now on.
    pub(super) fn turn_to(&mut self, graph: String) {
        self.graph = graph;
    }

    pub(super) fn profile(&self) -> &Profile {
        &self.profile
    }

    pub(super) async fn ask(&mut self, doing: &str, texts: &[Vec<u8>]) -> Result<Vec<Value>> {
        let mut pipeline = Pipeline::new();
        for text in texts {
            pipeline.add_command(read_query(&self.graph, text));
        }
        self.connection.wake().await;
        let answers = self.connection.pipeline(doing, &pipeline, LOOK_TIMEOUT).await?;
        answers.into_iter().map(|answer| answer.map_err(read_failed)).collect()
    }

    async fn rows(&mut self, doing: &str, text: Vec<u8>) -> Result<Vec<Vec<Value>>> {
        match self.ask(doing, &[text]).await?.pop() {
            Some(answer) => reply::rows(answer),
            None => Ok(Vec::new()),
        }
    }

    /// All counts that FalkorDB keeps; nothing where it does not tell them.
    async fn statistics(&mut self) -> Result<Option<(statistics::ByName, statistics::ByName)>> {
        match self.compact_rows("count the graph", statistics::STATEMENT.as_bytes()).await {
            Ok(rows) => statistics::counts(&rows).map(Some),
            // A server that does not know the procedure.
            Err(error) if error.kind() == ErrorKind::CacheProtocol && !is_missing(&error) => {
                tracing::debug!(error = %error.chain(), "counts are asked for one by one");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// How many of these keys, from the first on, may be asked for at once.
    async fn bearable(&mut self, kind: ElementKind, keys: &[String]) -> Result<usize> {
        let statement = weight::statement(&self.profile, kind);
        let mut asked = keys.len().min(self.borne.saturating_mul(2));
        while asked > 1 {
            let rows = self.rows("weigh elements", with_keys(&usable(&keys[..asked]), &statement)).await?;
            let weight = rows.first().map(|row| reply::integer(reply::cell(row, 0)?)).transpose()?.unwrap_or(0);
            if u64::try_from(weight).unwrap_or(0) <= weight::ANSWER_BYTES {
                break;
            }
            asked /= 2;
        }
        self.borne = if asked < keys.len() { asked.max(1) } else { usize::MAX };
        Ok(asked)
    }

    /// As [`Self::compact_rows`], for several questions that are sent together.
    pub(super) async fn compact_answers(&mut self, doing: &str, texts: &[String]) -> Result<Vec<Vec<Vec<Value>>>> {
        let mut pipeline = Pipeline::new();
        for text in texts {
            let mut command = read_query(&self.graph, text.as_bytes());
            command.arg("--compact");
            pipeline.add_command(command);
        }
        self.connection.wake().await;
        let answers = self.connection.pipeline(doing, &pipeline, LOOK_TIMEOUT).await?;
        answers.into_iter().map(|answer| reply::rows(answer.map_err(read_failed)?)).collect()
    }

    /// Rows with the types of their values: lists come as lists.
    pub(super) async fn compact_rows(&mut self, doing: &str, text: &[u8]) -> Result<Vec<Vec<Value>>> {
        let mut command = read_query(&self.graph, text);
        command.arg("--compact");
        self.connection.wake().await;
        let answer = self.connection.command(doing, &command, LOOK_TIMEOUT).await.map_err(read_failed)?;
        reply::rows(answer)
    }
}

#[async_trait]
impl CacheView for FalkorView {
    async fn counts(&mut self) -> Result<Vec<u64>> {
        let kinds = self.profile.kinds();
        if kinds.len() > statistics::FEW
            && let Some((labels, types)) = self.statistics().await?
        {
            let count = |kind| match kind {
                ElementKind::Node(_) => labels.get(self.profile.kind_name(kind)),
                ElementKind::Relationship(_) => types.get(self.profile.kind_name(kind)),
            };
            return Ok(kinds.into_iter().map(|kind| count(kind).copied().unwrap_or(0)).collect());
        }
        let texts: Vec<Vec<u8>> = self.profile.kinds().into_iter().map(|kind| count(&self.profile, kind).into_bytes()).collect();
        self.ask("count the graph", &texts).await?.into_iter().map(reply::single_count).collect()
    }

    async fn label_counts(&mut self) -> Result<BTreeMap<String, u64>> {
        let rows = self.rows("list labels", b"CALL db.labels() YIELD label RETURN label".to_vec()).await?;
        let mut labels = Vec::new();
        for row in rows {
            // One that our own type refuses cannot be asked for, and we did not write it.
            labels.extend(Label::parse(&reply::text(reply::cell(&row, 0)?)?).ok());
        }
        if labels.len() > statistics::FEW
            && let Some((counts, _)) = self.statistics().await?
        {
            let count = |label: &Label| (label.to_string(), counts.get(label.as_str()).copied().unwrap_or(0));
            return Ok(labels.iter().map(count).collect());
        }
        let count = |label: &Label| format!("MATCH (n:{}) RETURN count(n)", label.quoted()).into_bytes();
        let answers = self.ask("count labels", &labels.iter().map(count).collect::<Vec<_>>()).await?;
        labels.iter().zip(answers).map(|(label, answer)| Ok((label.to_string(), reply::single_count(answer)?))).collect()
    }

    async fn labels_beside(&mut self, label: &Label) -> Result<BTreeMap<String, u64>> {
        let text = format!("MATCH (n:{}) UNWIND labels(n) AS label RETURN label, count(n)", label.quoted());
        let rows = self.rows("count labels", text.into_bytes()).await?;
        rows.iter().map(|row| Ok((reply::text(reply::cell(row, 0)?)?, count_cell(row)?))).collect()
    }

    async fn key_groups(
        &mut self,
        kind: ElementKind,
        with: Option<&Label>,
        beginnings: &Beginnings,
        length: usize,
    ) -> Result<BTreeMap<String, u64>> {
        let Some(text) = with_beginnings(beginnings, &groups(&self.profile, kind, with, length)) else {
            return Ok(BTreeMap::new());
        };
        let rows = self.rows("group keys", text).await?;
        rows.iter().map(|row| Ok((reply::text(reply::cell(row, 0)?)?, count_cell(row)?))).collect()
    }

    async fn identities(
        &mut self,
        kind: ElementKind,
        with: Option<&Label>,
        beginnings: &Beginnings,
    ) -> Result<BTreeSet<ElementIdentity>> {
        let mut found = BTreeSet::new();
        let Some(text) = with_beginnings(beginnings, &identities(&self.profile, kind, with)) else { return Ok(found) };
        for row in self.compact_rows("list keys", &text).await? {
            found.extend(identity(&self.profile, kind, &row)?);
        }
        Ok(found)
    }

    async fn scan(&mut self, kind: ElementKind, visit: &mut (dyn FnMut(Keyed) + Send)) -> Result<()> {
        self.visit_all(kind, visit).await
    }

    async fn scan_bundle(&mut self, kinds: &[ElementKind], visit: &mut (dyn FnMut(ElementKind, Keyed) + Send)) -> Result<()> {
        self.visit_bundle(kinds, visit).await
    }

    async fn contents(&mut self, kind: ElementKind, detail: Detail, keys: &[String]) -> Result<Contents> {
        // Vectors and keys alone are bounded by the number of elements.
        let asked = if matches!(detail, Detail::Vectors | Detail::Key) { keys.len() } else { self.bearable(kind, keys).await? };
        let text = with_keys(&usable(&keys[..asked]), &contents(&self.profile, kind, detail));
        let mut found: BTreeMap<ElementIdentity, Content> = BTreeMap::new();
        for row in self.compact_rows("read elements", &text).await? {
            let Some((identity, content)) = element(&self.profile, kind, &row)? else { continue };
            match found.entry(identity) {
                Entry::Vacant(place) => drop(place.insert(content)),
                Entry::Occupied(mut first) => first.get_mut().copies += 1,
            }
        }
        Ok(Contents { elements: found, keys: asked })
    }

    async fn attached(&mut self, kind: NodeKindId, keys: &[String]) -> Result<Attached> {
        let keys: Vec<Key> = keys.iter().filter_map(|key| Key::parse(key).ok()).collect();
        let rows = self.rows("look for what hangs on nodes", with_keys(&keys, &attached(&self.profile, kind))).await?;
        let mut found = Attached::new();
        for row in rows {
            let (key, rel_type) = (reply::text(reply::cell(&row, 0)?)?, reply::text(reply::cell(&row, 1)?)?);
            let number = u64::try_from(reply::integer(reply::cell(&row, 2)?)?).map_err(|_| reply::unexpected("a count"))?;
            let kind = RelationshipType::parse(&rel_type).ok().and_then(|rel_type| self.profile.relationship_kind(&rel_type));
            if let Some(kind) = kind {
                found.entry(key).or_default().insert(kind, number);
            }
        }
        Ok(found)
    }

    async fn totals(&mut self) -> Result<[u64; 2]> {
        let answers = self.ask("count the graph", &foreign::TOTALS.map(<[u8]>::to_vec)).await?;
        let counts = answers.into_iter().map(reply::single_count).collect::<Result<Vec<_>>>()?;
        counts.try_into().map_err(|_| reply::unexpected("two counts"))
    }

    async fn foreign(&mut self) -> Result<BTreeMap<String, u64>> {
        const DOING: &str = "look for what is of no kind";
        let profile = Arc::clone(&self.profile);
        let mut found = foreign::nodes(&profile, &self.compact_rows(DOING, foreign::BY_LABELS).await?)?;
        found.extend(foreign::relationships(&profile, &self.compact_rows(DOING, foreign::BY_TYPE).await?)?);
        for kinds in profile.kinds().chunks(ASKED_TOGETHER) {
            let texts: Vec<Vec<u8>> = kinds.iter().map(|kind| foreign::without_key(&profile, *kind).into_bytes()).collect();
            for (kind, answer) in kinds.iter().zip(self.ask(DOING, &texts).await?) {
                let number = reply::single_count(answer)?;
                if number > 0 {
                    found.insert(foreign::keyless_name(&profile, *kind), number);
                }
            }
        }
        Ok(found)
    }
}

/// Keys that an element of the cache can have.
fn usable(keys: &[String]) -> Vec<Key> {
    keys.iter().filter_map(|key| Key::parse(key).ok()).collect()
}

pub(super) fn count(profile: &Profile, kind: ElementKind) -> String {
    match kind {
        ElementKind::Node(id) => format!("MATCH (n:{}) RETURN count(n)", profile.node(id).label.quoted()),
        ElementKind::Relationship(id) => {
            format!("MATCH ()-[e:{}]->() RETURN count(e)", profile.relationship(id).rel_type.quoted())
        }
    }
}

/// Elements whose key begins in one of the ways that are asked for. `left` of a property is no condition that an index could serve,
/// so none serves it wrongly. FalkorDB ends the query where `left` meets a value that is no text: those begin in no way. After it,
/// every key is a text.
fn begins(pattern: &str, key: &str) -> String {
    format!("MATCH {pattern} WHERE left(CASE WHEN typeOf({key}) = 'String' THEN {key} END, $length) IN $prefixes")
}

fn groups(profile: &Profile, kind: ElementKind, with: Option<&Label>, length: usize) -> String {
    let (pattern, key) = keyed(profile, kind, with);
    format!("{} RETURN left({key}, {length}), count(*)", begins(&pattern, &key))
}

/// Labels and key of each node that identifies the element; for a relationship, its own key before them.
fn identities(profile: &Profile, kind: ElementKind, with: Option<&Label>) -> String {
    let (pattern, key) = keyed(profile, kind, with);
    let columns = identity_columns(profile, kind);
    format!("{} RETURN {columns}", begins(&pattern, &key))
}

/// By key, through its index. Labels and key of each node that identifies the element, then its properties.
fn contents(profile: &Profile, kind: ElementKind, detail: Detail) -> String {
    match kind {
        ElementKind::Node(id) => {
            let NodeKind { label, key, vectors, .. } = profile.node(id);
            let properties = detail.projection("n", key, vectors, PropertyName::quoted);
            let (label, key) = (label.quoted(), key.quoted());
            format!("UNWIND $keys AS k MATCH (n:{label} {{{key}: k}}) RETURN labels(n), n.{key}, {properties}")
        }
        ElementKind::Relationship(id) => {
            let RelationshipKind { rel_type, key, vectors, .. } = profile.relationship(id);
            let properties = detail.projection("e", key, vectors, PropertyName::quoted);
            let (rel_type, key) = (rel_type.quoted(), key.quoted());
            let end = |node: &str| format!("labels({node}), {}", key_by_kind(profile, node));
            format!(
                "UNWIND $keys AS k MATCH ()-[e:{rel_type} {{{key}: k}}]->() RETURN e.{key}, {}, {}, {properties}",
                end("startNode(e)"),
                end("endNode(e)")
            )
        }
    }
}

/// By key, through its index, and from there along the relationships: the node's label is meant to be the starting point.
fn attached(profile: &Profile, id: NodeKindId) -> String {
    let NodeKind { label, key, .. } = profile.node(id);
    format!("UNWIND $keys AS k MATCH (n:{} {{{}: k}})-[e]-() RETURN k, type(e), count(e)", label.quoted(), key.quoted())
}

/// The columns of an element that [`identity`] reads.
pub(super) fn identity_columns(profile: &Profile, kind: ElementKind) -> String {
    match kind {
        ElementKind::Node(id) => format!("labels(n), n.{}", profile.node(id).key.quoted()),
        ElementKind::Relationship(id) => {
            let end = |node: &str| format!("labels({node}), {}", key_by_kind(profile, node));
            format!("e.{}, {}, {}", profile.relationship(id).key.quoted(), end("startNode(e)"), end("endNode(e)"))
        }
    }
}

/// The key that a node's kind has. A branch for each kind would be read and gone through for each row, so kinds that follow each
/// other with the same key property share one, and the last of them needs none: whoever asks looks at the labels as well.
fn key_by_kind(profile: &Profile, node: &str) -> String {
    let Some(last) = profile.nodes.last().map(|kind| &kind.key) else { return "null".to_owned() };
    let shared = profile.nodes.iter().rev().take_while(|kind| kind.key == *last).count();
    let branch = |kind: &NodeKind| {
        let mut label = Vec::new();
        push_string(&mut label, kind.label.as_str());
        format!(" WHEN hasLabels({node}, [{}]) THEN {node}.{}", String::from_utf8_lossy(&label), kind.key.quoted())
    };
    let branches: String = profile.nodes[..profile.nodes.len() - shared].iter().map(branch).collect();
    let last = format!("{node}.{}", last.quoted());
    if branches.is_empty() { last } else { format!("CASE{branches} ELSE {last} END") }
}

/// Nothing for what is of another kind, or has no identity.
fn element(profile: &Profile, kind: ElementKind, row: &[Value]) -> Result<Option<(ElementIdentity, Content)>> {
    match kind {
        ElementKind::Node(id) => {
            let labels = content::texts(reply::cell(row, 0)?)?;
            let key = content::text(reply::cell(row, 1)?)?.and_then(|text| Key::parse(&text).ok());
            let Some(key) = key.filter(|_| profile.kind_of(&labels) == Some(id)) else { return Ok(None) };
            let identity = ElementIdentity::Node(NodeIdentity { label: profile.node(id).label.clone(), key });
            Ok(Some((identity, Content::of_cache(labels, content::properties(reply::cell(row, 2)?)?))))
        }
        ElementKind::Relationship(id) => {
            let rel_type = profile.relationship(id).rel_type.clone();
            let key = content::text(reply::cell(row, 0)?)?.and_then(|text| Key::parse(&text).ok());
            let (Some(key), Some(start), Some(end)) = (key, end(profile, row, 1)?, end(profile, row, 3)?) else {
                return Ok(None);
            };
            let identity = ElementIdentity::Relationship(RelationshipIdentity { rel_type, key, start, end });
            Ok(Some((identity, Content::of_cache([], content::properties(reply::cell(row, 5)?)?))))
        }
    }
}

fn end(profile: &Profile, row: &[Value], at: usize) -> Result<Option<NodeIdentity>> {
    let kind = profile.kind_of(&content::texts(reply::cell(row, at)?)?);
    let key = content::text(reply::cell(row, at + 1)?)?.and_then(|text| Key::parse(&text).ok());
    Ok(kind.zip(key).map(|(kind, key)| NodeIdentity { label: profile.node(kind).label.clone(), key }))
}

fn keyed(profile: &Profile, kind: ElementKind, with: Option<&Label>) -> (String, String) {
    let with = with.map(|label| format!(":{}", label.quoted())).unwrap_or_default();
    match kind {
        ElementKind::Node(id) => {
            let NodeKind { label, key, .. } = profile.node(id);
            (format!("(n:{}{with})", label.quoted()), format!("n.{}", key.quoted()))
        }
        ElementKind::Relationship(id) => {
            let RelationshipKind { rel_type, key, .. } = profile.relationship(id);
            (format!("()-[e:{}]->()", rel_type.quoted()), format!("e.{}", key.quoted()))
        }
    }
}

fn count_cell(row: &[Value]) -> Result<u64> {
    u64::try_from(reply::integer(reply::cell(row, 1)?)?).map_err(|_| reply::unexpected("a count"))
}

/// Nothing for what we cannot have written: it has no identity that we could delete it by.
pub(super) fn identity(profile: &Profile, kind: ElementKind, row: &[Value]) -> Result<Option<ElementIdentity>> {
    match kind {
        ElementKind::Node(id) => {
            let node = end(profile, row, 0)?;
            let of_this_kind = node.filter(|node| node.label == profile.node(id).label);
            Ok(of_this_kind.map(ElementIdentity::Node))
        }
        ElementKind::Relationship(id) => {
            let rel_type = profile.relationship(id).rel_type.clone();
            let key = content::text(reply::cell(row, 0)?)?.and_then(|text| Key::parse(&text).ok());
            let (Some(key), Some(start), Some(end)) = (key, end(profile, row, 1)?, end(profile, row, 3)?) else {
                return Ok(None);
            };
            Ok(Some(ElementIdentity::Relationship(RelationshipIdentity { rel_type, key, start, end })))
        }
    }
}
