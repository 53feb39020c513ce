"""Reads the same graph through graphiti-core twice, from Neo4j and from the FalkorDB graph that is kept equal to it, and
compares the answers. No model is asked: queries are embedded by hashes.

    NEO4J_URI=bolt://... NEO4J_USER=... NEO4J_PASSWORD=... FALKORDB_HOST=... FALKORDB_PORT=... FALKORDB_DATABASE=... \\
        python read_parity.py

The graph is one that write_graph.py wrote. Prints a line for each check; ends with 1 if any answer differs.

What the two engines themselves do differently, whatever the graph holds, is not compared:
* scores of full text: Neo4j's and FalkorDB's are different functions, so only which elements are found counts; and only for
  words that FalkorDB's stemming leaves apart;
* full text within a group whose name has a hyphen or is empty: FalkorDB's driver finds nothing there;
* the order of elements whose similarity differs by less than TOLERANCE: FalkorDB computes with 32 bits;
* searches by time find episodes saved with a naive time on FalkorDB only: Neo4j does not compare them with others;
* facts that close a circle, in searches breadth-first: FalkorDB may leave out paths that come back to where they have been;
* filters by several labels at once, and the reranker by node distance: neither works on FalkorDB.
"""

import asyncio
import math
import os
import sys
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

from offline import HashEmbedder, NoCrossEncoder, embed
from write_graph import RELATIONS, START, THINGS, TOPICS

import neo4j.time
import numpy as np
from graphiti_core.driver.falkordb_driver import FalkorDriver
from graphiti_core.driver.neo4j_driver import Neo4jDriver
from graphiti_core.edges import CommunityEdge, EntityEdge, EpisodicEdge, HasEpisodeEdge, NextEpisodeEdge
from graphiti_core.nodes import CommunityNode, EntityNode, EpisodeType, EpisodicNode, SagaNode
from graphiti_core.search import search_utils
from graphiti_core.search.search import search
from graphiti_core.search.search_config_recipes import COMBINED_HYBRID_SEARCH_MMR, COMBINED_HYBRID_SEARCH_RRF
from graphiti_core.search.search_filters import ComparisonOperator, DateFilter, SearchFilters
from graphiti_core.utils.maintenance.graph_data_operations import retrieve_episodes

TOLERANCE = 1e-5
# More than there is: what a limit would cut off depends on the order of ties.
ALL = 10_000
EVERYTHING = SearchFilters()

NODES = [EntityNode, EpisodicNode, CommunityNode, SagaNode]
EDGES = [EntityEdge, EpisodicEdge, CommunityEdge, HasEpisodeEdge, NextEpisodeEdge]

# Queries whose words occur in names, in facts, or in nothing; and for each kind one that is near to some.
QUERIES = ['Compass Labs', 'Alma Okafor has worked at', 'circle of the glacier', 'saffron', 'nothing of the kind']
NEAR = {'entities': 'Compass Labs', 'facts': 'has worked at the Compass Labs for the saffron', 'communities': 'circle of the glacier'}


# ------------------------------------------------------------------------------------------------- what answers are made of


def plain(value):
    """A model of graphiti as plain data, without the differences between what the two drivers hand out."""
    if hasattr(value, 'model_dump'):
        dump = value.model_dump()
        dump['labels'] = sorted(dump.get('labels', []))
        return plain(dump)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, EpisodeType):
        return value.value
    # Among attributes, Neo4j's driver hands out its own type of time, and FalkorDB's a text.
    if isinstance(value, neo4j.time.DateTime):
        value = value.to_native()
    if isinstance(value, datetime):
        # FalkorDB keeps UTC; a naive time counts as that.
        aware = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
        return aware.astimezone(timezone.utc).isoformat()
    return value


def is_equal(one, other) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_equal, one, other))
    if isinstance(one, float) and isinstance(other, float):
        # FalkorDB's replies have 15 digits.
        return math.isclose(one, other, rel_tol=1e-14)
    return type(one) is type(other) and one == other


def by_uuid(found) -> dict:
    return {element.uuid: plain(element) for element in found}


