"""Candidates: found by words, meaning and time, never out of scope, the same without what is
private."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.memory.rows import ADA, FINGERPRINT, MINUTE_S, START, Rows, said
from vanta.memory.items import Filters, NewItem, Scope
from vanta.memory.search import lexical, retrieval
from vanta.memory.search.ranking import rank

NOW = START + 60 * MINUTE_S
VOCABULARY = ("cat", "dog", "house", "garden", "rain", "tea")


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[Rows]:
    """An empty store."""
    made = Rows(tmp_path)
    yield made
    made.store.close()


def test_an_item_is_found_by_a_form_of_a_word_and_says_which(rows: Rows) -> None:
    rows.add([said("I was painting the fence"), said("It rained", 1, session="two")])
    (found,) = rows.ask("Who paints?")
    assert found.item.text == "I was painting the fence"
    assert found.matched == ("paints",)
    assert found.words > 0
    assert found.around == pytest.approx(1.0)
    assert found.cosine is None


def test_a_rare_word_is_worth_more_than_a_frequent_one(rows: Rows) -> None:
    rows.add([said(f"The dog slept {number}", number, session=f"s{number}") for number in range(9)])
    rows.add([said("A heron stood here", 20, session="other")])
    worth = {one.item.text.split()[1]: one.words for one in rows.ask("dog or heron?")}
    assert worth["heron"] > worth["dog"] > 0


def test_two_forms_of_a_word_count_once(rows: Rows) -> None:
    rows.add([said("I paint"), said("I sing", 1, session="two")])
    assert {one.words for one in rows.ask("paint")} == {
        one.words for one in rows.ask("paint paints")
    }


def test_neighbours_come_along_but_no_other_session(rows: Rows) -> None:
    told = ["Where is the key?", "Under the pot.", "Thanks.", "Bye."]
    rows.add([said(text, number) for number, text in enumerate(told)])
    rows.add([said("Nobody asked", 5, session="two")])
    found = {one.item.text: one for one in rows.ask("the key")}
    assert set(found) == set(told)
    assert found["Under the pot."].answers
    assert found["Under the pot."].around == pytest.approx(1.0)
    assert not found["Thanks."].answers
    assert found["Thanks."].beside > 0 == found["Bye."].beside


def test_neighbours_come_along_however_much_else_is_found(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval, "ENOUGH", 1)
    monkeypatch.setattr(retrieval, "BY_WORDS", 3)
    rows.add([said(f"A dog, number {n}", n, session=f"s{n}") for n in range(5)])
    rows.add([said("And where is the dog?", 8), said("In the shed.", 9), said("I see.", 10)])
    assert "In the shed." in rows.texts("dog")


def test_chunks_of_another_document_are_no_neighbours(rows: Rows) -> None:
    def chunk(text: str, source: str) -> NewItem:
        return NewItem("ada", "document", text, START, source=source)

    rows.add([chunk("About keys", "a.md"), chunk("About pots", "b.md")])
    found = {one.item.text: one for one in rows.ask("keys")}
    assert found["About keys"].around == pytest.approx(1.0)
    assert "About pots" not in found or found["About pots"].around == 0.0


def test_near_items_are_found_without_a_common_word(rows: Rows) -> None:
    near, far = rows.add([said("My kitten purrs"), said("It rained", 1, session="two")])
    rows.embed({near: (1.0, 0.0, 0.0), far: (0.0, 1.0, 0.0)})
    asked = np.array([0.8, 0.6, 0.0], dtype=np.float32)
    found = rows.ask("cat", query_vector=asked, embedder=FINGERPRINT, neighbour_ids=[near])
    assert [one.item.id for one in found] == [near]
    assert found[0].cosine == pytest.approx(0.8)


def test_vectors_of_another_embedder_are_not_used(rows: Rows) -> None:
    (cat,) = rows.add([said("My cat purrs")])
    rows.embed({cat: (1.0, 0.0, 0.0)})
    asked = np.array([1.0, 0.0, 0.0], dtype=np.float32)
    (found,) = rows.ask("cat", query_vector=asked, embedder="other/3/1", neighbour_ids=[cat])
    assert found.cosine is None


def test_ids_from_an_index_pass_no_scope(rows: Rows) -> None:
    ids = rows.add(
        [said("Bob's", user="bob"), said("secret", private=True), said("hers", session="two")]
    )
    assert [one.item.text for one in rows.ask("x", neighbour_ids=ids)] == ["hers"]
    assert rows.ask("x", Scope("ada", "one"), neighbour_ids=ids) == []
    assert rows.texts("x", Scope("ada", private=True), neighbour_ids=ids) == ["hers", "secret"]


def test_a_time_that_is_asked_about_brings_its_items(rows: Rows) -> None:
    day = 24 * 3600.0
    items = [said("Tea with Eve"), said("Soup", session="two")]
    items[1] = dataclasses.replace(items[1], said_at=START - 40 * day)
    rows.add(items)
    found = rows.ask("What happened yesterday?", now=START + day)
    assert [one.item.text for one in found] == ["Tea with Eve"]


@pytest.mark.parametrize(
    ("filters", "texts"),
    [
        (Filters(since=START + MINUTE_S), ["dog b", "dog c"]),
        (Filters(until=START + MINUTE_S), ["dog a"]),
        (Filters(roles=("assistant",)), ["dog b"]),
        (Filters(tags=("pets", "old")), ["dog c"]),
        (Filters(kinds=("document",)), []),
    ],
)
def test_filters_are_part_of_the_look_up(rows: Rows, filters: Filters, texts: list[str]) -> None:
    rows.add(
        [
            said("dog a"),
            said("dog b", 1, role="assistant"),
            said("dog c", 2, tags=("pets", "old")),
            said("Bob's dog", 2, user="bob", tags=("pets", "old")),
        ]
    )
    assert rows.texts("dog", filters=filters) == texts


def test_what_a_later_item_repeats_is_found_through_that_one_alone(rows: Rows) -> None:
    first, last = rows.add([said("My dog is called Biscuit"), said("My dog is called Biscuit", 9)])
    assert [one.item.id for one in rows.ask("dog")] == [last]
    assert first != last


def test_a_speakers_name_is_not_looked_for(rows: Rows) -> None:
    rows.add([said("Hi Eve!", role="Adam"), said("I keep bees", 1, role="Eve", session="two")])
    assert rows.texts("Which bees has Eve?") == ["I keep bees"]
    assert rows.texts("Eve?") == ["Hi Eve!"]


@pytest.mark.parametrize("question", ["", "?!", '"', "\0", "猫", "a" * 5000, "the of and"])
def test_any_question_may_be_asked(rows: Rows, question: str) -> None:
    rows.add([said("A text")])
    assert rows.ask(question, neighbour_ids=[1, 99, -1])


def test_a_frequent_word_is_looked_up_in_the_newest_and_beside_a_rarer_one(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lexical, "MAX_HITS", 10)
    rows.add([said("The dog dreams of a heron", session="first")])
    rows.add([said(f"The dog slept {n}", n, session=f"s{n}") for n in range(1, 40)])
    found = {one.item.text: one.matched for one in rows.ask("dog heron")}
    assert found["The dog dreams of a heron"] == ("dog", "heron")
    assert "The dog slept 39" in found
    assert "The dog slept 1" not in found


texts = st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=6).map(" ".join)
lines = st.lists(st.tuples(texts, st.booleans(), st.sampled_from("ab")), max_size=14)
components = st.tuples(*[st.floats(-1, 1, width=32)] * 3)


@settings(max_examples=40, deadline=None)
@given(lines=lines, question=texts, vectors=st.lists(components, min_size=14, max_size=14))
def test_what_is_private_changes_nothing_among_the_public(
    lines: list[tuple[str, bool, str]], question: str, vectors: list[tuple[float, ...]]
) -> None:
    def ranked(*, with_private: bool, scope: Scope) -> list[tuple[str, float, float]]:
        with TemporaryDirectory() as folder:
            rows = Rows(Path(folder))
            kept = [
                (said(text, number, session=session, private=private), vector)
                for number, ((text, private, session), vector) in enumerate(
                    zip(lines, vectors, strict=False)
                )
                if with_private or not private
            ]
            ids = rows.add([item for item, _ in kept])
            rows.embed(dict(zip(ids, (vector for _, vector in kept), strict=True)))
            asked = np.array([1.0, 0.5, 0.0], dtype=np.float32)
            candidates = rows.ask(
                question, scope, query_vector=asked, embedder=FINGERPRINT, neighbour_ids=ids
            )
            found = rank(candidates, question, NOW, 5)
            rows.store.close()
        return [
            (one.item.text, one.item.said_at, round(one.score, 9))
            for one in found
            if not one.item.private
        ]

    alone = ranked(with_private=False, scope=ADA)
    assert ranked(with_private=True, scope=ADA) == alone
    assert ranked(with_private=True, scope=Scope("ada", private=True)) == alone
