//! Answers the strategies' questions about the cache: views the graphs of a pipeline as one.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::{BoxFuture, try_join_all};

use super::connection::CacheConnection;
use super::graph_set::GraphSet;
use super::graph_view::GraphView;
use super::keys::GraphRole;
use super::pipeline_graphs::PipelineGraphs;
use super::routing::Routing;
use crate::error::{Error, Result};
use crate::model::element::ElementIdentity;
use crate::model::graph_name::GraphName;
use crate::model::key::KeyPrefixes;
use crate::model::kind::{ElementKind, NodeKindId};
use crate::model::name::{Label, PropertyName};
use crate::model::projection::Projection;
use crate::model::value::Value;
use crate::sync::is_missing_graph;
use crate::sync::{AttachedCounts, CacheLookup, CacheView, GraphScanCursor, ScanCursor, ScannedElement};
use crate::transform::comparison::{CachedValue, Content};

/// A view of the graphs of a pipeline as one.
#[derive(Debug)]
pub(crate) struct FalkorView {
    /// The connection that reads the list of graphs.
    connection: CacheConnection,
    lanes: Vec<GraphView>,
    members: PipelineGraphs,
    routing: Routing,
    group: Option<PropertyName>,
}

/// The most questions of one part of a scan: most find little if a kind is sparse, or if there are many graphs.
const MOST_PARTS: usize = 20;

/// One graph's turn in a question, which borrows its arguments for `'q`.
struct Turn<'v, 'q: 'v> {
    view: &'v mut GraphView,
    asks: PhantomData<&'q ()>,
}

/// A look at one graph.
type Look<'v, T> = BoxFuture<'v, Result<T>>;

impl GraphSet {
    /// A view of the graphs of a role.
    pub(crate) fn view(&self, role: GraphRole) -> FalkorView {
        FalkorView::new(self, role)
    }
}

impl FalkorView {
    /// A view of the graphs of a role.
    pub(super) fn new(graphs: &GraphSet, role: GraphRole) -> Self {
        let lane = |_| GraphView::new(graphs.address.clone(), Arc::clone(&graphs.profile));
        Self {
            connection: CacheConnection::for_reads(graphs.address.clone()),
            lanes: (0..graphs.lanes()).map(lane).collect(),
            members: PipelineGraphs::new(graphs, role),
            routing: graphs.routing.clone(),
            group: graphs.profile.group.clone(),
        }
    }

    async fn graphs(&mut self) -> Result<BTreeSet<GraphName>> {
        self.connection.wake().await;
        self.members.all(&mut self.connection).await
    }

    /// Looks at every graph, several at once.
    async fn each<'q, T: Send>(
        &mut self,
        look: impl for<'v> Fn(Turn<'v, 'q>) -> Look<'v, T> + Sync,
    ) -> Result<Vec<(GraphName, T)>> {
        let graphs = self.graphs().await?;
        let (members, routing, look, lanes) = (&self.members, &self.routing, &look, self.lanes.len());
        let work = self.lanes.iter_mut().enumerate().map(|(lane, view)| {
            let graphs: Vec<&GraphName> = graphs.iter().skip(lane).step_by(lanes).collect();
            async move {
                let mut seen = Vec::with_capacity(graphs.len());
                for graph in graphs {
                    view.turn_to(members.key(graph));
                    seen.extend(
                        unless_gone(routing, look(Turn { view, asks: PhantomData }).await)?.map(|found| (graph.clone(), found)),
                    );
                }
                Ok::<_, Error>(seen)
            }
        });
        Ok(try_join_all(work).await?.into_iter().flatten().collect())
    }

    /// Whether an element is in the graph of its group. If its group was not read, nothing contradicts this.
    fn is_at_home(&self, graph: &GraphName, detail: Projection, content: &Content) -> bool {
        let Some(group) = self.group.as_ref().filter(|_| matches!(detail, Projection::Whole | Projection::WithoutVectors)) else {
            return true;
        };
        let Some(text) = content.properties.get(group.as_str()) else { return self.routing.is_home(graph, "") };
        // A content holds texts as they are written in a query.
        let written = |group: &str| {
            let value = CachedValue::Plain(Value::String(group.to_owned()));
            Content::of_cache([], [(String::new(), value)]).properties.remove("")
        };
        let possible = [graph.as_str(), "", "_"];
        possible.into_iter().any(|group| self.routing.is_home(graph, group) && written(group).as_ref() == Some(text))
    }

    /// An element in the wrong graph counts as surplus: it is then written anew, and deleted from the wrong graph.
    fn note_strays(&self, graph: &GraphName, detail: Projection, elements: &mut BTreeMap<ElementIdentity, Content>) {
        if self.routing.is_by_group() {
            for content in elements.values_mut() {
                content.copies += usize::from(!self.is_at_home(graph, detail, content));
            }
        }
    }
}

