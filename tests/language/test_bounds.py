"""The work on a text is linear in its length, whatever it is made of."""

from __future__ import annotations

import pytest

from vanta.language import clusters, comparable, fold, numbers_in, parts, terms
from vanta.scheduling.agreement import disagreement
from vanta.scheduling.takeover import Seam, anchor

SIZE = 100_000
TEXTS = {
    "letters": "é" * SIZE,
    "ascii": "a" * SIZE,
    "Han": "里" * SIZE,
    "Thai": "ก" * SIZE,
    "Hangul": "한" * SIZE,
    "marks": "a" + "\u0301" * SIZE,
    "joiners": "👩\u200d" * (SIZE // 2),
    "digits": "1" * SIZE,
    "separated digits": "1," * (SIZE // 2),
    "numerals": "十" * 2000,
    "spaces": " " * SIZE,
}


@pytest.mark.parametrize("name", TEXTS)
def test_long_texts_of_one_character_yield_terms_of_bounded_size(name: str) -> None:
    text = TEXTS[name]
    assert fold(fold(text)) == fold(text)
    assert sum(map(len, terms(text))) <= 4 * SIZE
    assert sum(map(len, parts(text))) <= SIZE
    assert "".join(clusters(text)) == text
    assert len(comparable(text)) <= SIZE
    assert len(numbers_in(text[:10_000])) <= 2
    assert text.endswith(anchor(text))


@pytest.mark.parametrize("name", TEXTS)
def test_long_answers_of_one_character_are_compared_and_joined(name: str) -> None:
    text = TEXTS[name]
    assert disagreement(text, text) is None
    seam = Seam(text)
    shown = "".join(seam.feed(text[i : i + 500]) for i in range(0, 20_000, 500)) + seam.flush()
    assert len(shown) <= 20_000
