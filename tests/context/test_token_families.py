# ruff: noqa: RUF001 - texts in many scripts
"""The estimate before any server has counted: high, but not absurd, in many languages and code."""

from __future__ import annotations

import random
from pathlib import Path

import llama_cpp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.context.test_estimates import COOKBOOK, COOKBOOK_TOKENS, KNOWN_O200K
from vanta.context import Calibration, estimate_text
from vanta.context.estimate_calibration import FEATURES
from vanta.context.token_families import ANY, FAMILIES, family_of
from vanta.messages import Message

CHAT = (
    "Hey! I went to the lake with my sister yesterday and we had such a good time. The weather was "
    "great, so we stayed until the sun went down. How was your weekend? Did you finally finish the "
    "painting that you told me about? I would love to see it when you have a moment. By the way, "
    "my brother got the job at the hospital, so we are going out for dinner on Friday. Do you want "
    "to come with us? It would be nice to catch up, and he keeps asking how you are doing."
)
LANGUAGES = {
    "English": "All human beings are born free and equal in dignity and rights.",
    "German": "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
    "French": "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
    "Spanish": "Todos los seres humanos nacen libres e iguales en dignidad y derechos.",
    "Polish": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i praw.",
    "Finnish": "Kaikki ihmiset syntyvät vapaina ja tasavertaisina arvoltaan ja oikeuksiltaan.",
    "Welsh": "Genir pawb yn rhydd ac yn gydradd â'i gilydd mewn urddas a hawliau.",
    "Zulu": "Bonke abantu bazalwa bekhululekile belingana ngesithunzi nangamalungelo.",
    "Turkish": "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar.",
    "Vietnamese": "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền.",
    "Russian": "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "Greek": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια.",
    "Arabic": "يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق.",
    "Hindi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता प्राप्त है।",
    "Thai": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
    "Chinese": "人人生而自由，在尊严和权利上一律平等。",
    "Japanese": "すべての人間は、生まれながらにして自由であり、尊厳と権利とについて平等である。",
    "Korean": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
}
LOWEST = {"Zulu": 0.94}
"""The least share of the true count, where it is not 1."""

CODE = (
    "def parse(line: str) -> dict[str, int]:\n"
    "    values = {}\n"
    "    for part in line.split(','):\n"
    "        key, _, value = part.partition('=')\n"
    "        values[key.strip()] = int(value, 16)\n"
    "    return values\n"
)


@pytest.fixture(scope="module")
def tokenizer(smollm2_path: Path) -> llama_cpp.Llama:
    return llama_cpp.Llama(str(smollm2_path), vocab_only=True, verbose=False)


def true_tokens(tokenizer: llama_cpp.Llama, text: str) -> int:
    return len(tokenizer.tokenize(text.encode(), add_bos=False))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("model", ["smollm2:135m", "unknown"])
def test_no_language_is_estimated_too_low(
    tokenizer: llama_cpp.Llama, language: str, model: str
) -> None:
    text = LANGUAGES[language] * 3
    least = LOWEST.get(language, 1.0) * true_tokens(tokenizer, text)
    assert Calibration(model).count_text(text) >= least


@pytest.mark.parametrize("text", [CHAT, CODE * 4], ids=["chat", "code"])
def test_english_and_code_are_estimated_closer_than_by_classes_of_characters(
    tokenizer: llama_cpp.Llama, text: str
) -> None:
    tokens, cold = true_tokens(tokenizer, text), Calibration("smollm2").count_text(text)
    assert tokens <= cold <= 1.3 * tokens
    assert cold < estimate_text(text)


@pytest.mark.parametrize(("text", "tokens"), KNOWN_O200K.items())
def test_known_counts_of_o200k_are_not_undercut(text: str, tokens: int) -> None:
    assert tokens <= Calibration("gpt-4o").count_text(text) <= 2.2 * tokens


def test_the_cookbooks_conversation_is_estimated_high_but_closer() -> None:
    messages = [Message("system", text) for text in COOKBOOK]
    assert COOKBOOK_TOKENS <= Calibration("gpt-4o").count(messages).value <= 1.35 * COOKBOOK_TOKENS


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("gpt-4o-mini", "openai"),
        ("openai/o3", "openai"),
        ("gpt-5.1", "openai"),
        ("gpt-4", "any"),
        ("Qwen2.5-7B-Instruct", "qwen"),
        ("deepseek-r1-distill-qwen-7b", "qwen"),
        ("meta-llama/Llama-3.3-70B-Instruct", "llama-3"),
        ("llama2:13b", "llama-2"),
        ("mistral-small-latest", "llama-2"),
        ("command-r-plus", "command"),
        ("deepseek-chat", "deepseek"),
        ("gemini-2.5-flash", "gemma"),
        ("claude-sonnet-4", "any"),
        ("", "any"),
        ("pro3-model", "any"),
    ],
)
def test_a_model_has_the_family_of_its_name(model: str, family: str) -> None:
    assert family_of(model).name == family
    expected = "estimate" if family == "any" else f"estimate for {family}"
    assert Calibration(model).name == expected


def test_no_count_that_grows_alone_is_free() -> None:
    names = [feature.name for feature in FEATURES]
    for family in (*FAMILIES, ANY):
        assert len(family.weights) == len(FEATURES)
        assert min(family.weights) >= 0
        weights = dict(zip(names, family.weights, strict=True))
        free = {name for name, weight in weights.items() if weight < 0.05}
        assert free <= {"runs of signs", "words of them"}
        assert bool(family.pattern) is (family is not ANY)


@given(st.sampled_from([family.name for family in FAMILIES]), st.text())
def test_a_text_is_never_free_and_never_above_its_bytes(family: str, text: str) -> None:
    counted = Calibration(family).count_text(text)
    assert bool(text.strip()) <= counted <= len(text.encode("utf-8", "replace")) + 1


@pytest.mark.parametrize("character", ["7", "🙂", "a", "=", " ", "é", "\n", "Z", "\x1b", "1 "])
def test_runs_of_one_character_are_not_undercut(tokenizer: llama_cpp.Llama, character: str) -> None:
    text = character * 400
    assert Calibration("smollm2").count_text(text) >= true_tokens(tokenizer, text)


def test_random_letters_are_not_undercut(tokenizer: llama_cpp.Llama) -> None:
    chance = random.Random(4)  # noqa: S311 - a seed, no secret
    for alphabet in ("acgt", "ACDEFGHIKLMNPQRSTVWY", "abcdefghijklmnopqrstuvwxyz"):
        text = "".join(chance.choices(alphabet, k=600))
        assert Calibration("smollm2").count_text(text) >= true_tokens(tokenizer, text)