/// A group's graph that disappears between the list and the look holds nothing any more. The only graph does not disappear by
/// itself.
fn unless_gone<T>(routing: &Routing, outcome: Result<T>) -> Result<Option<T>> {
    match outcome {
        Err(error) if routing.is_by_group() && is_missing_graph(&error) => Ok(None),
        outcome => outcome.map(Some),
    }
}

fn sum<K: Ord>(parts: Vec<(GraphName, BTreeMap<K, u64>)>) -> BTreeMap<K, u64> {
    let mut parts = parts.into_iter().map(|(_, part)| part);
    let mut sum = parts.next().unwrap_or_default();
    for (name, count) in parts.flatten() {
        *sum.entry(name).or_default() += count;
    }
    sum
}

fn add(sum: &mut BTreeMap<ElementIdentity, Content>, part: BTreeMap<ElementIdentity, Content>) {
    if sum.is_empty() {
        *sum = part;
        return;
    }
    for (identity, content) in part {
        match sum.entry(identity) {
            Entry::Vacant(place) => drop(place.insert(content)),
            Entry::Occupied(mut first) => first.get_mut().copies += content.copies,
        }
    }
}

#[async_trait]
impl CacheView for FalkorView {
    async fn counts(&mut self) -> Result<Vec<u64>> {
        let kinds = self.lanes.first().map_or(0, |view| view.profile().kinds().len());
        let mut sum = vec![0; kinds];
        for (_, part) in self.each(|turn| Box::pin(async move { turn.view.counts().await })).await? {
            sum.iter_mut().zip(part).for_each(|(sum, count)| *sum += count);
        }
        Ok(sum)
    }

    async fn label_counts(&mut self) -> Result<BTreeMap<String, u64>> {
        Ok(sum(self.each(|turn| Box::pin(async move { turn.view.label_counts().await })).await?))
    }

    async fn labels_beside(&mut self, label: &Label) -> Result<BTreeMap<String, u64>> {
        Ok(sum(self.each(|turn| Box::pin(async move { turn.view.labels_beside(label).await })).await?))
    }

    async fn key_groups(
        &mut self,
        kind: ElementKind,
        with: Option<&Label>,
        beginnings: &KeyPrefixes,
        length: usize,
    ) -> Result<BTreeMap<String, u64>> {
        Ok(sum(self.each(|turn| Box::pin(async move { turn.view.key_groups(kind, with, beginnings, length).await })).await?))
    }

    /// An identity in two graphs is left out: it counts as missing, so it is read again, written to the graph of its group and
    /// deleted from the other.
    async fn identities(
        &mut self,
        kind: ElementKind,
        with: Option<&Label>,
        beginnings: &KeyPrefixes,
    ) -> Result<BTreeSet<ElementIdentity>> {
        let parts = self.each(|turn| Box::pin(async move { turn.view.identities(kind, with, beginnings).await })).await?;
        let mut parts = parts.into_iter().map(|(_, part)| part);
        let mut found = parts.next().unwrap_or_default();
        let mut twice = BTreeSet::new();
        for identity in parts.flatten() {
            if let Some(again) = found.replace(identity) {
                twice.insert(again);
            }
        }
        found.retain(|identity| !twice.contains(identity));
        Ok(found)
    }

