"""Token counts of one engine, cached, so that each text is counted once.

The past of a conversation is in every one of its prompts, so counts are cached by engine, by the
name of its counter and by a digest of the text. What a chat format adds to a message is learnt from
three small prompts.

Invariant: no text is kept. A sum of cached counts only predicts what the engine counts of a whole
prompt; that count decides. A window that a server reported is believed for an hour at most, and
never below `LEAST_WINDOW`, the room that a reply needs, or a prompt that the server has served.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from vanta.context.budget import OverflowReport
from vanta.context.images import image_tokens
from vanta.engine import Engine, Tool
from vanta.learning import Expiring, Learnt
from vanta.messages import Message
from vanta.tool_contract import ToolCounts, tool_text

KEPT = 20_000
"""Counts per engine; the least recently used are evicted."""

PER_CALL = 8
"""Tokens that a chat format puts around a tool call."""

LEAST_WINDOW = 512
"""A smaller window is not learnt: no chat model in use has one."""

_USER, _ASSISTANT = Message("user", "a"), Message("assistant", "b")
_SYSTEM = Message("system", "c")


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """Tokens that a chat format adds.

    :param opening: tokens added to every prompt.
    :param message: mean tokens added to every message.
    """

    opening: int
    message: float


class TokenCache:
    """The counts of one engine; `token_cache_of` returns it.

    Every asynchronous method may raise EngineError.

    :param clock: returns seconds on a clock that never goes back, for what is learnt.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._counts: OrderedDict[bytes, int] = OrderedDict()
        self._formats: dict[tuple[str, bool], ChatFormat] = {}
        self._reported_window: Expiring[int] = Expiring(clock=clock)
        self._served: Expiring[int] = Expiring(clock=clock)

    async def texts(self, engine: Engine, texts: Sequence[str]) -> list[int]:
        """Return the tokens of each text. Those that are not cached are counted in one call.

        :param engine: the engine that counts.
        :param texts: texts without a chat format.
        """
        name = engine.counter
        keys = [_key(name, text) for text in texts]
        known = {key: self._counts[key] for key in keys if key in self._counts}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            counts = await engine.count_texts(list(missing.values()))
            known |= zip(missing, (count.value for count in counts), strict=True)
        self._keep(known)
        return [known[key] for key in keys]

    async def tools(self, engine: Engine, tools: Sequence[Tool]) -> ToolCounts:
        """Return the tokens of tools in a prompt. Those that are not cached are counted at once.

        :param engine: the engine that counts.
        :param tools: the tools.
        """
        name = f"tools, {engine.counter}"
        opening, *keys = [_key(name, text) for text in ("", *map(tool_text, tools))]
        missing = {
            key: tool
            for key, tool in zip(keys, tools, strict=True)
            if key not in self._counts or opening not in self._counts
        }
        known = {key: self._counts[key] for key in (opening, *keys) if key in self._counts}
        if missing:
            counts = await engine.count_tools(list(missing.values()))
            known |= zip(missing, counts.tools, strict=True)
            known[opening] = counts.opening
        self._keep(known)
        return ToolCounts(known.get(opening, 0), tuple(known[key] for key in keys))

    async def messages(self, engine: Engine, messages: Sequence[Message]) -> list[int]:
        """Return what each message adds to a prompt, rounded up; see `opening` for the rest.

        :param engine: the engine that counts.
        :param messages: messages of a prompt.
        """
        overhead = (await self._format(engine, system=False)).message
        parts = [_texts_of(message) for message in messages]
        counts = iter(await self.texts(engine, [text for part in parts for text in part]))
        return [
            math.ceil(
                overhead
                + PER_CALL * len(message.tool_calls)
                + sum(next(counts) for _ in part)
                + image_tokens((message,))
            )
            for message, part in zip(messages, parts, strict=True)
        ]

    async def opening(self, engine: Engine, *, system: bool) -> int:
        """Return what a prompt takes beyond its messages.

        That is the opening of the reply and, in a prompt without a system message, the one that
        some chat templates then insert.

        :param engine: the engine that counts.
        :param system: whether the prompt begins with a system message.
        """
        return (await self._format(engine, system=system)).opening

    def heed(self, report: OverflowReport, reply_reserve: int = 0) -> None:
        """Limit the window to what a server reported with a refusal, if that is plausible.

        :param report: the numbers of the refusal.
        :param reply_reserve: tokens that the track reserves for the reply.
        """
        window = report.window
        least = max(LEAST_WINDOW, 2 * reply_reserve, self._served.value or 0)
        if window is None or window < least:
            return
        if report.prompt is not None and report.prompt + (report.reply or 0) <= window:
            return  # a prompt that fits was not refused for its size
        self._reported_window.set(min(window, self._reported_window.value or window))

    def note_served(self, tokens: int) -> None:
        """Record the size of a prompt that the server has answered.

        :param tokens: its tokens, as the server counted them.
        """
        if tokens >= (self._served.value or 0):
            self._served.set(tokens)
        if tokens > (self._reported_window.value or tokens):
            self._reported_window.forget()

    def learnt(self) -> Sequence[Learnt]:
        """Return the window that was learnt, if any, for people."""
        window = self._reported_window.value
        if window is None:
            return ()
        detail = f"its window is {window} tokens"
        return (Learnt("", "window", detail, self._reported_window.left_s),)

    def forget_window(self) -> None:
        """Forget the window that a server reported."""
        self._reported_window.forget()

    def window(self, known: int | None) -> int | None:
        """Return the smaller of a window and the one that a server reported.

        :param known: the configured window, or the engine's own, or None.
        :returns: the window in tokens, None if both are unknown.
        """
        windows = (known, self._reported_window.value)
        return min((window for window in windows if window is not None), default=None)

    async def _format(self, engine: Engine, *, system: bool) -> ChatFormat:
        key = (engine.counter, system)
        if key not in self._formats:
            self._formats[key] = await self._probe(engine, system=system)
        return self._formats[key]

    async def _probe(self, engine: Engine, *, system: bool) -> ChatFormat:
        """Learn the format. Some templates refuse a system message, so it is probed on demand."""
        head = (_SYSTEM,) if system else ()
        short, long = (*head, _USER), (*head, _USER, _ASSISTANT, _USER)
        prompts = [(await engine.count_tokens(messages)).value for messages in (short, long)]
        probes = [message.content for message in (_USER, _ASSISTANT, _SYSTEM)]
        user, assistant, head_tokens = await self.texts(engine, probes)
        message = max(0.0, (prompts[1] - prompts[0] - user - assistant) / 2)
        texts = user + head_tokens if system else user
        return ChatFormat(math.ceil(prompts[0] - texts - message * len(short)), message)

    def _keep(self, used: dict[bytes, int]) -> None:
        for key, count in used.items():
            self._counts[key] = count
            self._counts.move_to_end(key)
        while len(self._counts) > KEPT:
            self._counts.popitem(last=False)


def token_cache_of(engine: Engine) -> TokenCache:
    """Return the cache of an engine, which lives as long as the engine.

    :param engine: the engine that counts.
    """
    return _CACHES.setdefault(engine, TokenCache())


def share_token_cache(engine: Engine, wrapper: Engine) -> None:
    """Let a wrapper of an engine use its cache, so that what one has counted the other knows.

    :param engine: the engine.
    :param wrapper: the wrapper, which counts as the engine does.
    """
    _CACHES[wrapper] = token_cache_of(engine)


_CACHES: WeakKeyDictionary[Engine, TokenCache] = WeakKeyDictionary()


def _key(counter: str, text: str) -> bytes:
    payload = f"{counter}\0{text}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(payload, digest_size=16).digest()


def _texts_of(message: Message) -> list[str]:
    """Return all texts of a message that the tokenizer reads."""
    calls = [part for call in message.tool_calls for part in (call.id, call.name, call.arguments)]
    return [text for text in (message.content, *calls, message.tool_call_id) if text]
