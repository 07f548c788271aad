"""Memory: recall within scope and time limits, whichever part fails."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import anyio
import pytest

from tests.memory.home import home
from vanta.errors import EmbedderError, UsageError, VectorIndexError
from vanta.memory.items import Filters, NewItem, Question, Scope
from vanta.memory.search.exact_index import ExactIndex
from vanta.testing import HashEmbedder

pytestmark = pytest.mark.anyio

DOG = "My dog is called Biscuit."
BIKE = "The bicycle needs a new chain before the weekend."
RENT = "The rent goes up to 940 euros."


async def test_a_message_of_one_session_is_recalled_in_another(tmp_path: Path) -> None:
    async with home(tmp_path) as here:
        await here.say(DOG, session="one")
        await here.say(BIKE, session="two")
        texts = await here.texts("What is my dog called?")
    assert texts[0] == DOG
    assert BIKE not in texts


async def test_a_message_is_recalled_after_a_restart(tmp_path: Path) -> None:
    async with home(tmp_path) as here:
        await here.say(DOG)
    async with home(tmp_path) as here:
        assert DOG in await here.texts("dog")


async def test_an_exchange_that_memory_did_not_see_is_copied(tmp_path: Path) -> None:
    """The process may die after a turn's end and before memory copies it."""
    async with home(tmp_path) as here:
        await here.say(DOG)
        connection = sqlite3.connect(tmp_path / "vanta.db")
        assert connection.execute("SELECT count(*) FROM memories").fetchone() == (0,)
        connection.close()
        assert DOG in await here.texts("dog")


async def test_a_user_does_not_recall_messages_of_another(tmp_path: Path) -> None:
    async with home(tmp_path, HashEmbedder()) as here:
        await here.say(DOG, user="ada")
        await here.say("My dog is called Rex.", user="bob")
        await here.settled()
        texts = await here.texts("What is my dog called?", user="bob")
        assert texts[0] == "My dog is called Rex."
        assert DOG not in texts
        assert await here.texts("dog", user="eve") == []


async def test_a_session_scope_finds_only_items_of_that_session(tmp_path: Path) -> None:
    async with home(tmp_path, HashEmbedder()) as here:
        await here.say(DOG, session="one")
        await here.say("My dog likes cheese.", session="two")
        await here.settled()
        texts = await here.texts("What about my dog?", session="two")
    assert "My dog likes cheese." in texts
    assert DOG not in texts


async def test_private_items_are_found_only_in_private_scopes(tmp_path: Path) -> None:
    async with home(tmp_path, HashEmbedder()) as here:
        await here.say("The safe code is 4711.", private=True)
        await here.settled()
        assert await here.texts("What is the safe code?") == []
        assert "The safe code is 4711." in await here.texts("What is the safe code?", private=True)


async def test_private_items_do_not_change_the_public_result(tmp_path: Path) -> None:
    """Neither their words, nor their vectors, nor their number matter."""
    async with home(tmp_path, HashEmbedder()) as here:
        for text in (DOG, BIKE, RENT, "Biscuit chased the neighbour's cat."):
            await here.say(text)
        await here.settled()
        question = Question("What did the dog Biscuit do?", Scope("ada", private=True))
        before = await here.memory.recall(question)
        for number in range(20):
            await here.say(f"Private: Biscuit the dog did {number}.", private=True)
        await here.settled()
        after = await here.memory.recall(question)
    public = [match for match in after.items if not match.item.private]
    assert len(after.items) > len(public)
    assert [(match.item.id, round(match.score, 4)) for match in public] == [
        (match.item.id, round(match.score, 4)) for match in before.items
    ]


