"""Writes a graph into Neo4j with graphiti-core itself, as an application with graphiti would, but without any model.

    NEO4J_URI=bolt://... NEO4J_USER=... NEO4J_PASSWORD=... python write_graph.py [--seed 1] STEP

STEP is one of
    create          indices, and four groups of episodes with all that graphiti keeps
    mutate          the changes that graphiti makes to what it has written
    delete          the deletes that graphiti makes
    episodes N      N new episodes in each group, now

The same seed writes the same content. Only the times of writing are the real ones, as they are with graphiti. The last line is
a summary in JSON: how many nodes of each label and relationships of each type there are afterwards.
"""

import argparse
import asyncio
import json
import os
import random
import uuid
from datetime import datetime, timedelta, timezone

import pytz
from offline import HashEmbedder, HashLanguageModel, NoCrossEncoder

from graphiti_core import Graphiti
from graphiti_core.driver.neo4j_driver import Neo4jDriver
from graphiti_core.edges import CommunityEdge, Edge, EntityEdge, EpisodicEdge, HasEpisodeEdge, NextEpisodeEdge
from graphiti_core.nodes import CommunityNode, EntityNode, EpisodeType, EpisodicNode, Node, SagaNode
from graphiti_core.utils.bulk_utils import add_nodes_and_edges_bulk
from graphiti_core.utils.datetime_utils import utc_now
from graphiti_core.utils.maintenance.community_operations import remove_communities

# The group that `delete` deletes as a whole.
SHORT_LIVED = 'scratch'
# The group without a name is graphiti's own default on Neo4j.
EPISODES = {'alpha': 60, 'beta-2': 60, '': 30, SHORT_LIVED: 10}

NAMESPACE = uuid.UUID('6e0d7c4e-3f0c-4d2c-9a55-0d0f6a5f7a11')
START = datetime(2024, 2, 28, 22, 0, tzinfo=timezone.utc)

GIVEN = ['Alma', 'Bruno', 'Chidi', 'Dagny', 'Elif', 'Farid', 'Greta', 'Hiro', 'Ines', 'Jovan', 'Søren', 'Zoë']
FAMILY = ['Okafor', 'Lindqvist', 'Marquez', 'Tanaka', 'Nowak', 'Haddad', 'Øster', 'Müller', '山田', 'Иванова']
THINGS = ['Harbour', 'Lantern', 'Compass', 'Granary', 'Orchard', 'Foundry', 'Viaduct', 'Quarry', 'Beacon', 'Kiln']
FORMS = ['GmbH', 'Labs', 'Cooperative', 'Museum', 'Press']
RELATIONS = {'WORKS_AT': 'has worked at', 'KNOWS': 'has known', 'OWNS': 'has owned', 'VISITED': 'has visited'}
TOPICS = ['zeppelin', 'walnut', 'turbine', 'marzipan', 'glacier', 'accordion', 'telescope', 'saffron', 'origami', 'tundra']


