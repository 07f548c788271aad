"""Characters: halves of surrogate pairs, bytes that could not be decoded, control characters."""

from __future__ import annotations

import json
import unicodedata
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vanta.text import (
    SurrogateJoiner,
    decoded,
    escaped_json,
    printable,
    well_formed,
    well_formed_data,
)

ANY_CHARACTER = st.characters(exclude_categories=())
HALVES = st.integers(0xD800, 0xDFFF).map(chr)
TEXTS = st.text(st.one_of(ANY_CHARACTER, HALVES, st.sampled_from("a\ud83d\ude00\udce9北\n\x1b")))
DATA: st.SearchStrategy[Any] = st.recursive(
    st.one_of(TEXTS, st.integers(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("\ud83d\ude00", "\U0001f600"),
        ("a\ud83d", "a\ufffd"),
        ("\ude00b", "\ufffdb"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        ("caf\udce9", "caf\ufffd"),
        ("", ""),
    ],
)
def test_pairs_are_joined_and_lone_halves_replaced(text: str, expected: str) -> None:
    assert well_formed(text) == expected


@given(TEXTS)
def test_any_text_can_be_encoded_afterwards_and_good_text_is_the_same_object(text: str) -> None:
    clean = well_formed(text)
    assert clean.encode().decode() == clean
    assert well_formed(clean) is clean


@pytest.mark.parametrize("place", [0, 1023, 1024, 65_535, 65_536, 199_999])
def test_a_half_in_a_long_text_is_found_wherever_it_stands(place: int) -> None:
    text = "北" * place + "\ud83d" + "北" * (199_999 - place)
    assert well_formed(text) == text.replace("\ud83d", "\ufffd")
    whole = "北" * place + "\U0001f600" + "北" * (199_999 - place)
    assert well_formed(whole) is whole


@given(DATA)
def test_any_data_can_be_written_as_json_afterwards(data: Any) -> None:
    written = json.dumps(well_formed_data(data), ensure_ascii=False).encode()
    assert json.loads(written) == well_formed_data(data)


@given(TEXTS, st.lists(st.integers(0, 40), max_size=5))
def test_a_text_in_fragments_gives_the_same_as_the_whole(text: str, cuts: list[int]) -> None:
    raw = text.encode("utf-16-le", "surrogatepass")
    places = sorted({2 * cut for cut in cuts if 2 * cut < len(raw)} | {0, len(raw)})
    fragments = [
        raw[start:end].decode("utf-16-le", "surrogatepass") for start, end in pairwise(places)
    ]
    joiner = SurrogateJoiner()
    parts = [joiner.feed(fragment) for fragment in fragments]
    assert all(part == well_formed(part) for part in parts)
    assert "".join(parts) + joiner.flush() == well_formed(text)


@pytest.mark.parametrize(
    ("raw", "locale", "expected"),
    [
        (b"caf\xc3\xa9", "utf-8", "café"),
        (b"caf\xe9", "utf-8", "caf\ufffd"),
        (b"caf\xc3\xa9", "ascii", "café"),
        ("北京 \U0001f600".encode(), "ascii", "北京 \U0001f600"),
        (b"\xff\xfe", "utf-8", "\ufffd\ufffd"),
    ],
)
def test_bytes_of_the_system_are_read_as_utf_8(raw: bytes, locale: str, expected: str) -> None:
    assert decoded(raw.decode(locale, "surrogateescape")) == expected


def test_a_pair_is_not_mistaken_for_a_byte() -> None:
    assert decoded("\ud83d\udc80") == "\U0001f480"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\ntwo\tthree", "one\ntwo\tthree"),
        ("\x1b]52;c;aGk=\x07", "\ufffd]52;c;aGk=\ufffd"),
        ("\x9b31mred", "\ufffd31mred"),
        ("safe\rrm -rf", "safe\ufffdrm -rf"),
        ("a line\r\nanother", "a line\nanother"),
        ("\u202egnp.exe", "\ufffdgnp.exe"),
        ("\u2067x\u2069", "\ufffdx\ufffd"),
        ("café 北京 שלום \U0001f600", "café 北京 שלום \U0001f600"),
        ("half \ud83d", "half \ufffd"),
    ],
)
def test_a_terminal_gets_nothing_that_it_would_obey(text: str, expected: str) -> None:
    assert printable(text) == expected


@given(TEXTS)
def test_printable_text_has_no_control_characters(text: str) -> None:
    kinds = {unicodedata.category(letter) for letter in printable(text) if letter not in "\n\t"}
    assert not kinds & {"Cc", "Cs"}
    assert not set(printable(text)) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069")


@given(DATA)
def test_json_keeps_its_value_and_loses_its_control_characters(data: Any) -> None:
    document = escaped_json(json.dumps(data, ensure_ascii=False, indent=2))
    assert json.loads(document) == json.loads(json.dumps(data))
    assert printable(document) == document
