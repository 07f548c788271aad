"""The conformance suite of engines: answers, capabilities, stopping, and reports.

Invariant: a test needs nothing but the `engine` fixture, which yields a fresh engine that is not
loaded yet, and the hints.
"""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import dataclasses
import json
import threading

import anyio
import pytest

from vanta.engine import Engine, GenerationRequest, Health
from vanta.errors import EngineError, ErrorKind
from vanta.messages import Completion, Delta, Message
from vanta.testing.conformance.hints import GRAMMAR, SCHEMA, Hints, read_stream, sample, unsupported
from vanta.tools.arguments import read_arguments


class AnswerTests(Hints):
    """What an answer consists of, and the limits that it respects."""

    async def test_the_deltas_fold_to_an_answer(self, engine: Engine) -> None:
        """There is text, and every item of the stream is a Delta."""
        outcome = await read_stream(engine, self.request)
        assert all(isinstance(delta, Delta) for delta in outcome.deltas)
        assert outcome.answer.text.strip(), "the answer to `request` has no text"

    async def test_only_the_last_delta_has_a_finish_reason(self, engine: Engine) -> None:
        """A stream reports its end once, in its last delta."""
        outcome = await read_stream(engine, self.request)
        reasons = [delta.finish_reason for delta in outcome.deltas]
        assert reasons, "the stream had no delta"
        assert reasons[-1] is not None, "the last delta has no finish_reason"
        assert not any(reasons[:-1]), "a delta before the last has a finish_reason"

    async def test_the_usage_is_plausible(self, engine: Engine) -> None:
        """Counts are positive, and the cached tokens are part of the input."""
        outcome = await read_stream(engine, self.request)
        usage = outcome.answer.usage
        if not self.reports_usage:
            pytest.skip("reports_usage is False")
        assert usage is not None, "no delta has a usage"
        assert usage.input_tokens > 0
        assert usage.output_tokens > 0
        assert 0 <= usage.cached_input_tokens <= usage.input_tokens

    async def test_the_receipt_agrees_with_the_usage(self, engine: Engine) -> None:
        """A stream that was read to its end has a receipt without tokens after the stop."""
        outcome = await read_stream(engine, self.request)
        receipt, usage = outcome.receipt, outcome.answer.usage
        assert receipt is not None, "leaving the context set no receipt"
        assert receipt.tokens_after_stop == 0
        if usage and usage.exact and receipt.exact:
            assert receipt.output_tokens == usage.output_tokens
            assert receipt.input_tokens == usage.input_tokens

    async def test_max_tokens_is_respected(self, engine: Engine) -> None:
        """A long answer is cut at the limit and has the finish reason `length`."""
        answer = (await read_stream(engine, sample(self.long_request, max_tokens=3))).answer
        assert answer.finish_reason == "length"
        whole = (await read_stream(engine, sample(self.long_request, max_tokens=9))).answer
        assert len(answer.text) < len(whole.text), "3 tokens are no shorter than 9"
        if answer.usage is not None:
            assert answer.usage.output_tokens <= 3

    async def test_a_stop_string_ends_the_answer_and_never_leaks(self, engine: Engine) -> None:
        """Neither the stop string nor its beginning is sent, however the tokens split it."""
        if not self.deterministic:
            pytest.skip("deterministic is False")
        request = sample(self.long_request, max_tokens=24)
        whole = (await read_stream(engine, request)).answer.text
        assert len(whole) >= 20, "the answer to `long_request` is too short to stop"
        stop = whole[11:17]
        stopped = await read_stream(engine, sample(request, stop=(stop,)))
        assert stopped.answer.text == whole[: whole.index(stop)]
        assert stopped.answer.finish_reason == "stop"

    async def test_the_same_seed_gives_the_same_answer(self, engine: Engine) -> None:
        """An engine that is seeded honours the seed."""
        if not self.seeded:
            pytest.skip("seeded is False")
        request = sample(self.request, temperature=0.9, seed=7)
        texts = [(await read_stream(engine, request)).answer.text for _ in range(2)]
        assert texts[0] == texts[1]

    async def test_characters_are_kept_whole(self, engine: Engine) -> None:
        """A character of several bytes is in one delta, neither split nor replaced by U+FFFD."""
        outcome = await read_stream(engine, self.unicode_request)
        for delta in outcome.deltas:
            assert "\ufffd" not in delta.text, "a delta has a broken character"
            delta.text.encode()
        if outcome.answer.text.isascii():
            pytest.skip("the answer to `unicode_request` is ASCII")


