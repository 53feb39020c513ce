//! The source trait over Neo4j, for any client that reads it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::Mutex;

use super::bolt::Probe;
use super::bookmarked_reader::BookmarkedReader;
use super::columns::{column, count_of, lacking};
use super::control_plane::{ControlPlane, Questions};
use super::numbered::{by_keys, page, page_after};
use super::paging::{MAX_ROWS_OF_ONE_KEY, cut_page, too_many};
use super::portions::Weights;
use super::queries::{self, Queries};
use super::reader::{PartialRows, Reader};
use super::request::Request;
use super::retrying::Retrying;
use super::shared_ends::SharedEnds;
use super::tallies::{self, Tallies};
use super::unlabelled::{Precision, Unlabelled};
use super::unusable;
use super::{
    Followed, FoundElement, KeyLookup, KeyPage, Page, Source, SourceIndex, adapt, bundles, census, changed, found, new_kinds,
};
use crate::error::Result;
use crate::model::bookmark::Bookmark;
use crate::model::element::{ElementIdentity, ElementNumber, Properties, SourceNode, SourceRelationship};
use crate::model::follow_rule::FollowRule;
use crate::model::key::KeyPrefixes;
use crate::model::kind::{ElementKind, NodeKindId};
use crate::model::kind_rows::KindRows;
use crate::model::name::{Label, PropertyName};
use crate::model::outside_profile::OutsideProfile;
use crate::model::profile::{Identity, Profile};
use crate::model::projection::Projection;
use crate::model::source_identity::SourceIdentity;
use crate::model::value::Value;

/// A Neo4j database: a client reads its elements, and the control plane answers the rest.
pub struct GraphSource<R> {
    reader: Retrying<BookmarkedReader<R>>,
    control: Arc<ControlPlane>,
    probe: Mutex<Probe>,
    /// Waits for commits that others report, so that the probe never has to.
    follower: Mutex<Probe>,
    profile: Arc<Profile>,
    unlabelled: Mutex<Unlabelled>,
    weights: Weights,
    tallies: Tallies,
    shared_ends: SharedEnds,
}

impl<R: Reader> GraphSource<R> {
    /// Reads a profile's kinds with this client, and bookmarks with this probe.
    pub(super) fn new(reader: R, probe: Probe, control: Arc<ControlPlane>, profile: Arc<Profile>) -> Self {
        let follower = Mutex::new(probe.another());
        let (unlabelled, weights, tallies) = (Mutex::default(), Weights::default(), Tallies::default());
        let (reader, probe) = (Retrying(BookmarkedReader::new(reader)), Mutex::new(probe));
        let shared_ends = SharedEnds::default();
        Self { reader, control, probe, follower, profile, unlabelled, weights, tallies, shared_ends }
    }

    /// The control plane, which sees what every read sees.
    fn questions(&self) -> Questions<'_> {
        self.control.after(self.reader.told())
    }

    fn queries(&self) -> Queries<'_> {
        Queries::new(&self.profile)
    }

    /// Reads the first rows of a kind, up to about this number of bytes.
    async fn some_rows(&self, kind: ElementKind, request: Request, most: usize) -> Result<SomeRows> {
        let doing = self.profile.kind_name(kind);
        Ok(match kind {
            ElementKind::Node(id) => {
                let PartialRows { rows, is_whole } = self.reader.nodes(doing, request, most).await?;
                let weight = rows.iter().map(SourceNode::weight).sum();
                SomeRows { rows: KindRows::Nodes(id, adapt::nodes(self.profile.node(id), rows)?), is_whole, weight }
            }
            ElementKind::Relationship(id) => {
                let PartialRows { rows, is_whole } = self.reader.relationships(doing, request, most).await?;
                let weight = rows.iter().map(SourceRelationship::weight).sum();
                let mut rows = adapt::relationships(self.profile.relationship(id), rows)?;
                self.shared_ends.settle(&self.reader, &self.profile, &mut rows).await?;
                SomeRows { rows: KindRows::Relationships(id, rows), is_whole, weight }
            }
        })
    }

    async fn row(&self, doing: &str, request: Request) -> Result<Properties> {
        let rows = self.reader.rows(doing, request).await?;
        rows.into_iter().next().ok_or_else(|| lacking(doing))
    }

    async fn nodes_outside(&self) -> Result<BTreeMap<String, u64>> {
        const DOING: &str = "labels outside the profile";
        let rows = self.reader.rows(DOING, Request::new(self.queries().nodes_outside_profile())).await?;
        rows.into_iter().map(|mut row| Ok((labels_of(&mut row, DOING)?, count_of(row, DOING)?))).collect()
    }

    async fn relationships_outside(&self) -> Result<BTreeMap<String, u64>> {
        const DOING: &str = "relationship types";
        let mut names: Vec<String> = self.questions().names(DOING, queries::server::RELATIONSHIP_TYPES).await?;
        let known: HashSet<&str> = self.profile.relationships.iter().map(|kind| kind.rel_type.as_str()).collect();
        names.retain(|name| !known.contains(name.as_str()));
        let mut outside = self.tallies.of_types(&self.reader, &self.profile, &names).await?;
        outside.retain(|_, count| *count > 0);
        Ok(outside)
    }
}

