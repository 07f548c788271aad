"""Imports: documents that replace their previous version, and exports without duplicates."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.memory.home import home, vector_of
from vanta.memory.items import Filters, NewItem, Question, Scope
from vanta.memory.search.exact_index import ExactIndex
from vanta.memory.store.forgetting import Selection
from vanta.memory.store.importing import ReplaceCounts
from vanta.testing import HashEmbedder

pytestmark = pytest.mark.anyio

TAG = "file:book.md"
ADA = Scope("ada", private=True)


def chunk(text: str, *, private: bool = False) -> NewItem:
    return NewItem(
        "ada", "document", text, 5.0, private=private, tags=("work", TAG), source="book.md"
    )


async def test_a_document_is_replaced_in_order_and_keeps_vectors(tmp_path: Path) -> None:
    embedder = HashEmbedder()
    async with home(tmp_path, embedder, ExactIndex()) as here:
        first = await here.memory.replace("ada", TAG, [chunk("alpha"), chunk("beta")])
        await here.memory.ready(ADA)
        before = vector_of(here, "beta")
        embedder.texts.clear()
        again = await here.memory.replace("ada", TAG, [chunk("alpha"), chunk("beta")])
        changed = await here.memory.replace("ada", TAG, [chunk("gamma"), chunk("beta")])
        assert await here.memory.ready(ADA) == ""
        items = await here.memory.newest(ADA)
        assert [item.text for item in items] == ["gamma", "beta"]
        assert vector_of(here, "beta") == before
        assert embedder.texts == ["gamma"]
        recollection = await here.memory.recall(Question("alpha", ADA))
        assert {match.item.text for match in recollection.items} <= {"gamma", "beta"}
        assert recollection.index == "scan"
    assert first == ReplaceCounts(added=2)
    assert again == ReplaceCounts(unchanged=2)
    assert changed == ReplaceCounts(added=2, removed=2, vectors=1)


async def test_a_document_that_becomes_private_is_found_only_in_private_scopes(
    tmp_path: Path,
) -> None:
    async with home(tmp_path, HashEmbedder(), ExactIndex()) as here:
        await here.memory.replace("ada", TAG, [chunk("the vault is behind the mirror")])
        await here.memory.ready(ADA)
        counts = await here.memory.replace(
            "ada", TAG, [chunk("the vault is behind the mirror", private=True)]
        )
        await here.memory.ready(ADA)
        assert (counts.added, counts.removed) == (1, 1)
        assert await here.texts("vault") == []
        assert await here.texts("vault", private=True) == ["the vault is behind the mirror"]


async def test_replacing_a_document_keeps_other_documents_and_users(tmp_path: Path) -> None:
    async with home(tmp_path) as here:
        await here.memory.add(
            [
                NewItem("ada", "document", "another book", 1.0, tags=("work", "file:other.md")),
                NewItem("bob", "document", "Bob's copy", 1.0, tags=(TAG,)),
                NewItem("ada", "fact", "a fact with that tag", 1.0, tags=(TAG,)),
            ]
        )
        await here.memory.replace("ada", TAG, [chunk("alpha")])
        await here.memory.replace("ada", TAG, [])
        texts = [item.text async for item in here.memory.export()]
    assert texts == ["another book", "Bob's copy", "a fact with that tag"]


async def test_an_export_imported_twice_is_stored_once_with_its_repetitions(
    tmp_path: Path,
) -> None:
    items = [NewItem("ada", "fact", f"fact {number % 700}", 1.0) for number in range(1200)]
    seen: list[tuple[int, int]] = []
    async with home(tmp_path) as here:
        first = await here.memory.add_missing(items, lambda done, total: seen.append((done, total)))
        again = await here.memory.add_missing(items)
        other = await here.memory.add_missing([NewItem("ada", "fact", "fact 1", 2.0)])
        stats = await here.memory.stats()
    assert (first, again, other) == (1200, 0, 1)
    assert stats["items"] == 1201
    assert seen == [(500, 1200), (1000, 1200), (1200, 1200)]


async def test_messages_are_imported_only_after_they_were_forgotten(tmp_path: Path) -> None:
    """An exchange that memory copied is not added again from its own export."""
    async with home(tmp_path) as here:
        turn = await here.say("My dog is called Biscuit.")
        exported = [item async for item in here.memory.export()]
        lines = [
            NewItem(
                item.user,
                item.kind,
                item.text,
                item.said_at,
                session=item.session,
                turn_id=item.turn_id,
                role=item.role,
                dates=item.dates,
            )
            for item in exported
        ]
        assert await here.memory.add_missing(lines) == 0
        await here.memory.forget(Selection("ada", session="one"))
        assert await here.memory.add_missing(lines) == 2
        assert {item.turn_id for item in await here.memory.newest(ADA)} == {turn}


async def test_given_dates_are_kept_and_missing_ones_are_resolved(tmp_path: Path) -> None:
    monday = 1_779_969_600.0 - 3 * 86400
    async with home(tmp_path) as here:
        await here.memory.add(
            [
                NewItem("ada", "fact", "I saw her yesterday.", monday),
                NewItem("ada", "fact", "I saw her yesterday!", monday, dates={"yesterday": "1999"}),
                NewItem("ada", "fact", "I saw her yesterday?", monday, dates={}),
            ]
        )
        dates = [item.dates async for item in here.memory.export()]
    assert dates == [{"yesterday": "2026-05-24"}, {"yesterday": "1999"}, {}]


async def test_the_newest_items_are_those_said_last(tmp_path: Path) -> None:
    async with home(tmp_path) as here:
        for at in (3.0, 1.0, 2.0):
            await here.memory.add([NewItem("ada", "fact", f"said at {at:g}", at)])
        two = await here.memory.newest(ADA, limit=2)
        until = await here.memory.newest(ADA, filters=Filters(until=3.0))
        named = await here.memory.get(ADA, [3, 99, 1])
        assert await here.memory.get(Scope("bob"), [1]) == []
    assert [item.text for item in two] == ["said at 2", "said at 3"]
    assert [item.text for item in until] == ["said at 1", "said at 2"]
    assert [item.id for item in named] == [3, 1]


async def test_a_preview_shows_what_forgetting_would_remove_and_keeps_it(tmp_path: Path) -> None:
    async with home(tmp_path, HashEmbedder()) as here:
        await here.say("My dog is called Biscuit.", "A fine name.")
        await here.say("The rent goes up.", session="two")
        await here.settled()
        preview = await here.memory.preview_forget(Selection("ada", session="one"))
        assert [item.text for item in preview.items] == [
            "My dog is called Biscuit.",
            "A fine name.",
        ]
        assert (await here.memory.stats())["items"] == 4
        receipt = await here.memory.forget(Selection("ada", session="one"))
    assert receipt.removed == preview.removed
    assert (preview.removed.items, preview.removed.vectors, preview.removed.sessions) == (2, 2, 1)


async def test_forgetting_a_tag_keeps_everything_else(tmp_path: Path) -> None:
    async with home(tmp_path) as here:
        await here.memory.replace("ada", TAG, [chunk("alpha"), chunk("beta")])
        await here.memory.add([NewItem("bob", "document", "Bob's", 1.0, tags=(TAG,))])
        await here.memory.add([NewItem("ada", "fact", "untagged", 1.0)])
        receipt = await here.memory.forget(Selection("ada", tag=TAG))
        texts = [item.text async for item in here.memory.export()]
    assert (receipt.removed.items, receipt.removed.sessions) == (2, 0)
    assert texts == ["Bob's", "untagged"]


async def test_ready_returns_why_recall_by_meaning_is_incomplete(tmp_path: Path) -> None:
    from vanta.errors import EmbedderError

    async def broken() -> None:
        raise EmbedderError("the weights are gone")

    async with home(tmp_path, HashEmbedder(before=broken)) as here:
        await here.say("My dog is called Biscuit.")
        assert await here.memory.ready(ADA) == "the weights are gone"
        assert "My dog is called Biscuit." in await here.texts("dog")
    async with home(tmp_path) as here:
        assert await here.memory.ready(ADA) == here.memory.why_lexical


async def test_a_private_document_stays_private_without_a_word(tmp_path: Path) -> None:
    async with home(tmp_path) as here:
        await here.memory.replace("ada", TAG, [chunk("alpha", private=True)])
        counts = await here.memory.replace("ada", TAG, [chunk("alpha"), chunk("beta")])
        assert counts.kept_private
        assert [item.private for item in await here.memory.newest(ADA)] == [True, True]
        same = await here.memory.replace("ada", TAG, [chunk("alpha"), chunk("beta")])
        assert (same.unchanged, same.kept_private) == (2, True)
        other = NewItem("bob", "document", "alpha", 5.0, tags=(TAG,))
        assert not (await here.memory.replace("bob", TAG, [other])).kept_private
        published = await here.memory.replace("ada", TAG, [chunk("alpha")], publish=True)
        assert not published.kept_private
        assert [item.private for item in await here.memory.newest(ADA)] == [False]


async def test_a_copy_of_a_private_document_is_private(tmp_path: Path) -> None:
    long = "The treasure lies under the Zanzibarquay oak."
    async with home(tmp_path) as here:
        await here.memory.replace("ada", TAG, [chunk(long, private=True)])
        copy = NewItem("ada", "document", long, 5.0, tags=("file:copy.md",), source="copy.md")
        counts = await here.memory.replace("ada", "file:copy.md", [copy])
        assert counts.kept_private
        assert await here.texts("treasure oak") == []


async def test_an_export_without_its_private_marks_publishes_nothing(tmp_path: Path) -> None:
    line = NewItem("ada", "fact", "The key is under the mat.", 5.0, private=True)
    async with home(tmp_path) as here:
        await here.memory.add([line])
        assert await here.memory.add_missing([dataclasses.replace(line, private=False)]) == 0
        assert await here.texts("Where is the key?") == []
