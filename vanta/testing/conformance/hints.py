"""Hints of the engines' conformance suite, and its requests.

Invariant: hints only choose requests and skip what an engine lacks; no hint weakens a rule of
`vanta.engine`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

from vanta.engine import Capabilities, Engine, GenerationRequest, Receipt, Sampling, Tool
from vanta.messages import Completion, Delta, Image, Message, fold

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAA"
    "AACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
"""A black image of one pixel."""

GRAMMAR = 'root ::= "yes" | "no"'
SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}


TOOLS = tuple(
    Tool(
        name,
        description,
        {
            "type": "object",
            "properties": {"city": {"enum": ["Oslo", "Lima"]}},
            "required": ["city"],
        },
        effect="read",
    )
    for name, description in (
        ("weather", "Returns the weather in a city."),
        ("clock", "Returns the time in a city."),
    )
)
"""Two tools, so that a choice is one."""


def ask(text: str, max_tokens: int) -> GenerationRequest:
    """Return a greedy request with a seed, which an engine should answer the same way each time.

    :param text: the user's message.
    :param max_tokens: largest number of output tokens.
    """
    return GenerationRequest(
        (Message("user", text),), Sampling(max_tokens=max_tokens, temperature=0.0, seed=1)
    )


class Hints:
    """What a subclass may set.

    :cvar request: its answer has at least a few words.
    :cvar long_request: its answer is long enough to be stopped in time.
    :cvar unicode_request: its answer has characters outside ASCII.
    :cvar tool_request: what an engine with tools is asked when it must, or must not, call one.
    :cvar reports_usage: the last delta has a usage.
    :cvar expects_exact_counts: `count_tokens` is exact.
    :cvar lists_models: `models` returns entries.
    :cvar deterministic: equal requests have equal answers at temperature 0.
    :cvar seeded: equal seeds give equal answers at any temperature.
    :cvar max_tokens_after_stop: most tokens that may be produced after a stop was requested.
    :cvar patience_s: seconds that no step of the suite may take.
    """

    request: ClassVar[GenerationRequest] = ask("Say hello in one short sentence.", 12)
    long_request: ClassVar[GenerationRequest] = ask("Count from one to one hundred in words.", 120)
    unicode_request: ClassVar[GenerationRequest] = ask("Repeat exactly: 🙂🙃 naïve 日本語 🙂", 24)
    tool_request: ClassVar[GenerationRequest] = dataclasses.replace(
        ask("What is the weather in Oslo?", 64), tools=TOOLS
    )
    reports_usage: ClassVar[bool] = True
    expects_exact_counts: ClassVar[bool] = True
    lists_models: ClassVar[bool] = True
    deterministic: ClassVar[bool] = True
    seeded: ClassVar[bool] = True
    max_tokens_after_stop: ClassVar[int] = 1
    patience_s: ClassVar[float] = 60.0


def sample(request: GenerationRequest, **changes: object) -> GenerationRequest:
    """Return `request` with other sampling."""
    sampling = dataclasses.replace(request.sampling, **changes)  # type: ignore[arg-type]
    return dataclasses.replace(request, sampling=sampling)


@dataclasses.dataclass(frozen=True, slots=True)
class StreamResult:
    """A stream that was read to its end.

    :param deltas: its deltas.
    :param receipt: its receipt.
    """

    deltas: list[Delta]
    receipt: Receipt | None

    @property
    def answer(self) -> Completion:
        """The folded deltas."""
        return fold(self.deltas)


async def read_stream(engine: Engine, request: GenerationRequest) -> StreamResult:
    """Read the whole stream of a request.

    :param engine: the engine.
    :param request: the request.
    :returns: the deltas and the receipt.
    :raises EngineError: as the engine does.
    """
    async with engine.stream(request) as stream:
        deltas = [delta async for delta in stream]
    return StreamResult(deltas, stream.receipt)


def demands(request: GenerationRequest) -> Iterator[tuple[str, GenerationRequest]]:
    """Yield the name of each capability and a request that needs it."""
    tool = Tool("clock", "Returns the time.", {"type": "object", "properties": {}})
    yield "tools", dataclasses.replace(request, tools=(tool,))
    yield "prefix_continuation", dataclasses.replace(request, prefix="Once upon")
    yield "grammar", sample(request, grammar=GRAMMAR)
    yield "json_schema", sample(request, json_schema=SCHEMA)
    yield "logprobs", sample(request, logprobs=1)
    *before, last = request.messages
    shown = dataclasses.replace(last, images=(Image.from_url(PIXEL),))
    yield "images", dataclasses.replace(request, messages=(*before, shown))


def unsupported(
    capabilities: Capabilities, request: GenerationRequest
) -> list[tuple[str, GenerationRequest]]:
    """Return the requests that an engine with these capabilities must refuse."""
    return [(name, demand) for name, demand in demands(request) if not getattr(capabilities, name)]
