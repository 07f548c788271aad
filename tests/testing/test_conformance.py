"""The conformance suite passes a good engine and catches each kind of bad one."""

from __future__ import annotations

import inspect
import threading
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import anyio
import pytest

from tests.scheduling.clock import jumping
from vanta.engine import Capabilities, DeltaStream, GenerationRequest, Health, TokenCount
from vanta.errors import EngineError, ErrorKind
from vanta.messages import Delta, Message, TokenLogprob, Usage
from vanta.testing import CallTool, EngineConformance, Finish, Say, ScriptedEngine, Step
from vanta.testing.conformance.hints import Hints

NUMBERS = "one two three four five six seven eight nine ten eleven twelve " * 12
TEXTS = {
    Hints.request.messages: "Hello to you all.",
    Hints.long_request.messages: NUMBERS,
    Hints.unicode_request.messages: "🙂🙃 naïve 日本語 🙂",
}


def reply(request: GenerationRequest) -> Iterable[Step | str]:
    if request.sampling.grammar is not None:
        return ["yes"]
    if request.sampling.json_schema is not None:
        return ['{"ok": true}']
    return [TEXTS.get(request.messages, "Well.")]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Both event loops, on a clock that jumps: a good engine loses no patience over a machine that
    stops for a moment."""
    return jumping(request.param)


class Good(ScriptedEngine):
    """Follows the contract; the bad ones below each break one rule of it."""

    def __init__(self, **rest: Any) -> None:
        super().__init__(**{"reply": reply, **rest})


class TestScriptedEngine(EngineConformance):
    """The suite, against an engine that follows the contract."""

    @pytest.fixture
    def engine(self) -> ScriptedEngine:
        return Good()


class TestACapableScriptedEngine(EngineConformance):
    """The suite, against an engine with every capability, so that nothing is skipped."""

    @pytest.fixture
    def engine(self) -> ScriptedEngine:
        everything = Capabilities(
            tools=True, logprobs=True, prefix_continuation=True, grammar=True, json_schema=True
        )
        return Good(capabilities=everything)


class TestAnIncapableScriptedEngine(EngineConformance):
    """The suite, against an engine without capabilities."""

    @pytest.fixture
    def engine(self) -> ScriptedEngine:
        return Good(capabilities=Capabilities())


class Edited(DeltaStream):
    """A stream with edited deltas and the original receipt."""

    def __init__(self, inner: DeltaStream, deltas: Sequence[Delta]) -> None:
        self._inner = inner
        self._deltas = iter(deltas)

    async def __anext__(self) -> Delta:
        await anyio.lowlevel.checkpoint()
        for delta in self._deltas:
            return delta
        raise StopAsyncIteration


class Editing(Good):
    """Edits its own deltas and receipts."""

    def ask(self, request: GenerationRequest) -> GenerationRequest:
        return request

    def edit(self, deltas: list[Delta], request: GenerationRequest) -> list[Delta]:
        return deltas

    def settle(self, stream: DeltaStream, inner: DeltaStream) -> None:
        stream.receipt = inner.receipt

    @asynccontextmanager
    async def stream(self, request: GenerationRequest) -> AsyncIterator[DeltaStream]:
        async with super().stream(self.ask(request)) as inner:
            deltas = self.edit([delta async for delta in inner], request)
            stream = Edited(inner, deltas)
            yield stream
        self.settle(stream, inner)


class Silent(Editing):
    def edit(self, deltas: list[Delta], request: GenerationRequest) -> list[Delta]:
        return [replace(delta, text="") for delta in deltas]


class Endless(Editing):
    def edit(self, deltas: list[Delta], request: GenerationRequest) -> list[Delta]:
        return deltas[:-1]


class Repeated(Editing):
    def edit(self, deltas: list[Delta], request: GenerationRequest) -> list[Delta]:
        return [*deltas, Delta(finish_reason="stop")]


class Unbilled(Editing):
    def edit(self, deltas: list[Delta], request: GenerationRequest) -> list[Delta]:
        return [replace(delta, usage=None) for delta in deltas]


class WrongBill(Editing):
    def edit(self, deltas: list[Delta], request: GenerationRequest) -> list[Delta]:
        return [*deltas[:-1], replace(deltas[-1], usage=Usage(5, 5, cached_input_tokens=9))]


class WrongReceipt(Editing):
    def settle(self, stream: DeltaStream, inner: DeltaStream) -> None:
        assert inner.receipt is not None
        stream.receipt = replace(inner.receipt, output_tokens=inner.receipt.output_tokens + 1)


class NoReceipt(Editing):
    def settle(self, stream: DeltaStream, inner: DeltaStream) -> None:
        return


class Unlimited(Editing):
    def ask(self, request: GenerationRequest) -> GenerationRequest:
        return replace(request, sampling=replace(request.sampling, max_tokens=None))


class Unstoppable(Editing):
    def ask(self, request: GenerationRequest) -> GenerationRequest:
        return replace(request, sampling=replace(request.sampling, stop=()))


class LeaksStops(Editing):
    def edit(self, deltas: list[Delta], request: GenerationRequest) -> list[Delta]:
        return [Delta(text=stop[:1]) for stop in request.sampling.stop] + deltas


class Halves(Editing):
    def edit(self, deltas: list[Delta], request: GenerationRequest) -> list[Delta]:
        return [Delta(text="\ufffd"), *deltas]


class WantsLogprobs(Editing):
    def edit(self, deltas: list[Delta], request: GenerationRequest) -> list[Delta]:
        lp = (TokenLogprob("x", -1.0),)
        return [replace(delta, logprobs=lp) for delta in deltas]


class PositiveLogprobs(Editing):
    def edit(self, deltas: list[Delta], request: GenerationRequest) -> list[Delta]:
        lp = (TokenLogprob("x", 0.5),)
        return [replace(delta, logprobs=lp) for delta in deltas]


class Parrot(Editing):
    def edit(self, deltas: list[Delta], request: GenerationRequest) -> list[Delta]:
        return [Delta(text=request.prefix), *deltas]


class CallsAnyway(Editing):
    """Calls two tools, whatever it may do."""

    def __init__(self) -> None:
        super().__init__(reply=lambda _: [CallTool("clock"), CallTool("clock")])

    def ask(self, request: GenerationRequest) -> GenerationRequest:
        return replace(request, tool_choice="auto", parallel_tool_calls=True)


class NeverCalls(Editing):
    def ask(self, request: GenerationRequest) -> GenerationRequest:
        return replace(request, tool_choice="none")


class Capricious(Good):
    """Answers differently each time."""

    def __init__(self) -> None:
        super().__init__(reply=lambda _: [f"answer {len(self.runs)}"])


class Chatty(Good):
    """Claims grammars and schemas, and ignores them."""

    def __init__(self) -> None:
        claims = Capabilities(grammar=True, json_schema=True)
        super().__init__(reply=lambda _: [Say('{"well": "maybe"}'), Finish()], capabilities=claims)


class Boastful(Editing):
    """Lacks everything, refuses nothing."""

    def __init__(self) -> None:
        super().__init__(capabilities=Capabilities())

    def ask(self, request: GenerationRequest) -> GenerationRequest:
        return GenerationRequest(request.messages)


class RunsOn(Editing):
    """Generates the whole answer even after the reader left."""


class Lingers(Good):
    def __init__(self) -> None:
        super().__init__(tokens_after_stop=5)


class Wedged(Good):
    """Serves one stream at a time, and never releases one that was left early."""

    def __init__(self) -> None:
        super().__init__()
        self.free = anyio.Event()
        self.free.set()

    @asynccontextmanager
    async def stream(self, request: GenerationRequest) -> AsyncIterator[DeltaStream]:
        if not self.free.is_set():
            await self.free.wait()
        self.free = anyio.Event()
        async with super().stream(request) as stream:
            yield stream
        self.free.set()  # not reached where the reader was cancelled or the request refused

    async def aclose(self) -> None:
        await self.free.wait()


class WedgedByLeaving(Wedged):
    """The same after leaving early without cancellation."""

    @asynccontextmanager
    async def stream(self, request: GenerationRequest) -> AsyncIterator[DeltaStream]:
        async with super().stream(request) as stream:
            yield stream
        if self.runs[-1].cancelled:
            self.free = anyio.Event()


class OneAtATime(Good):
    """Refuses a request while it answers another one."""

    @asynccontextmanager
    async def stream(self, request: GenerationRequest) -> AsyncIterator[DeltaStream]:
        async with super().stream(request) as stream:
            if self.streaming > 1:
                raise self.error(ErrorKind.OVERLOADED, "busy", "Wait.")
            yield stream


class Brittle(Good):
    """Cannot be closed twice."""

    async def aclose(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        await super().aclose()


class Undead(Good):
    """Answers after it was closed."""

    async def aclose(self) -> None:
        return


class LeavesAThread(Good):
    """Its thread outlives it."""

    def __init__(self) -> None:
        super().__init__()
        self.over = threading.Event()

    async def load(self) -> None:
        threading.Thread(target=self.over.wait, name="worker", daemon=True).start()


class Nameless(Good):
    def __init__(self) -> None:
        super().__init__(name="")


class MiscountsMessages(Good):
    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        return TokenCount(10 - len(messages), exact=True)


class Estimates(Good):
    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        return TokenCount(1, exact=False)


class LooksEachTime(Good):
    async def health(self, *, force: bool = False) -> Health:
        return await super().health(force=True)


class NeverLooksAgain(Good):
    async def health(self, *, force: bool = False) -> Health:
        return await super().health()


class SickAndLoud(Good):
    async def health(self, *, force: bool = False) -> Health:
        if self.closed:
            raise self.closed_error()
        return await super().health(force=force)


class Modelless(Good):
    async def models(self) -> Sequence[Any]:
        return ()


class RaisesAnything(Good):
    @asynccontextmanager
    async def stream(self, request: GenerationRequest) -> AsyncIterator[DeltaStream]:
        if not request.messages:
            raise IndexError("no messages")
        async with super().stream(request) as stream:
            yield stream


class Unhelpful(Good):
    def __init__(self) -> None:
        super().__init__(capabilities=Capabilities())

    def error(self, kind: ErrorKind, message: str, suggestion: str = "") -> EngineError:
        return super().error(kind, message)


class OddStats(Good):
    def stats(self) -> dict[str, Any]:
        return {"engine": self}


class ConnectsBadly(Good):
    """Takes a connection that is open already for a mistake."""

    connected = False

    async def connect(self) -> None:
        if self.connected:
            raise EngineError(ErrorKind.NETWORK, "it is connected already", engine="good")
        self.connected = True


class Impatient(EngineConformance):
    """The suite with little patience."""

    patience_s = 0.2


# One bad engine, and the rule that it breaks.
BROKEN: list[tuple[type[ScriptedEngine], str]] = [
    (Silent, "test_the_deltas_fold_to_an_answer"),
    (Endless, "test_only_the_last_delta_has_a_finish_reason"),
    (Repeated, "test_only_the_last_delta_has_a_finish_reason"),
    (Unbilled, "test_the_usage_is_plausible"),
    (WrongBill, "test_the_usage_is_plausible"),
    (WrongReceipt, "test_the_receipt_agrees_with_the_usage"),
    (NoReceipt, "test_the_receipt_agrees_with_the_usage"),
    (Unlimited, "test_max_tokens_is_respected"),
    (Unstoppable, "test_a_stop_string_ends_the_answer_and_never_leaks"),
    (LeaksStops, "test_a_stop_string_ends_the_answer_and_never_leaks"),
    (Capricious, "test_the_same_seed_gives_the_same_answer"),
    (Halves, "test_characters_are_kept_whole"),
    (Boastful, "test_what_it_cannot_do_is_refused"),
    (PositiveLogprobs, "test_logprobs_have_their_shape"),
    (WantsLogprobs, "test_logprobs_are_sent_only_on_request"),
    (Parrot, "test_a_prefix_is_continued_and_not_repeated"),
    (Chatty, "test_a_grammar_is_kept"),
    (Chatty, "test_a_json_schema_is_kept"),
    (CallsAnyway, "test_no_tool_is_called_under_none"),
    (CallsAnyway, "test_a_required_call_is_made"),
    (NeverCalls, "test_a_required_call_is_made"),
    (NeverCalls, "test_a_named_tool_is_called"),
    (CallsAnyway, "test_calls_that_are_not_parallel_are_one_call"),
    (NeverCalls, "test_a_choice_that_is_not_offered_is_refused"),
    (NoReceipt, "test_leaving_early_stops_the_work"),
    (RunsOn, "test_leaving_early_stops_the_work"),
    (Lingers, "test_leaving_early_stops_the_work"),
    (WedgedByLeaving, "test_an_abandoned_stream_does_not_hold_up_the_next"),
    (Wedged, "test_cancelling_a_reader_leaves_the_engine_usable"),
    (Wedged, "test_cancelling_before_the_first_delta_leaves_the_engine_usable"),
    (OneAtATime, "test_concurrent_streams_are_all_answered"),
    (Wedged, "test_it_answers_after_a_failure"),
    (ConnectsBadly, "test_connecting_early_changes_no_answer"),
    (Brittle, "test_closing_twice_is_fine"),
    (Undead, "test_a_closed_engine_refuses"),
    (LeavesAThread, "test_no_thread_outlives_the_engine"),
    (Nameless, "test_it_has_a_name_and_a_model"),
    (MiscountsMessages, "test_counts_grow_with_the_messages"),
    (MiscountsMessages, "test_an_exact_count_is_the_reported_usage"),
    (Estimates, "test_an_exact_count_is_the_reported_usage"),
    (LooksEachTime, "test_health_is_cached_unless_forced"),
    (NeverLooksAgain, "test_health_is_cached_unless_forced"),
    (SickAndLoud, "test_health_never_raises"),
    (Modelless, "test_models_are_listed"),
    (RaisesAnything, "test_nothing_but_engine_errors_is_raised"),
    (Unhelpful, "test_errors_state_where_and_what_to_do"),
    (OddStats, "test_stats_are_plain_data"),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("broken", "rule"), BROKEN, ids=lambda x: getattr(x, "__name__", x))
async def test_the_suite_catches(broken: type[ScriptedEngine], rule: str) -> None:
    engine = broken()
    with pytest.raises((Exception, pytest.fail.Exception)) as raised:
        await getattr(Impatient(), rule)(engine)
    assert not raised.errisinstance(pytest.skip.Exception)
    if isinstance(engine, LeavesAThread):
        engine.over.set()


def test_every_rule_of_the_suite_can_fail() -> None:
    rules = {name for name, _ in inspect.getmembers(EngineConformance) if name.startswith("test_")}
    assert rules == {rule for _, rule in BROKEN}
    assert not [name for name in rules if not getattr(EngineConformance, name).__doc__]


@pytest.mark.anyio
@pytest.mark.parametrize("rule", sorted({rule for _, rule in BROKEN}))
async def test_the_impatient_suite_still_passes_a_good_engine(rule: str) -> None:
    with suppress(pytest.skip.Exception):
        await getattr(Impatient(), rule)(Good())
