"""Summaries: of what fell out of the history, grown step by step, privacy kept."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from tests.facts.home import (
    SUMMARISE,
    Companions,
    engine,
    memory_of,
    open_home,
    stored,
    until,
    work_off,
)
from vanta.engine import GenerationRequest
from vanta.errors import EngineError, ErrorKind
from vanta.memory import MemoryItem, Selection
from vanta.runtime import Runtime
from vanta.testing import Fail, ScriptedEngine, Wait
from vanta_facts.summaries import TOGETHER, Summaries, look

pytestmark = pytest.mark.anyio


class Tested(Summaries):
    """The companion under a name that no installed plugin has."""

    name = "tested summaries"


SMALL = {
    "tracks": {
        "local": {"window": 260, "reply_reserve": 20},
        "api": {"window": 260, "reply_reserve": 20},
    },
    "system": "short",
}
LONG = "word " * 20


async def talk(runtime: Runtime, count: int, *, private: tuple[int, ...] = ()) -> None:
    """`count` exchanges in one session, each with its number; those of `private` are."""
    session = runtime.session("ada")
    for number in range(count):
        await session.ask(f"Number {number}: {LONG}", private=number in private)


async def dropped(runtime: Runtime, track: str = "local") -> int:
    """How many exchanges the last turn left out."""
    (record,) = await runtime.store.records(user="default", session="ada", limit=1)
    return int(record["trace"]["context"][track]["dropped_exchanges"])


def asked_for_summaries(local: ScriptedEngine) -> list[str]:
    return [
        request.messages[-1].content
        for request in local.requests
        if request.messages[-1].content.startswith(SUMMARISE)
    ]


def covers(item: MemoryItem) -> int:
    return next(int(tag.removeprefix("covers:")) for tag in item.tags if tag.startswith("covers:"))


async def test_what_fell_out_is_summarised_a_few_exchanges_at_a_time(tmp_path: Path) -> None:
    local = engine({}, summary="They counted")
    async with open_home(tmp_path, local=local, config=SMALL) as runtime:
        await talk(runtime, 14)
        fell_out = await dropped(runtime)
        assert fell_out > TOGETHER
        await work_off(look, runtime)
        (summary,) = await stored(runtime, "summary")
        asked = asked_for_summaries(local)
        assert covers(summary) == fell_out
        assert summary.source == f"summary of {fell_out} exchanges"
        assert (summary.session, summary.private) == ("ada", False)
        assert summary.text == f"They counted {len(asked)}"
        assert len(asked) == -(-fell_out // TOGETHER)
        assert "Number 0:" in asked[0]
        assert f"Number {TOGETHER}:" not in asked[0]
        assert "They counted 1" in asked[1]
        assert "Number 0:" not in asked[1]
        await runtime.session("ada").ask("What did we do?")
        assert summary.text in local.requests[-1].messages[-1].content
        await work_off(look, runtime)
        assert len(asked_for_summaries(local)) == len(asked)


async def test_a_session_that_fits_has_no_summary(tmp_path: Path) -> None:
    local = engine({}, summary="They counted")
    async with open_home(tmp_path, local=local) as runtime:
        await talk(runtime, 3)
        await work_off(look, runtime)
        assert await stored(runtime, "summary") == []
    assert len(local.runs) == 3


async def test_the_companion_works_after_a_turn_and_goes_on_after_a_restart(
    tmp_path: Path,
) -> None:
    async with open_home(tmp_path, local=engine({}), config=SMALL) as runtime:
        await talk(runtime, 10)
    local = engine({}, summary="They counted")
    async with open_home(
        tmp_path,
        local=local,
        config=SMALL,
        plugins=[Companions(Tested())],
        companions=["tested summaries"],
    ) as runtime:
        await anyio.wait_all_tasks_blocked()
        assert local.runs == []
        await runtime.session("another").ask("Hello.")
        (summary,) = await until(runtime, "summary", 1)
    assert summary.session == "ada"


async def test_a_public_summary_knows_nothing_private_and_private_tracks_see_all(
    tmp_path: Path,
) -> None:
    local, api = engine({}, summary="They counted"), ScriptedEngine("from far")
    config = {**SMALL, "memory": {"share": 0.3}}
    async with open_home(tmp_path, local=local, api=api, config=config) as runtime:
        await talk(runtime, 14, private=(1, 3))
        await work_off(look, runtime)
        public, private = await stored(runtime, "summary")
        assert (public.private, private.private) == (False, True)
        asked = asked_for_summaries(local)
        steps = -(-covers(public) // TOGETHER)
        assert not any("Number 1:" in text or "Number 3:" in text for text in asked[:steps])
        assert "Number 1:" in asked[steps]
        assert covers(private) == covers(public) + 2
        assert public.id < private.id
        assert await stored(runtime, "summary", private=False) == [public]
        session = runtime.session("ada")
        await session.ask("What did we do?", policy="local", private=True)
        assert private.text in local.requests[-1].messages[-1].content
        await session.ask("What did we do?", policy="api")
        shown = api.requests[-1].messages[-1].content
        assert public.text in shown
        assert private.text not in shown


async def test_a_public_summary_that_grows_leaves_the_private_one_the_newest(
    tmp_path: Path,
) -> None:
    local, api = engine({}, summary="They counted"), ScriptedEngine("from far")
    async with open_home(tmp_path, local=local, api=api, config=SMALL) as runtime:
        await talk(runtime, 10, private=(0,))
        await work_off(look, runtime)
        await talk(runtime, 1, private=(0,))
        await work_off(look, runtime)
        before = await stored(runtime, "summary")
        await talk(runtime, 8)
        await work_off(look, runtime)
        public, private = await stored(runtime, "summary")
        assert (public.private, private.private) == (False, True)
        assert before[-1].private
        assert max(one.id for one in before) < public.id < private.id


async def test_a_summary_goes_with_what_it_is_of_and_is_made_anew_of_the_rest(
    tmp_path: Path,
) -> None:
    local = engine({}, summary="They counted")
    async with open_home(tmp_path, local=local, config=SMALL) as runtime:
        await talk(runtime, 14)
        await work_off(look, runtime)
        first = (await stored(runtime, "message"))[0]
        await memory_of(runtime).forget(Selection("default", ids=(first.id,)))
        assert await stored(runtime, "summary") == []
        before = len(asked_for_summaries(local))
        await runtime.session("ada").ask(f"On. {LONG}")
        await work_off(look, runtime)
        assert len(await stored(runtime, "summary")) == 1
        assert not any("Number 0:" in text for text in asked_for_summaries(local)[before:])


async def test_no_summary_is_left_of_what_is_forgotten_meanwhile(tmp_path: Path) -> None:
    gate, begun = anyio.Event(), anyio.Event()

    def reply(request: GenerationRequest) -> list[Wait | str]:
        if not request.messages[-1].content.startswith(SUMMARISE):
            return ["I see."]
        begun.set()
        return [Wait(gate), "They counted"]

    local = ScriptedEngine(reply=reply)
    async with open_home(tmp_path, local=local, config=SMALL) as runtime:
        await talk(runtime, 10)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work_off, look, runtime)
            await begun.wait()
            await memory_of(runtime).forget(Selection("default", session="ada"))
            gate.set()
        assert await stored(runtime, "summary") == []


@pytest.mark.parametrize("broken", [False, True])
async def test_where_the_model_says_nothing_of_use_the_beginnings_stand_for_it(
    tmp_path: Path, broken: bool
) -> None:
    too_long = EngineError(ErrorKind.CONTEXT_OVERFLOW, "too long", engine="scripted")

    def reply(request: GenerationRequest) -> list[Fail | str]:
        if not request.messages[-1].content.startswith(SUMMARISE):
            return ["I see."]
        return [Fail(too_long)] if broken else []

    async with open_home(tmp_path, local=ScriptedEngine(reply=reply), config=SMALL) as runtime:
        await talk(runtime, 10)
        await work_off(look, runtime)
        (summary,) = await stored(runtime, "summary")
    assert summary.text.startswith("The user said: Number 0: word word")
