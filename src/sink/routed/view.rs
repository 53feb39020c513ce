//! The graphs of a pipeline, looked at as one.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use futures::future::{BoxFuture, try_join_all};

use super::registry::Registry;
use super::{Place, RoutedCache};
use crate::error::Result;
use crate::model::detail::Detail;
use crate::model::element::ElementIdentity;
use crate::model::graph_name::GraphName;
use crate::model::key::Beginnings;
use crate::model::kind::ElementKind;
use crate::model::kind::NodeKindId;
use crate::model::name::{Label, PropertyName};
use crate::model::routes::Routes;
use crate::model::value::Value;
use crate::sink::connection::Connection;
use crate::sink::graph::is_missing;
use crate::sink::view::FalkorView;
use crate::sync::{Attached, CacheView, Contents, Keyed};
use crate::transform::comparison::{CachedValue, Content};

/// All graphs of a pipeline.
#[derive(Debug)]
pub struct RoutedView {
    /// The one that the list of graphs is read on.
    connection: Connection,
    lanes: Vec<FalkorView>,
    registry: Registry,
    routes: Routes,
    group: Option<PropertyName>,
    kinds: usize,
}

/// A look at one graph.
type Look<'v, T> = BoxFuture<'v, Result<T>>;

impl RoutedView {
    /// Looks at the graphs at a place.
    pub fn new(cache: &RoutedCache, place: Place) -> Self {
        let lane = |_| FalkorView::new(cache.address.clone(), String::new(), std::sync::Arc::clone(&cache.profile));
        Self {
            connection: Connection::new(cache.address.clone()),
            lanes: (0..cache.lanes()).map(lane).collect(),
            registry: cache.registry(place),
            routes: cache.routes.clone(),
            group: cache.profile.group.clone(),
            kinds: cache.profile.kinds().len(),
        }
    }

