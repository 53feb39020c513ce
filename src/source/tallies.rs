//! Counts the nodes of each label and the relationships of each type.
//!
//! Neo4j keeps these counts and answers for one name at once, but it must plan every query text: 24 ms for each branch of a
//! union, 2 to 10 ms for a query of its own, and it remembers 1,000 plans (5.26.12, two cores). So there are several ways, and
//! the cheapest one is taken:
//! - *statistics*: one procedure returns all counts without a plan. It looks up every label with every type, twice. Enterprise
//!   demands administrator rights for it; after a refusal, it is not tried again.
//! - *scan*: one query goes through the elements, however many names there are.
//! - *each*: a query for each name.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use super::columns::{count_of, take_text};
use super::queries::{self, Queries};
use super::reader::Reader;
use super::request::Request;
use crate::error::{ErrorKind, Result};
use crate::model::element::Properties;
use crate::model::kind::ElementKind;
use crate::model::name::{Label, quoted_for_neo4j};
use crate::model::profile::Profile;

/// The most kinds that one query counts. The text of the query is always the same, so Neo4j plans it once.
pub(super) const FEW: usize = 16;

/// The cost of each way, in nanoseconds.
mod cost {
    /// The base cost of the statistics.
    pub(super) const STATISTICS: u64 = 1_000_000;
    /// The cost of a label with a type in one direction.
    pub(super) const LOOK_UP: u64 = 450;
    /// The cost of an element in a scan.
    pub(super) const SCAN: u64 = 1_000;
    /// The cost of a query with a remembered plan.
    pub(super) const KNOWN: u64 = 500_000;
    /// The cost of a query that needs a plan.
    pub(super) const PLANNED: u64 = 10_000_000;
    /// The number of texts beyond which plans are forgotten before their next use: half of what Neo4j remembers by default,
    /// because others query it too.
    pub(super) const REMEMBERED: u64 = 500;
}

/// A way to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Statistics,
    Scan,
    Each,
}

/// The sizes that decide the way.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    /// The labels of the database.
    labels: u64,
    /// The relationship types of the database.
    types: u64,
    /// The names to count.
    names: u64,
    /// The elements that a scan would read.
    elements: u64,
    /// Whether the same counts are asked for again and again.
    again: bool,
}

impl Sizes {
    fn cheapest(self, statistics: bool) -> Way {
        let is_known = self.again && self.names <= cost::REMEMBERED;
        let of_each = if is_known { cost::KNOWN } else { cost::PLANNED };
        let look_ups = self.labels.saturating_mul(self.types).saturating_mul(2);
        let mut ways =
            vec![(self.names.saturating_mul(of_each), Way::Each), (self.elements.saturating_mul(cost::SCAN), Way::Scan)];
        if statistics {
            ways.push((look_ups.saturating_mul(cost::LOOK_UP).saturating_add(cost::STATISTICS), Way::Statistics));
        }
        ways.into_iter().min_by_key(|(cost, _)| *cost).map_or(Way::Each, |(_, way)| way)
    }
}

/// Counts by label or type.
type ByName = BTreeMap<String, u64>;

/// Counts, and remembers whether the statistics are refused.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    refused: AtomicBool,
}

impl Tallies {
    /// Counts all kinds of a profile, in their order. For nodes without a label, counts all nodes instead.
    pub(super) async fn of_kinds(&self, reader: &impl Reader, profile: &Profile) -> Result<Vec<u64>> {
        const DOING: &str = "counts";
        let queries = Queries::new(profile);
        let (nodes, relationships) = totals(reader, &queries).await?;
        let kinds = profile.kinds();
        let sizes = Sizes {
            labels: profile.nodes.len() as u64,
            types: profile.relationships.len() as u64,
            names: kinds.len() as u64,
            elements: nodes + relationships,
            again: true,
        };
        let told = self.told(reader, profile, sizes).await?;
        let counted = match (told, self.way(profile, sizes)) {
            (Some(told), _) => Some(told),
            (None, Way::Scan) => Some((
                by_name(reader, DOING, Request::new(queries.scanned_labels())).await?,
                by_name(reader, DOING, Request::new(queries.scanned_types())).await?,
            )),
            (None, Way::Each | Way::Statistics) => None,
        };
        let Some((labels, types)) = counted else {
            return each(reader, DOING, kinds.into_iter().map(|kind| Request::new(queries.count(kind))).collect()).await;
        };
        let count = |kind| match kind {
            ElementKind::Node(id) if profile.node(id).unlabelled => nodes,
            ElementKind::Node(_) => labels.get(profile.kind_name(kind)).copied().unwrap_or(0),
            ElementKind::Relationship(_) => types.get(profile.kind_name(kind)).copied().unwrap_or(0),
        };
        Ok(kinds.into_iter().map(count).collect())
    }

