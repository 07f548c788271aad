"""What the conformance suite has to be told of an engine, and how it talks to one.

Invariant: hints only choose requests and say what may be left out; no hint weakens a rule of
`vanta.engine`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

from vanta.engine import Capabilities, Engine, GenerationRequest, Receipt, Sampling, Tool
from vanta.messages import Completion, Delta, Message, fold

GRAMMAR = 'root ::= "yes" | "no"'
SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}


def ask(text: str, max_tokens: int) -> GenerationRequest:
    """A request that is answered the same way each time, as far as the engine can."""
    return GenerationRequest(
        (Message("user", text),), Sampling(max_tokens=max_tokens, temperature=0.0, seed=1)
    )


class Hints:
    """What a subclass may set.

    request: is answered with at least a few words. long_request: with so many that there is time to
    stop it. unicode_request: with characters outside ASCII. reports_usage: the last delta has a
    usage. expects_exact_counts: `count_tokens` is exact. lists_models: `models` has entries.
    deterministic: the same request has the same answer at temperature 0. seeded: the same seed has
    the same answer at any temperature. max_tokens_after_stop: how many tokens may be produced after
    a stop was asked for. patience_s: what no step of the suite may take.
    """

    request: ClassVar[GenerationRequest] = ask("Say hello in one short sentence.", 12)
    long_request: ClassVar[GenerationRequest] = ask("Count from one to one hundred in words.", 120)
    unicode_request: ClassVar[GenerationRequest] = ask("Repeat exactly: 🙂🙃 naïve 日本語 🙂", 24)
    reports_usage: ClassVar[bool] = True
    expects_exact_counts: ClassVar[bool] = True
    lists_models: ClassVar[bool] = True
    deterministic: ClassVar[bool] = True
    seeded: ClassVar[bool] = True
    max_tokens_after_stop: ClassVar[int] = 1
    patience_s: ClassVar[float] = 60.0


def sample(request: GenerationRequest, **changes: object) -> GenerationRequest:
    """`request` with other sampling."""
    sampling = dataclasses.replace(request.sampling, **changes)  # type: ignore[arg-type]
    return dataclasses.replace(request, sampling=sampling)


@dataclasses.dataclass(frozen=True, slots=True)
class StreamResult:
    """A stream, read to its end."""

    deltas: list[Delta]
    receipt: Receipt | None

    @property
    def answer(self) -> Completion:
        """The deltas, folded."""
        return fold(self.deltas)


async def answered(engine: Engine, request: GenerationRequest) -> StreamResult:
    """Read the whole stream of `request`."""
    async with engine.stream(request) as stream:
        deltas = [delta async for delta in stream]
    return StreamResult(deltas, stream.receipt)


def demands(request: GenerationRequest) -> Iterator[tuple[str, GenerationRequest]]:
    """For each capability the name and a request that needs it."""
    tool = Tool("clock", "Tells the time.", {"type": "object", "properties": {}})
    yield "tools", dataclasses.replace(request, tools=(tool,))
    yield "prefix_continuation", dataclasses.replace(request, prefix="Once upon")
    yield "grammar", sample(request, grammar=GRAMMAR)
    yield "json_schema", sample(request, json_schema=SCHEMA)
    yield "logprobs", sample(request, logprobs=1)


def unsupported(
    capabilities: Capabilities, request: GenerationRequest
) -> list[tuple[str, GenerationRequest]]:
    """The requests that an engine with these capabilities must refuse."""
    return [(name, demand) for name, demand in demands(request) if not getattr(capabilities, name)]
