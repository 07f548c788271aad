"""The meter: what texts take in one engine's tokens, each of them counted once.

A conversation's past is in every one of its prompts, so its counts are kept, by engine, by the name
of its counter and by a digest of the text. What a message takes beyond its text is learnt from
three small prompts. Invariant: no text is kept; a prompt's sum here only predicts what the engine
counts of the whole, which `count` asks and which decides.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from vanta.engine import Engine
from vanta.messages import Message

KEPT = 20_000
"""Counts that are kept for an engine; the longest unused go first."""

PER_CALL = 8
"""Tokens that a chat format puts around a tool call."""

_ASKED, _SAID = Message("user", "a"), Message("assistant", "b")
_SYSTEM = Message("system", "c")


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """Tokens that a chat format adds to every prompt, and to every message in it."""

    opening: int
    message: float


class TokenCache:
    """Counts for one engine; get it from `token_cache_of`. Every method may raise EngineError."""

    def __init__(self) -> None:
        self._counts: OrderedDict[bytes, int] = OrderedDict()
        self._formats: dict[tuple[str, bool], ChatFormat] = {}
        self._told: int | None = None

    async def texts(self, engine: Engine, texts: Sequence[str]) -> list[int]:
        """The tokens of each text; those that are not known are counted all at once."""
        name = engine.counter
        keys = [_key(name, text) for text in texts]
        known = {key: self._counts[key] for key in keys if key in self._counts}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            counted = await engine.count_texts(list(missing.values()))
            known |= zip(missing, (one.value for one in counted), strict=True)
        self._keep(known)
        return [known[key] for key in keys]

    async def messages(self, engine: Engine, messages: Sequence[Message]) -> list[int]:
        """What each message adds to a prompt, rounded up; see `opening` for what remains."""
        each = (await self._format(engine, system=False)).message
        parts = [_texts_of(message) for message in messages]
        counts = iter(await self.texts(engine, [text for part in parts for text in part]))
        return [
            math.ceil(each + PER_CALL * len(message.tool_calls) + sum(next(counts) for _ in part))
            for message, part in zip(messages, parts, strict=True)
        ]

    async def opening(self, engine: Engine, *, system: bool) -> int:
        """What a prompt takes beyond its messages: the opening of the reply, and where it does not
        begin with a system prompt, the one that some chat templates then put in."""
        return (await self._format(engine, system=system)).opening

    def heed(self, window: int | None) -> None:
        """Keep to the window that a server named when it refused a prompt."""
        if window is not None:
            self._told = min(window, self._told or window)

    def window(self, known: int | None) -> int | None:
        """The window to keep to, where `known` is what is configured or the engine's own word."""
        return min((one for one in (known, self._told) if one is not None), default=None)

    async def _format(self, engine: Engine, *, system: bool) -> ChatFormat:
        key = (engine.counter, system)
        if key not in self._formats:
            self._formats[key] = await self._probe(engine, system=system)
        return self._formats[key]

    async def _probe(self, engine: Engine, *, system: bool) -> ChatFormat:
        """Learn the format. A template that refuses a system prompt is not asked about one unless
        the prompt has one."""
        head = (_SYSTEM,) if system else ()
        short, long = (*head, _ASKED), (*head, _ASKED, _SAID, _ASKED)
        counted = [(await engine.count_tokens(messages)).value for messages in (short, long)]
        asked, said, told = await self.texts(engine, [m.content for m in (_ASKED, _SAID, _SYSTEM)])
        message = max(0.0, (counted[1] - counted[0] - asked - said) / 2)
        texts = asked + told if system else asked
        return ChatFormat(math.ceil(counted[0] - texts - message * len(short)), message)

    def _keep(self, used: dict[bytes, int]) -> None:
        for key, count in used.items():
            self._counts[key] = count
            self._counts.move_to_end(key)
        while len(self._counts) > KEPT:
            self._counts.popitem(last=False)


def token_cache_of(engine: Engine) -> TokenCache:
    """The meter of an engine; it goes when the engine does."""
    return _METERS.setdefault(engine, TokenCache())


_METERS: WeakKeyDictionary[Engine, TokenCache] = WeakKeyDictionary()


def _key(counter: str, text: str) -> bytes:
    told = f"{counter}\0{text}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(told, digest_size=16).digest()


def _texts_of(message: Message) -> list[str]:
    """All text of a message that goes through the tokenizer."""
    calls = [part for call in message.tool_calls for part in (call.id, call.name, call.arguments)]
    return [text for text in (message.content, *calls, message.tool_call_id) if text]
