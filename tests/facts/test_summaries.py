"""Summaries of dropped exchanges: extended step by step, with privacy kept."""

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
    run_all,
    stored,
    until,
)
from vanta.engine import GenerationRequest
from vanta.errors import EngineError, ErrorKind
from vanta.memory import MemoryItem, Selection
from vanta.runtime import Runtime
from vanta.testing import Fail, ScriptedEngine, Wait
from vanta_facts.summaries import STEP, SummaryCompanion, summarise_next

pytestmark = pytest.mark.anyio


class RenamedCompanion(SummaryCompanion):
    """The companion under a name that no installed plugin uses."""

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
    """Make `count` numbered exchanges in one session; those in `private` are private."""
    session = runtime.session("ada")
    for number in range(count):
        await session.ask(f"Number {number}: {LONG}", private=number in private)


async def dropped(runtime: Runtime, track: str = "local") -> int:
    """Return how many exchanges the last turn left out."""
    (record,) = await runtime.store.records(user="default", session="ada", limit=1)
    return int(record["trace"]["context"][track]["dropped_exchanges"])


def summary_prompts(local: ScriptedEngine) -> list[str]:
    return [
        request.messages[-1].content
        for request in local.requests
        if request.messages[-1].content.startswith(SUMMARISE)
    ]


def covers(item: MemoryItem) -> int:
    return next(int(tag.removeprefix("covers:")) for tag in item.tags if tag.startswith("covers:"))


