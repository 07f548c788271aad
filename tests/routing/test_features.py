"""What the router sees of a text."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vanta.routing.features import features, named

ANY_TEXT = st.text(st.characters(), max_size=300)


@given(ANY_TEXT)
def test_every_text_has_features_and_each_has_a_name(text: str) -> None:
    hashes = features(text)
    assert hashes == named(text).keys()
    assert all(0 <= value < 1 << 32 for value in hashes)


def test_the_middle_of_a_long_text_is_not_looked_at() -> None:
    begin, end = "begin " * 200, "end " * 200
    looked = features(begin + "a" * 5000 + end)
    assert looked == features(begin + "b" * 5000 + end)
    assert len(named("word " * 100_000)) < 1000


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("solve this", "write this"),
        ("solve this", "this solve"),
        ("証明せよ", "翻訳せよ"),
        ("solve this", "solve this\n\n1 2 3 4 5 6 7"),
        ("a" * 40, "a" * 400),
    ],
)
def test_other_words_order_lines_numbers_and_lengths_are_other_features(
    first: str, second: str
) -> None:
    assert features(first) != features(second)


def test_scripts_without_spaces_share_features_word_by_word() -> None:
    names = set(named("証明せよ").values())
    assert {"word '証'", "word '証明'"} <= names


def test_features_are_the_same_in_every_process() -> None:
    text = "What is 12 * 7?\nA. 84\nB. 74"
    code = f"from vanta.routing.features import features; print(sorted(features({text!r})))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "7"},
    )
    assert done.stdout.strip() == str(sorted(features(text)))


def test_deciding_needs_no_heavy_library() -> None:
    code = (
        "import sys; from vanta.routing import Router; Router.unfitted().difficulty('x');"
        "assert not {'numpy', 'llama_cpp', 'openai', 'sqlalchemy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
