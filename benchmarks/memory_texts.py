"""Texts of every kind that a prompt is made of: chat, code, JSON, CJK, emoji, base64.

Taken from Python's own documentation and sources, from a few sentences written here, and from
chance. Invariant: a seed gives the same texts, on one version of Python.
"""

from __future__ import annotations

import base64
import functools
import inspect
import json
import random
from collections.abc import Callable
from typing import Any

SENTENCES = (
    "今天天气很好，我们一起去公园散步吧。他说明天要下雨，所以会议改到星期五下午三点。",  # noqa: RUF001
    "请把文件发给我，谢谢你的帮助。这个问题很难回答，需要更多时间研究一下系统设计和数据结构。",  # noqa: RUF001
    "昨日は友達と映画を見に行きました。とても面白かったです。来週の会議は午後三時からです。",
    "어제 친구와 영화를 보러 갔습니다. 정말 재미있었어요. 다음 주 회의는 오후 세 시입니다.",
    "Вчера мы ходили в кино с друзьями, было очень интересно. Встреча на следующей неделе.",  # noqa: RUF001
)
EMOJI = "😀😂🥰😎🤔👍🎉🔥🚀🌍🍕🐶💡📌✅❤️🙏👩‍💻🏳️‍🌈🇧🇪"
_SHORT, _LONG = 20, 500
"""Characters of a text, from and to; half of all texts are shorter than a tenth of the way."""


class Texts:
    """Draws texts."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - no secret
        self._kinds: tuple[Callable[[int], str], ...] = (
            self._chat,
            self._code,
            self._json,
            self._foreign,
            self._emoji,
            self._base64,
        )

    def some_kinds(self) -> list[Callable[[int], str]]:
        """Between one and all kinds, as one conversation has them."""
        return self.random.sample(self._kinds, self.random.randint(1, len(self._kinds)))

    def text(self, kinds: list[Callable[[int], str]]) -> str:
        """A text of one of `kinds`."""
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

    return "\n".join(inspect.getsource(one) for one in (argparse, difflib, statistics, tarfile))
