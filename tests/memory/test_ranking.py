"""Scores: parts that add up, each with its reason; duplicates; public apart from private items."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vanta.memory.items import MemoryItem
from vanta.memory.search.candidates import RecallCandidate
from vanta.memory.search.ranking import HYBRID_WEIGHTS, LEXICAL_WEIGHTS, features, rank

NOW = dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC).timestamp()
DAY_S = 24 * 3600.0
QUESTION = "Which bees has Eve?"


def candidate(
    identity: int = 1, text: str = "I keep bees now", **fields: object
) -> RecallCandidate:
    """Return a candidate; keyword arguments set its fields or those of its item."""
    item = MemoryItem(identity, "ada", "s", "t", "message", "user", text, NOW - DAY_S)
    names = {field.name for field in dataclasses.fields(MemoryItem)}
    item_fields = {name: value for name, value in fields.items() if name in names}
    other_fields = {name: value for name, value in fields.items() if name not in names}
    item = dataclasses.replace(item, **item_fields)  # type: ignore[arg-type]
    return RecallCandidate(item, **other_fields)  # type: ignore[arg-type]


def best(first: RecallCandidate, second: RecallCandidate, question: str = QUESTION) -> int:
    """Return the id of the better candidate."""
    return rank([first, second], question, NOW, 10)[0].item.id


def part(name: str, candidate: RecallCandidate, question: str = QUESTION) -> float:
    """Return a part of the score of a single candidate."""
    (recalled,) = rank([candidate], question, NOW, 1)
    return recalled.parts.get(name, 0.0)


some_candidate = st.builds(
    lambda number, words, around, cosine, beside, answers, age, role, private: candidate(
        number,
        f"Text number {number} says",
        words=words,
        around=around,
        beside=words / 2,
        cosine=cosine,
        cosine_beside=beside,
        answers=answers,
        said_at=NOW - age * DAY_S,
        role=role,
        private=private,
    ),
    st.integers(1, 10_000),
    st.floats(0, 20),
    st.floats(0, 1),
    st.none() | st.floats(-1, 1),
    st.none() | st.floats(-1, 1),
    st.booleans(),
    st.floats(-1, 900),
    st.sampled_from(["user", "assistant", "Eve", ""]),
    st.booleans(),
)
several = st.lists(some_candidate, max_size=12, unique_by=lambda match: match.item.id)
questions = st.sampled_from([QUESTION, "", "When did I see you last week?", "What's mine?"])


@given(candidates=several, question=questions, limit=st.integers(0, 6))
def test_the_parts_add_up_and_the_best_come_first(
    candidates: list[RecallCandidate], question: str, limit: int
) -> None:
    ranked = rank(candidates, question, NOW, limit)
    scores = [match.score for match in ranked]
    assert scores == sorted(scores, reverse=True)
    for match in ranked:
        assert match.score == pytest.approx(sum(match.parts.values()))
        assert set(match.parts) <= set(HYBRID_WEIGHTS) | set(LEXICAL_WEIGHTS)
    for private in (False, True):
        expected = [match for match in candidates if match.item.private is private]
        shown = [match for match in ranked if match.item.private is private]
        assert len(shown) == min(limit, len(expected))


@given(candidates=several, question=questions)
def test_private_candidates_change_no_public_score(
    candidates: list[RecallCandidate], question: str
) -> None:
    public = [match for match in candidates if not match.item.private]
    together = rank(candidates, question, NOW, 5)
    assert [match for match in together if not match.item.private] == rank(public, question, NOW, 5)


@given(candidates=several, question=questions)
def test_the_order_of_the_candidates_does_not_matter(
    candidates: list[RecallCandidate], question: str
) -> None:
    assert rank(candidates[::-1], question, NOW, 20) == rank(candidates, question, NOW, 20)


@pytest.mark.parametrize(
    ("name", "better", "worse"),
    [
        ("words", {"words": 3.0}, {"words": 2.0}),
        ("words around", {"around": 0.5}, {}),
        ("words beside", {"words": 2.0, "beside": 1.0}, {"words": 2.0}),
        ("meaning", {"cosine": 0.5}, {"cosine": 0.4}),
        ("meaning around", {"cosine": 0.5, "cosine_beside": 0.4}, {"cosine": 0.5}),
        ("speaker", {"role": "Eve"}, {"role": "Adam"}),
        ("length", {"text": "I keep bees, forty of them, in the garden"}, {"text": "I keep bees"}),
        ("answer", {"answers": True}, {}),
        ("recency", {"said_at": NOW}, {"said_at": NOW - 300 * DAY_S}),
    ],
)
def test_each_part_raises_the_score_of_an_item(
    name: str, better: dict[str, object], worse: dict[str, object]
) -> None:
    worse = {"text": "I feed bees now"} | worse
    first, second = candidate(1, **better), candidate(2, **worse)  # type: ignore[arg-type]
    assert best(first, second) == 1
    assert best(candidate(1, **worse), candidate(2, **better)) == 2  # type: ignore[arg-type]
    parts = {match.item.id: match.parts for match in rank([first, second], QUESTION, NOW, 2)}
    assert parts[1].get(name, 0.0) > parts[2].get(name, 0.0)


def test_a_good_item_raises_the_score_of_its_session() -> None:
    candidates = [candidate(1, words=5.0, session="a"), candidate(2, "Two", session="a")]
    rows = features([*candidates, candidate(3, "Three", session="b")], QUESTION, NOW)
    assert [values["session"] for values in rows] == [1.0, 1.0, 0.0]


def test_questions_with_when_prefer_items_with_dates() -> None:
    dated = candidate(dates={"yesterday": "2026-11-23"})
    assert part("date", dated, "When did Eve buy bees?") > 0
    assert part("date", candidate(), "When did Eve buy bees?") == 0
    assert part("date", dated, "Which bees has Eve?") == 0


def test_a_time_in_the_question_prefers_items_of_that_time() -> None:
    question = "What did we say in May 2026?"
    may = dt.datetime(2026, 5, 9, tzinfo=dt.UTC).timestamp()
    there, near, far = (
        part("time", candidate(said_at=may + days * DAY_S), question) for days in (0, 40, 150)
    )
    assert there > near > far > 0
    assert part("time", candidate(said_at=may)) == 0


@pytest.mark.parametrize(
    ("question", "role"),
    [("What is my sister called?", "user"), ("Which book did you recommend?", "assistant")],
)
def test_pronouns_of_a_question_prefer_a_speaker(question: str, role: str) -> None:
    assert part("speaker", candidate(role=role), question) > 0
    other = {"user": "assistant", "assistant": "user"}[role]
    assert part("speaker", candidate(role=other), question) == 0


def test_pronouns_of_both_persons_prefer_no_speaker() -> None:
    for role in ("user", "assistant"):
        assert part("speaker", candidate(role=role), "Did I tell you?") == 0


def test_the_weights_depend_on_whether_there_are_vectors() -> None:
    assert "meaning" not in rank([candidate(words=1.0)], QUESTION, NOW, 1)[0].parts
    assert part("words", candidate(words=1.0)) == pytest.approx(LEXICAL_WEIGHTS["words"])
    assert part("words", candidate(words=1.0, cosine=0.3)) == pytest.approx(HYBRID_WEIGHTS["words"])


def test_custom_weights_are_used() -> None:
    (recalled,) = rank([candidate(words=2.0)], QUESTION, NOW, 1, {"words": 3.0})
    assert recalled.parts == {"words": 3.0}


@pytest.mark.parametrize(
    ("text", "duplicate"),
    [
        ("I keep bees in the garden.", True),
        ("Well, I keep bees in a garden!", True),
        ("I keep no bees in the garden", False),
        ("In the garden I keep bees", False),
        ("I keep 7 bees in the garden", False),
    ],
)
def test_a_near_duplicate_is_dropped_but_not_a_contradiction(text: str, duplicate: bool) -> None:
    first = candidate(1, "I keep bees in the garden", words=2.0)
    second = candidate(2, text, words=1.0)
    ranked = rank([first, second], QUESTION, NOW, 10)
    assert [match.item.id for match in ranked] == ([1] if duplicate else [1, 2])


def test_short_texts_are_never_duplicates() -> None:
    ranked = rank([candidate(1, "Yes, please."), candidate(2, "Yes, please.")], QUESTION, NOW, 10)
    assert len(ranked) == 2


def test_the_same_words_of_another_speaker_are_not_a_duplicate() -> None:
    text = "I keep bees in the garden"
    candidates = [candidate(1, text, role="user"), candidate(2, text, role="assistant")]
    assert len(rank(candidates, QUESTION, NOW, 10)) == 2
