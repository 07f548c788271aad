"""Engines that count and do nothing else: tiktoken, the calibrated estimate, the byte bound.

Invariant: no network, nothing kept on disk.
"""

from __future__ import annotations

import base64
import collections
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vanta.context import Calibration, byte_bound
from vanta.engine import Engine, EngineModel, Health, TokenCount
from vanta.messages import Message

from .memory_texts import Texts

PER_MESSAGE, PER_REPLY = 4, 3


class Counting(Engine):
    """An engine that counts and does nothing else."""

    name = "counting"
    model = "none"

    def stream(self, request: Any) -> Any:
        """Nothing is generated."""
        raise NotImplementedError

    async def models(self) -> Sequence[EngineModel]:
        """None."""
        return ()

    async def health(self, *, force: bool = False) -> Health:
        """It counts."""
        return Health(True, "counts")

    async def aclose(self) -> None:
        """Nothing is open."""


class Learner(Counting):
    """The calibrated estimate."""

    def __init__(self) -> None:
        self.calibration = Calibration()

    @property
    def counter(self) -> str:
        """The state of the estimate."""
        return self.calibration.name

    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        """Estimated."""
        return self.calibration.count(messages)

    async def count_texts(self, texts: Sequence[str]) -> list[TokenCount]:
        """Estimated."""
        return [TokenCount(self.calibration.count_text(text), exact=False) for text in texts]


class Bytes(Counting):
    """The byte bound."""

    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        """No tokenizer counts more."""
        return TokenCount(byte_bound(messages), exact=False)


class Ranks(Counting):
    """tiktoken, with a vocabulary that is written into a rank file and read from it: all beginnings
    of the most frequent words, so that each is reached by merging a letter to the one before."""

    name = "tiktoken"

    def __init__(self, words: int = 4000) -> None:
        import tiktoken

        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "small.tiktoken"
            file.write_bytes(_rank_file(words))
            lines = (line.split() for line in file.read_bytes().splitlines())
            ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
        self._encoding = tiktoken.Encoding(
            "small", pat_str=r" ?\w+|[^\w\s]+|\s+", mergeable_ranks=ranks, special_tokens={}
        )

    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        """Exact, with OpenAI's format around it."""
        return TokenCount(await self.true(messages), exact=True)

    async def count_texts(self, texts: Sequence[str]) -> list[TokenCount]:
        """Exact."""
        return [TokenCount(len(self._encoding.encode_ordinary(text)), True) for text in texts]

    async def true(self, messages: Sequence[Message]) -> int:
        """The tokens of a prompt."""
        tokens = sum(len(self._encoding.encode_ordinary(one.content)) for one in messages)
        return tokens + PER_MESSAGE * len(messages) + PER_REPLY


def _rank_file(words: int) -> bytes:
    found = collections.Counter(re.findall(r" ?[A-Za-z]{2,}", _sample()))
    tokens = {bytes([byte]): None for byte in range(256)}
    frequent = [word.encode() for word, _ in found.most_common(words)]
    beginnings = {word[:end] for word in frequent for end in range(2, len(word) + 1)}
    tokens |= dict.fromkeys(sorted(beginnings, key=lambda token: (len(token), token)))
    lines = (base64.b64encode(token) + b" %d" % rank for rank, token in enumerate(tokens))
    return b"\n".join(lines)


def _sample() -> str:
    texts = Texts(0)
    kinds = texts.some_kinds()
    return "\n".join(texts.text(kinds) for _ in range(2000))
