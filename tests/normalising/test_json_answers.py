"""The JSON of an answer: what is left out around it, and what is never repaired."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vanta.normalising import is_cut_off, json_start, json_texts

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize(
    ("answer", "texts"),
    [
        ('{"a": 1}', ['{"a": 1}']),
        (" 3 \n", ["3"]),
        ('"{}"', ['"{}"']),
        ('```json\n{"a": 1}\n```', ['{"a": 1}']),
        ("Here it is:\n```\n[1, 2]\n```\nAnything else?", ["[1, 2]"]),
        ('~~~\n{"a": "```"}\n~~~', ['{"a": "```"}']),
        ('Sure! {"a": "}"} Done.', ['{"a": "}"}']),
        ('{"a": [1, 2,], }', ['{"a": [1, 2] }']),
        ('{"a": "1,]",}', ['{"a": "1,]"}']),
        ('Take {x} and {"a": 1}', ['{"a": 1}']),
        ('first {"a": 1}, then {"a": 2}', ['{"a": 1}', '{"a": 2}']),
        ('an open { bracket, then {"a": 1', []),
        ("\ufeff[]", ["[]"]),
    ],
)
def test_json_is_found_whatever_stands_around_it(answer: str, texts: list[str]) -> None:
    assert list(json_texts(answer)) == texts


@pytest.mark.parametrize(
    "answer",
    [
        '{"a": 1, "a": 2}',
        "{'a': 1}",
        "{a: 1}",
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": 1',
        '{"a": "one',
        '{"a": 1 // one\n}',
        "[1, , 2]",
        "",
        "the answer is 3",
        "[" * 100_000 + "]" * 100_000,
    ],
)
def test_a_value_is_never_repaired(answer: str) -> None:
    assert json_texts(answer) == ()


def test_an_open_bracket_does_not_hide_what_follows() -> None:
    assert json_texts('a smile :-{ and {"a": 1}') == ('{"a": 1}',)


@pytest.mark.parametrize(
    ("answer", "cut"), [('{"a": [1', True), ('{"a": "}', True), ('{"a": 1}', False), ("3", False)]
)
def test_an_unclosed_bracket_shows_that_an_answer_is_cut_off(answer: str, cut: bool) -> None:
    assert is_cut_off(answer) is cut


def test_the_beginning_of_json_is_its_first_bracket() -> None:
    assert json_start('Sure: {"a"') == 6
    assert json_start("Sure") == 4


@given(JSON, st.sampled_from(["{}", "```json\n{}\n```", "\n\n{}\n"]))
def test_every_value_is_read_as_it_was_written(value: object, form: str) -> None:
    text = form.replace("{}", json.dumps(value))
    assert [json.loads(found) for found in json_texts(text)] == [value]


@pytest.mark.parametrize(
    "answer",
    ["{" * 100_000, '{"' * 50_000, "```a\n" * 100_000, '{"a":1} ' * 50_000, ",]" * 200_000],
)
def test_a_long_answer_takes_linear_time(answer: str) -> None:
    begin = time.process_time()
    json_texts(answer)
    assert time.process_time() - begin < 5