class Group:
    """A group of the graph: the same content for the same seed."""

    def __init__(self, name: str, seed: int):
        self.name = name
        self.seed = seed
        self.chance = random.Random(f'{seed} {name}')
        self.entities: list[EntityNode] = []

    def identity(self, *what) -> str:
        return str(uuid.uuid5(NAMESPACE, f'{self.seed} {self.name} {" ".join(map(str, what))}'))

    def entity(self, number: int) -> EntityNode:
        """A person, an organisation, a product, or an entity without a type of its own."""
        kind = ['Person', 'Organization', 'Product', None][number % 4]
        if kind == 'Person':
            name = f'{GIVEN[number % len(GIVEN)]} {FAMILY[number // 4 % len(FAMILY)]} {number}'
        else:
            name = f'{THINGS[number % len(THINGS)]} {FORMS[number // 4 % len(FORMS)]} {number}'
        return EntityNode(
            uuid=self.identity('entity', number),
            name=name,
            group_id=self.name,
            labels=['Entity', kind] if kind else ['Entity'],
            created_at=utc_now(),
            summary='' if number % 7 == 6 else f'{name} and the {TOPICS[number % len(TOPICS)]}, "as told" in\n{self.name}.',
            attributes=self.attributes(kind, number),
        )

    def attributes(self, kind: str | None, number: int) -> dict:
        """Attributes of all the kinds that a type of an application can have."""
        if kind == 'Person':
            return {
                'age': 20 + number,
                'height': 1.5 + number / 128,
                'is_active': number % 8 == 0,
                'nicknames': [f'№{number}', 'Ærø', '😀'],
                'employer': None,
            }
        if kind == 'Organization':
            return {'founded': 1900 + number, 'revenue': 1e9 * number, 'offices': ['Århus', 'Łódź'][: number % 3], 'tags': []}
        if kind == 'Product':
            return {'sizes': [number, -number, 2**53 + number], 'ratios': [0.1, number / 3], 'flags': [True, False], 'note': ''}
        return {}

    def fact(self, number: int, source: EntityNode, target: EntityNode, episode: EpisodicNode) -> EntityEdge:
        name = list(RELATIONS)[number % len(RELATIONS)]
        topic = TOPICS[number * 3 % len(TOPICS)]
        valid_at = None if number % 5 == 4 else START + timedelta(days=number, microseconds=number % 2)
        return EntityEdge(
            uuid=self.identity('fact', number),
            group_id=self.name,
            source_node_uuid=source.uuid,
            target_node_uuid=target.uuid,
            created_at=utc_now(),
            name=name,
            fact=f'{source.name} {RELATIONS[name]} {target.name} for the {topic}',
            episodes=[episode.uuid],
            valid_at=valid_at,
            invalid_at=valid_at + timedelta(days=30) if valid_at and number % 3 == 0 else None,
            reference_time=episode.valid_at,
            # A time among the attributes belongs to facts alone: graphiti cannot put an entity that has one into a prompt.
            attributes={'confidence': number / 64, 'sources': [topic, 'naïve'], 'heard_at': START} if number % 4 == 0 else {},
        )

    def episode(self, number: int, valid_at: datetime) -> EpisodicNode:
        source = list(EpisodeType)[number % 3]
        text = f'note {number} of {self.name}: the {TOPICS[number % len(TOPICS)]} again'
        return EpisodicNode(
            uuid=self.identity('episode', number),
            name=f'episode {number}',
            group_id=self.name,
            created_at=utc_now(),
            source=source,
            source_description='' if number % 6 == 5 else 'a conversation',
            content=json.dumps({'text': text, 'back\\slash': "it's"}) if source == EpisodeType.json else text,
            valid_at=valid_at,
        )


def reference_time(number: int) -> datetime:
    """When an episode took place: mostly in UTC, some in another zone, and some without a zone, as `datetime.now()` is."""
    time = START + timedelta(hours=7 * number, milliseconds=number % 2)
    if number % 10 == 3:
        return time.astimezone(pytz.timezone('Europe/Copenhagen'))
    if number % 10 == 7:
        return time.replace(tzinfo=None)
    return time


