"""The Engine contract: what an adapter to something that generates text must do.

There is one way to generate, `Engine.stream`; a whole answer is the folded stream. An engine never
retries, never falls back and never sleeps: the scheduler decides. It raises nothing but
`EngineError`. Leaving the stream's context stops the generation where it really happens: in process
within one decode step, over HTTP by closing the connection; `DeltaStream.receipt` then says what
the generation had cost until it really stood still.

The conformance suite in `vanta.testing.conformance` holds every adapter to this page.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from vanta.errors import EngineError, ErrorKind
from vanta.messages import Completion, Delta, Fold, Message


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample. None leaves a value to the engine; an engine that cannot do what was asked
    raises `unsupported` rather than ignore it.

    max_tokens: output tokens at the most. typical_p: locally typical sampling (Meister et al. 2022,
    https://arxiv.org/abs/2202.00666). dry_multiplier: how strongly a token that would go on with a
    repetition is held back (DRY), 0 for not at all. stop: strings that end the answer and are no
    part of it. logit_bias: token id -> bias. grammar: GBNF text. json_schema: the answer is JSON
    valid under it. logprobs: None for none, else how many rivals to report beside each token (0 to
    20).
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    dry_multiplier: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    grammar: str | None = None
    json_schema: Mapping[str, Any] | None = None
    logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call. `parameters` is a JSON Schema of its arguments."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One generation.

    messages: the whole conversation, system first. prefix: text of the assistant that is already
    written and must be continued, not repeated (engines with `prefix_continuation`; others raise
    `unsupported`). session: a key under which an engine may keep its KV cache.
    """

    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    tools: tuple[Tool, ...] = ()
    prefix: str = ""
    session: str = ""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do, so that nothing is asked of it in vain."""

    tools: bool = False
    grammar: bool = False
    json_schema: bool = False
    logprobs: bool = False
    prefix_continuation: bool = False
    embeddings: bool = False
    tokenize: bool = False
    load: bool = False
    pull: bool = False


@dataclass(frozen=True, slots=True)
class TokenCount:
    """A number of tokens; `exact` is False for an estimate, which then errs on the high side."""

    value: int
    exact: bool


@dataclass(frozen=True, slots=True)
class EngineModel:
    """A model that an engine can serve. `window` is in tokens, None where unknown."""

    id: str
    window: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Health:
    """Whether an engine could answer now; `detail` is a sentence for a person. age_s: seconds since
    the check, for an answer out of the cache."""

    ok: bool
    detail: str
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a generation had cost when it really stood still.

    output_tokens counts every token produced, delivered or not; tokens_after_stop and
    cpu_after_stop_s those (and the CPU seconds) spent after the stop was asked for. cpu_s: CPU
    seconds of this process while the generation ran, with what ran beside it. `exact` is
    False where another machine did the work and the counts are what this side saw of it.
    """

    input_tokens: int
    output_tokens: int
    tokens_after_stop: int = 0
    cpu_after_stop_s: float = 0.0
    cpu_s: float = 0.0
    exact: bool = True


class DeltaStream(abc.ABC):
    """The deltas of one generation, and its receipt once the context was left.

    An engine derives from it, implements `__anext__`, and sets `receipt` when its context is left,
    however it is left.
    """

    receipt: Receipt | None = None

    def __aiter__(self) -> AsyncIterator[Delta]:
        return self

    @abc.abstractmethod
    async def __anext__(self) -> Delta:
        """The next delta.

        Raises EngineError when the generation breaks, StopAsyncIteration after the last delta.
        """


