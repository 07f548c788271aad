"""An answer is cut at its bound, whatever the sizes of its deltas."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vanta import (
    AnswerBound,
    Delta,
    Fold,
    Message,
    Pace,
    TokenLogprob,
    ToolCallPart,
    whole_answer,
)
from vanta.bounds import CHARACTERS_PER_TOKEN, FREE_CHARACTERS, MOST_CHARACTERS
from vanta.bounds.answer import MOST_CALLS
from vanta.engine import GenerationRequest
from vanta.testing import LoadMeter, Say, ScriptedEngine

pytestmark = pytest.mark.anyio


def test_the_bound_follows_from_max_tokens_and_the_window() -> None:
    free = FREE_CHARACTERS
    assert AnswerBound(100).characters == free + 100 * CHARACTERS_PER_TOKEN
    assert AnswerBound(1000, 100).characters == AnswerBound(100).characters
    assert AnswerBound(None, 100).characters == AnswerBound(100).characters
    assert AnswerBound(100).characters < AnswerBound().characters
    assert AnswerBound(10**9, 10**9).characters == MOST_CHARACTERS


@given(st.lists(st.tuples(st.integers(0, 40_000), st.booleans()), max_size=30))
def test_a_cut_answer_is_the_beginning_of_the_whole_one(sizes: list[tuple[int, bool]]) -> None:
    bound = AnswerBound(1)
    whole, kept = {False: "", True: ""}, {False: "", True: ""}
    for size, is_reasoning in sizes:
        text = f"{len(whole[is_reasoning])}" * size
        whole[is_reasoning] += text
        if not bound.is_reached:
            delta = Delta(reasoning=text) if is_reasoning else Delta(text=text)
            cut = bound.cut(delta)
            kept[False] += cut.text
            kept[True] += cut.reasoning
            assert (cut is delta) == (not bound.is_reached)
            assert (cut.finish_reason == "length") == bound.is_reached
    assert all(whole[kind].startswith(kept[kind]) for kind in whole)
    assert sum(map(len, kept.values())) <= bound.characters
    assert bound.is_reached or kept == whole


def test_deltas_without_content_count_nothing() -> None:
    bound = AnswerBound(1)
    for _ in range(200_000):
        bound.cut(Delta())
    assert not bound.is_reached


def test_more_tool_calls_than_any_model_makes_are_a_problem() -> None:
    bound = AnswerBound(1000)
    parts = tuple(ToolCallPart(n, id=f"c{n}", name="f") for n in range(MOST_CALLS + 1))
    assert bound.cut(Delta(tool_calls=parts[:-1])).tool_calls
    last = bound.cut(Delta(tool_calls=parts[-1:]))
    assert (bound.is_reached, last.tool_calls, last.finish_reason) == (True, (), "length")
    assert "256 tool calls" in bound.problem


def test_half_a_tool_call_is_a_problem_and_no_part_of_the_answer() -> None:
    bound = AnswerBound(1)
    bound.cut(Delta(tool_calls=(ToolCallPart(0, id="c", name="f"),)))
    arguments = "x" * bound.characters
    cut = bound.cut(Delta(tool_calls=(ToolCallPart(0, arguments=arguments),)))
    assert (bound.is_reached, cut.tool_calls) == (True, ())
    assert "tool calls" in bound.problem


def test_logprobs_are_bounded_by_the_tokens() -> None:
    bound = AnswerBound(10)
    entry = TokenLogprob("t", -1.0)
    deltas = 0
    while not bound.is_reached:
        bound.cut(Delta(text="t", logprobs=(entry,)))
        deltas += 1
    assert deltas == 4096 + 2 * 10 + 1


async def test_a_whole_answer_without_an_end_ends_at_its_bound() -> None:
    async def endless() -> AsyncIterator[Delta]:
        while True:
            yield Delta(text="x" * 1000)

    stream = endless()
    async with LoadMeter() as load:
        answer = await whole_answer(stream, AnswerBound(1000))
        await stream.aclose()  # type: ignore[attr-defined]
    assert answer.finish_reason == "length"
    assert len(answer.text) == pytest.approx(AnswerBound(1000).characters, rel=0.01)
    assert load.longest_busy_s < 0.1


async def test_several_answers_to_one_request_end_at_their_bounds() -> None:
    engine = ScriptedEngine(Say("x" * 70_000), Say("y" * 70_000), window=100)
    request = GenerationRequest((Message("user", "go"),))
    answers = await engine.answers(request, 2)
    bound = AnswerBound(None, engine.window).characters
    assert [len(answer.text) <= bound for answer in answers] == [True, True]
    assert [answer.finish_reason for answer in answers] == ["length", "length"]


async def test_a_loop_that_never_waits_lets_others_run() -> None:
    steps = ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await anyio.lowlevel.checkpoint()
            ticks += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        pace = Pace()
        while ticks < 3:
            steps += 1
            if pace.is_due:
                await pace.pause()
        tasks.cancel_scope.cancel()
    assert steps > ticks


async def test_a_shielded_pause_reports_a_cancellation_and_does_not_raise_it() -> None:
    pace, reports = Pace(), []
    with anyio.CancelScope() as scope:
        reports.append(await pace.pause_shielded())
        scope.cancel()
        reports.append(await pace.pause_shielded())
        with pytest.raises(anyio.get_cancelled_exc_class()):
            await pace.pause()
        reports.append(True)
    assert reports == [False, True, True]


def test_fragments_of_an_answer_are_joined_before_they_take_much_memory() -> None:
    fold = Fold()
    for number in range(20_000):
        fold.add(Delta(text=str(number % 10), reasoning="r"))
    assert fold.completion().text == "0123456789" * 2000
    assert fold.completion().reasoning == "r" * 20_000
    assert fold.completion() is fold.completion()
    fold.add(Delta(text="!"))
    assert fold.completion().text.endswith("9!")