def uuids(found) -> list[str]:
    return sorted({element.uuid for element in found})


def similarity(one: list[float], other: list[float]) -> float:
    """As graphiti has it on both engines: from 0 to 1."""
    return (1 + float(np.dot(one, other) / (np.linalg.norm(one) * np.linalg.norm(other)))) / 2


def is_same_ranking(one: list[str], other: list[str], scores: dict[str, float], min_score: float) -> bool:
    """Equal, apart from the order of ties and from what is at the very limit."""
    certain = {uuid for uuid in {*one, *other} if abs(scores[uuid] - min_score) > TOLERANCE}
    if certain - set(one) or certain - set(other):
        return False
    return all(
        scores[earlier] > scores[later] - TOLERANCE for order in (one, other) for earlier, later in zip(order, order[1:])
    )


# ------------------------------------------------------------------------------------------------------------------- checks


class Parity:
    def __init__(self, neo4j_driver: Neo4jDriver, falkor_driver: FalkorDriver):
        self.neo4j = neo4j_driver
        self.falkordb = falkor_driver
        self.failed = 0

    def report(self, what: str, count: int, is_good: bool, why: str = ''):
        self.failed += not is_good
        print(f'{"ok  " if is_good else "FAIL"}  {what}: {count} found{why}', flush=True)

    async def both(self, read) -> tuple:
        return await read(self.neo4j), await read(self.falkordb)

    async def check(self, what: str, read, may_be_empty: bool = False):
        """`read(driver)` gives the same plain data with both drivers, and something at all."""
        one, other = await self.both(read)
        is_good = (may_be_empty or len(one) > 0) and is_equal(one, other)
        self.report(what, len(one), is_good, '' if is_good else f'; Neo4j: {shown(one, other)}; FalkorDB: {shown(other, one)}')

    async def check_ranking(self, what: str, read, vectors: dict[str, list[float]], query: list[float], min_score: float):
        one, other = await self.both(read)
        one, other = [element.uuid for element in one], [element.uuid for element in other]
        scores = {uuid: similarity(vectors[uuid], query) for uuid in {*one, *other}}
        is_good = len(one) > 0 and is_same_ranking(one, other, scores, min_score)
        self.report(what, len(one), is_good, '' if is_good else f'; Neo4j: {one}; FalkorDB: {other}; {scores}')

    # The groups, and what is in the graph, are learnt from Neo4j.

    async def all(self):
        records, _, _ = await self.neo4j.execute_query('MATCH (n:Entity) RETURN DISTINCT n.group_id AS group ORDER BY group')
        self.groups = [record['group'] for record in records]
        await self.indices()
        for group in self.groups:
            await self.retrieval(group)
            await self.breadth_first(group)
            await self.episodes_by_time(group)
        for groups in [None, *([group] for group in self.groups)]:
            await self.similarity(groups)
        for groups in [None, *([group] for group in self.groups if group and '-' not in group)]:
            await self.full_text(groups)
            await self.hybrid(groups)

    async def indices(self):
        """graphiti adds none to the indices that it finds: those that FalkorDB would answer wrongly by stay away."""

        async def read():
            records, _, _ = await self.falkordb.execute_query('CALL db.indexes()')
            return {
                record['label']: [sorted(map(str, record['types'].items())), sorted(record['stopwords'] or [])]
                for record in records
            }

        before = await read()
        await self.falkordb.build_indices_and_constraints()
        after = await read()
        self.report('graphiti adds no index of its own', len(before), before == after, '' if before == after else f'; {before}; {after}')

    async def retrieval(self, group: str):
        for kind in [*NODES, *EDGES]:

            async def by_group(driver, kind=kind):
                return by_uuid(await kind.get_by_group_ids(driver, [group]))

            await self.check(f'{kind.__name__} by group {group}', by_group)
            some = list(await by_group(self.neo4j))[:7]

            async def by_uuids(driver, kind=kind, some=some):
                return by_uuid(await kind.get_by_uuids(driver, some))

            async def singly(driver, kind=kind, some=some):
                return by_uuid([await kind.get_by_uuid(driver, uuid) for uuid in some])

            await self.check(f'{kind.__name__} by uuids in {group}', by_uuids)
            await self.check(f'{kind.__name__} by uuid in {group}', singly)

        entities = await EntityNode.get_by_group_ids(self.neo4j, [group])
        facts = await EntityEdge.get_by_group_ids(self.neo4j, [group])
        episodes = await EpisodicNode.get_by_group_ids(self.neo4j, [group])
        communities = await CommunityNode.get_by_group_ids(self.neo4j, [group])
        reads = {
            'entities with their embeddings': lambda driver: EntityNode.get_by_group_ids(driver, [group], with_embeddings=True),
            'entities by name': lambda driver: EntityNode.get_by_names(driver, [entities[0].name, entities[1].name], [group]),
            'facts of an entity': lambda driver: EntityEdge.get_by_node_uuid(driver, facts[0].source_node_uuid),
            'facts between two entities': lambda driver: EntityEdge.get_between_nodes(
                driver, facts[0].source_node_uuid, facts[0].target_node_uuid
            ),
            'episodes that mention an entity': lambda driver: EpisodicNode.get_by_entity_node_uuid(
                driver, facts[0].source_node_uuid
            ),
            'entities that episodes mention': lambda driver: search_utils.get_mentioned_nodes(driver, episodes[:5]),
            'episodes behind facts': lambda driver: search_utils.get_episodes_by_mentions(driver, [], facts[:10]),
            'communities of entities': lambda driver: search_utils.get_communities_by_nodes(driver, entities),
        }
        if not group:
            # graphiti finds nothing by name in the group without one, on either side.
            del reads['entities by name']
        for what, read in reads.items():

            async def read_plain(driver, read=read):
                return by_uuid(await read(driver))

            await self.check(f'{what} in {group}', read_plain)

        await self.check(
            f'embeddings of entities in {group}', lambda driver: search_utils.get_embeddings_for_nodes(driver, entities)
        )
        await self.check(f'embeddings of facts in {group}', lambda driver: search_utils.get_embeddings_for_edges(driver, facts))
        await self.check(
            f'embeddings of communities in {group}',
            lambda driver: search_utils.get_embeddings_for_communities(driver, communities),
        )

        async def mention_counts(driver):
            order, counts = await search_utils.episode_mentions_reranker(driver, [[entity.uuid for entity in entities]])
            return sorted(order), counts

        await self.check(f'ranks by mentions in {group}', mention_counts)

    async def breadth_first(self, group: str):
        entities = await EntityNode.get_by_group_ids(self.neo4j, [group])
        episodes = await EpisodicNode.get_by_group_ids(self.neo4j, [group])
        records, _, _ = await self.neo4j.execute_query(
            'MATCH (a:Entity)-[e:RELATES_TO]->(b:Entity) WHERE EXISTS { (b)-[:RELATES_TO*0..2]->(a) } RETURN e.uuid AS uuid'
        )
        in_cycles = {record['uuid'] for record in records}
        origins = [entity.uuid for entity in entities[:10]] + [episode.uuid for episode in episodes[:5]]
        for depth in (1, 2, 3):

            async def nodes(driver, depth=depth):
                return uuids(await search_utils.node_bfs_search(driver, origins, EVERYTHING, depth, [group], ALL))

            async def facts(driver, depth=depth):
                found = await search_utils.edge_bfs_search(driver, origins, depth, EVERYTHING, [group], ALL)
                return [uuid for uuid in uuids(found) if uuid not in in_cycles]

            await self.check(f'entities breadth-first to depth {depth} in {group}', nodes)
            await self.check(f'facts breadth-first to depth {depth} in {group}', facts)

    async def episodes_by_time(self, group: str):
        now = datetime.now(timezone.utc)
        searches = {
            'until now': dict(reference_time=now),
            'until a day': dict(reference_time=START + timedelta(days=9, minutes=30)),
            'of one source': dict(reference_time=now, source=EpisodeType.text),
            'of a saga': dict(reference_time=now, saga='the long saga'),
        }
        naive = {
            episode.uuid
            for episode in await EpisodicNode.get_by_group_ids(self.neo4j, [group])
            if episode.valid_at.tzinfo is None
        }
        for what, arguments in searches.items():

            async def in_order(driver, arguments=arguments):
                found = await retrieve_episodes(driver, last_n=ALL, group_ids=[group], **arguments)
                return [plain(episode) for episode in found if episode.uuid not in naive]

            await self.check(f'episodes {what} in {group}', in_order)

    async def similarity(self, groups: list[str] | None):
        within = groups or self.groups
        entities = await EntityNode.get_by_group_ids(self.neo4j, within)
        facts = await EntityEdge.get_by_group_ids(self.neo4j, within)
        communities = await CommunityNode.get_by_group_ids(self.neo4j, within)
        vectors = {
            'entities': await search_utils.get_embeddings_for_nodes(self.neo4j, entities),
            'facts': await search_utils.get_embeddings_for_edges(self.neo4j, facts),
            'communities': {community.uuid: community.name_embedding for community in communities},
        }
        # All that has an embedding, and what graphiti takes for near by default.
        searches = [(kind, text, 0.0) for kind in vectors for text in QUERIES]
        searches += [(kind, text, search_utils.DEFAULT_MIN_SCORE) for kind, text in NEAR.items()]
        for kind, text, min_score in searches:
            query = embed(text)

            async def read(driver, kind=kind, query=query, min_score=min_score):
                return await similar(kind, driver, query, EVERYTHING, groups, min_score)

            await self.check_ranking(
                f'{kind} near "{text}" above {min_score} in {groups or "all groups"}', read, vectors[kind], query, min_score
            )
        for what, kind, search_filter in filters():
            query = embed(NEAR[kind])

            async def read_filtered(driver, kind=kind, query=query, search_filter=search_filter):
                return await similar(kind, driver, query, search_filter, groups, 0.0)

            await self.check_ranking(f'{kind} {what} in {groups or "all groups"}', read_filtered, vectors[kind], query, 0.0)

    async def full_text(self, groups: list[str] | None):
        searches = {
            'entities': (search_utils.node_fulltext_search, [*THINGS, *TOPICS, 'Okafor', 'GmbH']),
            'facts': (search_utils.edge_fulltext_search, [*THINGS, *TOPICS, 'KNOWS']),
            'episodes': (search_utils.episode_fulltext_search, [*TOPICS, 'conversation', 'message']),
            'communities': (search_utils.community_fulltext_search, TOPICS[:5]),
        }
        for kind, (search_kind, words) in searches.items():
            for word in words:
                arguments = (word, groups, ALL) if kind == 'communities' else (word, EVERYTHING, groups, ALL)

                async def read(driver, search_kind=search_kind, arguments=arguments):
                    return uuids(await search_kind(driver, *arguments))

                # Each word occurs somewhere, but not in each group.
                await self.check(f'{kind} with the word {word} in {groups or "all groups"}', read, may_be_empty=groups is not None)

        async def filtered(driver):
            people = SearchFilters(node_labels=['Person'])
            return uuids(await search_utils.node_fulltext_search(driver, 'Okafor', people, groups, ALL))

        await self.check(f'people with the word Okafor in {groups or "all groups"}', filtered)

    async def hybrid(self, groups: list[str] | None):
        """graphiti's own searches over everything, by words and by similarity at once."""
        clients = SimpleNamespace(driver=None, embedder=HashEmbedder(), cross_encoder=NoCrossEncoder())
        recipes = {'reciprocal ranks': COMBINED_HYBRID_SEARCH_RRF, 'marginal relevance': COMBINED_HYBRID_SEARCH_MMR}
        for recipe, config in recipes.items():
            config = config.model_copy(update={'limit': ALL})
            for word in ('saffron', 'glacier', 'Compass'):

                async def read(driver, config=config, word=word):
                    found = await search(clients, word, groups, config, EVERYTHING, query_vector=embed(word), driver=driver)
                    kinds = ('nodes', 'edges', 'episodes', 'communities')
                    return {kind: by_uuid(getattr(found, kind)) for kind in kinds if getattr(found, kind)}

                await self.check(f'all with the word {word} or near it, by {recipe}, in {groups or "all groups"}', read)


