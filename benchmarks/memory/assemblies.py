"""Random assemblies of a window, shares, history, recalled items and a message, and their texts.

The texts are chat, code, JSON, CJK, emoji and base64. They come from Python's own documentation and
sources, from a few sentences here, and from a random generator. Invariant: a seed gives the same
assemblies on one version of Python.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import inspect
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vanta import Engine, Message, Track
from vanta.context import Assembled, BudgetShares, Exchange, Memories, Write, assemble
from vanta.memory import MemoryItem, RecalledItem

SENTENCES = (
    "今天天气很好，我们一起去公园散步吧。他说明天要下雨，所以会议改到星期五下午三点。",  # noqa: RUF001
    "请把文件发给我，谢谢你的帮助。这个问题很难回答，需要更多时间研究一下系统设计和数据结构。",  # noqa: RUF001
    "昨日は友達と映画を見に行きました。とても面白かったです。来週の会議は午後三時からです。",
    "어제 친구와 영화를 보러 갔습니다. 정말 재미있었어요. 다음 주 회의는 오후 세 시입니다.",
    "Вчера мы ходили в кино с друзьями, было очень интересно. Встреча на следующей неделе.",  # noqa: RUF001
)
EMOJI = "😀😂🥰😎🤔👍🎉🔥🚀🌍🍕🐶💡📌✅❤️🙏👩‍💻🏳️‍🌈🇧🇪"
_SHORT, _LONG = 20, 500
"""Range of the length of a text in characters; half of all texts are in its first eighth."""
WINDOWS = (1024, 2048, 4096, 8192)


@dataclass(frozen=True, slots=True)
class Assembly:
    """The parts of one prompt."""

    track: Track
    system: str
    history: tuple[Exchange, ...]
    message: Message
    recalled: tuple[RecalledItem, ...]
    shares: BudgetShares

    def memories(self, write: Write) -> Memories:
        """Return the recalled items of the turn."""
        return Memories(self.recalled, write, "now")

    async def assemble(self, memories: Memories, engine: Engine | None = None) -> Assembled:
        """Return the prompt.

        :param memories: the recalled items.
        :param engine: the engine that counts, or None for that of the track.
        :raises EngineError: if the message alone does not fit.
        """
        track = self.track
        return await assemble(
            dataclasses.replace(track, engine=engine) if engine else track,
            self.system,
            self.history,
            (self.message,),
            memories=memories,
            shares=self.shares,
        )

    def has_enough_for(self, assembled: Assembled) -> bool:
        """Return whether a short recalled line was left out and history was cut.

        If the whole history fits, memories are limited to their share.
        """
        if not assembled.dropped:
            return False
        private = self.track.private
        visible = [item for item in self.recalled if private or not item.item.private]
        left_out = len(visible) - (len(assembled.pack.chosen) if assembled.pack else 0)
        short = [item for item in visible if len(item.item.text.encode()) <= 60]
        chosen = {item.item.id for item in assembled.pack.chosen} if assembled.pack else set()
        return left_out > 0 and any(item.item.id not in chosen for item in short)

    def with_new_memories(self, generator: AssemblyGenerator) -> Assembly:
        """Return the same turn with other recalled items."""
        return Assembly(
            self.track, self.system, self.history, self.message, generator.recalled(), self.shares
        )


class AssemblyGenerator:
    """Generates random assemblies."""

    def __init__(self, seed: int) -> None:
        self._texts = TextGenerator(seed)
        self._rng = self._texts.random

    def assembly(self, engine: Engine) -> Assembly:
        """Return a random assembly for `engine`."""
        rng, kinds = self._rng, self._texts.some_kinds()
        window = rng.choice(WINDOWS)
        track = Track(
            "any",
            engine,
            window=window,
            reply_reserve=rng.randint(16, window // 3),
            private=rng.random() < 0.5,
        )
        length = rng.choice((0, 3, 10, 30)) + rng.randint(0, 5)
        history = [self._exchange(kinds) for _ in range(length)]
        return Assembly(
            track=track,
            system=self._texts.text(kinds) if rng.random() < 0.9 else "",
            history=tuple(history),
            message=Message("user", self._texts.text(kinds)),
            recalled=self.recalled(),
            shares=BudgetShares(memory=rng.choice((0.1, 0.25, 0.5, 0.8))),
        )

    def recalled(self) -> tuple[RecalledItem, ...]:
        """Return random recalled items, best first: a few long ones, many short ones."""
        kinds = self._texts.some_kinds()
        count = self._rng.choice((0, 20, 120))
        items = [
            MemoryItem(
                id=number,
                user="ada",
                session="old",
                turn_id=f"old-{number}",
                kind="message",
                role=self._rng.choice(("user", "assistant")),
                text=self._texts.text(kinds)[: self._rng.choice((16, 60, 500))],
                said_at=1.7e9 + self._rng.random() * 1e7,
                private=self._rng.random() < 0.2,
            )
            for number in range(count)
        ]
        return tuple(RecalledItem(item, 1.0 / (1 + item.id)) for item in items)

    def _exchange(self, kinds: list[Callable[[int], str]]) -> Exchange:
        messages = (
            Message("user", self._texts.text(kinds)),
            Message("assistant", self._texts.text(kinds)),
        )
        return Exchange(messages, private=self._rng.random() < 0.1)


class TextGenerator:
    """Generates random texts."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - not a secret
        self._kinds: tuple[Callable[[int], str], ...] = (
            self._chat,
            self._code,
            self._json,
            self._foreign,
            self._emoji,
            self._base64,
        )

    def some_kinds(self) -> list[Callable[[int], str]]:
        """Return a random selection of kinds for one conversation."""
        return self.random.sample(self._kinds, self.random.randint(1, len(self._kinds)))

    def text(self, kinds: list[Callable[[int], str]]) -> str:
        """Return a text of one of `kinds`."""
        spread = self.random.random() ** 3
        return self.random.choice(kinds)(int(_SHORT + spread * (_LONG - _SHORT)))

    def _chat(self, length: int) -> str:
        prose = _prose()
        begin = self.random.randrange(len(prose) - length)
        return " ".join(prose[begin : begin + length].split())

    def _code(self, length: int) -> str:
        code = _code()
        begin = self.random.randrange(len(code) - length)
        return code[begin : begin + length]

    def _json(self, length: int) -> str:
        indent = self.random.choice((None, 2))
        rows: list[Any] = []
        while len(text := json.dumps(rows, indent=indent, ensure_ascii=False)) < length:
            rows.append(self._row())
        return text

    def _row(self) -> dict[str, Any]:
        number = self.random.randrange
        return {
            "id": number(10**6),
            "userName": self._chat(12),
            "created_at": f"2026-{number(1, 13):02}-{number(1, 29):02}T{number(24):02}:00:00Z",
            "price": round(self.random.random() * 100, number(1, 7)),
            "tags": [f"{number(16**8):08x}" for _ in range(number(3))],
            "ok": self.random.choice((True, False, None)),
        }

    def _foreign(self, length: int) -> str:
        if self.random.random() < 0.2:
            return "".join(chr(self.random.randint(0x4E00, 0x9FA5)) for _ in range(length // 3))
        sentence = self.random.choice(SENTENCES)
        begin = self.random.randrange(len(sentence))
        return (sentence[begin:] + sentence * 9)[: length // 2]

    def _emoji(self, length: int) -> str:
        return "".join(self.random.choices(EMOJI, k=length // 8))

    def _base64(self, length: int) -> str:
        return base64.b64encode(self.random.randbytes(length * 3 // 4)).decode()


@functools.cache
def _prose() -> str:
    from pydoc_data.topics import topics  # type: ignore[import-not-found, unused-ignore]

    return "\n".join(topics.values())


@functools.cache
def _code() -> str:
    import argparse
    import difflib
    import statistics
    import tarfile

    return "\n".join(
        inspect.getsource(module) for module in (argparse, difflib, statistics, tarfile)
    )
