"""Segmentation: what a text is found, compared and routed by, in any script."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vanta.language import (
    language_of,
    numbers_in,
    parts,
    persons_in,
    related_keys,
    terms,
    without_function_words,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("My dog's name: Rex_2!", ["my", "dog", "s", "name", "rex", "2"]),
        ("里斯本3月", ["里", "斯", "本", "里斯", "斯本", "3", "月"]),
        ("猫のミソ", ["猫", "の", "ミソ"]),
        ("리스본에서는", ["리스", "스본"]),
        ("차는", ["차"]),
        ("Лиссабоне", ["лиссабон"]),
        ("المدرسة", ["مدرس"]),
        ("रहती है", ["रह", "है"]),
        ("", []),
        ("…?! 🐈", []),
    ],
)
def test_a_text_is_cut_into_terms_by_its_script(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("リスボン", "リスボンに住む"),
        ("ลิสบอน", "อาศัยอยู่ที่ลิสบอน"),
        ("리스본", "리스본에 살아요"),
        ("бабушка", "с бабушкой"),
        ("бабушка", "БАБУШКЕ"),
        ("مدرسة", "في المدرسة"),
        ("בית", "בבית"),
        ("ליסבון", "בליסבון"),
        ("लड़का", "लड़के ने"),
        ("ကျောင်း", "ကျောင်းသို့"),
        ("ភ្នំពេញ", "នៅភ្នំពេញ"),
    ],
)
def test_a_word_shares_a_term_with_a_text_that_has_it_in_another_form(
    first: str, second: str
) -> None:
    assert set(terms(first)) & set(terms(second))


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("Schlüssel", "Haustürschlüssel"),
        ("Haustür", "Haustürschlüssel"),
        ("Kaffeemaschine", "Die Maschine"),
        ("Katze", "Katzen"),
        ("pasaport", "pasaportumun"),
        ("Ελλάδα", "Ελλάδας"),
    ],
)
def test_compounds_and_other_forms_share_a_part(question: str, text: str) -> None:
    (word,) = terms(question)
    keys, endings = related_keys(word, shortest=4)
    assert set(keys) & set(parts(text)) or set(endings) & set(terms(text))


@pytest.mark.parametrize("word", ["4711", "里斯", "리스본", "лиссабон", "cat"])
def test_numbers_short_words_and_stemmed_scripts_have_no_parts(word: str) -> None:
    assert parts(word) == []
    assert related_keys(word, shortest=5) == ([], [])


@given(st.text(max_size=80))
def test_terms_are_letters_digits_and_marks_only(text: str) -> None:
    for term in [*terms(text), *parts(text)]:
        assert term
        assert '"' not in term
        assert not any(letter.isspace() for letter in term)
    assert terms(text.upper()) or not terms(text)


def test_terms_are_the_same_in_every_process() -> None:
    text = "Straße 里斯本 リスボン 리스본에 ลิสบอน Лиссабоне رحلتي"
    code = f"from vanta.language import parts, terms; print(terms({text!r}), parts({text!r}))"
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", code],
        capture_output=True,
        encoding="utf-8",
        check=True,
        env={"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join(sys.path)},
    )
    assert done.stdout.strip() == f"{terms(text)} {parts(text)}"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("What did she say about the dog?", "en"),
        ("Was hat sie über den Hund gesagt?", "de"),
        ("¿Dónde está el coche de mi padre?", "es"),
        ("Qu'est-ce que mon père a dit ?", "fr"),
        ("Arabayı nereye park ettim ve ne zaman?", "tr"),
        ("Lisbon", None),
        ("安娜住在哪里", None),
    ],
)
def test_a_language_in_latin_letters_is_recognised_by_its_function_words(
    text: str, language: str | None
) -> None:
    assert language_of(terms(text)) == language


def test_function_words_are_dropped_unless_there_are_no_others() -> None:
    assert without_function_words(terms("安娜在哪里")) == ["安", "娜", "安娜", "娜在"]
    assert without_function_words(terms("Wo ist die Katze?")) == ["katze"]
    assert without_function_words(terms("Where is it?")) == ["where", "is", "it"]


@pytest.mark.parametrize(
    ("text", "persons"),
    [
        ("Where is my car?", (True, False)),
        ("Wo ist mein Auto?", (True, False)),
        ("What did you say?", (False, True)),
        ("我的车在哪里？", (True, False)),
        ("Где моя машина?", (True, False)),
        ("내 차는 어디에 있어?", (True, False)),
        ("Where is the car?", (False, False)),
    ],
)
def test_pronouns_of_the_speaker_and_the_listener_are_seen(
    text: str, persons: tuple[bool, bool]
) -> None:
    assert persons_in(terms(text)) == persons


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1,000 and 1.000 and 1 000 and １０００ and 一千", {"1000"}),
        ("3.50 or 3,5", {"3.5"}),
        ("1,234.5 and 1.234,5", {"1234.5"}),
        ("三个苹果, 二十三岁, 一九六九年", {"3", "23", "1969"}),
        ("三万五千元", {"35000"}),
        ("٢٠٦ और २०६", {"206"}),
        ("20.07.1969 at 5:30", {"20", "7", "1969", "5", "30"}),
        ("drei Äpfel, dört elma, пять яблок", {"3", "4", "5"}),
        ("1. Milk\n2. Bread", set()),
        ("007", {"7"}),
        ("四川", set()),
        ("四", {"4"}),
        ("答案是四。", {"4"}),
        ("一、牛奶", set()),
        ("-5 and \u22125.0 and 1-3", {"-5", "1", "3"}),
        ("one of the", set()),
    ],
)
def test_equal_numbers_are_equal_in_every_spelling(text: str, numbers: set[str]) -> None:
    assert numbers_in(text) == numbers
