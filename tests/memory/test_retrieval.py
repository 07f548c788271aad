"""Candidates: by words, meaning and time, within the scope, independent of private items."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.memory.rows import ADA, FINGERPRINT, MINUTE_S, START, Rows, message
from vanta.memory.items import Filters, NewItem, Scope
from vanta.memory.search import lexical, retrieval
from vanta.memory.search.ranking import rank

NOW = START + 60 * MINUTE_S
VOCABULARY = ("cat", "dog", "house", "garden", "rain", "tea")


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[Rows]:
    """Return an empty store."""
    made = Rows(tmp_path)
    yield made
    made.store.close()


def test_an_item_is_found_by_another_form_of_a_word(rows: Rows) -> None:
    rows.add([message("I was painting the fence"), message("It rained", 1, session="two")])
    (candidate,) = rows.search("Who paints?")
    assert candidate.item.text == "I was painting the fence"
    assert candidate.matched == ("paints",)
    assert candidate.words > 0
    assert candidate.around == pytest.approx(1.0)
    assert candidate.cosine is None


def test_a_rare_word_weighs_more_than_a_frequent_one(rows: Rows) -> None:
    rows.add(
        [message(f"The dog slept {number}", number, session=f"s{number}") for number in range(9)]
    )
    rows.add([message("A heron stood here", 20, session="other")])
    worth = {match.item.text.split()[1]: match.words for match in rows.search("dog or heron?")}
    assert worth["heron"] > worth["dog"] > 0


def test_two_forms_of_a_word_count_once(rows: Rows) -> None:
    rows.add([message("I paint"), message("I sing", 1, session="two")])
    assert {match.words for match in rows.search("paint")} == {
        match.words for match in rows.search("paint paints")
    }


def test_neighbours_in_the_same_session_are_candidates(rows: Rows) -> None:
    texts = ["Where is the key?", "Under the pot.", "Thanks.", "Bye."]
    rows.add([message(text, number) for number, text in enumerate(texts)])
    rows.add([message("Nobody asked", 5, session="two")])
    candidates = {match.item.text: match for match in rows.search("the key")}
    assert set(candidates) == set(texts)
    assert candidates["Under the pot."].answers
    assert candidates["Under the pot."].around == pytest.approx(1.0)
    assert not candidates["Thanks."].answers
    assert candidates["Thanks."].beside > 0 == candidates["Bye."].beside


def test_neighbours_are_candidates_however_many_items_match(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval, "ENOUGH", 1)
    monkeypatch.setattr(retrieval, "BY_WORDS", 3)
    rows.add([message(f"A dog, number {n}", n, session=f"s{n}") for n in range(5)])
    rows.add(
        [message("And where is the dog?", 8), message("In the shed.", 9), message("I see.", 10)]
    )
    assert "In the shed." in rows.texts("dog")


def test_chunks_of_another_document_are_not_neighbours(rows: Rows) -> None:
    def chunk(text: str, source: str) -> NewItem:
        return NewItem("ada", "document", text, START, source=source)

    rows.add([chunk("About keys", "a.md"), chunk("About pots", "b.md")])
    candidates = {match.item.text: match for match in rows.search("keys")}
    assert candidates["About keys"].around == pytest.approx(1.0)
    assert "About pots" not in candidates or candidates["About pots"].around == 0.0


def test_items_are_found_by_meaning_without_a_common_word(rows: Rows) -> None:
    near, far = rows.add([message("My kitten purrs"), message("It rained", 1, session="two")])
    rows.embed({near: (1.0, 0.0, 0.0), far: (0.0, 1.0, 0.0)})
    query = np.array([0.8, 0.6, 0.0], dtype=np.float32)
    candidates = rows.search("cat", query_vector=query, embedder=FINGERPRINT, neighbour_ids=[near])
    assert [match.item.id for match in candidates] == [near]
    assert candidates[0].cosine == pytest.approx(0.8)


def test_vectors_of_another_embedder_are_not_used(rows: Rows) -> None:
    (cat,) = rows.add([message("My cat purrs")])
    rows.embed({cat: (1.0, 0.0, 0.0)})
    query = np.array([1.0, 0.0, 0.0], dtype=np.float32)
    (candidate,) = rows.search("cat", query_vector=query, embedder="other/3/1", neighbour_ids=[cat])
    assert candidate.cosine is None


def test_ids_from_an_index_cannot_leave_the_scope(rows: Rows) -> None:
    ids = rows.add(
        [
            message("Bob's", user="bob"),
            message("secret", private=True),
            message("hers", session="two"),
        ]
    )
    assert [match.item.text for match in rows.search("x", neighbour_ids=ids)] == ["hers"]
    assert rows.search("x", Scope("ada", "one"), neighbour_ids=ids) == []
    assert rows.texts("x", Scope("ada", private=True), neighbour_ids=ids) == ["hers", "secret"]


def test_items_of_a_mentioned_time_are_candidates(rows: Rows) -> None:
    day = 24 * 3600.0
    items = [message("Tea with Eve"), message("Soup", session="two")]
    items[1] = dataclasses.replace(items[1], said_at=START - 40 * day)
    rows.add(items)
    candidates = rows.search("What happened yesterday?", now=START + day)
    assert [match.item.text for match in candidates] == ["Tea with Eve"]


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
def test_filters_are_part_of_the_search(rows: Rows, filters: Filters, texts: list[str]) -> None:
    rows.add(
        [
            message("dog a"),
            message("dog b", 1, role="assistant"),
            message("dog c", 2, tags=("pets", "old")),
            message("Bob's dog", 2, user="bob", tags=("pets", "old")),
        ]
    )
    assert rows.texts("dog", filters=filters) == texts


def test_a_repeated_item_is_found_only_as_its_latest_repetition(rows: Rows) -> None:
    first, last = rows.add(
        [message("My dog is called Biscuit"), message("My dog is called Biscuit", 9)]
    )
    assert [match.item.id for match in rows.search("dog")] == [last]
    assert first != last


def test_the_name_of_a_speaker_is_not_looked_up(rows: Rows) -> None:
    rows.add(
        [message("Hi Eve!", role="Adam"), message("I keep bees", 1, role="Eve", session="two")]
    )
    assert rows.texts("Which bees has Eve?") == ["I keep bees"]
    assert rows.texts("Eve?") == ["Hi Eve!"]


@pytest.mark.parametrize("question", ["", "?!", '"', "\0", "猫", "a" * 5000, "the of and"])
def test_any_question_is_valid(rows: Rows, question: str) -> None:
    rows.add([message("A text")])
    assert rows.search(question, neighbour_ids=[1, 99, -1])


def test_a_frequent_word_is_looked_up_in_the_newest_items_and_with_rarer_words(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lexical, "MAX_HITS", 10)
    rows.add([message("The dog dreams of a heron", session="first")])
    rows.add([message(f"The dog slept {n}", n, session=f"s{n}") for n in range(1, 40)])
    candidates = {match.item.text: match.matched for match in rows.search("dog heron")}
    assert candidates["The dog dreams of a heron"] == ("dog", "heron")
    assert "The dog slept 39" in candidates
    assert "The dog slept 1" not in candidates


texts = st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=6).map(" ".join)
lines = st.lists(st.tuples(texts, st.booleans(), st.sampled_from("ab")), max_size=14)
components = st.tuples(*[st.floats(-1, 1, width=32)] * 3)


@settings(max_examples=40, deadline=None)
@given(lines=lines, question=texts, vectors=st.lists(components, min_size=14, max_size=14))
def test_private_items_do_not_change_the_public_candidates(
    lines: list[tuple[str, bool, str]], question: str, vectors: list[tuple[float, ...]]
) -> None:
    def ranked(*, with_private: bool, scope: Scope) -> list[tuple[str, float, float]]:
        with TemporaryDirectory() as folder:
            rows = Rows(Path(folder))
            kept = [
                (message(text, number, session=session, private=private), vector)
                for number, ((text, private, session), vector) in enumerate(
                    zip(lines, vectors, strict=False)
                )
                if with_private or not private
            ]
            ids = rows.add([item for item, _ in kept])
            rows.embed(dict(zip(ids, (vector for _, vector in kept), strict=True)))
            query = np.array([1.0, 0.5, 0.0], dtype=np.float32)
            candidates = rows.search(
                question, scope, query_vector=query, embedder=FINGERPRINT, neighbour_ids=ids
            )
            result = rank(candidates, question, NOW, 5)
            rows.store.close()
        return [
            (match.item.text, match.item.said_at, round(match.score, 9))
            for match in result
            if not match.item.private
        ]

    alone = ranked(with_private=False, scope=ADA)
    assert ranked(with_private=True, scope=ADA) == alone
    assert ranked(with_private=True, scope=Scope("ada", private=True)) == alone