_ENOUGH = 8  # characters by which a text is known again


class ShapeTests(Hints):
    """What an engine claims it does, and anything else it refuses."""

    async def test_what_it_cannot_do_is_refused(self, engine: Engine) -> None:
        """A request that needs a missing capability raises `unsupported`, at once."""
        demands = unsupported(engine.capabilities, self.request)
        if not demands:
            pytest.skip("it can do everything")
        for name, request in demands:
            with anyio.fail_after(self.patience_s), pytest.raises(EngineError) as raised:
                await read_stream(engine, request)
            assert raised.value.kind is ErrorKind.UNSUPPORTED, name

    async def test_logprobs_have_their_shape(self, engine: Engine) -> None:
        """Natural logarithms, at most as many alternatives as requested, best first."""
        if not engine.capabilities.logprobs:
            pytest.skip("no logprobs")
        tokens = (await read_stream(engine, sample(self.request, logprobs=2))).answer.logprobs
        assert tokens, "logprobs were requested and none were sent"
        for token in tokens:
            alternatives = [value for _, value in token.top]
            assert token.logprob <= 1e-4
            assert len(alternatives) <= 2
            assert alternatives == sorted(alternatives, reverse=True)

    async def test_logprobs_are_sent_only_on_request(self, engine: Engine) -> None:
        """A request without logprobs does not pay for them."""
        assert not (await read_stream(engine, self.request)).answer.logprobs

    async def test_a_prefix_is_continued_and_not_repeated(self, engine: Engine) -> None:
        """The answer continues where the prefix ends."""
        if not engine.capabilities.prefix_continuation:
            pytest.skip("no prefix continuation")
        request = sample(self.long_request, max_tokens=24)
        prefix = _first_half((await read_stream(engine, request)).answer.text)
        rest = (await read_stream(engine, dataclasses.replace(request, prefix=prefix))).answer.text
        assert rest.strip(), "nothing follows the prefix"
        assert not rest.lstrip().startswith(prefix[:_ENOUGH]), "the prefix was repeated"

    async def test_a_grammar_is_kept(self, engine: Engine) -> None:
        """The answer is in the language of the grammar."""
        if not engine.capabilities.grammar:
            pytest.skip("no grammar")
        answer = (await read_stream(engine, sample(self.request, grammar=GRAMMAR))).answer
        assert answer.text in {"yes", "no"}

    async def test_a_json_schema_is_kept(self, engine: Engine) -> None:
        """The answer is JSON of the schema."""
        if not engine.capabilities.json_schema:
            pytest.skip("no JSON schema")
        request = sample(self.request, json_schema=SCHEMA, max_tokens=64)
        data = json.loads((await read_stream(engine, request)).answer.text)
        assert isinstance(data, dict)
        assert set(data) == {"ok"}
        assert isinstance(data["ok"], bool)


class ToolChoiceTests(Hints):
    """Which tools are called, and how many."""

    async def test_no_tool_is_called_under_none(self, engine: Engine) -> None:
        """The answer is text."""
        answer = await self._called(engine, "none")
        assert not answer.tool_calls
        assert answer.finish_reason != "tool_calls"

    async def test_a_required_call_is_made(self, engine: Engine) -> None:
        """It is of a tool that was offered, and its arguments are valid."""
        answer = await self._called(engine, "required")
        assert answer.tool_calls, "no tool was called"
        assert answer.finish_reason == "tool_calls"
        for call in answer.tool_calls:
            (tool,) = (tool for tool in self.tool_request.tools if tool.name == call.name)
            read_arguments(call.arguments, tool.parameters)

    async def test_a_named_tool_is_called(self, engine: Engine) -> None:
        """Whichever of them the choice names."""
        for tool in self.tool_request.tools:
            answer = await self._called(engine, tool.name)
            assert {call.name for call in answer.tool_calls} == {tool.name}

    async def test_calls_that_are_not_parallel_are_one_call(self, engine: Engine) -> None:
        """More than one is never sent, whatever the model would do."""
        answer = await self._called(engine, "required", parallel_tool_calls=False)
        assert len(answer.tool_calls) == 1

    async def test_a_choice_that_is_not_offered_is_refused(self, engine: Engine) -> None:
        """Both a name that no tool has, and a required call without tools."""
        if not engine.capabilities.tools:
            pytest.skip("no tools")
        for choice, tools in (("no_such_tool", self.tool_request.tools), ("required", ())):
            request = dataclasses.replace(self.tool_request, tools=tools, tool_choice=choice)
            with anyio.fail_after(self.patience_s), pytest.raises(EngineError) as raised:
                await read_stream(engine, request)
            assert raised.value.kind is ErrorKind.BAD_REQUEST

    async def _called(
        self, engine: Engine, choice: str, *, parallel_tool_calls: bool = True
    ) -> Completion:
        if not engine.capabilities.tools:
            pytest.skip("no tools")
        request = dataclasses.replace(
            self.tool_request, tool_choice=choice, parallel_tool_calls=parallel_tool_calls
        )
        with anyio.fail_after(self.patience_s):
            return (await read_stream(engine, request)).answer