class Writer:
    def __init__(self, driver: Neo4jDriver, seed: int):
        self.driver = driver
        self.seed = seed
        self.embedder = HashEmbedder()
        self.graphiti = Graphiti(
            graph_driver=driver, llm_client=HashLanguageModel(), embedder=self.embedder, cross_encoder=NoCrossEncoder()
        )

    async def save(self, episode, mentions=(), entities=(), facts=(), embedder=None):
        """How add_episode writes."""
        await add_nodes_and_edges_bulk(
            self.driver, [episode], list(mentions), list(entities), list(facts), embedder or self.embedder
        )

    # ------------------------------------------------------------------------------------------------------------ create

    async def create(self):
        await self.driver.build_indices_and_constraints()
        await self.driver.execute_query('CALL db.awaitIndexes(100)')
        for name, count in EPISODES.items():
            group = Group(name, self.seed)
            episodes = [await self.add_episode(group, number, reference_time(number)) for number in range(count)]
            await self.add_saga(group, 'the long saga', episodes[::2])
            await self.add_saga(group, 'a short saga', episodes[1:8:2])
            await self.add_communities(group, 'first')

    async def add_episode(self, group: Group, number: int, valid_at: datetime) -> EpisodicNode:
        """An episode as add_episode leaves it: it brings an entity, speaks of others, and states facts about them."""
        episode = group.episode(number, valid_at)
        new = group.entity(number)
        known = group.chance.sample(group.entities, min(2, len(group.entities)))
        group.entities.append(new)
        facts = [group.fact(3 * number + index, new, other, episode) for index, other in enumerate(known)]
        if known and number % 5 == 0:
            # A fact of the new entity about itself, or of a known one about the new.
            facts.append(group.fact(3 * number + 2, new if number % 10 == 0 else known[0], new, episode))
        for other in known:
            # A mention renews the summary and the embedding.
            other.summary = f'{other.summary} Seen again in {episode.name}.'[-400:]
            other.name_embedding = None
        episode.entity_edges = [fact.uuid for fact in facts]
        mentions = [
            EpisodicEdge(
                uuid=group.identity('mention', number, entity.uuid),
                group_id=group.name,
                source_node_uuid=episode.uuid,
                target_node_uuid=entity.uuid,
                created_at=episode.created_at,
            )
            for entity in [new, *known]
        ]
        await self.save(episode, mentions, [new, *known], facts)
        return episode

    async def add_saga(self, group: Group, name: str, episodes: list[EpisodicNode]):
        saga = SagaNode(
            uuid=group.identity('saga', name),
            name=name,
            group_id=group.name,
            created_at=episodes[0].valid_at,
            summary=f'{name} of {group.name}',
            first_episode_uuid=episodes[0].uuid,
            last_episode_uuid=episodes[-1].uuid,
            last_summarized_at=utc_now(),
            last_summarized_episode_valid_at=episodes[-1].valid_at,
        )
        await saga.save(self.driver)
        for episode in episodes:
            await self.link(group, HasEpisodeEdge, saga, episode)
        for earlier, later in zip(episodes, episodes[1:]):
            await self.link(group, NextEpisodeEdge, earlier, later)

    async def link(self, group: Group, kind: type[Edge], source: Node, target: Node):
        link = kind(
            uuid=group.identity(kind.__name__, source.uuid, target.uuid),
            group_id=group.name,
            source_node_uuid=source.uuid,
            target_node_uuid=target.uuid,
            created_at=utc_now(),
        )
        await link.save(self.driver)

    async def add_communities(self, group: Group, generation: str):
        entities = await EntityNode.get_by_group_ids(self.driver, [group.name])
        for number, topic in enumerate(TOPICS[:5]):
            community = CommunityNode(
                uuid=group.identity('community', generation, number),
                name=f'The {generation} circle of the {topic}',
                group_id=group.name,
                created_at=utc_now(),
                summary=f'All who care for the {topic}',
            )
            await community.generate_name_embedding(self.embedder)
            await community.save(self.driver)
            for entity in entities[number::5][:10]:
                await self.link(group, CommunityEdge, community, entity)

    # ------------------------------------------------------------------------------------------------------------ mutate

    async def mutate(self):
        for name in EPISODES:
            await self.mutate_group(Group(name, self.seed))

    async def mutate_group(self, group: Group):
        entities, facts = await self.read(group)
        episode = await EpisodicNode.get_by_uuid(self.driver, group.identity('episode', 2))

        # Summaries and types: what a later episode does to an entity that it mentions.
        rewritten, promoted = entities[:8], [entity for entity in entities if entity.labels == ['Entity']][:4]
        for entity in rewritten:
            entity.summary = f'Rewritten: {entity.name} — "new" \\ and \'other\''
        for entity in promoted:
            entity.labels = ['Entity', 'Person']
            entity.attributes['age'] = 44
        # Another embedding model embeds the names anew.
        embedded = entities[8:14]
        for entity in embedded:
            entity.name_embedding = None
        for entity in [*rewritten, *promoted]:
            await entity.load_name_embedding(self.driver)
        touched = {entity.uuid: entity for entity in [*rewritten, *promoted, *embedded]}
        await self.save(episode, entities=touched.values(), embedder=HashEmbedder('second'))

        # Attributes disappear, and the single save after a bulk one takes the property `labels` away.
        for entity in entities[14:20]:
            await entity.load_name_embedding(self.driver)
            for attribute in list(entity.attributes)[:2]:
                del entity.attributes[attribute]
            await entity.save(self.driver)

        # A contradiction ends a fact; the same fact told again only gets longer provenance.
        now = utc_now()
        for fact in facts[:6]:
            fact.invalid_at, fact.expired_at = START + timedelta(days=400), now
        for fact in facts[6:12]:
            fact.episodes.append(episode.uuid)
            fact.attributes = {}
        for fact in facts[:12]:
            await fact.load_fact_embedding(self.driver)
        await self.save(episode, facts=facts[:12])
        for fact in facts[12:15]:
            await fact.load_fact_embedding(self.driver)
            fact.fact += ' (corrected)'
            await fact.save(self.driver)

        # Communities and sagas are renewed in place.
        for community in (await CommunityNode.get_by_group_ids(self.driver, [group.name]))[:2]:
            community.name = f'{community.name}, renewed'
            community.summary = ''
            await community.generate_name_embedding(self.embedder)
            await community.save(self.driver)
        saga = await SagaNode.get_by_uuid(self.driver, group.identity('saga', 'the long saga'))
        saga.summary, saga.last_summarized_at, saga.last_summarized_episode_valid_at = '', None, None
        await saga.save(self.driver)

    async def read(self, group: Group) -> tuple[list[EntityNode], list[EntityEdge]]:
        """Entities and facts in an order that is the same every time."""
        entities = await EntityNode.get_by_group_ids(self.driver, [group.name])
        return entities, await EntityEdge.get_by_group_ids(self.driver, [group.name])

    # ------------------------------------------------------------------------------------------------------------ delete

    async def delete(self):
        for name in EPISODES:
            if name != SHORT_LIVED:
                await self.delete_from(Group(name, self.seed))
        await Node.delete_by_group_id(self.driver, SHORT_LIVED)

    async def delete_from(self, group: Group):
        # The last episode's entity is mentioned by no other, so it goes with it.
        for number in (5, 20, EPISODES[group.name] - 1):
            await self.graphiti.remove_episode(group.identity('episode', number))
        entities, facts = await self.read(group)
        await Edge.delete_by_uuids(self.driver, [fact.uuid for fact in facts[:5]])
        await facts[5].delete(self.driver)
        await Node.delete_by_uuids(self.driver, [entity.uuid for entity in entities[:2]])
        saga = await SagaNode.get_by_uuid(self.driver, group.identity('saga', 'a short saga'))
        await saga.delete(self.driver)
        await remove_communities(self.driver, [group.name])
        await self.add_communities(group, 'second')

    # ---------------------------------------------------------------------------------------------------------- episodes

    async def episodes(self, count: int):
        """New episodes, whose facts also end an earlier fact, in the groups' long sagas."""
        for name in EPISODES:
            if name != SHORT_LIVED:
                await self.add_episodes(Group(name, self.seed), count)

    async def add_episodes(self, group: Group, count: int):
        written = await EpisodicNode.get_by_group_ids(self.driver, [group.name])
        next_number = 1 + max(int(episode.name.split()[-1]) for episode in written)
        group.chance.seed(f'{self.seed} {group.name} {next_number}')
        group.entities, facts = await self.read(group)
        saga = await SagaNode.get_by_uuid(self.driver, group.identity('saga', 'the long saga'))
        previous = next(episode for episode in written if episode.uuid == saga.last_episode_uuid)
        for number in range(next_number, next_number + count):
            episode = await self.add_episode(group, number, utc_now())
            fact = facts[number % len(facts)]
            await fact.load_fact_embedding(self.driver)
            fact.invalid_at, fact.expired_at = episode.valid_at, utc_now()
            await self.save(episode, facts=[fact])
            await self.link(group, HasEpisodeEdge, saga, episode)
            await self.link(group, NextEpisodeEdge, previous, episode)
            previous = episode
        saga.last_episode_uuid = previous.uuid
        await saga.save(self.driver)

    # ----------------------------------------------------------------------------------------------------------- summary

    async def summary(self) -> dict:
        labels = ['Entity', 'Episodic', 'Community', 'Saga']
        types = ['RELATES_TO', 'MENTIONS', 'HAS_MEMBER', 'HAS_EPISODE', 'NEXT_EPISODE']
        patterns = {label: f'(x:{label})' for label in labels} | {kind: f'()-[x:{kind}]->()' for kind in types}
        counts = {}
        for name, pattern in patterns.items():
            records, _, _ = await self.driver.execute_query(f'MATCH {pattern} RETURN count(x) AS count')
            counts[name] = records[0]['count']
        return counts


def main():
    parser = argparse.ArgumentParser(description='Writes a graph into Neo4j with graphiti-core.')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('step', choices=['create', 'mutate', 'delete', 'episodes'])
    parser.add_argument('count', type=int, nargs='?', default=1, help='how many episodes for each group')
    arguments = parser.parse_args()
    uri, user, password = (os.environ[name] for name in ('NEO4J_URI', 'NEO4J_USER', 'NEO4J_PASSWORD'))
    # Outside of the event loop: inside, the driver would begin to create its indices by itself, and race with `create`.
    asyncio.run(take(Neo4jDriver(uri, user, password), arguments))


async def take(driver: Neo4jDriver, arguments: argparse.Namespace):
    try:
        writer = Writer(driver, arguments.seed)
        if arguments.step == 'episodes':
            await writer.episodes(arguments.count)
        else:
            await getattr(writer, arguments.step)()
        print(json.dumps(await writer.summary()))
    finally:
        await driver.close()


if __name__ == '__main__':
    main()
