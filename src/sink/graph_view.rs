//! Reads one graph independently of its writer: counts, keys and identities, on its own connection.
//!
//! Ranges of keys do not work: a range over strings on an indexed property gives wrong answers on 4.16.3, even with both bounds
//! (with sixty random UUIDs, most ranges returned keys beyond their upper bound). So keys are grouped by their first characters,
//! which no index serves: one scan of the kind, some 200,000 keys in a tenth of a second.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use redis::{Pipeline, Value};

use super::address::CacheAddress;
use super::connection::CacheConnection;
use super::graph::{read_failed, read_query};
use super::parameters::{with_beginnings, with_keys};
use super::{foreign, questions, reply, statistics, weight};
use crate::error::{ErrorKind, Result};
use crate::model::element::ElementIdentity;
use crate::model::key::{Key, KeyPrefixes};
use crate::model::kind::{ElementKind, NodeKindId};
use crate::model::name::{Label, RelationshipType};
use crate::model::profile::Profile;
use crate::model::projection::Projection;
use crate::sync::is_missing_graph;
use crate::sync::{AttachedCounts, CacheLookup};
use crate::transform::comparison::Content;

/// The time limit of a look: a scan of ten million keys, plus the wait for the writes of others.
const LOOK_TIMEOUT: Duration = Duration::from_secs(60);

/// The number of questions that are sent together: the graph's other readers get their turn in between.
pub(super) const ASKED_TOGETHER: usize = 200;

/// A view of one graph at a time.
#[derive(Debug)]
pub(super) struct GraphView {
    connection: CacheConnection,
    graph: String,
    profile: Arc<Profile>,
    /// The number of elements in the last question that could not ask for all at once; the next question begins with twice as
    /// many.
    borne: usize,
}

impl GraphView {
    /// A view of no graph yet.
    pub(super) fn new(address: CacheAddress, profile: Arc<Profile>) -> Self {
        Self { connection: CacheConnection::for_reads(address), graph: String::new(), profile, borne: usize::MAX }
    }

    /// Views the graph of this key from now on.
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