/// The first rows of a kind, and their weight.
struct SomeRows {
    rows: KindRows,
    /// Whether these are all rows of the request.
    is_whole: bool,
    /// The weight of the rows as read: a property that a rule leaves out travelled as well.
    weight: usize,
}

/// The labels of a row, joined by colons.
fn labels_of(row: &mut Properties, doing: &str) -> Result<String> {
    let Some(Value::List(labels)) = column(row, "labels") else { return Err(lacking(doing)) };
    let label = |value| if let Value::String(label) = value { Ok(label) } else { Err(lacking(doing)) };
    Ok(labels.into_iter().map(label).collect::<Result<Vec<_>>>()?.join(":"))
}

#[async_trait]
impl<R: Reader> Source for GraphSource<R> {
    async fn identity(&self) -> Result<SourceIdentity> {
        self.questions().identity().await
    }

    async fn created_ms(&self) -> Result<Option<i64>> {
        let told: Vec<String> = self.questions().names("the creation time of the database", queries::server::CREATED).await?;
        let parsed = told.first().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        Ok(parsed.map(|created| created.timestamp_millis()))
    }

    async fn log_retention(&self) -> Result<Option<String>> {
        let told: Vec<String> =
            self.questions().names("the retention of the transaction log", queries::server::LOG_RETENTION).await?;
        Ok(told.into_iter().next())
    }

    async fn now(&self) -> Result<DateTime<Utc>> {
        const DOING: &str = "the clock";
        match column(&mut self.row(DOING, Request::new(queries::server::CLOCK)).await?, "now") {
            Some(Value::Integer(now)) => DateTime::from_timestamp_millis(now).ok_or_else(|| lacking(DOING)),
            _ => Err(lacking(DOING)),
        }
    }

    async fn page(&self, kind: ElementKind, detail: Projection, after: &str, limit: usize) -> Result<Page> {
        let (identity, key) = (self.profile.identity(kind), self.profile.key(kind));
        let mut size = self.weights.page(kind, detail, limit);
        while size.rows <= MAX_ROWS_OF_ONE_KEY {
            let request = page_after(self.queries().page(kind, detail), identity, after, size.rows);
            let SomeRows { rows, is_whole, weight } = self.some_rows(kind, request, size.bytes).await?;
            self.weights.note(kind, detail, weight, rows.len());
            let is_last = is_whole && rows.len() < size.rows;
            let page = match identity {
                Identity::ElementNumber => Some(page(rows, is_last)),
                Identity::Property => cut_page(rows, key, is_last),
            };
            if let Some(page) = page {
                return Ok(page);
            }
            size = size.doubled();
        }
        Err(too_many(self.profile.kind_name(kind)))
    }

    async fn by_key(&self, kind: ElementKind, keys: &[String]) -> Result<KeyLookup> {
        let mut asked = self.weights.keys(kind, keys.len());
        loop {
            let request = by_keys(self.queries().by_key(kind), self.profile.identity(kind), &keys[..asked]);
            let SomeRows { rows, is_whole, weight } = self.some_rows(kind, request, Weights::answer(asked)).await?;
            self.weights.note(kind, Projection::Whole, weight, rows.len());
            if is_whole {
                return Ok(KeyLookup { rows, keys: asked });
            }
            asked = self.weights.keys(kind, asked / 2);
        }
    }