async def test_filters_apply_to_matches_by_word_and_by_meaning(tmp_path: Path) -> None:
    async with home(tmp_path, HashEmbedder()) as here:
        day = 86_400.0
        items = [
            NewItem("ada", "document", f"Dog fact {n}.", n * day, tags=(f"n{n}",), source="dogs")
            for n in range(1, 6)
        ]
        await here.memory.add(items)
        await here.say("My dog barks.")
        await here.settled()
        by_time = await here.texts("dog", filters=Filters(since=2 * day, until=4 * day))
        by_kind = await here.texts("dog", filters=Filters(kinds=("message",), roles=("user",)))
        by_tag = await here.texts("dog", filters=Filters(tags=("n5",)))
    assert sorted(by_time) == ["Dog fact 2.", "Dog fact 3."]
    assert by_kind == ["My dog barks."]
    assert by_tag == ["Dog fact 5."]


async def test_a_repeated_item_is_recalled_once_with_its_latest_date(tmp_path: Path) -> None:
    async with home(tmp_path) as here:
        first, last = await here.memory.add(
            [
                NewItem("ada", "fact", "Ada lives in Oslo, in Norway.", 1_000.0),
                NewItem("ada", "fact", "Ada lives in Oslo - in Norway!", 2_000.0),
            ]
        )
        recalled = (await here.memory.recall(Question("Where does Ada live?", Scope("ada")))).items
    assert first < last
    assert [match.item.id for match in recalled] == [last]


async def test_contradictions_are_kept_each_with_its_date(tmp_path: Path) -> None:
    async with home(tmp_path, HashEmbedder()) as here:
        await here.memory.add(
            [
                NewItem("ada", "fact", "Ada lives in the city of Oslo.", 1_000.0),
                NewItem("ada", "fact", "Ada lives in the city of Rome.", 2_000.0),
            ]
        )
        await here.settled()
        recalled = (await here.memory.recall(Question("Where does Ada live?", Scope("ada")))).items
    assert {(match.item.text[-5:], match.item.said_at) for match in recalled} == {
        ("Oslo.", 1_000.0),
        ("Rome.", 2_000.0),
    }


async def test_the_parts_of_a_score_add_up_to_it(tmp_path: Path) -> None:
    async with home(tmp_path, HashEmbedder()) as here:
        await here.say(DOG)
        await here.settled()
        recollection = await here.memory.recall(Question("my dog", Scope("ada")))
    assert recollection.embedder == "hash"
    assert recollection.items
    for match in recollection.items:
        assert match.score == pytest.approx(sum(match.parts.values()))


