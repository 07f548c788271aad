"""The engine `echo`: answers with the user's last message, word by word.

Invariant: a token is a word with the white space behind it, so every count is exact.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence

from pydantic import BaseModel, ConfigDict

from vanta import (
    BaseEngine,
    Capabilities,
    Delta,
    EngineContext,
    EngineFactory,
    ErrorKind,
    GenerationRequest,
    Message,
    TokenCount,
    Usage,
)


class EchoOptions(BaseModel):
    """`tracks.NAME.options`. shout: answer in capitals."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shout: bool = False


class EchoEngine(BaseEngine):
    """Answers with the user's last message."""

    name = "echo"
    capabilities = Capabilities(tokenize=True)
    keeps_state = False

    def __init__(self, options: EchoOptions, context: EngineContext) -> None:
        self.model = context.model
        self._options = options
        self._window = context.window

    @property
    def window(self) -> int | None:
        """The configured window."""
        return self._window

    async def deltas(self, request: GenerationRequest) -> AsyncIterator[Delta]:
        """Yield the words of the message, then why the answer ended."""
        if request.sampling.logit_bias:
            raise self.error(
                ErrorKind.UNSUPPORTED, "an echo has no logit bias", "Use another track."
            )
        words = _words(self._text(request))
        limit = request.sampling.max_tokens
        for word in words[:limit]:
            yield Delta(text=word)
        cut = limit is not None and limit < len(words)
        usage = Usage(_count(request.messages), limit if cut else len(words))
        yield Delta(finish_reason="length" if cut else "stop", usage=usage)

    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        """Count a token for each word, and one for the beginning of each message."""
        return TokenCount(_count(messages), exact=True)

    def _text(self, request: GenerationRequest) -> str:
        messages = [message.content for message in request.messages if message.role == "user"]
        text = messages[-1] if messages else ""
        return text.upper() if self._options.shout else text


def _words(text: str) -> Sequence[str]:
    return re.findall(r"\s*\S+\s*|\s+$", text)


def _count(messages: Sequence[Message]) -> int:
    return len(messages) + sum(len(_words(message.content)) for message in messages)


FACTORY = EngineFactory(
    name="echo",
    summary="answers with the user's last message",
    options=EchoOptions,
    create=EchoEngine,
)