async def similar(kind: str, driver, query: list[float], search_filter: SearchFilters, groups, min_score: float):
    if kind == 'entities':
        return await search_utils.node_similarity_search(driver, query, search_filter, groups, ALL, min_score)
    if kind == 'facts':
        return await search_utils.edge_similarity_search(driver, query, None, None, search_filter, groups, ALL, min_score)
    return await search_utils.community_similarity_search(driver, query, groups, ALL, min_score)


def filters():
    """What searches can be narrowed by."""

    def when(operator: ComparisonOperator, days: int | None = None) -> list[list[DateFilter]]:
        date = None if days is None else START + timedelta(days=days)
        return [[DateFilter(date=date, comparison_operator=operator)]]

    yield 'that are people', 'entities', SearchFilters(node_labels=['Person'])
    yield 'of two types', 'facts', SearchFilters(edge_types=list(RELATIONS)[:2])
    yield 'about people', 'facts', SearchFilters(node_labels=['Person'])
    yield 'valid after a moment', 'facts', SearchFilters(valid_at=when(ComparisonOperator.greater_than, 7))
    yield 'valid before a moment', 'facts', SearchFilters(valid_at=when(ComparisonOperator.less_than, 7))
    yield 'valid until a moment', 'facts', SearchFilters(valid_at=when(ComparisonOperator.less_than_equal, 7))
    yield 'valid between two moments', 'facts', SearchFilters(
        valid_at=[
            when(ComparisonOperator.greater_than, 3)[0] + when(ComparisonOperator.less_than_equal, 7)[0],
        ]
    )
    yield 'valid at a moment', 'facts', SearchFilters(
        valid_at=when(ComparisonOperator.less_than_equal, 9),
        invalid_at=when(ComparisonOperator.greater_than, 9) + when(ComparisonOperator.is_null),
    )
    yield 'written until now', 'facts', SearchFilters(created_at=when(ComparisonOperator.less_than_equal, 100_000))
    yield 'that still hold', 'facts', SearchFilters(invalid_at=when(ComparisonOperator.is_null))
    yield 'that have expired', 'facts', SearchFilters(expired_at=when(ComparisonOperator.is_not_null))
    yield 'written since', 'facts', SearchFilters(created_at=when(ComparisonOperator.greater_than_equal, 0))