async def test_a_recall_that_times_out_is_empty_for_every_waiter(
    tmp_path: Path,
) -> None:
    never = anyio.Event()
    async with home(tmp_path, HashEmbedder(before=never.wait)) as here:
        await here.say(DOG)
        assert here.memory.semantic is not None
        await here.memory.semantic.load()
        lock = sqlite3.connect(tmp_path / "vanta.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        pending = here.memory.begin_recall(Question("dog", Scope("ada")), 0.05)
        first = await pending.get()
        lock.execute("ROLLBACK")
        lock.close()
        assert first.items == ()
        assert "0.05 s" in first.skipped
        assert await pending.get() is first
        pending.scope.cancel()


async def test_a_slow_embedder_leaves_the_matches_by_word(tmp_path: Path) -> None:
    never = anyio.Event()
    async with home(tmp_path, HashEmbedder(before=never.wait)) as here:
        await here.say(DOG)
        assert here.memory.semantic is not None
        await here.memory.semantic.load()
        recollection = await here.memory.recall(Question("dog", Scope("ada")), 2.0)
    assert [match.item.text for match in recollection.items] == [DOG, "I see."]
    assert recollection.embedder is None
    assert "took too long" in recollection.skipped


async def test_a_failing_embedder_leaves_the_matches_by_word(tmp_path: Path) -> None:
    async def fail() -> None:
        raise EmbedderError("the weights are gone. Pull them again.")

    async with home(tmp_path, HashEmbedder(before=fail)) as here:
        await here.say(DOG)
        assert here.memory.semantic is not None
        await here.memory.semantic.load()
        recollection = await here.memory.recall(Question("dog", Scope("ada")))
    assert recollection.items[0].item.text == DOG
    assert "weights are gone" in recollection.skipped


async def test_a_broken_store_gives_an_empty_recall_with_the_reason(
    tmp_path: Path,
) -> None:
    async with home(tmp_path) as here:
        await here.say(DOG)
        assert await here.texts("dog")
        broken = sqlite3.connect(tmp_path / "vanta.db")
        broken.execute("DROP TABLE memories_fts")
        broken.commit()
        broken.close()
        recollection = await here.memory.recall(Question("dog", Scope("ada")))
    assert recollection.items == ()
    assert "memories_fts" in recollection.skipped


async def test_private_texts_never_reach_an_embedder_that_is_not_private(tmp_path: Path) -> None:
    embedder = HashEmbedder(private=False)
    async with home(tmp_path, embedder) as here:
        await here.say("The safe code is 4711.", private=True)
        await here.say(DOG)
        await here.settled()
        question = Question("Is 4711 right?", Scope("ada", private=True), confidential=True)
        recollection = await here.memory.recall(question)
    assert not [text for text in embedder.texts if "4711" in text]
    assert DOG in embedder.texts
    assert "private" in recollection.skipped
    assert "The safe code is 4711." in [match.item.text for match in recollection.items]


async def test_vectors_of_two_embedders_are_never_mixed(tmp_path: Path) -> None:
    index = ExactIndex()
    async with home(tmp_path, HashEmbedder(64), index) as here:
        await here.say(DOG)
        await here.settled()
    async with home(tmp_path, HashEmbedder(128), ExactIndex()) as here:
        await here.say(BIKE)
        await here.settled()
        stats = await here.memory.stats()
        recollection = await here.memory.recall(Question("my dog", Scope("ada")))
    assert stats["vectors"] == {"hash/128/1": 4}
    assert stats["waiting_for_a_vector"] == 0
    assert stats["waiting_for_the_index"] == 0
    assert recollection.index == "scan"
    assert recollection.items[0].item.text == DOG


async def test_interrupted_reindexing_continues(tmp_path: Path) -> None:
    done: list[int] = []
    async with home(tmp_path, HashEmbedder()) as here:
        texts = [NewItem("ada", "fact", f"fact number {n}", 1.0) for n in range(100)]
        await here.memory.add(texts)
        with anyio.CancelScope() as scope:

            def stop(count: int, _total: int) -> None:
                done.append(count)
                scope.cancel()

            await here.memory.reindex(stop)
        assert scope.cancelled_caught
    embedder = HashEmbedder()
    async with home(tmp_path, embedder) as here:
        await here.settled()
        stats = await here.memory.stats()
    assert stats["vectors"] == {"hash/256/1": 100}
    assert 0 < len(embedder.texts) <= 100 - done[0]


async def test_reindexing_without_an_embedder_is_an_error(tmp_path: Path) -> None:
    async with home(tmp_path) as here:
        with pytest.raises(UsageError, match="nothing can be indexed without an embedder"):
            await here.memory.reindex()


async def test_an_export_contains_everything_as_json(tmp_path: Path) -> None:
    async with home(tmp_path) as here:
        await here.say("I met Bo yesterday.", private=True)
        await here.memory.add([NewItem("bob", "document", "Chapter 1", 5.0, tags=("a",))])
        lines = [json.dumps(item.to_dict()) async for item in here.memory.export()]
        mine = [item async for item in here.memory.export("bob")]
    assert [json.loads(line)["text"] for line in lines] == [
        "I met Bo yesterday.",
        "I see.",
        "Chapter 1",
    ]
    assert json.loads(lines[0])["private"] is True
    assert list(json.loads(lines[0])["dates"]) == ["yesterday"]
    assert [item.tags for item in mine] == [("a",)]


async def test_recent_items_are_in_order_and_in_scope(tmp_path: Path) -> None:
    async with home(tmp_path) as here:
        await here.say("one")
        await here.say("two", private=True)
        await here.say("three", user="bob")
        public = await here.memory.recent(Scope("ada"))
        both = await here.memory.recent(Scope("ada", private=True))
        later = await here.memory.recent(Scope("ada", private=True), after_id=both[1].id, limit=1)
    assert [item.text for item in public] == ["one", "I see."]
    assert [item.text for item in both] == ["one", "I see.", "two", "I see."]
    assert [item.text for item in later] == ["two"]


async def test_clearing_a_session_clears_it_from_memory(tmp_path: Path) -> None:
    async with home(tmp_path, HashEmbedder()) as here:
        await here.say(DOG)
        await here.settled()
        await here.store.clear("ada", "one")
        assert await here.texts("dog") == []
        assert (await here.memory.stats())["vectors"] == {}


async def test_the_state_of_a_companion_survives_a_restart(tmp_path: Path) -> None:
    async with home(tmp_path) as here:
        assert await here.memory.state("facts") is None
        await here.memory.set_state("facts", "12")
    async with home(tmp_path) as here:
        assert await here.memory.state("facts") == "12"


@pytest.mark.parametrize(
    "question", ["", "   ", '"', "NOT (a OR", "a*^:-+", "🦊 狐", "x" * 100_000]
)
async def test_any_text_is_a_valid_question(tmp_path: Path, question: str) -> None:
    async with home(tmp_path, HashEmbedder()) as here:
        await here.say(DOG)
        await here.settled()
        recollection = await here.memory.recall(Question(question, Scope("ada")))
    assert "recall failed" not in recollection.skipped


async def test_older_texts_that_are_embedded_late_are_found_by_meaning(tmp_path: Path) -> None:
    """The newest texts are embedded first, so later vectors have smaller ids."""
    half, go_on = anyio.Event(), anyio.Event()
    seen: list[int] = []

    async def in_two_parts() -> None:
        seen.append(1)
        if len(seen) == 2:
            half.set()
            await go_on.wait()

    embedder = HashEmbedder(before=in_two_parts)
    async with home(tmp_path, embedder) as here:
        texts = ["An early word about a zeppelin.", *(f"later word {n}" for n in range(40))]
        await here.memory.add([NewItem("ada", "fact", text, 1.0) for text in texts])
        assert here.memory.semantic is not None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(here.memory.reindex)
            await half.wait()
            embedder.before = None
            near = await here.memory.semantic.neighbours("zeppelin", Scope("ada"), 100)
            assert 1 not in near.ids
            go_on.set()
        near = await here.memory.semantic.neighbours("zeppelin", Scope("ada"), 100)
    assert near.ids[0] == 1


class Failing(ExactIndex):
    """An index that cannot be written."""

    async def upsert(self, *_: object) -> None:
        """Always fail."""
        raise VectorIndexError("the disk is full")


async def test_recall_works_without_an_index_that_always_fails(tmp_path: Path) -> None:
    async with home(tmp_path, HashEmbedder(), Failing()) as here:
        await here.say(DOG)
        with anyio.fail_after(30):
            trouble = await here.memory.ready(Scope("ada"))
        recollection = await here.memory.recall(Question("dog", Scope("ada")))
    assert "disk is full" in trouble
    assert "disk is full" in recollection.skipped
    assert recollection.items[0].item.text == DOG
    assert recollection.index == "scan"


class Named(ExactIndex):
    """An index that can be told from the exact search of a small partition."""

    name = "named"


async def test_a_partition_that_grows_is_searched_in_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vanta.memory.search.semantic.SMALL_PARTITION", 4)
    async with home(tmp_path, HashEmbedder(64), Named()) as here:

        async def searched() -> str | None:
            await here.memory.ready(Scope("ada"))
            return (await here.memory.recall(Question("kettles", Scope("ada")))).index

        await here.say("We talked about kettles.")
        await here.memory.ready(Scope("ada"))
        assert [await searched(), await searched()] == ["scan", "scan"]
        for number in range(4):
            await here.say(f"We talked about kettles again, {number} times.")
        assert await searched() == "named"
