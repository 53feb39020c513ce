"""What graphiti-core asks of models, answered without one: an embedder and a language model made of hashes."""

import hashlib
import os
import re

os.environ['GRAPHITI_TELEMETRY_ENABLED'] = 'false'

import numpy as np
from graphiti_core.cross_encoder.client import CrossEncoderClient
from graphiti_core.embedder.client import EmbedderClient
from graphiti_core.llm_client.client import LLMClient

DIMENSION = 256


def digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], 'big')


def embed(text: str, model: str = 'first') -> list[float]:
    """A direction for each word, summed up: texts are near to each other as far as they share words."""
    words = re.findall(r'\w+', text.lower()) or ['']
    directions = [np.random.default_rng(digest(f'{model} {word}')).standard_normal(DIMENSION) for word in words]
    total = np.sum(directions, axis=0)
    return (total / np.linalg.norm(total)).tolist()


class HashEmbedder(EmbedderClient):
    """Another `model` embeds the same text differently, as a change of the embedding model does."""

    def __init__(self, model: str = 'first'):
        self.model = model

    async def create(self, input_data) -> list[float]:
        return embed(input_data if isinstance(input_data, str) else input_data[0], self.model)

    async def create_batch(self, input_data_list: list[str]) -> list[list[float]]:
        return [embed(text, self.model) for text in input_data_list]


class HashLanguageModel(LLMClient):
    """Answers with a text of its own for each field that is a text, and with nothing else."""

    def __init__(self):
        super().__init__(config=None)

    async def _generate_response(self, messages, response_model=None, max_tokens=0, model_size=None, *, model=None):
        text = f'answer {digest(messages[-1].content):x}'
        fields = response_model.model_fields if response_model else {}
        return {name: text if field.annotation is str else [] for name, field in fields.items()}


class NoCrossEncoder(CrossEncoderClient):
    async def rank(self, query: str, passages: list[str]) -> list[tuple[str, float]]:
        raise NotImplementedError('nothing here ranks by a model')
