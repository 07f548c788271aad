"""The writing of texts, and the scale of cosines that is chosen by it."""

from __future__ import annotations

import pytest

from vanta.language import writing_of
from vanta.memory import CosineScale


@pytest.mark.parametrize(
    ("text", "writing"),
    [
        ("Where is it?", "en"),
        ("Wo ist meine Schwester?", "de"),
        ("你好！", "han"),
        ("私は犬が好きです。", "kana"),
        ("Привет!", "cyrillic"),
        ("Hello", ""),
        ("2 + 2", ""),
        ("I met José at the café.", "en"),
        ("Kto napisał Don Kichota?", "pl"),  # "don", as in "don't"
        ("Bardzo dziękuję, to pomogło.", "pl"),
        ("Taket lagades i våras.", "latin"),  # "i" is a word of several languages
        ("Il nonno era panettiere.", "latin"),
        ("Opa was bakker.", ""),
        ("Vem skrev Don Quijote?", ""),
    ],
)
def test_the_writing_of_a_text_is_recognised(text: str, writing: str) -> None:
    assert writing_of(text) == writing


def test_the_scale_is_chosen_by_both_texts() -> None:
    russian, latin = CosineScale(0.6, 0.1), CosineScale(0.4, 0.1)
    scale = CosineScale(0.1, 0.1, {"cyrillic": russian, "latin": latin})
    assert scale.between("cyrillic", "cyrillic") is russian
    assert scale.between("", "de") is scale.between("de", "") is latin
    for first, second in (("en", "en"), ("en", "cyrillic"), ("", ""), ("", "cyrillic")):
        assert scale.between(first, second) is scale
