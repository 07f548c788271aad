"""The engine contract: what an adapter to something that generates text must do.

There is one way to generate, `Engine.stream`; a whole answer is the folded stream. An engine never
retries, falls back or sleeps: the scheduler decides. It raises nothing but `EngineError`. Leaving
the stream's context stops the generation at its source: in process within one decode step, over
HTTP by closing the connection. `DeltaStream.receipt` then states what the generation cost until it
had stopped.

Usage is reported as the source reports it: the scheduler replaces counts that are impossible, see
`vanta.context.usage_check`. Fragments of tool calls are numbered by `vanta.CallNumbering` where a
source's own indexes may be wrong. The text of a delta may end in half a character: readers use the
delta that `Fold.add` returns, which is well-formed Unicode. An answer is read through a
`vanta.AnswerBound`, so an engine may pass on what never ends. A private track's client uses no
proxy: see `vanta.proxy_for`.

Derive adapters from `vanta.BaseEngine`, which implements all of this but the deltas, and engines
that change another one from `vanta.WrapperEngine`. `vanta.testing.EngineConformance` checks them.
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

from vanta.bounds import AnswerBound, whole_answer
from vanta.errors import EngineError, ErrorKind
from vanta.learning import Learnt
from vanta.messages import Completion, Delta, Message
from vanta.normalising import Sampling as Sampling  # noqa: PLC0414 - it belongs to the contract
from vanta.tool_contract import PER_TOOL, ToolCounts, tool_text
from vanta.tool_contract import Tool as Tool  # noqa: PLC0414 - it belongs to the contract, too


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One generation.

    :param messages: the whole conversation, system message first.
    :param sampling: how to sample.
    :param tools: functions that the model may call.
    :param tool_choice: `auto`, `none` (no call), `required` (at least one call), or the name of the
        tool that has to be called.
    :param parallel_tool_calls: whether one answer may have several calls.
    :param tool_rules: how to call the tools, for an engine with `writes_calls`.
    :param checked: whether the caller checks the answer: a schema may then be kept in part.
    :param prefix: beginning of the assistant's reply, which must be continued and not repeated.
        Engines without the capability `prefix_continuation` raise `unsupported`.
    :param session: key under which the engine may keep its KV cache; "" for none.
    :param scope: whose text this is. What an engine keeps of one scope must not make the answer to
        another one faster, or its cached tokens more, beyond the `common` messages of both: the
        difference would show what others wrote.
    :param common: how many of the first messages are no user's, such as a configured system prompt.
    """

    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()  # noqa: RUF009 - it is frozen
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    parallel_tool_calls: bool = True
    tool_rules: str = ""
    checked: bool = False
    prefix: str = ""
    session: str = ""
    scope: str = ""
    common: int = 0

    @property
    def callable_tools(self) -> tuple[Tool, ...]:
        """The tools that the answer may call under `tool_choice`."""
        if self.tool_choice in ("auto", "required"):
            return self.tools
        return tuple(tool for tool in self.tools if tool.name == self.tool_choice)

    @property
    def must_call(self) -> bool:
        """Whether the answer has to call a tool."""
        return self.tool_choice not in ("auto", "none")

    @property
    def tool_choice_problem(self) -> str:
        """Why `tool_choice` cannot be kept: the tool is not among `tools`. "" if it can."""
        if not self.must_call or self.callable_tools:
            return ""
        offered = ", ".join(repr(tool.name) for tool in self.tools) or "none"
        return f"'tool_choice' is {self.tool_choice!r}, and the tools of the request are: {offered}"

    @property
    def most_calls(self) -> int | None:
        """The largest number of calls in the answer, None for any number."""
        if self.tool_choice == "none":
            return 0
        return None if self.parallel_tool_calls else 1


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine supports; requests for anything else are refused before they are sent.

    :param tools: tool calls.
    :param grammar: `Sampling.grammar`.
    :param json_schema: `Sampling.json_schema`.
    :param logprobs: `Sampling.logprobs`.
    :param prefix_continuation: `GenerationRequest.prefix`.
    :param embeddings: `Engine.embed`.
    :param tokenize: exact token counts.
    :param load: `Engine.load` takes noticeable time.
    :param images: images in messages, as far as the engine knows of its model.
    """

    tools: bool = False
    grammar: bool = False
    json_schema: bool = False
    logprobs: bool = False
    prefix_continuation: bool = False
    embeddings: bool = False
    tokenize: bool = False
    load: bool = False
    images: bool = False


@dataclass(frozen=True, slots=True)
class TokenCount:
    """A number of tokens.

    :param value: the number of tokens.
    :param exact: False for an estimate, which errs on the high side.
    """

    value: int
    exact: bool


@dataclass(frozen=True, slots=True)
class EngineModel:
    """A model that an engine can serve.

    :param id: the model's name.
    :param window: context window in tokens, None if unknown.
    :param details: JSON-ready properties.
    """

    id: str
    window: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Health:
    """Whether an engine can answer now.

    :param ok: True if it can.
    :param detail: a sentence for a person.
    :param age_s: seconds since the check was made.
    """

    ok: bool
    detail: str
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a generation cost until it had stopped.

    :param input_tokens: tokens of the prompt.
    :param output_tokens: every token produced, delivered or not.
    :param tokens_after_stop: tokens produced after the stop was requested.
    :param cpu_after_stop_s: CPU seconds spent after the stop was requested.
    :param cpu_s: CPU seconds of this process during the generation, including other work.
    :param exact: False if another machine did the work and the counts are those of this side.
    """

    input_tokens: int
    output_tokens: int
    tokens_after_stop: int = 0
    cpu_after_stop_s: float = 0.0
    cpu_s: float = 0.0
    exact: bool = True