    /// Counts all labels that nodes may carry besides those of a profile's kinds.
    pub(super) async fn of_labels(&self, reader: &impl Reader, profile: &Profile) -> Result<ByName> {
        // The cache cannot hold a label that `Label::parse` refuses.
        self.of_some_labels(reader, profile, |name| Label::parse(name).is_ok()).await
    }

    /// Counts all labels that FalkorDB cannot express.
    pub(super) async fn of_unusable_labels(&self, reader: &impl Reader, profile: &Profile) -> Result<ByName> {
        self.of_some_labels(reader, profile, |name| Label::parse(name).is_err()).await
    }

    async fn of_some_labels(
        &self,
        reader: &impl Reader,
        profile: &Profile,
        wanted: impl Fn(&str) -> bool + Send,
    ) -> Result<ByName> {
        const DOING: &str = "labels";
        let all = reader.rows(DOING, Request::new(queries::server::LABELS)).await?;
        let all = all.into_iter().map(|mut row| take_text(&mut row, "name", DOING)).collect::<Result<Vec<_>>>()?;
        let known = all.len() as u64;
        let names: Vec<String> = all.into_iter().filter(|name| wanted(name)).collect();
        let queries = Queries::new(profile);
        let one_by_one = || names.iter().map(|name| Request::new(queries.label_count(name))).collect::<Vec<_>>();
        if names.len() <= FEW {
            return Ok(names.iter().cloned().zip(each(reader, DOING, one_by_one()).await?).collect());
        }
        let (nodes, _) = totals(reader, &queries).await?;
        let types = single(reader, DOING, queries::server::NUMBER_OF_TYPES).await?;
        let sizes = Sizes { labels: known, types, names: names.len() as u64, elements: nodes, again: true };
        let told = self.told(reader, profile, sizes).await?;
        let counted = match (told, self.way(profile, sizes)) {
            (Some((labels, _)), _) => Some(labels),
            (None, Way::Scan) => Some(by_name(reader, DOING, Request::new(queries.scanned_labels())).await?),
            (None, Way::Each | Way::Statistics) => None,
        };
        match counted {
            Some(mut counted) => {
                counted.retain(|name, _| wanted(name));
                Ok(counted)
            }
            None => Ok(names.iter().cloned().zip(each(reader, DOING, one_by_one()).await?).collect()),
        }
    }

    /// Counts these types, which the profile does not have.
    pub(super) async fn of_types(&self, reader: &impl Reader, profile: &Profile, names: &[String]) -> Result<ByName> {
        const DOING: &str = "relationship types";
        if names.is_empty() {
            return Ok(ByName::new());
        }
        let queries = Queries::new(profile);
        let (_, relationships) = totals(reader, &queries).await?;
        let labels = single(reader, DOING, queries::server::NUMBER_OF_LABELS).await?;
        let types = (names.len() + profile.relationships.len()) as u64;
        let sizes = Sizes { labels, types, names: names.len() as u64, elements: relationships, again: false };
        let told = self.told(reader, profile, sizes).await?;
        let counted = match (told, self.way(profile, sizes)) {
            (Some((_, types)), _) => Some(types),
            (None, Way::Scan) => Some(by_name(reader, DOING, Request::new(queries.scanned_types())).await?),
            (None, Way::Each | Way::Statistics) => None,
        };
        let counts = match counted {
            Some(counted) => names.iter().map(|name| counted.get(name).copied().unwrap_or(0)).collect(),
            None => {
                let text = |name: &String| queries.relationship_count(&quoted_for_neo4j(name));
                each(reader, DOING, names.iter().map(|name| Request::new(text(name))).collect()).await?
            }
        };
        Ok(names.iter().cloned().zip(counts).collect())
    }

    fn way(&self, profile: &Profile, sizes: Sizes) -> Way {
        // The statistics do not distinguish groups.
        let all_groups = profile.only_groups.is_empty();
        sizes.cheapest(all_groups && !self.refused.load(Ordering::Relaxed))
    }

    /// Reads the statistics, if they are the cheapest way and the server provides them.
    async fn told(&self, reader: &impl Reader, profile: &Profile, sizes: Sizes) -> Result<Option<(ByName, ByName)>> {
        if self.way(profile, sizes) == Way::Statistics { self.statistics(reader).await } else { Ok(None) }
    }