def _first_half(whole: str) -> str:
    """Return about half of `whole`, cut where the rest does not begin like the whole.

    Small models repeat themselves, so a continuation could look like a repeated prefix.
    """
    whole = whole.lstrip()
    cuts = range(len(whole) // 2, len(whole))
    start = whole[:_ENOUGH]
    cut = next((cut for cut in cuts if not whole[cut:].lstrip().startswith(start)), len(whole))
    return whole[:cut].rstrip()


_POOLS = ("AnyIO worker", "Trio thread", "asyncio_")


class StoppingTests(Hints):
    """Leaving, cancelling, failing and closing stop the work and leave nothing behind."""

    async def test_leaving_early_stops_the_work(self, engine: Engine) -> None:
        """Leaving the context ends the generation, and the receipt states its cost."""
        limit = self.long_request.sampling.max_tokens
        assert limit is not None, "`long_request` needs a max_tokens"
        with anyio.fail_after(self.patience_s):
            async with engine.stream(self.long_request) as stream:
                await anext(stream)
        receipt = stream.receipt
        assert receipt is not None, "leaving the context set no receipt"
        assert receipt.output_tokens < limit, "the generation continued to its limit"
        assert receipt.tokens_after_stop <= self.max_tokens_after_stop

    async def test_an_abandoned_stream_does_not_hold_up_the_next(self, engine: Engine) -> None:
        """After a stream was left early, the next answer is complete."""
        async with engine.stream(self.long_request) as stream:
            await anext(stream)
        self._whole(await self._soon(engine))

    async def test_cancelling_a_reader_leaves_the_engine_usable(self, engine: Engine) -> None:
        """Cancelling a reader cancels its generation, and nothing else."""
        read = anyio.Event()

        async def read_all() -> None:
            async with engine.stream(self.long_request) as stream:
                async for _ in stream:
                    read.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read_all)
            await read.wait()
            tasks.cancel_scope.cancel()
        self._whole(await self._soon(engine))

    async def test_cancelling_before_the_first_delta_leaves_the_engine_usable(
        self, engine: Engine
    ) -> None:
        """The same, at the earliest moment that a caller can cancel."""
        with anyio.move_on_after(0):
            await read_stream(engine, self.long_request)
        self._whole(await self._soon(engine))

    async def test_concurrent_streams_are_all_answered(self, engine: Engine) -> None:
        """All of several concurrent requests are answered."""
        answers: list[Completion] = []

        async def answer() -> None:
            answers.append((await read_stream(engine, self.request)).answer)

        with anyio.fail_after(self.patience_s):
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(answer)
        assert len(answers) == 3
        for completion in answers:
            self._whole(completion)

    async def test_it_answers_after_a_failure(self, engine: Engine) -> None:
        """A refused request does not affect the next one."""
        demands = unsupported(engine.capabilities, self.request)
        if not demands:
            pytest.skip("no request is known to fail")
        with pytest.raises(EngineError):
            await read_stream(engine, demands[0][1])
        self._whole(await self._soon(engine))

    async def test_connecting_early_changes_no_answer(self, engine: Engine) -> None:
        """A connection may be opened at any time, also twice; the next request is answered."""
        await engine.connect()
        await engine.connect()
        self._whole(await self._soon(engine))

    async def test_closing_twice_is_fine(self, engine: Engine) -> None:
        """The second call does nothing."""
        await read_stream(engine, self.request)
        with anyio.fail_after(self.patience_s):
            await engine.aclose()
            await engine.aclose()

    async def test_a_closed_engine_refuses(self, engine: Engine) -> None:
        """A request after `aclose` raises EngineError; it neither hangs nor reopens the engine."""
        await engine.aclose()
        with anyio.fail_after(self.patience_s), pytest.raises(EngineError):
            await read_stream(engine, self.request)

    async def test_no_thread_outlives_the_engine(self, engine: Engine) -> None:
        """Threads that the engine started end with `aclose`."""
        before = set(threading.enumerate())
        await engine.load()
        await read_stream(engine, self.request)
        await engine.aclose()
        left = [
            thread.name
            for thread in set(threading.enumerate()) - before
            if not thread.name.startswith(_POOLS)
        ]
        assert not left, f"threads are left: {left}"

    async def _soon(self, engine: Engine) -> Completion:
        with anyio.fail_after(self.patience_s):
            return (await read_stream(engine, self.request)).answer

    def _whole(self, answer: Completion) -> None:
        assert answer.text.strip()
        assert answer.finish_reason is not None


