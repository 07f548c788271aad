"""Folding: texts that people read as the same are the same, and places in a text stay right."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vanta.language import clusters, comparable, find_folded, fold


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("GROSSMUTTER", "grossmutter"),
        ("Großmutter", "grossmutter"),
        ("Cafe\u0301 Zoë", "cafe zoe"),
        ("IŞIL İstanbul ışıl", "isil istanbul isil"),
        ("Ｆｕｌｌ　１２３", "full 123"),
        ("ﾘｽﾎﾞﾝ", "リスボン"),
        ("Σίσυφος ΣΊΣΥΦΟΣ", "σισυφοσ σισυφοσ"),
        ("живёт ЖИВЕТ", "живет живет"),
        ("أَخْتِي آنا ٤٧١١", "اختي انا 4711"),
        ("शरीफ़ १२", "शरीफ 12"),
        ("한\u1100\u1161", "한가"),
        ("Łódź Ørsted", "lodz orsted"),
    ],
)
def test_case_width_accents_and_forms_are_folded(text: str, folded: str) -> None:
    assert fold(text) == folded


@pytest.mark.parametrize("text", ["दिन", "दान", "กา", "กำ", "が", "か", "ガ"])
def test_marks_that_carry_a_vowel_or_a_sound_are_kept(text: str) -> None:
    assert len({fold(other) for other in ("दिन", "दान", "กา", "กำ", "が", "か", "ガ")}) == 7
    assert fold(text) in {text, "กํา"}


@given(st.text(max_size=60))
@example("ﷺ")
@example("\u1e9e\u0345\u03a3")
def test_clusters_joined_are_the_text_and_fold_one_by_one(text: str) -> None:
    pieces = list(clusters(text))
    assert "".join(pieces) == text
    assert all(pieces)
    assert "".join(map(fold, pieces)) == fold(text)


def test_families_flags_and_syllables_are_one_cluster_each() -> None:
    assert list(clusters("👨\u200d👩\u200d👧a\u0301b")) == ["👨\u200d👩\u200d👧", "a\u0301", "b"]
    assert list(clusters("\u1112\u1161\u11ab글")) == ["\u1112\u1161\u11ab", "글"]


@pytest.mark.parametrize(
    ("text", "part", "at"),
    [
        ("In der Schloßstraße 5", "SCHLOSSSTRASSE", 7),
        ("ßßß Anna", "anna", 4),
        ("İİİ anna", "ANNA", 4),
        ("Cafe\u0301 Zoë", "zoe", 6),
        ("Straße", "s", 0),
        ("aß", "s", 1),
        ("abc", "d", -1),
        ("", "d", -1),
    ],
)
def test_a_place_in_a_folded_text_is_a_place_in_the_text(text: str, part: str, at: int) -> None:
    assert find_folded(text, part) == at


def test_comparable_texts_differ_in_spaces_and_punctuation_only() -> None:
    assert comparable("Well-known:  I like C++!") == comparable("well known I like c++")
    assert comparable("I like C++.") != comparable("I like C#.")
    assert comparable("-5 degrees") != comparable("5 degrees")
    assert comparable("3.5") != comparable("35")
    assert comparable("我喜欢猫。") == comparable("我喜欢猫")