    async fn bundle(&self, kinds: &[ElementKind], detail: Projection) -> Result<Option<Vec<KindRows>>> {
        let mut read = bundles::read(&self.reader, &self.profile, kinds, detail).await?;
        for rows in read.iter_mut().flatten() {
            if let KindRows::Relationships(_, rows) = rows {
                self.shared_ends.settle(&self.reader, &self.profile, rows).await?;
            }
        }
        Ok(read)
    }

    async fn changed_keys(&self, kind: ElementKind, since: DateTime<Utc>, after: &str, limit: usize) -> Result<KeyPage> {
        let Some(text) = self.queries().changed_keys(kind) else { return Ok(KeyPage::default()) };
        let doing = format!("changed keys of {}", self.profile.kind_name(kind));
        let request =
            Request::new(text).with("zoned", since).with("local", since.naive_utc()).with("after", after).with("limit", limit);
        changed::page(self.reader.rows(&doing, request).await?, &doing, limit)
    }

    async fn probe(&self) -> Result<Bookmark> {
        // A member of a cluster that is behind those that answered reads is late.
        let bookmark = match self.reader.told() {
            Some(told) => self.probe.lock().await.bookmark_from(&told).await?,
            None => self.probe.lock().await.bookmark().await?,
        };
        self.reader.0.heard(&bookmark);
        Ok(bookmark)
    }

    fn heed_shared_keys(&self) {
        self.shared_ends.heed();
    }

    fn newest_commit(&self) -> Option<Bookmark> {
        self.reader.told()
    }

    async fn nodes_by_number(&self, numbers: &[ElementNumber]) -> Result<Vec<FoundElement>> {
        found::nodes(&self.reader, &self.profile, numbers).await
    }

    async fn relationships_by_number(&self, numbers: &[ElementNumber]) -> Result<Vec<FoundElement>> {
        found::relationships(&self.reader, &self.profile, numbers).await
    }

    async fn relationships_of(
        &self,
        nodes: &[ElementNumber],
        after: Option<ElementNumber>,
        limit: usize,
    ) -> Result<Vec<FoundElement>> {
        found::attached(&self.reader, &self.profile, nodes, after, limit).await
    }

    async fn bookmark_from(&self, known: &Bookmark) -> Result<Bookmark> {
        let bookmark = self.probe.lock().await.bookmark_from(known).await?;
        self.reader.0.heard(&bookmark);
        Ok(bookmark)
    }

    fn read_after(&self, bookmark: &Bookmark) {
        self.reader.0.heard(bookmark);
    }

    async fn reach(&self, bookmark: &Bookmark) -> Result<()> {
        if self.probe().await?.includes(bookmark) {
            return Ok(());
        }
        let reached = self.follower.lock().await.bookmark_after(bookmark).await?;
        self.reader.0.heard(&reached);
        Ok(())
    }

    async fn counts(&self) -> Result<Vec<u64>> {
        let counts = census::counts(&self.reader, &self.profile, &self.tallies).await?;
        self.unlabelled.lock().await.count(&self.reader, &self.profile, counts, Precision::Believed).await
    }

    async fn exact_counts(&self) -> Result<Vec<u64>> {
        let counts = census::counts(&self.reader, &self.profile, &self.tallies).await?;
        self.unlabelled.lock().await.count(&self.reader, &self.profile, counts, Precision::Exact).await
    }

    async fn outgrown(&self) -> Result<Option<String>> {
        new_kinds::outgrown(&self.reader, &self.profile).await
    }

    async fn label_counts(&self) -> Result<BTreeMap<String, u64>> {
        self.tallies.of_labels(&self.reader, &self.profile).await
    }

    async fn labels_beside(&self, label: &Label) -> Result<BTreeMap<String, u64>> {
        tallies::labels_beside(&self.reader, &self.profile, label).await
    }

    async fn key_groups(
        &self,
        kind: ElementKind,
        with: Option<&Label>,
        beginnings: &KeyPrefixes,
        length: usize,
    ) -> Result<BTreeMap<String, u64>> {
        census::key_groups(&self.reader, &self.profile, kind, with, beginnings, length).await
    }

