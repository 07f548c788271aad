"""Assembly: never over budget, whole exchanges, a stable prefix, privacy."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.context.prompts import PlainPrompts
from vanta.context.assembly import STEP, assemble
from vanta.context.preparer import ContextPreparer, merge_sampling
from vanta.engine import Capabilities, Sampling
from vanta.errors import EngineError, ErrorKind
from vanta.messages import Exchange, Message
from vanta.testing import ScriptedEngine, count_prompt
from vanta.track import Track

texts = st.text(min_size=1, max_size=60)
exchanges = st.lists(
    st.builds(
        lambda question, answer, private: Exchange(
            (Message("user", question), Message("assistant", answer)), private
        ),
        texts,
        texts,
        st.booleans(),
    ),
    max_size=14,
)


def track(window: int | None, reserve: int = 1, *, private: bool = True) -> Track:
    return Track("local", ScriptedEngine(), window=window, reply_reserve=reserve, private=private)


@settings(max_examples=300)
@given(system=texts, history=exchanges, message=texts, window=st.integers(2, 400))
def test_prompt_and_reserve_never_exceed_the_window(
    system: str, history: list[Exchange], message: str, window: int
) -> None:
    async def run() -> None:
        tail = (Message("user", message),)
        if count_prompt([Message("system", system), *tail]) > max(0, window - 20):
            with pytest.raises(EngineError, match="context_overflow"):
                await assemble(track(window, 20), system, history, tail)
            return
        got = await assemble(track(window, 20), system, history, tail)
        assert count_prompt(got.messages) + 20 <= window
        assert got.messages[0] == Message("system", system)
        assert got.messages[-1] == tail[0]
        kept = [m for exchange in history[got.dropped :] for m in exchange.messages]
        assert list(got.messages[1:-1]) == kept

    anyio.run(run)


def past(count: int) -> list[Exchange]:
    return [
        Exchange((Message("user", f"question {n}"), Message("assistant", f"answer {n}")))
        for n in range(count)
    ]


@pytest.mark.anyio
async def test_the_cut_moves_in_large_steps_so_that_the_prefix_stays() -> None:
    whole = count_prompt([message for exchange in past(20) for message in exchange.messages])
    tail = (Message("user", "now"),)
    drops = [
        (await assemble(track(whole), "be brief", past(count), tail)).dropped
        for count in range(18, 30)
    ]
    assert len(set(drops)) < len(drops) / 2
    assert all(drop % STEP == 0 for drop in drops)


@pytest.mark.anyio
async def test_without_a_window_nothing_is_counted_and_nothing_is_cut() -> None:
    got = await assemble(track(None), "be brief", past(50), (Message("user", "now"),))
    assert got.tokens is None
    assert len(got.messages) == 102


@pytest.mark.anyio
async def test_the_window_of_the_engine_holds_if_the_track_has_none() -> None:
    engine = ScriptedEngine(window=60)
    got = await assemble(
        Track("local", engine, reply_reserve=10), "be brief", past(50), (Message("user", "now"),)
    )
    assert got.dropped > 0
    assert count_prompt(got.messages) <= 50


@pytest.mark.anyio
async def test_the_error_of_a_message_beyond_the_window_states_the_excess() -> None:
    tail = (Message("user", "word " * 500),)
    with pytest.raises(EngineError) as caught:
        await assemble(track(100, 20), "be brief", [], tail)
    error = caught.value
    over = count_prompt([Message("system", "be brief"), *tail]) - 80
    assert error.kind is ErrorKind.CONTEXT_OVERFLOW
    assert f"by {over} tokens" in error.suggestion


@pytest.mark.anyio
async def test_private_exchanges_reach_private_tracks_only() -> None:
    history = [Exchange((Message("user", "secret"),), private=True), *past(1)]
    tail = (Message("user", "now"),)
    seen = await assemble(track(None, private=True), "", history, tail)
    hidden = await assemble(track(None, private=False), "", history, tail)
    assert "secret" in [message.content for message in seen.messages]
    assert "secret" not in [message.content for message in hidden.messages]


def preparer(**changes: object) -> ContextPreparer:
    given = {
        "system": "be brief",
        "history": past(1),
        "message": Message("user", "now"),
        "sampling": Sampling(),
        "user": "ada",
        "session": "s",
        "prompts": PlainPrompts(),
        **changes,
    }
    return ContextPreparer(**given)  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_a_takeover_with_prefix_continuation_gets_the_shown_text_as_a_prefix() -> None:
    request = await preparer().prepare(track(1000), shown="so far", judged=False)
    assert request.prefix == "so far"
    assert request.messages[-1] == Message("user", "now")


@pytest.mark.anyio
async def test_a_takeover_without_prefix_continuation_is_asked_to_continue() -> None:
    plain = Track("api", ScriptedEngine(capabilities=Capabilities()), window=1000)
    request = await preparer().prepare(plain, shown="so far", judged=False)
    assert request.prefix == ""
    assert [message.content for message in request.messages[-2:]] == [
        "so far",
        "go on after so far",
    ]


@pytest.mark.anyio
async def test_the_shown_text_counts_towards_the_window() -> None:
    with pytest.raises(EngineError):
        await preparer().prepare(track(60, 20), shown="word " * 100, judged=False)


@pytest.mark.anyio
async def test_a_gate_gets_logprobs_if_the_engine_has_them() -> None:
    able = await preparer().prepare(track(1000), shown="", judged=True)
    unable = Track("api", ScriptedEngine(capabilities=Capabilities()))
    plain = await preparer().prepare(unable, shown="", judged=True)
    assert (able.sampling.logprobs, plain.sampling.logprobs) == (0, None)


@pytest.mark.anyio
async def test_the_trace_has_the_tokens_of_each_prompt() -> None:
    prepared = preparer()
    request = await prepared.prepare(track(1000), shown="", judged=False)
    expected = {
        "tokens": count_prompt(request.messages),
        "exact": True,
        "counter": "vanta.testing.steps",
        "window": 1000,
        "budget": 999,
        "dropped_exchanges": 0,
        "memories": (),
        "memory_tokens": 0,
        "summary": False,
    }
    assert {name: trace.to_dict() for name, trace in prepared.traces.items()} == {"local": expected}


def test_the_sampling_of_the_turn_precedes_that_of_the_track() -> None:
    merged = merge_sampling(Sampling(temperature=0.5, seed=1), Sampling(temperature=0.0))
    assert (merged.temperature, merged.seed) == (0.0, 1)
