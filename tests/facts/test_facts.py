"""Facts: which are believed, stored, superseded and forgotten, and which tracks see them."""

from __future__ import annotations

import datetime as dt
import json
import logging
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vanta_facts
from tests.facts.home import (
    Companions,
    engine,
    facts,
    memory_of,
    open_home,
    run_all,
    stored,
    until,
)
from vanta.errors import EngineError, ErrorKind
from vanta.memory import SUPERSEDED, Question, Scope, Selection, render_line
from vanta.plugin_loading import load
from vanta.testing import Fail, ScriptedEngine, Step, Wait
from vanta_facts.extraction import (
    MAX_ABOUT,
    MAX_FACT,
    MAX_FACTS,
    MIN_CONFIDENCE,
    believed_facts,
    confidence,
)
from vanta_facts.facts import FactsCompanion, extract_next

pytestmark = pytest.mark.anyio


class RenamedCompanion(FactsCompanion):
    """The companion under a name that no installed plugin uses."""

    name = "tested facts"


PORTO = "I moved to Porto yesterday and work as a nurse."
IN_PORTO = ("Home town", "The user moved to Porto yesterday.")
NURSE = ("work", "The user works as a nurse.")
LISBON = "I live in Lisbon now."
IN_LISBON = ("home town", "The user lives in Lisbon now.")
ANSWERS = {"Porto": facts(IN_PORTO, NURSE), "Lisbon": facts(IN_LISBON)}


def test_the_plugin_brings_both_companions() -> None:
    plugins = load(strict=True, extra=[vanta_facts], entry_points=[])
    assert list(plugins.companions) == ["facts", "summary"]


async def test_facts_are_stored_after_a_turn_with_their_sources(tmp_path: Path) -> None:
    local = engine(ANSWERS)
    async with open_home(
        tmp_path, local=local, plugins=[Companions(RenamedCompanion())], companions=["tested facts"]
    ) as runtime:
        reply = await runtime.session("ada").ask(PORTO)
        home, work = await until(runtime, "fact", 2)
        question, answer = await stored(runtime, "message")
    assert (home.text, work.text) == (IN_PORTO[1], NURSE[1])
    assert home.tags == ("about:home town", "confidence:1.00")
    assert home.source == f"fact from memories {question.id}, {answer.id}"
    assert (home.turn_id, home.session) == (reply.trace.turn_id, "ada")
    assert home.said_at == question.said_at
    today = dt.datetime.fromtimestamp(question.said_at, dt.UTC).date()
    assert home.dates == {"yesterday": (today - dt.timedelta(days=1)).isoformat()}
    assert local.runs[1].request.session != local.runs[0].request.session


async def test_extraction_waits_for_the_first_turn_and_yields_to_turns(tmp_path: Path) -> None:
    first_gate, second_gate = anyio.Event(), anyio.Event()
    local = ScriptedEngine(
        scripts=[
            ["I see."],
            [Wait(first_gate)],
            ["Again."],
            [Wait(second_gate), facts(NURSE)],
            [facts()],
        ],
        capabilities=engine({}).capabilities,
    )
    async with open_home(
        tmp_path, local=local, plugins=[Companions(RenamedCompanion())], companions=["tested facts"]
    ) as runtime:
        await anyio.wait_all_tasks_blocked()
        assert local.loads == len(local.runs) == 0
        await runtime.session("ada").ask(PORTO)
        extraction = await local.run(1)
        assert (await runtime.session("ada").ask("And you?")).text == "Again."
        await extraction.stopped.wait()
        assert extraction.cancelled
        retried = await local.run(3)
        assert retried.request == extraction.request
        second_gate.set()
        (fact,) = await until(runtime, "fact", 1)
    assert fact.text == NURSE[1]


async def test_each_exchange_is_examined_once_even_after_a_restart(tmp_path: Path) -> None:
    local = engine(ANSWERS)
    async with open_home(tmp_path, local=local) as runtime:
        await runtime.session("ada").ask(PORTO)
        await run_all(extract_next, runtime)
        await run_all(extract_next, runtime)
        assert len(local.runs) == 2
    again = engine(ANSWERS)
    async with open_home(tmp_path, local=again) as runtime:
        await run_all(extract_next, runtime)
        assert len(again.runs) == 0
        await runtime.session("ada").ask("What is a haiku?")
        await run_all(extract_next, runtime)
        assert len(again.runs) == 2
        assert len(await stored(runtime, "fact")) == 2


async def test_a_contradiction_tags_the_older_fact_and_keeps_it(tmp_path: Path) -> None:
    async with open_home(tmp_path, local=engine(ANSWERS)) as runtime:
        for text in (PORTO, LISBON):
            await runtime.session("ada").ask(text)
        await run_all(extract_next, runtime)
        porto, nurse, lisbon = await stored(runtime, "fact")
    assert porto.tags == ("about:home town", "confidence:1.00", SUPERSEDED)
    assert SUPERSEDED not in (*nurse.tags, *lisbon.tags)
    assert porto.said_at < lisbon.said_at
    assert "(no longer so)" in render_line(porto)
    assert "(no longer so)" not in render_line(lisbon)


