"""Match expressions on the real FTS5: any question is safe, and no match leaves its scope."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vanta.memory.items import Scope
from vanta.memory.search import lexical
from vanta.memory.store.tables import session_token, user_token

OTHERS = "Everything about cats and dogs that another user said"


@pytest.fixture
def index() -> Iterator[sqlite3.Connection]:
    """Return an index like memory's, with public and private texts of two users."""
    with sqlite3.connect(":memory:") as connection:
        connection.execute(
            "CREATE VIRTUAL TABLE f USING fts5(text, scope, "
            "tokenize = 'porter unicode61 remove_diacritics 2')"
        )
        ada, bob = user_token("ada", private=False), user_token("bob", private=False)
        secret = user_token("ada", private=True)
        monday = session_token("ada", "monday")
        rows = [
            ("My cat is called Pixel, she's seven", f"{ada} {monday}"),
            ("We met at the café in Kraków", ada),
            ("the cat's medicine is in the safe", f"{secret} {monday}"),
            (OTHERS, bob),
        ]
        connection.executemany("INSERT INTO f (text, scope) VALUES (?, ?)", rows)
        yield connection
    connection.close()


def matches(
    index: sqlite3.Connection, scope: Scope, question: str, private: bool = False
) -> set[int]:
    """Return the rows that match any word of the question."""
    words = lexical.query_terms(question)
    if not words:
        return set()
    expression = lexical.match_expression(lexical.scope_expression(scope, private=private), [words])
    return {row[0] for row in index.execute("SELECT rowid FROM f WHERE f MATCH ?", (expression,))}


def test_a_word_matches_in_any_form_and_case(index: sqlite3.Connection) -> None:
    assert matches(index, Scope("ada"), "What are my CATS called?") == {1}
    assert matches(index, Scope("ada"), "Which cafe was that?") == {2}
    assert matches(index, Scope("ada"), "Which cafe\u0301 was that?") == {2}


def test_users_and_their_private_parts_are_separate(index: sqlite3.Connection) -> None:
    assert matches(index, Scope("ada"), "cat safe") == {1}
    assert matches(index, Scope("ada", private=True), "cat safe", private=True) == {3}
    assert matches(index, Scope("bob"), "cat") == {4}


def test_sessions_are_separate(index: sqlite3.Connection) -> None:
    assert matches(index, Scope("ada", "monday"), "cat cafe") == {1}
    assert matches(index, Scope("ada", "tuesday"), "cat cafe") == set()
    assert matches(index, Scope("bob", "monday"), "cat cafe") == set()


def test_a_question_cannot_name_a_scope(index: sqlite3.Connection) -> None:
    token = user_token("bob", private=False)
    question = f'") OR scope : "{token}" OR (text : "cats {token}'
    assert 4 not in matches(index, Scope("ada"), question)


@given(st.text(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_text_is_a_safe_question(index: sqlite3.Connection, text: str) -> None:
    assert 4 not in matches(index, Scope("ada"), text)


@pytest.mark.parametrize(
    "text",
    [
        '"',
        'a" OR text:*',
        "NEAR(a b, 2)",
        "x AND NOT y",
        "^cat*",
        "{text}: cat",
        "猫が好き 🐈‍⬛",
        "\0cat\0",
    ],
)
def test_operators_and_punctuation_are_plain_text(index: sqlite3.Connection, text: str) -> None:
    assert 4 not in matches(index, Scope("ada"), text)


def test_stop_words_are_not_looked_up() -> None:
    assert lexical.query_terms("What did I say about the dog of my sister?") == ("dog", "sister")
    assert lexical.query_terms("What did you say?") == ("what", "did", "you", "say")
    assert lexical.query_terms("Who? Who!") == ("who",)
    assert lexical.query_terms("... ?!") == ()


def test_only_the_first_words_of_a_long_question_are_looked_up() -> None:
    many = lexical.query_terms(" ".join(f"word{number}" for number in range(1000)))
    assert len(many) == lexical.MAX_TERMS
    assert many[0] == "word0"
