"""The seam of a takeover, in any language: nothing is lost, nothing is shown twice."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vanta.scheduling.takeover import ANCHOR_CHARS, Seam, anchor

ANSWERS = {
    "Chinese": "里斯本是葡萄牙的首都，也是全国最大的城市。它位于特茹河口，冬天温暖，夏天干燥。",
    "Japanese": "リスボンはポルトガルの首都で、テージョ川の河口にあります。冬は暖かく夏は乾く。",
    "Korean": "리스본은 포르투갈의 수도이며 가장 큰 도시이다. 겨울은 따뜻하고 여름은 건조하다.",
    "Thai": "ลิสบอนเป็นเมืองหลวงของโปรตุเกสและเป็นเมืองที่ใหญ่ที่สุด ฤดูหนาวอบอุ่น",
    "Arabic": "لشبونة هي عاصمة البرتغال وأكبر مدنها. الشتاء فيها دافئ والصيف جاف.",
    "Hindi": "लिस्बन पुर्तगाल की राजधानी और उसका सबसे बड़ा शहर है। सर्दियाँ गर्म होती हैं।",
    "Russian": "Лиссабон — столица Португалии и её крупнейший город. Зимой тепло, летом сухо.",
    "German": "Die Schlossstraße führt vom Großmarkt zum Hauptbahnhof; sie ist 3 km lang.",
    "Turkish": "Işıl İstanbul'da, Ilgaz ise İzmir'de oturuyor; ikisi de öğretmen.",
    "English": "Lisbon is the capital of Portugal and its largest city. Winters are mild there.",
    "Emoji": "Family 👨\u200d👩\u200d👧 and flag 🇵🇹 and thumbs 👍🏽 stay whole; cafe\u0301 too.",
}


def joined(shown: str, continuation: str, size: int = 1000) -> str:
    """Return what the user sees after a takeover whose continuation comes in pieces of `size`."""
    seam = Seam(shown)
    pieces = [seam.feed(continuation[i : i + size]) for i in range(0, len(continuation), size)]
    return shown + "".join(pieces) + seam.flush()


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("language", ANSWERS)
def test_a_continuation_that_begins_with_the_anchor_joins_at_every_cut(
    language: str, size: int
) -> None:
    answer = ANSWERS[language]
    for cut in range(1, len(answer)):
        shown, rest = answer[:cut], answer[cut:]
        assert joined(shown, anchor(shown) + rest, size) == answer, shown


@pytest.mark.parametrize("language", ANSWERS)
def test_a_continuation_without_overlap_joins_at_every_cut(language: str) -> None:
    answer = ANSWERS[language]
    for cut in range(1, len(answer)):
        assert joined(answer[:cut], answer[cut:]) == answer, answer[:cut]


@pytest.mark.parametrize("language", ANSWERS)
def test_a_continuation_that_begins_the_answer_again_joins_at_every_cut(language: str) -> None:
    answer = ANSWERS[language]
    for cut in range(1, len(answer)):
        assert joined(answer[:cut], answer, 7) == answer, answer[:cut]


@pytest.mark.parametrize("language", ["Chinese", "Japanese"])
def test_two_repeated_characters_of_a_script_without_spaces_are_cut(language: str) -> None:
    answer = ANSWERS[language]
    for cut in range(4, len(answer)):
        repeated = answer[cut - 3 : cut]
        if repeated.isalpha():
            assert joined(answer[:cut], repeated + answer[cut:]) == answer, answer[:cut]


@pytest.mark.parametrize(
    ("shown", "continuation", "whole"),
    [
        ("Anna lives in Lis", "Lisbon now.", "Anna lives in Lisbon now."),
        ("the cat", "cat sat", "the cat sat"),
        ("the cat", " cat sat", "the cat cat sat"),
        ("I am a", "a doctor", "I am a doctor"),
        ("bana", "na split", "banana split"),
        ("Wir wohnen in der Schloßstraße", "schlossstrasse 5", "Wir wohnen in der Schloßstraße 5"),
        ("We met in the CAFE\u0301", "café today", "We met in the CAFE\u0301 today"),
        ("価格は１０００円", "1000円です", "価格は１０００円です"),
        ("One  two\nthree four", "two three four five", "One  two\nthree four five"),
        ("Wie groß", "GROSS ist es?", "Wie groß ist es?"),
        ("", "All of it.", "All of it."),
        ("   ", "All of it.", "   All of it."),
        ("Hello", "", "Hello"),
    ],
)
def test_repeated_words_are_cut_in_any_case_width_and_spelling(
    shown: str, continuation: str, whole: str
) -> None:
    assert joined(shown, continuation) == whole
    assert joined(shown, continuation, 1) == whole


NUMBERS = {
    "a count": "The numbers are " + ", ".join(map(str, range(8, 125))) + ".",
    "equal digits": "Codes: 11, 22, 1111, 1212, 2020, 444444444444, 123123123123, 7777777.",
    "equal numbers": "Row: 0.00, 0.00, 0.00, 1000000, 1000000, 1000000, 5, 5, 5, 5.",
    "a table": "| year | sum |\n| 2020 | 2020.20 |\n| 2121 | 100100 |\n| 22 | 22 |\n",
    "dates and times": "Between 2022-02-22 22:22 and 2022-12-12 12:12:12 it was 11.11 %.",
    "money": "It costs $1,111,111.11, not 1.111.111,11 € or £11 11s. 11d.",
    "a phone number": "Call +49 30 303030 30 or 0800 0000 000000 today.",
    "digits of Pi": "Pi is 3.14159265358979323846264338327950288419716939937510.",
    "Arabic digits": "الأرقام ١٠، ١١، ١٢، ٢٢، ١١١١ والسنة ٢٠٢٠.",
    "full width": "番号は１０、１１、１２、２２、１１１１です。",
}


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize("text", NUMBERS.values(), ids=NUMBERS)
def test_no_digit_is_lost_at_any_cut_of_numbers(text: str, size: int) -> None:
    for cut in range(1, len(text)):
        assert joined(text[:cut], text[cut:], size) == text, text[:cut]
        assert joined(text[:cut], text, size) == text, text[:cut]


def test_an_anchor_of_numbers_is_cut() -> None:
    text = ", ".join(map(str, range(90, 125)))
    for cut in range(1, len(text)):
        assert joined(text[:cut], anchor(text[:cut]) + text[cut:], 5) == text, text[:cut]


def test_a_text_that_repeats_itself_is_cut_at_its_anchor() -> None:
    whole = "la " * 20 + "end"
    for cut in range(1, len(whole)):
        shown = whole[:cut]
        assert joined(shown, anchor(shown) + whole[cut:], 2) == whole


@pytest.mark.parametrize("language", ANSWERS)
def test_an_anchor_is_a_short_end_of_the_text_that_splits_no_letter(language: str) -> None:
    answer = ANSWERS[language] * 3
    for cut in range(60, len(answer)):
        shown = answer[:cut]
        words = anchor(shown)
        assert shown.endswith(words)
        assert 6 <= len(words) < len(shown) - 1
        assert unicodedata.category(words[0])[0] != "M"
        assert words[0] != "\u200d"


def test_the_anchor_of_a_text_without_spaces_is_not_the_whole_text() -> None:
    assert anchor(ANSWERS["Chinese"]).endswith("夏天干燥。")
    assert len(anchor(ANSWERS["Chinese"])) <= 14
    assert len(anchor("https://example.org/" + "a" * 5000)) <= ANCHOR_CHARS


@given(st.text(max_size=60), st.text(max_size=60), st.integers(1, 9))
def test_a_seam_drops_only_what_overlaps(shown: str, continuation: str, size: int) -> None:
    seam = Seam(shown)
    pieces = [seam.feed(continuation[i : i + size]) for i in range(0, len(continuation), size)]
    assert continuation.endswith("".join(pieces) + seam.flush())


@pytest.mark.parametrize("size", [1, 4, 1000])
@pytest.mark.parametrize(
    ("shown", "continuation", "whole"),
    [
        ("def f(x):\n", "def f(x):\n    return x\n", "def f(x):\n    return x\n"),
        ("- one\n- two\n", "- one\n- two\n  - three", "- one\n- two\n  - three"),
        ("It ends here.\n", "It ends here.\n\nNext", "It ends here.\n\nNext"),
    ],
)
def test_white_space_that_continues_after_the_overlap_stays(
    shown: str, continuation: str, whole: str, size: int
) -> None:
    assert joined(shown, continuation, size) == whole


def test_a_long_answer_that_is_repeated_in_small_pieces_is_cut_in_time() -> None:
    answer = " ".join(f"word{number}" for number in range(4000))
    assert joined(answer, answer + " end", 4) == answer + " end"