class MannersTests(Hints):
    """Counts, models, health, errors and statistics."""

    async def test_it_has_a_name_and_a_model(self, engine: Engine) -> None:
        """Messages can name the engine and the model."""
        assert engine.name
        assert engine.model

    async def test_counts_grow_with_the_messages(self, engine: Engine) -> None:
        """More text and more messages are never fewer tokens."""
        short = (Message("user", "one two"),)
        long = (Message("user", "one two three four five six"),)
        counts = [
            (await engine.count_tokens(messages)).value
            for messages in (short, long, (*long, Message("assistant", "seven")))
        ]
        assert counts[0] > 0
        assert counts == sorted(counts)

    async def test_an_exact_count_is_the_reported_usage(self, engine: Engine) -> None:
        """An exact count is the reported usage; an estimate is not below it."""
        count = await engine.count_tokens(self.request.messages)
        usage = (await read_stream(engine, self.request)).answer.usage
        assert count.exact or not self.expects_exact_counts, "the count is an estimate"
        if usage is None or not usage.exact:
            pytest.skip("the engine reports no exact usage")
        if count.exact:
            assert count.value == usage.input_tokens
        else:
            assert count.value >= usage.input_tokens, "an estimate errs on the high side"

    async def test_health_is_cached_unless_forced(self, engine: Engine) -> None:
        """A second check within 30 seconds returns the first one, with its age."""
        with anyio.fail_after(self.patience_s):
            first = await engine.health(force=True)
            await anyio.sleep(0.02)  # so that the age is above 0
            second = await engine.health()
            forced = await engine.health(force=True)
        assert isinstance(first, Health)
        assert first.detail
        assert second.age_s > 0, "it checked again"
        assert forced.age_s < second.age_s, "it did not check again"

    async def test_health_never_raises(self, engine: Engine) -> None:
        """Not even for a closed engine."""
        await engine.aclose()
        with anyio.fail_after(self.patience_s):
            assert isinstance(await engine.health(force=True), Health)

    async def test_models_are_listed(self, engine: Engine) -> None:
        """Each has an id."""
        listed = await engine.models()
        assert all(model.id for model in listed)
        assert listed or not self.lists_models, "no model is listed"

    async def test_nothing_but_engine_errors_is_raised(self, engine: Engine) -> None:
        """However odd the request: an answer, or an EngineError."""
        odd = (
            GenerationRequest(()),
            GenerationRequest((Message("user", ""),)),
            dataclasses.replace(self.request, messages=(Message("tool", "x", tool_call_id="y"),)),
        )
        for strange in odd:
            request = dataclasses.replace(strange, sampling=self.request.sampling)
            with anyio.fail_after(self.patience_s):
                await self._answered_or_refused(engine, request)

    async def test_errors_state_where_and_what_to_do(self, engine: Engine) -> None:
        """Every error has the engine's name, the model and a suggestion."""
        demands = unsupported(engine.capabilities, self.request)
        if not demands:
            pytest.skip("no request is known to fail")
        with pytest.raises(EngineError) as raised:
            await read_stream(engine, demands[0][1])
        assert raised.value.engine == engine.name
        assert raised.value.model == engine.model
        assert raised.value.suggestion, "no suggestion"

    async def test_stats_are_plain_data(self, engine: Engine) -> None:
        """They can be encoded as JSON."""
        await read_stream(engine, self.request)
        json.dumps(dict(engine.stats()))

    async def _answered_or_refused(self, engine: Engine, request: GenerationRequest) -> None:
        try:
            await read_stream(engine, request)
        except EngineError:
            return


class EngineConformance(AnswerTests, ShapeTests, ToolChoiceTests, StoppingTests, MannersTests):
    """Derive from it, define an `engine` fixture, and set the hints that differ."""

    pytestmark = pytest.mark.anyio