async def test_the_same_fact_is_stored_once(tmp_path: Path) -> None:
    async with open_home(tmp_path, local=engine(ANSWERS)) as runtime:
        for _ in range(3):
            await runtime.session("ada").ask(LISBON)
        await run_all(extract_next, runtime)
        assert len(await stored(runtime, "fact")) == 1


async def test_a_private_exchange_yields_private_facts_and_changes_no_public_one(
    tmp_path: Path,
) -> None:
    config = {"memory": {"share": 0.0}}  # a turn that is shown private text becomes private
    async with open_home(tmp_path, local=engine(ANSWERS), config=config) as runtime:
        await runtime.session("one").ask(PORTO)
        await runtime.session("two").ask(LISBON, private=True)
        await run_all(extract_next, runtime)
        public = await stored(runtime, "fact", private=False)
        (lisbon,) = [item for item in await stored(runtime, "fact") if item.private]
        assert [SUPERSEDED in item.tags for item in public] == [False, False]
        assert lisbon.text == IN_LISBON[1]
        await runtime.session("three").ask(LISBON)
        await run_all(extract_next, runtime)
        public = await stored(runtime, "fact", private=False)
    assert [item.text for item in public] == [IN_PORTO[1], NURSE[1], IN_LISBON[1]]
    assert [SUPERSEDED in item.tags for item in public] == [True, False, False]


async def test_a_private_fact_is_recalled_on_private_tracks_only(tmp_path: Path) -> None:
    local, api = engine(ANSWERS), ScriptedEngine("from far")
    async with open_home(tmp_path, local=local, api=api) as runtime:
        await runtime.session("one").ask(LISBON, private=True)
        await run_all(extract_next, runtime)
        for policy, private in (("local", True), ("api", False)):
            await runtime.session("two").ask("Where do I live now?", policy=policy, private=private)
    assert "The user lives in Lisbon" in local.requests[-1].messages[-1].content
    assert "Lisbon" not in api.requests[-1].messages[-1].content


async def test_facts_of_different_users_are_separate(tmp_path: Path) -> None:
    async with open_home(tmp_path, local=engine(ANSWERS)) as runtime:
        await runtime.session("s", user="ada").ask(PORTO)
        await runtime.session("s", user="bo").ask(LISBON)
        await run_all(extract_next, runtime)
        assert [item.text for item in await stored(runtime, "fact", user="bo")] == [IN_LISBON[1]]
        ada = await stored(runtime, "fact", user="ada")
        assert not any(SUPERSEDED in item.tags for item in ada)


async def test_forgetting_one_fact_keeps_everything_else(tmp_path: Path) -> None:
    async with open_home(tmp_path, local=engine(ANSWERS)) as runtime:
        for text in (PORTO, LISBON):
            await runtime.session("ada").ask(text)
        await run_all(extract_next, runtime)
        memory = memory_of(runtime)
        *_, lisbon = await stored(runtime, "fact")
        receipt = await memory.forget(Selection("default", ids=(lisbon.id,)))
        assert (receipt.removed.items, receipt.removed.messages) == (1, 0)
        porto, nurse = await stored(runtime, "fact")
        assert SUPERSEDED in porto.tags
        assert len(await stored(runtime, "message")) == 4
        await run_all(extract_next, runtime)
        assert await stored(runtime, "fact") == [porto, nurse]


async def test_facts_are_forgotten_with_their_exchange(tmp_path: Path) -> None:
    async with open_home(tmp_path, local=engine(ANSWERS)) as runtime:
        await runtime.session("ada").ask(PORTO)
        await run_all(extract_next, runtime)
        message = (await stored(runtime, "message"))[0]
        await memory_of(runtime).forget(Selection("default", ids=(message.id,)))
        assert await stored(runtime, "fact") == []


async def test_clearing_a_session_removes_its_facts_and_no_others(tmp_path: Path) -> None:
    async with open_home(tmp_path, local=engine(ANSWERS)) as runtime:
        await runtime.session("ada").ask(PORTO)
        await runtime.session("other").ask(LISBON)
        await run_all(extract_next, runtime)
        assert len(await stored(runtime, "fact")) == 3
        assert await runtime.session("ada").clear() == 2
        (lisbon,) = await stored(runtime, "fact")
        assert lisbon.session == "other"
        await run_all(extract_next, runtime)
        assert await stored(runtime, "fact") == [lisbon]
        assert await runtime.session("other").clear() == 2
        assert await stored(runtime, "fact") == []


async def test_what_another_session_said_too_is_found_after_a_clear(tmp_path: Path) -> None:
    text = "The red bicycle of my grandmother stands in the cellar in Porto."
    async with open_home(tmp_path, local=engine({})) as runtime:
        for session in ("first", "second"):
            await runtime.session(session).ask(text)
            await stored(runtime, "message")
        await runtime.session("second").clear()
        question = Question("Where is the red bicycle?", Scope("default", private=True))
        recollection = await memory_of(runtime).recall(question, 30)
        items = [found.item for found in recollection.items]
        assert [(item.session, item.text) for item in items if item.role == "user"] == [
            ("first", text)
        ]


