"""Scores: parts that add up, each for its reason; twins dropped; the public apart from the
private."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vanta.memory.items import MemoryItem
from vanta.memory.search.ranking import HYBRID_WEIGHTS, LEXICAL_WEIGHTS, features, rank
from vanta.memory.search.retrieval import RecallCandidate

NOW = dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC).timestamp()
DAY_S = 24 * 3600.0
QUESTION = "Which bees has Eve?"


def candidate(identity: int = 1, text: str = "I keep bees now", **told: object) -> RecallCandidate:
    """A candidate; fields of its item go by their names."""
    item = MemoryItem(identity, "ada", "s", "t", "message", "user", text, NOW - DAY_S)
    names = {field.name for field in dataclasses.fields(MemoryItem)}
    of_item = {name: value for name, value in told.items() if name in names}
    rest = {name: value for name, value in told.items() if name not in names}
    item = dataclasses.replace(item, **of_item)  # type: ignore[arg-type]
    return RecallCandidate(item, **rest)  # type: ignore[arg-type]


def best(first: RecallCandidate, second: RecallCandidate, question: str = QUESTION) -> int:
    """The id of the better one."""
    return rank([first, second], question, NOW, 10)[0].item.id


def part(name: str, one: RecallCandidate, question: str = QUESTION) -> float:
    """A part of the score of a candidate that is alone."""
    (recalled,) = rank([one], question, NOW, 1)
    return recalled.parts.get(name, 0.0)


made = st.builds(
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
several = st.lists(made, max_size=12, unique_by=lambda one: one.item.id)
asked = st.sampled_from([QUESTION, "", "When did I see you last week?", "What's mine?"])


@given(candidates=several, question=asked, limit=st.integers(0, 6))
def test_the_parts_add_up_and_the_best_come_first(
    candidates: list[RecallCandidate], question: str, limit: int
) -> None:
    ranked = rank(candidates, question, NOW, limit)
    scores = [one.score for one in ranked]
    assert scores == sorted(scores, reverse=True)
    for one in ranked:
        assert one.score == pytest.approx(sum(one.parts.values()))
        assert set(one.parts) <= set(HYBRID_WEIGHTS) | set(LEXICAL_WEIGHTS)
    for private in (False, True):
        there = [one for one in candidates if one.item.private is private]
        shown = [one for one in ranked if one.item.private is private]
        assert len(shown) == min(limit, len(there))


@given(candidates=several, question=asked)
def test_private_candidates_change_no_public_score(
    candidates: list[RecallCandidate], question: str
) -> None:
    public = [one for one in candidates if not one.item.private]
    together = rank(candidates, question, NOW, 5)
    assert [one for one in together if not one.item.private] == rank(public, question, NOW, 5)


@given(candidates=several, question=asked)
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
def test_each_part_speaks_for_an_item(
    name: str, better: dict[str, object], worse: dict[str, object]
) -> None:
    worse = {"text": "I feed bees now"} | worse
    first, second = candidate(1, **better), candidate(2, **worse)  # type: ignore[arg-type]
    assert best(first, second) == 1
    assert best(candidate(1, **worse), candidate(2, **better)) == 2  # type: ignore[arg-type]
    parts = {one.item.id: one.parts for one in rank([first, second], QUESTION, NOW, 2)}
    assert parts[1].get(name, 0.0) > parts[2].get(name, 0.0)


def test_a_good_item_speaks_for_its_session() -> None:
    found = [candidate(1, words=5.0, session="a"), candidate(2, "Two", session="a")]
    told = features([*found, candidate(3, "Three", session="b")], QUESTION, NOW)
    assert [one["session"] for one in told] == [1.0, 1.0, 0.0]


def test_when_asks_for_dates() -> None:
    dated = candidate(dates={"yesterday": "2026-11-23"})
    assert part("date", dated, "When did Eve buy bees?") > 0
    assert part("date", candidate(), "When did Eve buy bees?") == 0
    assert part("date", dated, "Which bees has Eve?") == 0


def test_a_time_in_the_question_asks_for_that_time() -> None:
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
def test_a_question_tells_whose_words_it_asks_for(question: str, role: str) -> None:
    assert part("speaker", candidate(role=role), question) > 0
    other = {"user": "assistant", "assistant": "user"}[role]
    assert part("speaker", candidate(role=other), question) == 0


def test_a_question_to_you_about_me_asks_for_either() -> None:
    for role in ("user", "assistant"):
        assert part("speaker", candidate(role=role), "Did I tell you?") == 0


def test_without_a_vector_the_words_count_for_more() -> None:
    assert "meaning" not in rank([candidate(words=1.0)], QUESTION, NOW, 1)[0].parts
    assert part("words", candidate(words=1.0)) == pytest.approx(LEXICAL_WEIGHTS["words"])
    assert part("words", candidate(words=1.0, cosine=0.3)) == pytest.approx(HYBRID_WEIGHTS["words"])


def test_weights_may_be_given() -> None:
    (recalled,) = rank([candidate(words=2.0)], QUESTION, NOW, 1, {"words": 3.0})
    assert recalled.parts == {"words": 3.0}


@pytest.mark.parametrize(
    ("text", "twin"),
    [
        ("I keep bees in the garden.", True),
        ("Well, I keep bees in a garden!", True),
        ("I keep no bees in the garden", False),
        ("In the garden I keep bees", False),
        ("I keep 7 bees in the garden", False),
    ],
)
def test_a_near_duplicate_is_dropped_but_no_contradiction(text: str, twin: bool) -> None:
    first = candidate(1, "I keep bees in the garden", words=2.0)
    second = candidate(2, text, words=1.0)
    ranked = rank([first, second], QUESTION, NOW, 10)
    assert [one.item.id for one in ranked] == ([1] if twin else [1, 2])


def test_what_says_little_by_itself_has_no_twins() -> None:
    ranked = rank([candidate(1, "Yes, please."), candidate(2, "Yes, please.")], QUESTION, NOW, 10)
    assert len(ranked) == 2


def test_the_same_words_of_another_speaker_are_no_twin() -> None:
    told = "I keep bees in the garden"
    found = [candidate(1, told, role="user"), candidate(2, told, role="assistant")]
    assert len(rank(found, QUESTION, NOW, 10)) == 2