class DeltaStream(abc.ABC):
    """The deltas of one generation, and its receipt after the context was left.

    Subclasses implement `__anext__` and set `receipt` when the context is left, for any reason.
    """

    receipt: Receipt | None = None

    def __aiter__(self) -> AsyncIterator[Delta]:
        return self

    @abc.abstractmethod
    async def __anext__(self) -> Delta:
        """Return the next delta.

        :raises EngineError: if the generation breaks.
        :raises StopAsyncIteration: after the last delta.
        """


class Engine(abc.ABC):
    """An adapter to something that generates text. One instance serves one track.

    `name` and `model` identify it in messages. `keeps_state` is False for an engine that keeps no
    text of earlier requests in this process or on its disk; others implement `forget`.
    `writes_calls` is True for a loaded model that needs the `tool_rules` of a request.
    """

    name: str
    model: str
    capabilities: Capabilities = Capabilities()
    keeps_state: bool = True
    writes_calls: bool = False

    @abc.abstractmethod
    def stream(self, request: GenerationRequest) -> AbstractAsyncContextManager[DeltaStream]:
        """Generate. Entering the context starts the work, leaving it stops the work.

        :param request: what to generate.
        :returns: the context of the stream.
        :raises EngineError: from entering the context or from iterating; nothing else is raised.
        """

    @abc.abstractmethod
    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        """Count the tokens of `messages` as a prompt, chat format and images included.

        :param messages: the prompt.
        :returns: the count.
        :raises EngineError: if the engine cannot count.
        """

    async def count_texts(self, texts: Sequence[str]) -> list[TokenCount]:
        """Count the tokens of each text alone, without a chat format.

        By default this is what each text adds to a message. Override it if there is a tokenizer.

        :param texts: pieces that a prompt is packed from.
        :returns: one count for each text.
        :raises EngineError: if the engine cannot count.
        """
        empty = (await self.count_tokens((Message("user", ""),))).value
        counts = [await self.count_tokens((Message("user", text),)) for text in texts]
        return [TokenCount(max(0, count.value - empty), count.exact) for count in counts]

    async def count_tools(self, tools: Sequence[Tool]) -> ToolCounts:
        """Count the tokens of tools in a prompt; by default of their JSON, and some around.

        :param tools: the tools.
        :raises EngineError: if the engine cannot count.
        """
        counts = await self.count_texts([tool_text(tool) for tool in tools])
        return ToolCounts(0, tuple(count.value + PER_TOOL for count in counts))

    @property
    def counter(self) -> str:
        """The name of what counts: a tokenizer, or a state of an estimate.

        As long as the name stays the same, the count of a text does, too.
        """
        return f"{self.name}: {self.model}"

    @abc.abstractmethod
    async def models(self) -> Sequence[EngineModel]:
        """Return the models that this engine could serve.

        :raises EngineError: if they cannot be listed.
        """

    @abc.abstractmethod
    async def health(self, *, force: bool = False) -> Health:
        """Return whether the engine could answer now. Never generates, never raises.

        :param force: check now; otherwise a check is at most 30 seconds old.
        """

    async def load(self) -> None:  # noqa: B027 - loading is optional
        """Prepare for the first request: load a model, open a pool. Idempotent.

        :raises EngineError: if that fails.
        """

    async def connect(self) -> None:  # noqa: B027 - an engine in this process has no connection
        """Open a connection for the next request, if none is open and that takes time.

        It is called after `load`, while the memories of the request are looked up: nothing of the
        conversation may be sent yet. A failure is left to the request to report.
        """

    async def answers(self, request: GenerationRequest, count: int) -> list[Completion]:
        """Return `count` whole answers to one request, generated concurrently.

        An engine that keeps prefixes reads the prompt once. If one answer breaks, all are stopped.

        :param request: what to generate; its seed becomes seed, seed + 1...
        :returns: `count` answers, in the order of their seeds.
        :raises EngineError: the first error.
        """
        import anyio

        completions: dict[int, Completion] = {}
        failures: list[EngineError] = []

        async def answer(number: int) -> None:
            try:
                async with self.stream(_with_seed(request, number)) as stream:
                    bound = AnswerBound(request.sampling.max_tokens, self.window)
                    completions[number] = await whole_answer(stream, bound)
            except EngineError as error:
                failures.append(error)
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for number in range(count):
                group.start_soon(answer, number)
        if failures:
            raise failures[0]
        return [completions[number] for number in range(count)]

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector of length 1 for each text, for engines with `embeddings`.

        :param texts: the texts to embed.
        :raises EngineError: `unsupported` if the engine or its model cannot embed.
        """
        raise EngineError(
            ErrorKind.UNSUPPORTED,
            f"this engine does not embed texts ({len(texts)} were given)",
            engine=self.name,
            model=self.model,
            suggestion="Use an engine that lists 'embeddings' in 'vanta engines list'.",
        )

    def stats(self) -> Mapping[str, Any]:
        """Return JSON-ready figures of the engine so far, for `vanta doctor` and `/stats`."""
        return {}

    @property
    def window(self) -> int | None:
        """The context window in tokens, None if the engine does not know it."""
        return None

    def learnt(self) -> Sequence[Learnt]:
        """Return what earlier answers changed in how requests are written; their track is ""."""
        return ()

    def forget_learnt(self, what: str | None = None) -> None:  # noqa: B027 - most learn nothing
        """Forget what `learnt` lists.

        :param what: the kind of fact, or None for all.
        """

    async def forget(self) -> None:
        """Discard all text of earlier requests: KV caches in memory and on disk, cached prompts.

        By default this succeeds only if `keeps_state` is False.

        :raises EngineError: if some of it may remain.
        """
        if self.keeps_state:
            raise EngineError(
                ErrorKind.UNSUPPORTED,
                "the engine may keep text of earlier requests and does not implement 'forget'",
                engine=self.name,
                model=self.model,
                suggestion="Restart the process; ask the plugin's author to implement 'forget'.",
            )

    @abc.abstractmethod
    async def aclose(self) -> None:
        """Release everything: threads, sockets, memory. Running streams end first. Idempotent."""


def _with_seed(request: GenerationRequest, number: int) -> GenerationRequest:
    """Return `request` with the seed of answer `number`."""
    seed = request.sampling.seed
    if seed is None or not number:
        return request
    sampling = dataclasses.replace(request.sampling, seed=seed + number)
    return dataclasses.replace(request, sampling=sampling)


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file on disk, found through the registry.

    :param id: the model's id in the registry.
    :param path: the file.
    :param details: the registry's entry, JSON-ready.
    """

    id: str
    path: Path
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EngineContext:
    """What a track passes to the factory of its engine.

    :param track: name of the track, for messages.
    :param model: name of the model as configured.
    :param window: configured context window in tokens, None for the engine's own.
    :param find_model: returns the file of a registry id or path; raises ModelStoreError or
        UnknownName. It blocks and uses no network: call it from a worker thread.
    :param private: whether the track is private: its text must reach its server directly.
    :param keyless: whether a project's file named the server and no key for it: a key of the
        environment belongs to another server and must not be sent.
    """

    track: str
    model: str
    window: int | None
    find_model: Callable[[str], ModelFile]
    private: bool = False
    keyless: bool = False


@dataclass(frozen=True, slots=True)
class EngineFactory:
    """What a plugin returns for each engine that it brings.

    :param name: name of the engine, as in `tracks.NAME.engine`.
    :param summary: one line for `vanta engines list`.
    :param options: pydantic model that `tracks.NAME.options` is validated with.
    :param create: builds the engine from its options, fast and without I/O. Heavy work belongs in
        `Engine.load`, which runs before the first request at the latest.
    :param off: returns why the engine cannot be used with these options (no key, no server...),
        or None. A track that is off is skipped, and the reason is reported once.
    :param requires: import name of the heavy library; a track is off where it is missing.
    :param extra: the extra of the plugin's distribution that installs it, such as "openai".
    :param loads_models: True if the engine loads model files itself. Its tracks are then sampled as
        the model's card recommends; any other engine leaves unset values to its server.
    """

    name: str
    summary: str
    options: type[BaseModel]
    create: Callable[[Any, EngineContext], Engine]
    off: Callable[[Any], str | None] = lambda _options: None
    requires: str | None = None
    extra: str | None = None
    loads_models: bool = False