def shown(one, other) -> str:
    """What of one answer is not in the other, as far as a line can hold it."""
    if isinstance(one, dict) and isinstance(other, dict):
        one = {key: value for key, value in one.items() if key not in other or not is_equal(value, other[key])}
    elif isinstance(one, list) and isinstance(other, list):
        one = [value for value in one if not any(is_equal(value, known) for known in other)]
    text = str(one)
    return text if len(text) < 600 else f'{text[:600]}...'


async def compare(neo4j_driver: Neo4jDriver, falkor_driver: FalkorDriver) -> int:
    parity = Parity(neo4j_driver, falkor_driver)
    try:
        await parity.all()
    finally:
        await neo4j_driver.close()
        await falkor_driver.close()
    return parity.failed


def main() -> int:
    environment = os.environ
    # Outside of the event loop: inside, the drivers would begin to create indices by themselves.
    neo4j_driver = Neo4jDriver(environment['NEO4J_URI'], environment['NEO4J_USER'], environment['NEO4J_PASSWORD'])
    falkor_driver = FalkorDriver(
        host=environment['FALKORDB_HOST'],
        port=int(environment['FALKORDB_PORT']),
        username=environment.get('FALKORDB_USERNAME'),
        password=environment.get('FALKORDB_PASSWORD'),
        database=environment['FALKORDB_DATABASE'],
    )
    failed = asyncio.run(compare(neo4j_driver, falkor_driver))
    print(f'{failed} checks failed' if failed else 'all answers are equal')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