    /// Looks at each graph, at several at once. One that goes meanwhile holds nothing any more.
    async fn each<T: Send>(
        &mut self,
        look: impl for<'v> Fn(&'v mut FalkorView) -> Look<'v, T> + Sync,
    ) -> Result<Vec<(GraphName, T)>> {
        self.connection.wake().await;
        let graphs = self.registry.graphs(&mut self.connection).await?;
        let (place, look, lanes) = (self.registry.place(), &look, self.lanes.len());
        let work = self.lanes.iter_mut().enumerate().map(|(lane, view)| {
            let graphs: Vec<&GraphName> = graphs.iter().skip(lane).step_by(lanes).collect();
            async move {
                let mut seen = Vec::with_capacity(graphs.len());
                for graph in graphs {
                    view.turn_to(place.graph_key(graph));
                    match look(view).await {
                        Ok(found) => seen.push((graph.clone(), found)),
                        Err(error) if is_missing(&error) => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(seen)
            }
        });
        Ok(try_join_all(work).await?.into_iter().flatten().collect())
    }

    /// Whether an element stands in the graph of its group. Where its group was not read, there is nothing that says otherwise.
    fn is_at_home(&self, graph: &GraphName, detail: Detail, content: &Content) -> bool {
        let Some(group) = self.group.as_ref().filter(|_| matches!(detail, Detail::Whole | Detail::WithoutVectors)) else {
            return true;
        };
        let home = |group: &str| self.routes.graph_of(group).is_ok_and(|home| home == *graph);
        let Some(text) = content.properties.get(group.as_str()) else { return home("") };
        // A content holds texts as they are written in a query.
        let written = |group: &str| {
            let value = CachedValue::Plain(Value::String(group.to_owned()));
            Content::of_cache([], [(String::new(), value)]).properties.remove("")
        };
        let here = graph.as_str();
        let possible = [here, "", "_"];
        possible.into_iter().any(|group| home(group) && written(group).as_ref() == Some(text))
    }
}

fn sum<K: Ord>(parts: Vec<(GraphName, BTreeMap<K, u64>)>) -> BTreeMap<K, u64> {
    let mut sum = BTreeMap::new();
    for (name, count) in parts.into_iter().flat_map(|(_, part)| part) {
        *sum.entry(name).or_default() += count;
    }
    sum
}

#[async_trait]
impl CacheView for RoutedView {
    async fn counts(&mut self) -> Result<Vec<u64>> {
        let mut sum = vec![0; self.kinds];
        for (_, part) in self.each(|view| view.counts()).await? {
            sum.iter_mut().zip(part).for_each(|(sum, count)| *sum += count);
        }
        Ok(sum)
    }

    async fn label_counts(&mut self) -> Result<BTreeMap<String, u64>> {
        Ok(sum(self.each(|view| view.label_counts()).await?))
    }

    async fn labels_beside(&mut self, label: &Label) -> Result<BTreeMap<String, u64>> {
        let label = label.clone();
        Ok(sum(self
            .each(|view| {
                let label = label.clone();
                Box::pin(async move { view.labels_beside(&label).await })
            })
            .await?))
    }

    async fn key_groups(
        &mut self,
        kind: ElementKind,
        with: Option<&Label>,
        beginnings: &Beginnings,
        length: usize,
    ) -> Result<BTreeMap<String, u64>> {
        let (with, beginnings) = (with.cloned(), beginnings.clone());
        Ok(sum(self
            .each(|view| {
                let (with, beginnings) = (with.clone(), beginnings.clone());
                Box::pin(async move { view.key_groups(kind, with.as_ref(), &beginnings, length).await })
            })
            .await?))
    }

    /// One that stands in two graphs is left out: as something that is missing it is read again, written to the graph of its group
    /// and deleted from the other.
    async fn identities(
        &mut self,
        kind: ElementKind,
        with: Option<&Label>,
        beginnings: &Beginnings,
    ) -> Result<BTreeSet<ElementIdentity>> {
        let (with, beginnings) = (with.cloned(), beginnings.clone());
        let (mut found, mut twice) = (BTreeSet::new(), BTreeSet::new());
        for identity in self
            .each(|view| {
                let (with, beginnings) = (with.clone(), beginnings.clone());
                Box::pin(async move { view.identities(kind, with.as_ref(), &beginnings).await })
            })
            .await?
            .into_iter()
            .flat_map(|(_, part)| part)
        {
            if let Some(again) = found.replace(identity) {
                twice.insert(again);
            }
        }
        found.retain(|identity| !twice.contains(identity));
        Ok(found)
    }

    /// Graph after graph: what is visited need not stay in memory.
    async fn scan(&mut self, kind: ElementKind, visit: &mut (dyn FnMut(Keyed) + Send)) -> Result<()> {
        self.connection.wake().await;
        let graphs = self.registry.graphs(&mut self.connection).await?;
        let place = self.registry.place();
        let Some(view) = self.lanes.first_mut() else { return Ok(()) };
        for graph in &graphs {
            view.turn_to(place.graph_key(graph));
            let mut here = |keyed: Keyed| visit(Keyed { graph: Some(graph.clone()), ..keyed });
            match view.scan(kind, &mut here).await {
                Err(error) if is_missing(&error) => {}
                outcome => outcome?,
            }
        }
        Ok(())
    }

    async fn scan_bundle(&mut self, kinds: &[ElementKind], visit: &mut (dyn FnMut(ElementKind, Keyed) + Send)) -> Result<()> {
        self.connection.wake().await;
        let graphs = self.registry.graphs(&mut self.connection).await?;
        let place = self.registry.place();
        let Some(view) = self.lanes.first_mut() else { return Ok(()) };
        for graph in &graphs {
            view.turn_to(place.graph_key(graph));
            let mut here = |kind, keyed: Keyed| visit(kind, Keyed { graph: Some(graph.clone()), ..keyed });
            match view.scan_bundle(kinds, &mut here).await {
                Err(error) if is_missing(&error) => {}
                outcome => outcome?,
            }
        }
        Ok(())
    }

    async fn contents(&mut self, kind: ElementKind, detail: Detail, keys: &[String]) -> Result<Contents> {
        let keys: std::sync::Arc<[String]> = keys.into();
        let mut found: BTreeMap<ElementIdentity, Content> = BTreeMap::new();
        let parts = self
            .each(|view| {
                let keys = std::sync::Arc::clone(&keys);
                Box::pin(async move { view.contents(kind, detail, &keys).await })
            })
            .await?;
        // Keys that every graph was asked for.
        let asked = parts.iter().map(|(_, part)| part.keys).min().unwrap_or(keys.len());
        let left_out: BTreeSet<&str> = keys[asked..].iter().map(String::as_str).collect();
        for (graph, part) in parts {
            for (identity, mut content) in part.elements {
                if left_out.contains(identity.key().as_str()) {
                    continue;
                }
                // As something of which there is one too many it is written anew, and deleted where it does not belong.
                content.copies += usize::from(!self.is_at_home(&graph, detail, &content));
                match found.entry(identity) {
                    Entry::Vacant(place) => drop(place.insert(content)),
                    Entry::Occupied(mut first) => first.get_mut().copies += content.copies,
                }
            }
        }
        Ok(Contents { elements: found, keys: asked })
    }

    async fn attached(&mut self, kind: NodeKindId, keys: &[String]) -> Result<Attached> {
        let keys: std::sync::Arc<[String]> = keys.into();
        let mut found = Attached::new();
        for (key, types) in self
            .each(|view| {
                let keys = std::sync::Arc::clone(&keys);
                Box::pin(async move { view.attached(kind, &keys).await })
            })
            .await?
            .into_iter()
            .flat_map(|(_, part)| part)
        {
            let sum = found.entry(key).or_default();
            types.into_iter().for_each(|(kind, number)| *sum.entry(kind).or_default() += number);
        }
        Ok(found)
    }

    async fn totals(&mut self) -> Result<[u64; 2]> {
        let parts = self.each(|view| view.totals()).await?;
        Ok(parts.into_iter().fold([0, 0], |sum, (_, part)| [sum[0] + part[0], sum[1] + part[1]]))
    }

    async fn foreign(&mut self) -> Result<BTreeMap<String, u64>> {
        Ok(sum(self.each(|view| view.foreign()).await?))
    }
}
