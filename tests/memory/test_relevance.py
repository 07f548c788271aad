"""Relevance: what fits no question is not shown, and no earlier reply to the same question."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.memory.rows import ADA, FINGERPRINT, MINUTE_S, START, Rows, message
from vanta.config import MemoryConfig
from vanta.memory.embedder import CosineScale
from vanta.memory.items import MemoryItem, NewItem, Scope
from vanta.memory.search.candidates import RecallCandidate
from vanta.memory.search.ranking import rank
from vanta.memory.search.relevance import MIN_RELEVANCE, Wanted, is_outshone, relevance

NOW = START + 60 * MINUTE_S
CAPITAL = "What is the capital of France?"
WRONG = "The capital of France can be found on a website, where you may read more about it."


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[Rows]:
    """Return an empty store."""
    made = Rows(tmp_path)
    yield made
    made.store.close()


def exchange(number: int, question: str, reply: str) -> list[NewItem]:
    """Return a question and its reply, in a session of their own."""
    names = {"session": f"s{number}", "turn_id": f"t{number}"}
    return [
        message(question, number, **names),
        message(reply, number, role="assistant", **names),
    ]


def shown(rows: Rows, question: str, scope: Scope = ADA) -> list[str]:
    """Return the texts that are relevant enough to be shown, best first."""
    ranked = rank(rows.search(question, scope), question, NOW, 50)
    return [match.item.text for match in ranked if match.relevance >= MIN_RELEVANCE]


def candidate(role: str = "user", /, **evidence: float) -> RecallCandidate:
    item = MemoryItem(1, "ada", "s", "t", "message", role, "I keep bees", NOW)
    return RecallCandidate(item, **evidence)  # type: ignore[arg-type]


def likely(match: RecallCandidate, *, asked: bool = False) -> float:
    return relevance(match, Wanted(assistant=asked))


def test_what_the_user_said_is_relevant_to_a_question_about_it(rows: Rows) -> None:
    rows.add([message("My sister lives in Lisbon."), message("It rained.", 1, session="two")])
    assert shown(rows, "Where does my sister live?") == ["My sister lives in Lisbon."]


def test_nothing_is_shown_of_a_store_in_which_nothing_fits(rows: Rows) -> None:
    topics = ("old trains", "glass", "storks", "the moons of Saturn", "paper lanterns")
    rows.add(
        [message(f"We talked about {topic}.", n, session=f"s{n}") for n, topic in enumerate(topics)]
    )
    for question in (CAPITAL, "What is 2 plus 2?", "Who wrote Romeo and Juliet?", "Hello!"):
        assert shown(rows, question) == [], question


def test_six_replies_to_a_question_are_no_evidence_for_it(rows: Rows) -> None:
    for number in range(6):
        rows.add(exchange(number, CAPITAL, f"{WRONG} ({number})"))
    assert shown(rows, CAPITAL) == []
    for again in ("what's the capital of france", "Tell me, what is the capital of France?"):
        assert shown(rows, again) == [], again


@pytest.mark.parametrize(
    ("question", "reply"),
    [
        ("Where does Anna live?", "The user asked about where Anna lives."),
        ("Where does my sister Anna live?", "Your sister Anna lives in a house on a website."),
        ("Tell me about Anna.", "I do not know Anna."),
    ],
)
def test_a_reply_with_the_words_of_its_question_is_no_evidence_for_a_related_one(
    rows: Rows, question: str, reply: str
) -> None:
    rows.add([message("My sister Anna is a nurse.", 0, session="s0")])
    rows.add(exchange(1, question, reply))
    for related in ("Who is Anna?", "What does Anna do?", "Is Anna a nurse?"):
        seen = shown(rows, related)
        assert reply not in seen, related
        assert "My sister Anna is a nurse." in seen, related


def test_an_echo_is_found_among_vectors_and_behind_a_repeated_question(rows: Rows) -> None:
    import numpy as np

    asked, reply = "Where does Anna live?", "The user asked about where Anna lives."
    ids = rows.add([*exchange(1, asked, reply), *exchange(2, asked, "She lives.")])
    rows.embed({ids[0]: (0.9, 0.1, 0.0), ids[1]: (0.9, 0.1, 0.0)})
    matches = rows.search(
        "Who is Anna?",
        query_vector=np.array([1.0, 0.0, 0.0], np.float32),
        embedder=FINGERPRINT,
        neighbour_ids=ids[1:2],
        unrelated=CosineScale(0.05, 0.1),
    )
    (match,) = (match for match in matches if match.item.text == reply)
    assert match.kinship is not None
    assert match.kinship > 5.0
    assert likely(match) < MIN_RELEVANCE < likely(match, asked=True)


def test_what_a_reply_adds_to_its_question_is_evidence(rows: Rows) -> None:
    reply = "Let the dough rest for an hour, then bake it."
    rows.add(exchange(1, "How do I make bread?", reply))
    assert reply in shown(rows, "Does the dough rest?")
    assert shown(rows, "What did you say about the bread?") != []


def test_a_match_far_behind_the_best_one_is_not_shown(rows: Rows) -> None:
    rows.add(
        [
            message("Yesterday I saw a film about storks."),
            message("My dog is called Biscuit.", 1),
            message("A colleague gave a talk on glass.", 2),
        ]
    )
    rows.add([message("My cat is called Pixel.", 3, session="two")])
    assert shown(rows, "What is my dog called?") == ["My dog is called Biscuit."]
    assert shown(rows, "What are my pets called?") != []


@pytest.mark.parametrize("private", [False, True])
def test_a_private_match_leaves_public_ones_as_relevant_as_they_are(
    rows: Rows, private: bool
) -> None:
    question, scope = "What is my dog called?", Scope("ada", private=private)
    rows.add([message("My cat is called Pixel.", 3, session="two")])
    (alone,) = rank(rows.search(question), question, NOW, 50)
    rows.add([message("My dog is called Biscuit.", 4, session="three", private=True)])
    matches = {m.item.text: m for m in rank(rows.search(question, scope), question, NOW, 50)}
    assert matches["My cat is called Pixel."].relevance == pytest.approx(alone.relevance)
    assert len(matches) == 1 + private
    if private:
        assert matches["My dog is called Biscuit."].relevance >= MIN_RELEVANCE


def test_what_a_question_selects_by_time_or_speaker_is_never_far_behind(rows: Rows) -> None:
    rows.add([message("The ferry was late.", -24 * 60, session="a")])
    rows.add([message("What happened yesterday was a storm in a glass.", 1, session="b")])
    assert "The ferry was late." in shown(rows, "What happened yesterday?")
    rows.add([message("Do you know me? I know nothing about me.", -24 * 60 + 1, session="a")])
    assert "The ferry was late." in shown(rows, "What do you know about me?")


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_best_match_is_never_outshone(one: float, other: float) -> None:
    assert not is_outshone(max(one, other), max(one, other))
    assert not (is_outshone(one, other) and is_outshone(other, one))


def test_a_question_that_was_repeated_often_still_rules_out_its_replies(rows: Rows) -> None:
    """The earlier of two equal questions is not among the candidates, its reply is."""
    rows.add(exchange(1, CAPITAL, "Berlin is the capital of France."))
    rows.add(exchange(2, CAPITAL, "Rome is the capital of France."))
    matches = {match.item.text: match for match in rows.search(CAPITAL)}
    assert matches["Berlin is the capital of France."].repeats
    assert matches["Rome is the capital of France."].repeats
    assert matches[CAPITAL].repeats


def test_a_statement_with_the_words_of_the_question_is_its_answer(rows: Rows) -> None:
    rows.add([message("My dog is called Biscuit.")])
    (match,) = rows.search("What is my dog called?")
    assert not match.repeats
    assert shown(rows, "What is my dog called?") == ["My dog is called Biscuit."]


def test_a_similar_question_is_another_one(rows: Rows) -> None:
    rows.add(exchange(1, "What is the capital of Italy?", "It is Rome."))
    assert not any(match.repeats for match in rows.search(CAPITAL))


def test_private_questions_rule_out_private_replies_only(rows: Rows) -> None:
    rows.add([dataclasses.replace(item, private=True) for item in exchange(1, CAPITAL, WRONG)])
    rows.add([message("The capital of France, my aunt says, is noisy.", 5, session="x")])
    private = rows.search(CAPITAL, Scope("ada", private=True))
    assert {match.item.private for match in private if match.repeats} == {True}
    assert not any(match.repeats for match in rows.search(CAPITAL))


@pytest.mark.parametrize(
    "evidence",
    [{"share": 0.4, "around": 0.6}, {"share": 0.3, "around": 0.5, "kinship": 4.0}],
)
def test_an_assistants_own_words_count_less_unless_they_are_asked_for(
    evidence: dict[str, float],
) -> None:
    user, assistant = candidate(**evidence), candidate("assistant", **evidence)
    assert likely(assistant) < likely(user)
    assert likely(assistant, asked=True) == likely(user, asked=True) == likely(user)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What did you recommend to me?", True),
        ("Which film was on your list?", True),
        ("What have we talked about?", True),
        ("Can you tell me the capital of France?", False),
        ("Where does my sister live?", False),
    ],
)
def test_questions_for_the_assistants_words_are_recognised(question: str, expected: bool) -> None:
    assert Wanted.of(question, (), NOW).assistant is expected


def test_what_was_said_at_a_time_is_relevant_to_a_question_about_that_time(rows: Rows) -> None:
    day_s = 24 * 3600.0
    rows.add([message("The ferry was late.", -24 * 60), message("It rained.", -9 * 24 * 60)])
    (today,) = rows.add([message("The soup is ready.", 10)])
    question = "What happened yesterday?"
    ranked = rank(rows.search(question), question, NOW, 50)
    texts = {match.item.text for match in ranked if match.relevance >= MIN_RELEVANCE}
    assert texts == {"The ferry was late."}
    wanted = Wanted.of("today", [(NOW - day_s / 2, NOW + day_s / 2)], NOW)
    assert wanted.times == [], "a day that is not over selects nothing"
    assert today


@pytest.mark.parametrize(
    "question", ["What do you know about me?", "Tell me about myself.", "Who am I?"]
)
def test_all_that_the_user_said_is_relevant_to_who_they_are(question: str) -> None:
    wanted = Wanted.of(question, (), NOW)
    assert relevance(candidate(), wanted) >= MIN_RELEVANCE > likely(candidate())
    assert relevance(candidate("assistant"), wanted) < MIN_RELEVANCE


def test_meaning_alone_makes_an_item_relevant(rows: Rows) -> None:
    ids = rows.add([message("Our hound is Plum"), message("It rained", 1, session="two")])
    rows.embed({ids[0]: (1.0, 0.0, 0.0), ids[1]: (0.0, 1.0, 0.0)})
    import numpy as np

    matches = rows.search(
        "the puppy",
        query_vector=np.array([1.0, 0.0, 0.0], np.float32),
        embedder=FINGERPRINT,
        neighbour_ids=ids,
        unrelated=CosineScale(0.05, 0.1),
    )
    by_text = {match.item.text: likely(match) for match in matches}
    assert by_text["Our hound is Plum"] > MIN_RELEVANCE > by_text["It rained"]


def test_the_default_of_the_configuration_is_the_one_that_was_learned() -> None:
    assert MemoryConfig().min_relevance == MIN_RELEVANCE


finite = st.floats(0, 1)


@given(finite, finite, st.none() | st.floats(-1e6, 1e6), st.none() | st.floats(-1e6, 1e6))
def test_relevance_is_between_0_and_1_and_grows_with_evidence(
    share: float, around: float, kinship: float | None, beside: float | None
) -> None:
    evidence: dict[str, Any] = {"share": share, "around": around}
    evidence |= {"kinship": kinship, "kinship_beside": beside}
    value = likely(candidate(**evidence))
    assert 0.0 <= value <= 1.0
    assert not math.isnan(value)
    more_words = {"share": share + 0.5, "count": 0.5}
    assert likely(candidate(**evidence | more_words)) >= value
    if kinship is not None:
        assert likely(candidate(**evidence | {"kinship": kinship + 1.0})) >= value


@pytest.mark.parametrize(
    "question",
    [
        "What do you remember of my cat?",
        "What do your notes say of the cat?",
        "Do you still know my cat?",
        "Can you remind me of the cat's name?",
    ],
)
def test_a_request_to_remember_is_no_word_of_the_question(rows: Rows, question: str) -> None:
    rows.add([message("My cat is called Miso."), message("It rained.", 1, session="two")])
    assert shown(rows, question) == ["My cat is called Miso."]


def test_a_question_about_notes_themselves_finds_them(rows: Rows) -> None:
    rows.add([message("I keep my notes in a folder."), message("It rained.", 1, session="two")])
    assert shown(rows, "Where do I keep my notes?") == ["I keep my notes in a folder."]