    /// All counts that FalkorDB keeps; nothing if the server does not report them.
    async fn statistics(&mut self) -> Result<Option<(statistics::CountsByName, statistics::CountsByName)>> {
        match self.compact_rows("count the graph", statistics::STATEMENT.as_bytes()).await {
            Ok(rows) => statistics::counts(&rows).map(Some),
            // This server does not know the procedure.
            Err(error) if error.kind() == ErrorKind::CacheProtocol && !is_missing_graph(&error) => {
                tracing::debug!(error = %error.chain(), "server does not report its statistics, reading counts one by one");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns how many of these keys, from the first on, one question may ask for.
    async fn bearable(&mut self, kind: ElementKind, keys: &[String]) -> Result<usize> {
        let statement = weight::statement(&self.profile, kind);
        let mut asked = keys.len().min(self.borne.saturating_mul(2));
        while asked > 1 {
            let rows = self.rows("measure elements", with_keys(&questions::usable(&keys[..asked]), &statement)).await?;
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

    pub(super) async fn counts(&mut self) -> Result<Vec<u64>> {
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
        let texts: Vec<Vec<u8>> =
            self.profile.kinds().into_iter().map(|kind| questions::count(&self.profile, kind).into_bytes()).collect();
        self.ask("count the graph", &texts).await?.into_iter().map(reply::single_count).collect()
    }

    pub(super) async fn label_counts(&mut self) -> Result<BTreeMap<String, u64>> {
        let rows = self.rows("list the labels", b"CALL db.labels() YIELD label RETURN label".to_vec()).await?;
        let mut labels = Vec::new();
        for row in rows {
            // A label that our own type refuses cannot be named in a query, and we did not write it.
            labels.extend(Label::parse(&reply::text(reply::cell(&row, 0)?)?).ok());
        }
        if labels.len() > statistics::FEW
            && let Some((counts, _)) = self.statistics().await?
        {
            let count = |label: &Label| (label.to_string(), counts.get(label.as_str()).copied().unwrap_or(0));
            return Ok(labels.iter().map(count).collect());
        }
        let count = |label: &Label| format!("MATCH (n:{}) RETURN count(n)", label.quoted()).into_bytes();
        let answers = self.ask("count the labels", &labels.iter().map(count).collect::<Vec<_>>()).await?;
        labels.iter().zip(answers).map(|(label, answer)| Ok((label.to_string(), reply::single_count(answer)?))).collect()
    }

    pub(super) async fn labels_beside(&mut self, label: &Label) -> Result<BTreeMap<String, u64>> {
        let text = format!("MATCH (n:{}) UNWIND labels(n) AS label RETURN label, count(n)", label.quoted());
        let rows = self.rows("count the labels", text.into_bytes()).await?;
        rows.iter().map(|row| Ok((reply::text(reply::cell(row, 0)?)?, questions::count_cell(row)?))).collect()
    }

    pub(super) async fn key_groups(
        &mut self,
        kind: ElementKind,
        with: Option<&Label>,
        beginnings: &KeyPrefixes,
        length: usize,
    ) -> Result<BTreeMap<String, u64>> {
        let Some(text) = with_beginnings(beginnings, &questions::groups(&self.profile, kind, with, beginnings, length)) else {
            return Ok(BTreeMap::new());
        };
        let rows = self.rows("group keys", text).await?;
        rows.iter().map(|row| Ok((reply::text(reply::cell(row, 0)?)?, questions::count_cell(row)?))).collect()
    }

    pub(super) async fn identities(
        &mut self,
        kind: ElementKind,
        with: Option<&Label>,
        beginnings: &KeyPrefixes,
    ) -> Result<BTreeSet<ElementIdentity>> {
        let mut found = BTreeSet::new();
        let Some(text) = with_beginnings(beginnings, &questions::identities(&self.profile, kind, with)) else { return Ok(found) };
        for row in self.compact_rows("list keys", &text).await? {
            found.extend(questions::identity(&self.profile, kind, &row)?);
        }
        Ok(found)
    }

    pub(super) async fn contents(&mut self, kind: ElementKind, detail: Projection, keys: &[String]) -> Result<CacheLookup> {
        // The number of elements alone bounds an answer of vectors or keys.
        let asked =
            if matches!(detail, Projection::Vectors | Projection::Key) { keys.len() } else { self.bearable(kind, keys).await? };
        let text = with_keys(&questions::usable(&keys[..asked]), &questions::contents(&self.profile, kind, detail));
        let mut found: BTreeMap<ElementIdentity, Content> = BTreeMap::new();
        for row in self.compact_rows("read elements", &text).await? {
            let Some((identity, content)) = questions::element(&self.profile, kind, &row)? else { continue };
            match found.entry(identity) {
                Entry::Vacant(place) => drop(place.insert(content)),
                Entry::Occupied(mut first) => first.get_mut().copies += 1,
            }
        }
        Ok(CacheLookup { elements: found, keys: asked })
    }

    pub(super) async fn attached(&mut self, kind: NodeKindId, keys: &[String]) -> Result<AttachedCounts> {
        let keys: Vec<Key> = keys.iter().filter_map(|key| Key::parse(key).ok()).collect();
        let rows =
            self.rows("find the relationships of nodes", with_keys(&keys, &questions::attached(&self.profile, kind))).await?;
        let mut found = AttachedCounts::new();
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

    pub(super) async fn totals(&mut self) -> Result<[u64; 2]> {
        let answers = self.ask("count the graph", &foreign::TOTALS.map(<[u8]>::to_vec)).await?;
        let counts = answers.into_iter().map(reply::single_count).collect::<Result<Vec<_>>>()?;
        counts.try_into().map_err(|_| reply::unexpected("two counts"))
    }

    pub(super) async fn foreign(&mut self) -> Result<BTreeMap<String, u64>> {
        const DOING: &str = "find foreign elements";
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