async def test_no_fact_is_stored_of_an_exchange_that_is_forgotten_meanwhile(
    tmp_path: Path,
) -> None:
    gate = anyio.Event()
    script: list[list[Step | str]] = [["I see."], [Wait(gate), facts(NURSE)]]
    local = ScriptedEngine(scripts=script, capabilities=engine({}).capabilities)
    async with open_home(tmp_path, local=local) as runtime:
        await runtime.session("ada").ask(PORTO)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_all, extract_next, runtime)
            await local.run(1)
            await memory_of(runtime).forget(Selection("default", session="ada"))
            gate.set()
        assert await stored(runtime, "fact") == []


async def test_an_exchange_that_is_too_long_for_the_model_is_skipped(tmp_path: Path) -> None:
    too_long = EngineError(ErrorKind.CONTEXT_OVERFLOW, "too long", engine="scripted")
    script: list[list[Step | str]] = [["I see."], [Fail(too_long)], ["I see."], [facts(NURSE)]]
    local = ScriptedEngine(scripts=script, capabilities=engine({}).capabilities)
    async with open_home(tmp_path, local=local) as runtime:
        await runtime.session("ada").ask("x")
        await run_all(extract_next, runtime)
        await runtime.session("ada").ask(PORTO)
        await run_all(extract_next, runtime)
        assert [item.text for item in await stored(runtime, "fact")] == [NURSE[1]]


async def test_a_temporary_failure_is_retried_after_the_next_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = EngineError(ErrorKind.OVERLOADED, "busy", engine="scripted")
    script: list[list[Step | str]] = [
        ["I see."],
        [Fail(busy)],
        ["I see."],
        [facts(NURSE)],
        [facts()],
    ]
    local = ScriptedEngine(scripts=script, capabilities=engine({}).capabilities)
    records: list[logging.LogRecord] = []
    monkeypatch.setattr(logging.getLogger("vanta.facts"), "handle", records.append)
    async with open_home(
        tmp_path, local=local, plugins=[Companions(RenamedCompanion())], companions=["tested facts"]
    ) as runtime:
        await runtime.session("ada").ask(PORTO)
        await (await local.run(1)).stopped.wait()
        await runtime.session("ada").ask("And?")
        await until(runtime, "fact", 1)
    assert [record.levelno for record in records] == [logging.WARNING]


@pytest.mark.parametrize("why", ["memory", "track", "price"])
async def test_without_memory_or_a_free_private_track_the_companion_warns_and_ends(
    tmp_path: Path, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    records: list[logging.LogRecord] = []
    monkeypatch.setattr(logging.getLogger("vanta.facts"), "handle", records.append)
    config = {
        "memory": {"memory": {"enabled": False}},
        "track": {"tracks": {"local": {"private": False}}},
        "price": {"tracks": {"local": {"input_usd_per_mtok": 1.0}}},
    }[why]
    async with open_home(tmp_path, local=engine({}), config=config) as runtime:
        await FactsCompanion().accompany(runtime)
    (record,) = records
    assert "'facts' is off" in record.getMessage()


def test_facts_that_the_message_does_not_support_are_not_believed_facts() -> None:
    assert believed_facts(facts(("work", "The user flies rockets to Mars.")), PORTO) == []
    assert confidence("The user lives in Porto", "I live in Porto") == 1.0
    assert confidence("The user has 3 cats", "I have 30 cats") == 0.0
    assert confidence("The user lives in Porto happily", "I live in Lisbon happily") == 0.0
    assert confidence("The user keeps cats", "I like cats") == 0.5
    assert confidence("The user is ok", "I am ok") == 0.0


def test_a_topic_has_one_fact_per_answer() -> None:
    answer = facts(IN_PORTO, ("home TOWN!", "The user works in Porto."), NURSE)
    assert [fact.about for fact in believed_facts(answer, PORTO)] == ["home town", "work"]


def test_a_fact_is_one_sentence() -> None:
    (fact,) = believed_facts(facts(("work", "The user works as a nurse. The user works.")), PORTO)
    assert fact.text == "The user works as a nurse."


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.dictionaries(st.sampled_from(["facts", "about", "fact", "x"]), inner, max_size=4)
    ),
)


@given(JSON.map(json.dumps) | st.text(max_size=40) | JSON.map(lambda data: json.dumps(data)[:-1]))
def test_any_answer_yields_facts_within_the_limits_or_none(answer: str) -> None:
    facts_found = believed_facts(answer, answer)
    assert len(facts_found) <= MAX_FACTS
    for fact in facts_found:
        assert 0 < len(fact.about) <= MAX_ABOUT
        assert 0 < len(fact.text) <= MAX_FACT
        assert MIN_CONFIDENCE <= fact.confidence <= 1
