//! The world as a source: its pages, its keys, and its counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::world::{ENTITY, Place, RELATES_TO, key_of};
use super::{InMemorySide, groups};
use crate::error::{Error, ErrorKind, Result};
use crate::model::bookmark::Bookmark;
use crate::model::element::{
    ElementIdentity, ElementNumber, NodeIdentity, RelationshipIdentity, SourceEndpoint, SourceRelationship,
};
use crate::model::follow_rule::FollowRule;
use crate::model::key::{Key, KeyPrefixes};
use crate::model::kind::{ElementKind, NodeKindId};
use crate::model::kind_rows::KindRows;
use crate::model::name::{Label, PropertyName};
use crate::model::outside_profile::OutsideProfile;
use crate::model::projection::Projection;
use crate::model::source_identity::SourceIdentity;
use crate::model::value::Value;
use crate::source::{ChangedKey, Followed, FoundElement, KeyLookup, KeyPage, Page, Source, SourceIndex};

fn changed(properties: &[(String, Value)]) -> ChangedKey {
    ChangedKey { key: key_of(properties), stamp: String::new() }
}

/// The rows after a key, up to so many.
fn page(mut rows: KindRows, after: &str, limit: usize) -> Page {
    let key = PropertyName::parse("uuid").expect("a sound name");
    rows.retain(|properties| key_of(properties).as_str() > after);
    let more = rows.len() > limit;
    let mut rows = rows.in_key_order(&key);
    rows.truncate(limit);
    let next = rows.keys(&key).last().flatten().filter(|_| more).map(str::to_owned);
    Page { rows, next }
}

impl InMemorySide {
    fn rows(&self, kind: ElementKind) -> KindRows {
        match kind {
            ElementKind::Node(ENTITY) => KindRows::Nodes(ENTITY, self.world.nodes.lock().clone()),
            ElementKind::Relationship(RELATES_TO) => KindRows::Relationships(RELATES_TO, self.world.facts.lock().clone()),
            other => KindRows::none(other),
        }
    }

    fn note_read(&self, rows: &KindRows) {
        let read = self.world.rows_read.fetch_add(rows.len() as u64, Ordering::SeqCst) + rows.len() as u64;
        let ahead = read.saturating_sub(self.world.rows_applied.load(Ordering::SeqCst));
        self.world.most_ahead.fetch_max(ahead, Ordering::SeqCst);
        self.world.pages_read.lock().push(rows.elements().map(|(_, properties)| key_of(properties)).collect());
    }
}

