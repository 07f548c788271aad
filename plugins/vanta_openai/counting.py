"""What counts an engine's tokens: tiktoken where its ranks are on disk, else a calibrated estimate.

Invariant: nothing here goes to the network, and no long text is counted on the event loop. A count
is called exact only for what OpenAI documents: plain messages in the model's own encoding.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import anyio.to_thread

from vanta.context import Calibration
from vanta.engine import GenerationRequest, TokenCount
from vanta.messages import Message

if TYPE_CHECKING:
    from tiktoken import Encoding

PER_MESSAGE = 3
PER_REPLY = 3
"""Tokens around a message and before the reply ("How to count tokens with tiktoken", OpenAI)."""

PER_CALL = 8
"""Tokens around a tool call, which are not documented: about."""

UNDOCUMENTED = frozenset({"o200k_harmony"})
"""Encodings whose chat format takes more than the documented one."""

ON_THE_LOOP = 4_000
"""Characters up to which a count is quicker than the way to a thread."""

T = TypeVar("T")


class Counter:
    """Counts for one model. encoding: where the ranks were found."""

    def __init__(self, encoding: Encoding | None = None) -> None:
        self._encoding = encoding
        self._calibration = Calibration()
        self._lessons: deque[tuple[tuple[Message, ...], int]] = deque(maxlen=16)

    @property
    def name(self) -> str:
        """What counts, as `Engine.counter` has it."""
        return f"tiktoken {self._encoding.name}" if self._encoding else self._calibration.name

    async def count(self, messages: Sequence[Message]) -> TokenCount:
        """The tokens of a prompt."""
        length = sum(len(message.content) for message in messages)
        return await self._off_the_loop(length, lambda: self._prompt(messages))

    async def count_texts(self, texts: Sequence[str]) -> list[TokenCount]:
        """The tokens of each text on its own."""
        length = sum(map(len, texts))
        return await self._off_the_loop(length, lambda: [self._text(text) for text in texts])

    def note(self, request: GenerationRequest, tokens: int) -> None:
        """A server counted `tokens` in a request; what it is worth is worked out with the next
        count. Requests with more than messages in them say nothing of these."""
        more = request.tools or request.prefix or request.sampling.json_schema is not None
        if self._encoding is None and not more:
            self._lessons.append((request.messages, tokens))

    async def _off_the_loop(self, length: int, work: Callable[[], T]) -> T:
        length += sum(len(message.content) for asked, _ in self._lessons for message in asked)
        if length <= ON_THE_LOOP and not self._lessons:
            return work()
        return await anyio.to_thread.run_sync(work)

    def _learn(self) -> None:
        with contextlib.suppress(IndexError):  # another thread may take the last one
            while self._lessons:
                self._calibration.learn(*self._lessons.popleft())

    def _prompt(self, messages: Sequence[Message]) -> TokenCount:
        if self._encoding is None:
            self._learn()
            return self._calibration.count(messages)
        calls = [call for message in messages for call in message.tool_calls]
        parts = [part for call in calls for part in (call.id, call.name, call.arguments)]
        texts = [message.content for message in messages]
        answered = [message.tool_call_id or "" for message in messages]
        tokens = sum(map(self._tokens, [*texts, *parts, *answered]))
        tokens += PER_MESSAGE * len(messages) + PER_CALL * len(calls) + PER_REPLY
        plain = not (calls or any(answered)) and self._encoding.name not in UNDOCUMENTED
        return TokenCount(tokens, exact=plain)

    def _text(self, text: str) -> TokenCount:
        if self._encoding is None:
            self._learn()
            return TokenCount(self._calibration.count_text(text), exact=False)
        return TokenCount(self._tokens(text), exact=True)

    def _tokens(self, text: str) -> int:
        assert self._encoding is not None  # noqa: S101 - both callers looked
        return len(self._encoding.encode_ordinary(text)) if text else 0
