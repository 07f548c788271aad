"""Engines that only count tokens: tiktoken, the calibrated estimate, and the byte bound.

Invariant: no network access, and no files remain on disk.
"""

from __future__ import annotations

import base64
import collections
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vanta import Engine, EngineModel, Health, Message, TokenCount
from vanta.context import Calibration, byte_bound

from .assemblies import TextGenerator

PER_MESSAGE, PER_REPLY = 4, 3


class CountingEngine(Engine):
    """An engine that only counts tokens."""

    name = "counting"
    model = "none"

    def stream(self, request: Any) -> Any:
        """Not supported."""
        raise NotImplementedError

    async def models(self) -> Sequence[EngineModel]:
        """Return no models."""
        return ()

    async def health(self, *, force: bool = False) -> Health:
        """Return that the engine is available."""
        return Health(True, "counts")

    async def aclose(self) -> None:
        """Do nothing."""


class Learner(CountingEngine):
    """The calibrated estimate."""

    def __init__(self) -> None:
        self.calibration = Calibration()

    @property
    def counter(self) -> str:
        """The name of the calibration."""
        return self.calibration.name

    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        """Return estimated counts."""
        return self.calibration.count(messages)

    async def count_texts(self, texts: Sequence[str]) -> list[TokenCount]:
        """Return estimated counts."""
        return [TokenCount(self.calibration.count_text(text), exact=False) for text in texts]


class Bytes(CountingEngine):
    """The byte bound."""

    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        """Return a bound that no tokenizer exceeds."""
        return TokenCount(byte_bound(messages), exact=False)


class Ranks(CountingEngine):
    """tiktoken with a vocabulary that is written to a rank file and read from it.

    The vocabulary has all prefixes of the most frequent words, so that each token is reached by
    merging one letter with the token before.
    """

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
        """Return the exact count, with the message format of OpenAI."""
        return TokenCount(await self.true(messages), exact=True)

    async def count_texts(self, texts: Sequence[str]) -> list[TokenCount]:
        """Return exact counts."""
        return [TokenCount(len(self._encoding.encode_ordinary(text)), True) for text in texts]

    async def true(self, messages: Sequence[Message]) -> int:
        """Return the tokens of a prompt."""
        tokens = sum(len(self._encoding.encode_ordinary(message.content)) for message in messages)
        return tokens + PER_MESSAGE * len(messages) + PER_REPLY


def _rank_file(words: int) -> bytes:
    counts = collections.Counter(re.findall(r" ?[A-Za-z]{2,}", _sample()))
    tokens = {bytes([byte]): None for byte in range(256)}
    frequent = [word.encode() for word, _ in counts.most_common(words)]
    prefixes = {word[:end] for word in frequent for end in range(2, len(word) + 1)}
    tokens |= dict.fromkeys(sorted(prefixes, key=lambda token: (len(token), token)))
    lines = (base64.b64encode(token) + b" %d" % rank for rank, token in enumerate(tokens))
    return b"\n".join(lines)


def _sample() -> str:
    texts = TextGenerator(0)
    kinds = texts.some_kinds()
    return "\n".join(texts.text(kinds) for _ in range(2000))