class Engine(abc.ABC):
    """An adapter to something that generates text. One instance serves one track."""

    name: str
    model: str
    capabilities: Capabilities = Capabilities()

    @abc.abstractmethod
    def stream(self, request: GenerationRequest) -> AbstractAsyncContextManager[DeltaStream]:
        """Generate. Entering the context starts the work, leaving it stops the work.

        Raises EngineError from entering or from iterating; nothing else.
        """

    @abc.abstractmethod
    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        """The tokens that `messages` take as a prompt, chat format included."""

    async def count_texts(self, texts: Sequence[str]) -> list[TokenCount]:
        """The tokens of each text on its own, without any chat format: for the pieces that a prompt
        is packed from. By default what each adds to a message, by `count_tokens`, one after the
        other; an engine with a tokenizer does better. Raises EngineError."""
        empty = (await self.count_tokens((Message("user", ""),))).value
        counted = [await self.count_tokens((Message("user", text),)) for text in texts]
        return [TokenCount(max(0, one.value - empty), one.exact) for one in counted]

    @property
    def counter(self) -> str:
        """A name for what counts here: a tokenizer, or a state of an estimate. As long as it stays
        the same, a text's count does, too."""
        return f"{self.name}: {self.model}"

    @abc.abstractmethod
    async def models(self) -> Sequence[EngineModel]:
        """The models that this engine could serve."""

    @abc.abstractmethod
    async def health(self, *, force: bool = False) -> Health:
        """Whether the engine could answer now, without generating; never raises EngineError.

        A check is made at most every 30 seconds unless forced; between, the last one is returned.
        """

    async def load(self) -> None:  # noqa: B027 - loading is optional
        """Get ready ahead of the first request (load a model, open a pool). May be called twice."""

    async def answers(self, request: GenerationRequest, count: int) -> list[Completion]:
        """`count` whole answers to one request, generated at once.

        A seed becomes one for each: seed, seed + 1... An engine that keeps prefixes reads the
        prompt once. If one breaks, all are stopped and its EngineError is raised.
        """
        import anyio

        found: dict[int, Completion] = {}
        failures: list[EngineError] = []

        async def answer(number: int) -> None:
            try:
                async with self.stream(_seeded(request, number)) as stream:
                    folded = Fold()
                    async for delta in stream:
                        folded.add(delta)
                    found[number] = folded.completion()
            except EngineError as error:
                failures.append(error)
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for number in range(count):
                group.start_soon(answer, number)
        if failures:
            raise failures[0]
        return [found[number] for number in range(count)]

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """A vector of length 1 for each text, for engines with `embeddings`.

        Raises EngineError: `unsupported` where engine or model cannot.
        """
        raise EngineError(
            ErrorKind.UNSUPPORTED,
            f"{len(texts)} texts cannot be embedded by this engine",
            engine=self.name,
            model=self.model,
            suggestion="Use an engine that says 'embeddings' in 'vanta engines list'.",
        )

    def stats(self) -> Mapping[str, Any]:
        """JSON-ready figures of the engine's life so far, for `vanta doctor` and `/stats`."""
        return {}

    @property
    def window(self) -> int | None:
        """The context window in tokens where the engine knows it, else None."""
        return None

    async def forget(self) -> None:  # noqa: B027 - only for engines that keep something
        """Keep nothing of earlier requests: no KV cache in memory or on disk, no cached prompt."""

    @abc.abstractmethod
    async def aclose(self) -> None:
        """Release everything: threads, sockets, memory. Running streams end first."""


def _seeded(request: GenerationRequest, number: int) -> GenerationRequest:
    """`request` as the answer of this number asks it."""
    seed = request.sampling.seed
    if seed is None or not number:
        return request
    sampling = dataclasses.replace(request.sampling, seed=seed + number)
    return dataclasses.replace(request, sampling=sampling)


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model found on disk through the registry: where it is and what the registry says of it."""

    id: str
    path: Path
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EngineContext:
    """What a track gives to the factory of its engine.

    track: the track's name, for messages. model: the model's name as configured. window: the
    context window in tokens that the configuration asks for, None for the engine's own.
    find_model: turns a registry id or a path into a file on disk; raises ModelStoreError or
    UnknownName. Blocking and without network: engines call it from their worker.
    """

    track: str
    model: str
    window: int | None
    find_model: Callable[[str], ModelFile]


@dataclass(frozen=True, slots=True)
class EngineFactory:
    """What a plugin gives for each engine that it brings.

    name: as in `tracks.NAME.engine`. options: a pydantic model that `tracks.NAME.options` is
    checked against. create: builds the engine, quickly and without I/O: heavy work belongs in
    `Engine.load`, which the first request calls where nobody did. summary: one line for
    `vanta engines list`. off: given the options, why the engine cannot be used as configured
    (no key and no server...), or None; a track that is off is skipped, and said so once.
    requires: the import name of the heavy library; a track is off where it is missing. extra:
    what pip installs to bring it, as in "vanta[openai]".
    """

    name: str
    summary: str
    options: type[BaseModel]
    create: Callable[[Any, EngineContext], Engine]
    off: Callable[[Any], str | None] = lambda _options: None
    requires: str | None = None
    extra: str | None = None