async def test_dropped_exchanges_are_summarised_a_few_at_a_time(tmp_path: Path) -> None:
    local = engine({}, summary="They counted")
    async with open_home(tmp_path, local=local, config=SMALL) as runtime:
        await talk(runtime, 14)
        count = await dropped(runtime)
        assert count > STEP
        await run_all(summarise_next, runtime)
        (summary,) = await stored(runtime, "summary")
        prompts = summary_prompts(local)
        assert covers(summary) == count
        assert summary.source == f"summary of {count} exchanges"
        assert (summary.session, summary.private) == ("ada", False)
        assert summary.text == f"They counted {len(prompts)}"
        assert len(prompts) == -(-count // STEP)
        assert "Number 0:" in prompts[0]
        assert f"Number {STEP}:" not in prompts[0]
        assert "They counted 1" in prompts[1]
        assert "Number 0:" not in prompts[1]
        await runtime.session("ada").ask("What did we do?")
        assert summary.text in local.requests[-1].messages[-1].content
        await run_all(summarise_next, runtime)
        assert len(summary_prompts(local)) == len(prompts)


async def test_a_session_that_fits_has_no_summary(tmp_path: Path) -> None:
    local = engine({}, summary="They counted")
    async with open_home(tmp_path, local=local) as runtime:
        await talk(runtime, 3)
        await run_all(summarise_next, runtime)
        assert await stored(runtime, "summary") == []
    assert len(local.runs) == 3


async def test_the_companion_works_after_a_turn_and_continues_after_a_restart(
    tmp_path: Path,
) -> None:
    async with open_home(tmp_path, local=engine({}), config=SMALL) as runtime:
        await talk(runtime, 10)
    local = engine({}, summary="They counted")
    async with open_home(
        tmp_path,
        local=local,
        config=SMALL,
        plugins=[Companions(RenamedCompanion())],
        companions=["tested summaries"],
    ) as runtime:
        await anyio.wait_all_tasks_blocked()
        assert local.runs == []
        await runtime.session("another").ask("Hello.")
        (summary,) = await until(runtime, "summary", 1)
    assert summary.session == "ada"


async def test_a_public_summary_contains_nothing_private_and_private_tracks_see_all(
    tmp_path: Path,
) -> None:
    local, api = engine({}, summary="They counted"), ScriptedEngine("from far")
    config = {**SMALL, "memory": {"share": 0.3}}
    async with open_home(tmp_path, local=local, api=api, config=config) as runtime:
        await talk(runtime, 14, private=(1, 3))
        await run_all(summarise_next, runtime)
        public, private = await stored(runtime, "summary")
        assert (public.private, private.private) == (False, True)
        prompts = summary_prompts(local)
        steps = -(-covers(public) // STEP)
        assert not any("Number 1:" in text or "Number 3:" in text for text in prompts[:steps])
        assert "Number 1:" in prompts[steps]
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


async def test_the_private_summary_stays_newer_than_a_growing_public_one(
    tmp_path: Path,
) -> None:
    local, api = engine({}, summary="They counted"), ScriptedEngine("from far")
    async with open_home(tmp_path, local=local, api=api, config=SMALL) as runtime:
        await talk(runtime, 10, private=(0,))
        await run_all(summarise_next, runtime)
        await talk(runtime, 1, private=(0,))
        await run_all(summarise_next, runtime)
        before = await stored(runtime, "summary")
        await talk(runtime, 8)
        await run_all(summarise_next, runtime)
        public, private = await stored(runtime, "summary")
        assert (public.private, private.private) == (False, True)
        assert before[-1].private
        assert max(item.id for item in before) < public.id < private.id


async def test_forgetting_an_exchange_removes_its_summary_and_the_rest_is_summarised_again(
    tmp_path: Path,
) -> None:
    local = engine({}, summary="They counted")
    async with open_home(tmp_path, local=local, config=SMALL) as runtime:
        await talk(runtime, 14)
        await run_all(summarise_next, runtime)
        first = (await stored(runtime, "message"))[0]
        await memory_of(runtime).forget(Selection("default", ids=(first.id,)))
        assert await stored(runtime, "summary") == []
        before = len(summary_prompts(local))
        await runtime.session("ada").ask(f"On. {LONG}")
        await run_all(summarise_next, runtime)
        assert len(await stored(runtime, "summary")) == 1
        assert not any("Number 0:" in text for text in summary_prompts(local)[before:])


async def test_clearing_a_session_removes_its_summaries(tmp_path: Path) -> None:
    local = engine({}, summary="Numbers were mentioned")
    async with open_home(tmp_path, local=local, config=SMALL) as runtime:
        await talk(runtime, 8, private=(1,))
        await run_all(summarise_next, runtime)
        assert await stored(runtime, "summary") != []
        await runtime.session("elsewhere").clear()
        assert await stored(runtime, "summary") != []
        await runtime.session("ada").clear()
        assert await stored(runtime, "summary") == []


async def test_no_summary_is_stored_of_what_is_forgotten_meanwhile(
    tmp_path: Path,
) -> None:
    gate, started = anyio.Event(), anyio.Event()

    def reply(request: GenerationRequest) -> list[Wait | str]:
        if not request.messages[-1].content.startswith(SUMMARISE):
            return ["I see."]
        started.set()
        return [Wait(gate), "They counted"]

    local = ScriptedEngine(reply=reply)
    async with open_home(tmp_path, local=local, config=SMALL) as runtime:
        await talk(runtime, 10)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_all, summarise_next, runtime)
            await started.wait()
            await memory_of(runtime).forget(Selection("default", session="ada"))
            gate.set()
        assert await stored(runtime, "summary") == []


@pytest.mark.parametrize("broken", [False, True])
async def test_excerpts_replace_a_summary_that_the_model_cannot_make(
    tmp_path: Path, broken: bool
) -> None:
    too_long = EngineError(ErrorKind.CONTEXT_OVERFLOW, "too long", engine="scripted")

    def reply(request: GenerationRequest) -> list[Fail | str]:
        if not request.messages[-1].content.startswith(SUMMARISE):
            return ["I see."]
        return [Fail(too_long)] if broken else []

    async with open_home(tmp_path, local=ScriptedEngine(reply=reply), config=SMALL) as runtime:
        await talk(runtime, 10)
        await run_all(summarise_next, runtime)
        (summary,) = await stored(runtime, "summary")
    assert summary.text.startswith("The user said: Number 0: word word")