    async fn identities(
        &self,
        kind: ElementKind,
        with: Option<&Label>,
        beginnings: &KeyPrefixes,
    ) -> Result<BTreeSet<ElementIdentity>> {
        census::identities(&self.reader, &self.profile, kind, with, beginnings).await
    }

    async fn followed(&self, rule: &FollowRule, keys: &[String]) -> Result<Followed> {
        census::followed(&self.reader, &self.profile, rule, keys).await
    }

    async fn without_key(&self, kind: ElementKind, limit: usize) -> Result<KindRows> {
        let Some(text) = self.queries().without_key(kind) else { return Ok(KindRows::none(kind)) };
        Ok(self.some_rows(kind, Request::new(text).with("limit", limit), Weights::answer(limit)).await?.rows)
    }

    async fn unusable_labels(&self) -> Result<BTreeMap<String, u64>> {
        self.tallies.of_unusable_labels(&self.reader, &self.profile).await
    }

    async fn keys_with_label(&self, label: &str, limit: usize) -> Result<BTreeMap<NodeKindId, Vec<String>>> {
        unusable::keys_with_label(&self.reader, &self.profile, label, limit).await
    }

    async fn with_unusable_key(&self, kind: ElementKind, limit: usize) -> Result<KindRows> {
        let text = unusable::with_unusable_key(&self.profile, kind);
        let Some(text) = text else { return Ok(KindRows::none(kind)) };
        Ok(self.some_rows(kind, Request::new(text).with("limit", limit), Weights::answer(limit)).await?.rows)
    }

    async fn by_number(&self, kind: ElementKind, numbers: &[ElementNumber]) -> Result<(KindRows, usize)> {
        let text = unusable::by_number(&self.profile, kind);
        let Some(text) = text else { return Ok((KindRows::none(kind), numbers.len())) };
        let mut asked = numbers.len();
        loop {
            let request = Request::new(text.clone()).with("numbers", unusable::numbers(&numbers[..asked]));
            let SomeRows { rows, is_whole, .. } = self.some_rows(kind, request, Weights::answer(asked)).await?;
            if is_whole {
                return Ok((rows, asked));
            }
            asked = (asked / 2).max(1);
        }
    }

    async fn count_without_key(&self, kind: ElementKind) -> Result<u64> {
        unusable::count_without_key(&self.reader, &self.profile, kind).await
    }

    async fn usual_dimension(&self, kind: ElementKind, property: &PropertyName, share: f64) -> Result<Option<usize>> {
        self.questions().dimension(&self.queries().usual_dimension(kind, property, share)).await
    }

    async fn indexes(&self) -> Result<Vec<SourceIndex>> {
        self.questions().indexes().await
    }

    async fn indexes_with_texts(&self) -> Result<Vec<SourceIndex>> {
        self.questions().indexes_with_texts().await
    }

    async fn node_total(&self) -> Result<u64> {
        let row = self.row("a count of all nodes", Request::new(queries::server::NODE_TOTAL)).await?;
        count_of(row, "a count of all nodes")
    }

    async fn outside_profile(&self) -> Result<OutsideProfile> {
        Ok(OutsideProfile { nodes: self.nodes_outside().await?, relationships: self.relationships_outside().await? })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::columns::take_text;
    use super::*;
    use crate::error::ErrorKind;

    fn row(name: &str, value: Value) -> Properties {
        vec![(name.to_owned(), value)]
    }

    #[test]
    fn an_answer_of_another_shape_is_a_protocol_error() {
        assert_eq!(count_of(row("count", Value::Integer(3)), "x").unwrap(), 3);
        for error in [
            count_of(row("count", Value::Integer(-1)), "x").unwrap_err(),
            count_of(row("other", Value::Integer(1)), "x").unwrap_err(),
            take_text(&mut row("k", Value::Boolean(true)), "k", "x").unwrap_err(),
            labels_of(&mut row("labels", Value::List(vec![Value::Boolean(true)])), "x").unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::SourceProtocol);
        }
    }

    #[test]
    fn label_sets_are_joined() {
        let labels = ["A", "B"].map(|label| Value::String(label.to_owned())).to_vec();
        assert_eq!(labels_of(&mut row("labels", Value::List(labels)), "x").unwrap(), "A:B");
    }
}