    async fn scan_part(
        &mut self,
        kind: ElementKind,
        from: &ScanCursor,
        elements: usize,
        visit: &mut (dyn FnMut(ScannedElement) + Send),
    ) -> Result<Option<ScanCursor>> {
        let graphs = self.graphs().await?;
        let Some(view) = self.lanes.first_mut() else { return Ok(None) };
        let (mut visited, mut parts) = (0, 0);
        for graph in graphs.iter().filter(|graph| from.graph.as_ref().is_none_or(|first| *graph >= first)) {
            view.turn_to(self.members.key(graph));
            let here = self.routing.is_by_group().then_some(graph);
            let mut next = Some(if from.graph.as_ref() == Some(graph) { from.place } else { GraphScanCursor::default() });
            while let Some(place) = next {
                if visited >= elements || parts >= MOST_PARTS {
                    return Ok(Some(ScanCursor { graph: Some(graph.clone()), place }));
                }
                let mut visit = |_, keyed: ScannedElement| {
                    visited += 1;
                    visit(ScannedElement { graph: here.cloned(), ..keyed });
                };
                let part = view.visit_part(kind, place, &mut visit).await;
                next = unless_gone(&self.routing, part)?.flatten();
                parts += 1;
            }
        }
        Ok(None)
    }

    async fn scan_bundle(
        &mut self,
        kinds: &[ElementKind],
        visit: &mut (dyn FnMut(ElementKind, ScannedElement) + Send),
    ) -> Result<()> {
        let graphs = self.graphs().await?;
        let Some(view) = self.lanes.first_mut() else { return Ok(()) };
        for graph in &graphs {
            view.turn_to(self.members.key(graph));
            let here = self.routing.is_by_group().then_some(graph);
            let mut visit = |kind, keyed: ScannedElement| visit(kind, ScannedElement { graph: here.cloned(), ..keyed });
            unless_gone(&self.routing, view.visit_bundle(kinds, &mut visit).await)?;
        }
        Ok(())
    }

    async fn contents(&mut self, kind: ElementKind, detail: Projection, keys: &[String]) -> Result<CacheLookup> {
        let parts = self.each(|turn| Box::pin(async move { turn.view.contents(kind, detail, keys).await })).await?;
        // The keys that every graph was asked for.
        let asked = parts.iter().map(|(_, part)| part.keys).min().unwrap_or(keys.len());
        let left_out: BTreeSet<&str> = keys[asked..].iter().map(String::as_str).collect();
        let mut all = CacheLookup { elements: BTreeMap::new(), keys: asked };
        for (graph, CacheLookup { mut elements, keys }) in parts {
            if keys > asked {
                elements.retain(|identity, _| !left_out.contains(identity.key().as_str()));
            }
            self.note_strays(&graph, detail, &mut elements);
            add(&mut all.elements, elements);
        }
        Ok(all)
    }

    async fn attached(&mut self, kind: NodeKindId, keys: &[String]) -> Result<AttachedCounts> {
        let parts = self.each(|turn| Box::pin(async move { turn.view.attached(kind, keys).await })).await?;
        let mut parts = parts.into_iter().map(|(_, part)| part);
        let mut found = parts.next().unwrap_or_default();
        for (key, types) in parts.flatten() {
            let sum = found.entry(key).or_default();
            types.into_iter().for_each(|(kind, number)| *sum.entry(kind).or_default() += number);
        }
        Ok(found)
    }

    async fn totals(&mut self) -> Result<[u64; 2]> {
        let parts = self.each(|turn| Box::pin(async move { turn.view.totals().await })).await?;
        Ok(parts.into_iter().fold([0, 0], |sum, (_, part)| [sum[0] + part[0], sum[1] + part[1]]))
    }

    async fn foreign(&mut self) -> Result<BTreeMap<String, u64>> {
        Ok(sum(self.each(|turn| Box::pin(async move { turn.view.foreign().await })).await?))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::model::routes::Routes;
    use crate::sync::MissingGraph;

    #[test]
    fn only_a_graph_of_a_group_goes_by_itself() {
        let name = GraphName::new("g").unwrap();
        let missing = || MissingGraph("Invalid graph operation on empty key".to_owned());
        let gone = || Err::<(), _>(Error::caused(ErrorKind::CacheProtocol, "look", missing()));
        assert!(is_missing_graph(&gone().unwrap_err()));
        assert!(unless_gone(&Routing::OnlyGraph(name.clone()), gone()).is_err());
        assert_eq!(unless_gone(&Routing::ByGroup(Routes::new(name)), gone()).unwrap(), None);
    }
}
