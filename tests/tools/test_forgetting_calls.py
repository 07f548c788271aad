"""What is forgotten is not left in the journal of tool calls, in no byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.memory.home import Home, bytes_in, home
from tests.tools.calls import record
from vanta.memory.store.forgetting import Selection
from vanta.tools import CallRecord, Journal

pytestmark = pytest.mark.anyio

SECRET = "Zanzibarquay"


async def journal_with(here: Home, turn: str) -> tuple[Journal, list[CallRecord]]:
    """Return a journal with two calls that have the secret, and one that does not."""
    journal = Journal(here.store)
    secret = f'{{"path":"{SECRET}"}}'
    calls = [
        record(turn=turn, session="one", arguments=secret, call_id=SECRET, reason=SECRET),
        record(turn="crashed", session="one", arguments=secret),
        record(turn="other", session="two"),
    ]
    for call in calls:
        await journal.begin(call)
        await journal.finish(call.key, f'"{SECRET}"' if call.session == "one" else '"ok"')
    return journal, calls


@pytest.mark.parametrize("chosen", ["session", "since", "everything"])
async def test_forgetting_a_time_or_a_session_removes_the_text_of_calls(
    tmp_path: Path, chosen: str
) -> None:
    async with home(tmp_path) as here:
        turn = await here.say(f"Write to {SECRET}.", session="one")
        journal, calls = await journal_with(here, turn)
        assert bytes_in(tmp_path, SECRET.encode())
        selections = {
            "session": Selection("ada", session="one"),
            "since": Selection("ada", since=0.0),
            "everything": Selection("ada", everything=True),
        }
        receipt = await here.memory.forget(selections[chosen])
        assert receipt.certain, receipt.why
        assert bytes_in(tmp_path, SECRET.encode()) == []
        kept = {call.key: call for call in await journal.list()}
        assert [kept[call.key].state for call in calls] == ["finished"] * 3
        assert [kept[call.key].forgotten for call in calls] == [True, True, chosen != "session"]


async def test_forgetting_an_item_removes_the_text_of_its_turns_calls(tmp_path: Path) -> None:
    async with home(tmp_path) as here:
        turn = await here.say(f"Write to {SECRET}.", session="one")
        journal, calls = await journal_with(here, turn)
        items = [item.id async for item in here.memory.export()]
        await here.memory.forget(Selection("ada", ids=(items[0],)))
        kept = {call.key: call for call in await journal.list()}
        assert [kept[call.key].forgotten for call in calls] == [True, False, False]
        assert kept[calls[0].key].arguments == ""


async def test_another_users_calls_stay(tmp_path: Path) -> None:
    async with home(tmp_path) as here:
        await here.say("Hello.")
        journal = Journal(here.store)
        theirs = record(user="bob", session="one")
        await journal.request(theirs)
        await here.memory.forget(Selection("ada", everything=True))
        (call,) = await journal.list()
        assert (call.forgotten, call.arguments) == (False, theirs.arguments)