#[async_trait]
impl Source for InMemorySide {
    async fn identity(&self) -> Result<SourceIdentity> {
        Ok(SourceIdentity { id: "memory".to_owned(), name: "neo4j".to_owned() })
    }
    async fn now(&self) -> Result<DateTime<Utc>> {
        Ok(Utc::now())
    }
    async fn page(&self, kind: ElementKind, _: Projection, after: &str, limit: usize) -> Result<Page> {
        self.world.visit(Place::ReadPage)?;
        let page = page(self.rows(kind), after, limit);
        if matches!(kind, ElementKind::Node(ENTITY) | ElementKind::Relationship(RELATES_TO)) {
            self.note_read(&page.rows);
        }
        Ok(page)
    }
    async fn by_key(&self, kind: ElementKind, keys: &[String]) -> Result<KeyLookup> {
        let mut rows = self.rows(kind);
        rows.retain(|properties| keys.contains(&key_of(properties)));
        Ok(KeyLookup { rows, keys: keys.len() })
    }
    async fn changed_keys(&self, kind: ElementKind, _: DateTime<Utc>, after: &str, limit: usize) -> Result<KeyPage> {
        let Page { rows, next } = page(self.rows(kind), after, limit);
        let keys = rows.elements().map(|(_, properties)| changed(properties)).collect();
        Ok(KeyPage { keys, without_key: Vec::new(), next })
    }
    async fn probe(&self) -> Result<Bookmark> {
        self.newest_commit().ok_or_else(|| Error::new(ErrorKind::SourceRefused, "no bookmark"))
    }
    fn newest_commit(&self) -> Option<Bookmark> {
        let (nodes, facts) = (self.world.nodes.lock().len(), self.world.facts.lock().len());
        Some(Bookmark::new(format!("{nodes}/{facts}")))
    }
    async fn nodes_by_number(&self, _: &[ElementNumber]) -> Result<Vec<FoundElement>> {
        Ok(vec![])
    }
    async fn relationships_by_number(&self, _: &[ElementNumber]) -> Result<Vec<FoundElement>> {
        Ok(vec![])
    }
    async fn relationships_of(&self, _: &[ElementNumber], _: Option<ElementNumber>, _: usize) -> Result<Vec<FoundElement>> {
        Ok(vec![])
    }
    async fn bookmark_from(&self, _: &Bookmark) -> Result<Bookmark> {
        self.probe().await
    }
    fn read_after(&self, _: &Bookmark) {}
    async fn reach(&self, _: &Bookmark) -> Result<()> {
        Ok(())
    }
    async fn counts(&self) -> Result<Vec<u64>> {
        let counting = *self.world.counting.lock();
        tokio::time::sleep(counting).await;
        let mut counts = vec![0; self.world.profile.kinds().len()];
        counts[0] = self.world.nodes.lock().len() as u64;
        counts[self.world.profile.nodes.len()] = self.world.facts.lock().len() as u64;
        Ok(counts)
    }
    async fn key_groups(
        &self,
        kind: ElementKind,
        with: Option<&Label>,
        beginnings: &KeyPrefixes,
        length: usize,
    ) -> Result<BTreeMap<String, u64>> {
        Ok(groups(Source::identities(self, kind, with, beginnings).await?, length))
    }
    async fn label_counts(&self) -> Result<BTreeMap<String, u64>> {
        // There is but one label here.
        Ok(BTreeMap::new())
    }
    async fn identities(
        &self,
        kind: ElementKind,
        _with: Option<&Label>,
        beginnings: &KeyPrefixes,
    ) -> Result<BTreeSet<ElementIdentity>> {
        let node = |key: &str| NodeIdentity { label: label(), key: Key::parse(key).expect("a sound key") };
        let all: BTreeSet<ElementIdentity> = match kind {
            ElementKind::Node(ENTITY) => {
                self.world.nodes.lock().iter().map(|n| ElementIdentity::Node(node(&key_of(&n.properties)))).collect()
            }
            ElementKind::Relationship(RELATES_TO) => {
                let end = |end: &SourceEndpoint| node(&key_of(&[("uuid".to_owned(), end.key.clone().expect("a key"))]));
                let identity = |r: &SourceRelationship| RelationshipIdentity {
                    rel_type: self.world.profile.relationship(RELATES_TO).rel_type.clone(),
                    key: Key::parse(&key_of(&r.properties)).expect("a sound key"),
                    start: end(&r.start),
                    end: end(&r.end),
                };
                self.world.facts.lock().iter().map(|r| ElementIdentity::Relationship(identity(r))).collect()
            }
            _ => BTreeSet::new(),
        };
        Ok(all.into_iter().filter(|identity| beginnings.meet(identity.key().as_str())).collect())
    }
    async fn followed(&self, _: &FollowRule, _: &[String]) -> Result<Followed> {
        Ok(Followed::default())
    }
    async fn without_key(&self, kind: ElementKind, _: usize) -> Result<KindRows> {
        Ok(KindRows::none(kind))
    }
    async fn unusable_labels(&self) -> Result<BTreeMap<String, u64>> {
        Ok(BTreeMap::new())
    }
    async fn keys_with_label(&self, _: &str, _: usize) -> Result<BTreeMap<NodeKindId, Vec<String>>> {
        Ok(BTreeMap::new())
    }
    async fn with_unusable_key(&self, kind: ElementKind, _: usize) -> Result<KindRows> {
        Ok(KindRows::none(kind))
    }
    async fn by_number(&self, kind: ElementKind, numbers: &[ElementNumber]) -> Result<(KindRows, usize)> {
        Ok((KindRows::none(kind), numbers.len()))
    }
    async fn count_without_key(&self, _: ElementKind) -> Result<u64> {
        Ok(0)
    }
    async fn indexes(&self) -> Result<Vec<SourceIndex>> {
        Ok(vec![])
    }
    async fn node_total(&self) -> Result<u64> {
        Ok(self.world.nodes.lock().len() as u64)
    }
    async fn outside_profile(&self) -> Result<OutsideProfile> {
        Ok(OutsideProfile::default())
    }
}

fn label() -> Label {
    Label::parse("Entity").expect("a sound label")
}
