"""The engine `echo`: it answers with the last message of the user, word by word.

Invariant: a token is a word with the white space behind it, so every count is exact.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from time import monotonic

import anyio.lowlevel
from pydantic import BaseModel, ConfigDict

from vanta.engine import (
    Capabilities,
    DeltaStream,
    Engine,
    EngineContext,
    EngineFactory,
    EngineModel,
    GenerationRequest,
    Health,
    Receipt,
    TokenCount,
)
from vanta.errors import EngineError, ErrorKind
from vanta.messages import Delta, FinishReason, Message, Usage

_HEALTH_KEPT_S = 30.0


class EchoOptions(BaseModel):
    """`tracks.NAME.options`. shout: answer in capitals."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shout: bool = False


class EchoStream(DeltaStream):
    """One answer: its words, then the reason why it ended."""

    def __init__(self, words: Sequence[str], reason: FinishReason, input_tokens: int) -> None:
        self._words = words
        self._reason = reason
        self._input_tokens = input_tokens
        self._said = 0
        self._ended = False

    async def __anext__(self) -> Delta:
        """The next word; lets others run first, as every engine must."""
        await anyio.lowlevel.checkpoint()
        if self._ended:
            raise StopAsyncIteration
        if self._said < len(self._words):
            self._said += 1
            return Delta(text=self._words[self._said - 1])
        self._ended = True
        return Delta(finish_reason=self._reason, usage=Usage(self._input_tokens, self._said))

    def settle(self) -> None:
        """The context was left: an echo costs nothing more once nobody listens."""
        self.receipt = Receipt(self._input_tokens, self._said)


class EchoEngine(Engine):
    """Answers with what it was told."""

    name = "echo"
    capabilities = Capabilities(tokenize=True)

    def __init__(self, options: EchoOptions, context: EngineContext) -> None:
        self.model = context.model
        self._options = options
        self._window = context.window
        self._checked_at: float | None = None
        self._closed = False

    @asynccontextmanager
    async def stream(self, request: GenerationRequest) -> AsyncIterator[DeltaStream]:
        """Say the last message of the user again."""
        self._refuse_what_it_cannot(request)
        input_tokens = (await self.count_tokens(request.messages)).value
        words, reason = self._answer(request)
        stream = EchoStream(words, reason, input_tokens)
        try:
            yield stream
        finally:
            stream.settle()

    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        """A word is a token, and so is the beginning of a message."""
        words = sum(len(_words(message.content)) for message in messages)
        return TokenCount(words + len(messages), exact=True)

    async def models(self) -> Sequence[EngineModel]:
        """Whatever it is called."""
        return (EngineModel(self.model, self._window),)

    async def health(self, *, force: bool = False) -> Health:
        """An echo is well until it is closed."""
        now = monotonic()
        if force or self._checked_at is None or now - self._checked_at > _HEALTH_KEPT_S:
            self._checked_at = now
        detail = "the engine was closed" if self._closed else "the echo is here"
        return Health(not self._closed, detail, now - self._checked_at)

    async def aclose(self) -> None:
        """Nothing to release; later requests are refused."""
        self._closed = True

    def _answer(self, request: GenerationRequest) -> tuple[Sequence[str], FinishReason]:
        said = [message.content for message in request.messages if message.role == "user"]
        text = said[-1] if said else ""
        text = _before(request.sampling.stop, text.upper() if self._options.shout else text)
        words, limit = _words(text), request.sampling.max_tokens
        if limit is not None and limit < len(words):
            return words[:limit], "length"
        return words, "stop"

    def _refuse_what_it_cannot(self, request: GenerationRequest) -> None:
        if self._closed:
            raise self._error(ErrorKind.MODEL_NOT_LOADED, "the engine was closed", "Open another.")
        sampling = request.sampling
        beyond = {
            "tools": bool(request.tools),
            "a prefix": bool(request.prefix),
            "a grammar": sampling.grammar is not None,
            "a JSON schema": sampling.json_schema is not None,
            "logprobs": sampling.logprobs is not None,
            "a logit bias": bool(sampling.logit_bias),
        }
        for what in [what for what, asked in beyond.items() if asked]:
            raise self._error(
                ErrorKind.UNSUPPORTED, f"an echo knows nothing of {what}", "Ask another track."
            )

    def _error(self, kind: ErrorKind, message: str, suggestion: str) -> EngineError:
        return EngineError(kind, message, engine=self.name, model=self.model, suggestion=suggestion)


def _words(text: str) -> Sequence[str]:
    return re.findall(r"\s*\S+\s*|\s+$", text)


def _before(stops: Iterable[str], text: str) -> str:
    """`text` up to the first of `stops`."""
    found = [at for stop in stops if (at := text.find(stop)) >= 0]
    return text[: min(found)] if found else text


FACTORY = EngineFactory(
    name="echo",
    summary="answers with the last message of the user",
    options=EchoOptions,
    create=EchoEngine,
)