    /// Reads counts of labels and types; `None` if the server refuses.
    async fn statistics(&self, reader: &impl Reader) -> Result<Option<(ByName, ByName)>> {
        const DOING: &str = "the statistics";
        let rows = match reader.rows(DOING, Request::new(queries::server::STATISTICS)).await {
            Ok(rows) => rows,
            Err(error) if error.kind() == ErrorKind::SourceRefused => {
                tracing::info!(error = %error.chain(), "source does not report its statistics, reading counts one by one");
                self.refused.store(true, Ordering::Relaxed);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let (mut labels, mut types) = (ByName::new(), ByName::new());
        for mut row in rows {
            let of = take_text(&mut row, "of", DOING)?;
            let (name, count) = named_count(row, DOING)?;
            if of == "node" { &mut labels } else { &mut types }.insert(name, count);
        }
        Ok(Some((labels, types)))
    }
}

/// Counts, among the nodes that carry a label, those that carry each label.
pub(super) async fn labels_beside(reader: &impl Reader, profile: &Profile, label: &Label) -> Result<ByName> {
    by_name(reader, "labels", Request::new(Queries::new(profile).labels_beside(label))).await
}

/// Counts all nodes and all relationships.
async fn totals(reader: &impl Reader, queries: &Queries<'_>) -> Result<(u64, u64)> {
    let counts =
        each(reader, "counts", vec![Request::new(queries.all_nodes()), Request::new(queries.all_relationships())]).await?;
    Ok((counts.first().copied().unwrap_or(0), counts.get(1).copied().unwrap_or(0)))
}

async fn single(reader: &impl Reader, doing: &str, text: &str) -> Result<u64> {
    Ok(each(reader, doing, vec![Request::new(text)]).await?.first().copied().unwrap_or(0))
}

/// Reads the single count of each of these queries.
async fn each(reader: &impl Reader, doing: &str, requests: Vec<Request>) -> Result<Vec<u64>> {
    let answers = reader.each(doing, requests).await?;
    answers.into_iter().map(|rows| rows.into_iter().next().map_or(Ok(0), |row| count_of(row, doing))).collect()
}

async fn by_name(reader: &impl Reader, doing: &str, request: Request) -> Result<ByName> {
    reader.rows(doing, request).await?.into_iter().map(|row| named_count(row, doing)).collect()
}

fn named_count(mut row: Properties, doing: &str) -> Result<(String, u64)> {
    Ok((take_text(&mut row, "name", doing)?, count_of(row, doing)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use async_trait::async_trait;
    use parking_lot::Mutex;

    use super::*;
    use crate::error::Error;
    use crate::model::bookmark::Bookmark;
    use crate::model::discovery::DiscoveredSchema;
    use crate::model::element::{SourceNode, SourceRelationship};
    use crate::model::value::Value;
    use crate::source::reader::PartialRows;

    /// A source of a million nodes that refuses its statistics.
    #[derive(Default)]
    struct Silent {
        asked: Mutex<Vec<String>>,
    }

    #[async_trait]
    impl Reader for Silent {
        async fn nodes(&self, _: &str, _: Request, _: usize) -> Result<PartialRows<SourceNode>> {
            Ok(PartialRows { rows: Vec::new(), is_whole: true })
        }

        async fn relationships(&self, _: &str, _: Request, _: usize) -> Result<PartialRows<SourceRelationship>> {
            Ok(PartialRows { rows: Vec::new(), is_whole: true })
        }

        async fn typed_relationships(&self, _: &str, _: Request, _: usize) -> Result<PartialRows<(String, SourceRelationship)>> {
            Ok(PartialRows { rows: Vec::new(), is_whole: true })
        }

        async fn rows(&self, _: &str, request: Request) -> Result<Vec<Properties>> {
            self.asked.lock().push(request.text.clone());
            if request.text == queries::server::STATISTICS {
                return Err(Error::new(ErrorKind::SourceRefused, "not for everybody"));
            }
            Ok(vec![vec![("count".to_owned(), Value::Integer(1_000_000))]])
        }

        fn told(&self) -> Option<Bookmark> {
            None
        }
    }

    #[tokio::test]
    async fn statistics_that_are_refused_are_asked_for_once() {
        let labels = (0..20).map(|number| format!("L{number:02}")).collect();
        let found = DiscoveredSchema { labels, types: ["T".to_owned()].into(), ..DiscoveredSchema::default() };
        let profile = Profile::generic().unwrap().discovered(&found).unwrap();
        let (source, tallies) = (Silent::default(), Tallies::default());
        for _ in 0..2 {
            assert_eq!(tallies.of_kinds(&source, &profile).await.unwrap(), vec![1_000_000; 22]);
        }
        let asked = source.asked.lock().clone();
        assert_eq!(asked.iter().filter(|text| *text == queries::server::STATISTICS).count(), 1);
        assert_eq!(asked.iter().filter(|text| text.contains("`L07`")).count(), 2);
    }

    fn way(labels: u64, types: u64, elements: u64, statistics: bool) -> Way {
        Sizes { labels, types, names: labels + types, elements, again: true }.cheapest(statistics)
    }

    #[test]
    fn the_cheapest_way_is_taken() {
        assert_eq!(way(200, 200, 100_000, true), Way::Statistics);
        assert_eq!(way(1_000, 9, 10_000_000, true), Way::Statistics);
        assert_eq!(way(2_000, 2_000, 6_000, true), Way::Scan, "few elements of very many kinds");
        assert_eq!(way(2_000, 2_000, 10_000_000, true), Way::Statistics);
        assert_eq!(way(200, 200, 10_000_000, false), Way::Each, "nobody tells the statistics");
        assert_eq!(way(2_000, 2_000, 1_000_000, false), Way::Scan);
    }
}
