"""Forgetting: what is removed, what is kept, and that no byte of it is left in any file."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from tests.memory.home import Home, bytes_in, home, vector_of
from vanta.errors import UsageError
from vanta.memory.items import NewItem, Scope
from vanta.memory.search.exact_index import ExactIndex
from vanta.memory.store.forgetting import Selection
from vanta.testing import HashEmbedder

pytestmark = pytest.mark.anyio

SECRET = "The treasure lies under the Zanzibarquay oak."


async def everything(here: Home, user: str = "ada") -> list[str]:
    return [item.text async for item in here.memory.export(user)]


async def ids_of(here: Home, text: str) -> tuple[int, ...]:
    return tuple([item.id async for item in here.memory.export() if item.text == text])


async def test_forgetting_leaves_no_byte_of_text_or_vector(tmp_path: Path) -> None:
    async with home(tmp_path, HashEmbedder(32), ExactIndex()) as here:
        await here.say(SECRET, "Under the Zanzibarquay oak, I see.")
        await here.say("Something else.", "Fine.")
        await here.settled()
        vector = vector_of(here, SECRET)
        assert bytes_in(tmp_path, b"anzibarquay")
        assert bytes_in(tmp_path, vector)
        receipt = await here.memory.forget(Selection("ada", ids=await ids_of(here, SECRET)))
        assert bytes_in(tmp_path, b"anzibarquay") == []
        assert bytes_in(tmp_path, vector) == []
        assert await everything(here) == ["Something else.", "Fine."]
        assert await here.texts("something else") == ["Something else.", "Fine."]
    assert receipt.certain, receipt.why
    assert (receipt.removed.items, receipt.removed.messages) == (2, 2)
    assert (receipt.removed.vectors, receipt.removed.sessions) == (2, 1)
    assert bytes_in(tmp_path, b"anzibarquay") == []


async def test_forgetting_leaves_no_word_in_the_full_text_index(tmp_path: Path) -> None:
    """FTS5 keeps stemmed words, even deleted ones, for a long time."""
    async with home(tmp_path) as here:
        for number in range(50):
            await here.say(f"xylophonist{number} plays")
        assert await here.texts("xylophonist7")
        receipt = await here.memory.forget(Selection("ada", everything=True))
        assert receipt.certain
        assert bytes_in(tmp_path, b"xylophonist") == []


async def test_a_message_is_forgotten_with_its_whole_exchange(tmp_path: Path) -> None:
    async with home(tmp_path) as here:
        await here.say(SECRET, "An oak, then.")
        await here.memory.forget(Selection("ada", ids=await ids_of(here, "An oak, then.")))
        assert await everything(here) == []
        assert await here.store.history("ada", "one") == []


async def test_facts_and_summaries_are_forgotten_with_their_sources(tmp_path: Path) -> None:
    async with home(tmp_path) as here:
        turn = await here.say(SECRET)
        await here.say("Hello.", session="two")
        await here.memory.add(
            [
                NewItem("ada", "fact", "Ada has a treasure.", 1.0, session="one", turn_id=turn),
                NewItem("ada", "summary", "They spoke of a treasure.", 1.0, session="one"),
                NewItem("ada", "summary", "They said hello.", 1.0, session="two"),
            ]
        )
        await here.memory.forget(Selection("ada", ids=await ids_of(here, SECRET)))
        assert await everything(here) == ["Hello.", "I see.", "They said hello."]


async def test_forgetting_a_session_keeps_the_others(tmp_path: Path) -> None:
    async with home(tmp_path) as here:
        await here.say("first", session="one")
        await here.say("second", session="two")
        await here.say("third", session="one", user="bob")
        await here.memory.forget(Selection("ada", session="one"))
        assert await everything(here) == ["second", "I see."]
        assert await everything(here, "bob") == ["third", "I see."]


async def test_forgetting_a_time_keeps_items_before_and_after_it(tmp_path: Path) -> None:
    async with home(tmp_path) as here:
        days = [NewItem("ada", "fact", f"day {n}", n * 86_400.0) for n in range(1, 6)]
        await here.memory.add(days)
        span = Selection("ada", since=2 * 86_400.0, until=4 * 86_400.0)
        receipt = await here.memory.forget(span)
        assert await everything(here) == ["day 1", "day 4", "day 5"]
    assert receipt.removed.items == 2


async def test_forgetting_a_user_keeps_the_others(tmp_path: Path) -> None:
    async with home(tmp_path) as here:
        await here.say("mine", private=True)
        await here.say("theirs", user="bob")
        await here.memory.forget(Selection("ada", everything=True))
        assert await everything(here) == []
        assert await everything(here, "bob") == ["theirs", "I see."]


async def test_ids_of_another_user_are_not_forgotten(tmp_path: Path) -> None:
    async with home(tmp_path) as here:
        await here.say("theirs", user="bob")
        receipt = await here.memory.forget(Selection("ada", ids=await ids_of(here, "theirs")))
        assert receipt.removed.items == 0
        assert await everything(here, "bob") == ["theirs", "I see."]


async def test_an_empty_selection_is_refused(tmp_path: Path) -> None:
    async with home(tmp_path) as here:
        await here.say("kept")
        with pytest.raises(UsageError, match="nothing is selected to be forgotten"):
            await here.memory.forget(Selection("ada"))
        assert "kept" in await everything(here)


async def test_the_receipt_is_uncertain_while_another_process_reads_the_store(
    tmp_path: Path,
) -> None:
    async with home(tmp_path) as here:
        await here.say(SECRET)
        reader = sqlite3.connect(tmp_path / "vanta.db", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM messages").fetchone()
        uncertain = await here.memory.forget(Selection("ada", everything=True))
        reader.execute("COMMIT")
        reader.close()
        certain = await here.memory.forget(Selection("ada", everything=True))
        assert bytes_in(tmp_path, b"anzibarquay") == []
    assert not uncertain.certain
    assert "another process reads the store" in uncertain.why
    assert certain.certain


async def test_the_receipt_is_uncertain_if_a_disabled_index_left_files(tmp_path: Path) -> None:
    leftover = tmp_path / "index"
    leftover.mkdir()
    async with home(tmp_path, index_folder=leftover) as here:
        await here.say(SECRET)
        receipt = await here.memory.forget(Selection("ada", everything=True))
    assert not receipt.certain
    assert str(leftover) in receipt.why


async def test_later_messages_are_remembered_after_forgetting(tmp_path: Path) -> None:
    async with home(tmp_path, HashEmbedder(), ExactIndex()) as here:
        await here.say(SECRET)
        await here.settled()
        await here.memory.forget(Selection("ada", everything=True))
        await here.say("The harbour is closed.")
        await here.settled()
        assert "The harbour is closed." in await here.texts("What about the harbour?")
        assert await here.memory.recent(Scope("ada"))


async def test_callbacks_receive_the_user_whose_items_were_forgotten(tmp_path: Path) -> None:
    users: list[str] = []

    async def report(user: str) -> str:
        users.append(user)
        return "a cache still holds it"

    async with home(tmp_path) as here:
        here.memory.on_forgotten(report)
        await here.say(SECRET)
        receipt = await here.memory.forget(Selection("ada", since=time.time() - 60))
    assert users == ["ada"]
    assert not receipt.certain
    assert receipt.why == "a cache still holds it"
