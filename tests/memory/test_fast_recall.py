"""What a recall does not wait for, and how little it asks of the store."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.memory.home import Home, home
from tests.memory.rows import ADA, Rows, message
from vanta.errors import StoreError
from vanta.memory import Selection
from vanta.memory.index import Partition
from vanta.memory.items import Question, Scope
from vanta.memory.search.exact_index import COMPARED_AT_ONCE, ExactIndex
from vanta.memory.search.lexical import once_per_text
from vanta.memory.store import repository
from vanta.testing import HashEmbedder

pytestmark = pytest.mark.anyio

QUESTION = "Where did my sister buy the green bicycle?"
WORDS = 4
"""Words of the question that are looked up: sister, buy, green, bicycle."""


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[Rows]:
    """Return an empty store."""
    made = Rows(tmp_path)
    yield made
    made.store.close()


@contextmanager
def statements(rows: Rows) -> Iterator[list[str]]:
    """Record the statements that the store runs in the block."""
    seen: list[str] = []

    def trace(callback: Callable[[str], None] | None) -> Callable[[Any], None]:
        return lambda connection: connection.connection.driver_connection.set_trace_callback(
            callback
        )

    rows.store.transact_now(trace(seen.append))
    yield seen
    rows.store.transact_now(trace(None))


def selects(seen: list[str]) -> int:
    return sum(statement.lstrip().startswith("SELECT") for statement in seen)


@contextmanager
def written_by_another_process(folder: Path) -> Iterator[None]:
    """Hold the store's write lock, so that nothing can be copied into memory."""
    lock = sqlite3.connect(next(folder.glob("*.db")), isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        lock.execute("ROLLBACK")
        lock.close()


def test_an_empty_memory_is_asked_once_for_each_part(rows: Rows) -> None:
    with statements(rows) as seen:
        assert rows.search(QUESTION, Scope("ada", private=True)) == []
    assert selects(seen) == 2


def test_a_small_memory_is_asked_once_for_each_word(rows: Rows) -> None:
    rows.add([message(f"My sister has a green bicycle, number {n}.", n) for n in range(40)])
    with statements(rows) as seen:
        assert len(rows.search(QUESTION)) == 40
    speakers, count, items, forms_of_words_without_a_hit = 1, 1, 1, 1
    assert selects(seen) <= speakers + count + WORDS + items + forms_of_words_without_a_hit


def test_an_empty_private_part_costs_one_statement(rows: Rows) -> None:
    rows.add([message(f"My sister has a green bicycle, number {n}.", n) for n in range(40)])
    with statements(rows) as public:
        rows.search(QUESTION)
    with statements(rows) as both:
        rows.search(QUESTION, Scope("ada", private=True))
    assert selects(both) == selects(public) + 1


def test_a_private_item_is_found_beside_an_empty_public_part(rows: Rows) -> None:
    rows.add([message("My sister has a green bicycle.", private=True)])
    assert rows.search(QUESTION) == []
    (found,) = rows.search(QUESTION, Scope("ada", private=True))
    assert found.matched == ("sister",), "words of the same items count once"
    assert 0 < found.share < 1


async def recalled(home: Home, *, session: str) -> tuple[list[str], str]:
    """Ask as Ada in a session; return the recalled texts, and what did not take part."""
    question = Question(QUESTION, ADA, session=session)
    recollection = await home.memory.recall(question, 5.0)
    return [match.item.text for match in recollection.items], recollection.skipped


async def test_a_recall_does_not_wait_for_messages_that_it_cannot_need(tmp_path: Path) -> None:
    """Those of other users are out of scope, the latest turn of its session is in its history."""
    async with home(tmp_path) as memory:
        await memory.say("My sister has a green bicycle.", session="one")
        await memory.texts(QUESTION)  # copies it
        await memory.say("My sister bought a red bicycle.", user="bob", session="one")
        await memory.say("Let us talk about my sister.", session="two")
        with written_by_another_process(tmp_path):
            texts, skipped = await recalled(memory, session="two")
        assert skipped == ""
        assert texts[0] == "My sister has a green bicycle."
        assert "Let us talk about my sister." not in texts


async def test_a_recall_has_what_was_just_said_in_another_session(tmp_path: Path) -> None:
    async with home(tmp_path) as memory:
        await memory.say("My sister has a green bicycle.", session="one")
        texts, _ = await recalled(memory, session="two")
        assert texts[0] == "My sister has a green bicycle."
        await memory.say("Let us talk about my sister.", session="two")
        texts, _ = await recalled(memory, session="three")
        assert "Let us talk about my sister." in texts


async def test_a_recall_has_earlier_turns_of_its_own_session(tmp_path: Path) -> None:
    """They may have fallen out of the history before they were copied."""
    async with home(tmp_path) as memory:
        await memory.say("My sister has a green bicycle.", session="one")
        await memory.say("Let us talk about my sister.", session="one")
        texts, _ = await recalled(memory, session="one")
        assert "My sister has a green bicycle." in texts


async def test_messages_are_copied_and_segmented_in_one_transaction(tmp_path: Path) -> None:
    async with home(tmp_path) as memory:
        await memory.say("My sister has a green bicycle.")
        assert not await memory.store.transact(repository.copy_batch)
        assert not await memory.store.read(repository.has_queued)
        assert (await memory.texts(QUESTION))[0] == "My sister has a green bicycle."


async def test_a_question_is_embedded_once_until_something_is_forgotten(tmp_path: Path) -> None:
    embedder = HashEmbedder()
    async with home(tmp_path, embedder) as memory:
        await memory.say("My sister has a green bicycle.")
        await memory.settled()
        first, again = await memory.texts(QUESTION), await memory.texts(QUESTION)
        assert first == again
        assert embedder.texts.count(QUESTION) == 1
        await memory.memory.forget(Selection("ada", everything=True))
        assert await memory.texts(QUESTION) == []
        assert embedder.texts.count(QUESTION) == 2


@pytest.mark.parametrize("count", [COMPARED_AT_ONCE, COMPARED_AT_ONCE + 1])
async def test_vectors_are_compared_exactly_on_the_loop_and_on_a_thread(count: int) -> None:
    import numpy as np

    rows = np.random.default_rng(5).normal(size=(count, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    index, partition = ExactIndex(), Partition("ada", False, "tiny/8/1", 8)
    await index.upsert(partition, range(1, count + 1), rows)
    (hits,) = await index.search(partition, rows[:1], 5)
    expected = np.argsort(-(rows @ rows[0]))[:5] + 1
    assert [hit[0] for hit in hits] == expected.tolist()


def test_a_fact_of_a_text_is_computed_once_and_stays_right_for_many_texts() -> None:
    asked: list[str] = []

    @once_per_text
    def length(text: str) -> int | None:
        asked.append(text)
        return len(text) or None

    texts = ["", "a", "\ud83d", *(str(number) for number in range(20_000))]
    assert [length(text) for text in texts] == [len(text) or None for text in texts]
    asked.clear()
    assert length(texts[-1]) == len(texts[-1])
    assert asked == []


@pytest.mark.parametrize(
    "question",
    ["Where does my sister live?", "Wo wohnt meine Schwester jetzt?", "Где живёт моя сестра?"],
)
def test_an_earlier_equal_question_is_no_evidence_in_any_language(
    rows: Rows, question: str
) -> None:
    reply = message("In a house.", 1, role="assistant")
    rows.add([message(question), reply, message("My sister plays the violin.", 2)])
    repeats = {match.item.text: match.repeats for match in rows.search(question)}
    assert repeats[question]
    assert repeats["In a house."]
    assert not repeats.get("My sister plays the violin.", False)


def test_a_statement_with_the_words_of_a_question_does_not_repeat_it(rows: Rows) -> None:
    rows.add([message("The sister with the green bicycle bought it in Lyon.")])
    (found,) = rows.search("Where did the sister buy the green bicycle?")
    assert not found.repeats
    rows.add([message("sister, green bicycle: buy?", 1), message("buy green sister bicycle", 2)])
    repeats = [
        match.repeats for match in rows.search("Where did the sister buy the green bicycle?")
    ]
    assert sorted(repeats) == [False, True, True]


def test_an_error_of_the_driver_names_the_store(rows: Rows) -> None:
    rows.store.transact_now(lambda c: c.exec_driver_sql("DROP TABLE memories_fts"))
    with pytest.raises(StoreError, match="no such table: memories_fts") as raised:
        rows.search(QUESTION, Scope("ada", private=True))
    assert "Check that the database" in str(raised.value)


async def test_the_order_of_two_recalls_does_not_matter(tmp_path: Path) -> None:
    async with home(tmp_path) as memory:
        for number in range(12):
            await memory.say(f"My sister has a green bicycle, number {number}.")
        alone = await memory.texts(QUESTION)
        results: list[list[str]] = []

        async def ask() -> None:
            results.append(await memory.texts(QUESTION))

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(ask)
        assert results == [alone] * 4
