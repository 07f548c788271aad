"""Families of tokenizers: what each takes for a text, about, before any server has counted.

Weights belong to the counts of `vanta.context.estimate_calibration`. They come from counts alone:
3,452 texts (chats, tool schemas, code, documentation, and messages in 110 languages) were counted
with the vocabularies that llama.cpp has for its tests, and `benchmarks/token_families.py` fits the
weights to half of them so that almost no text exceeds its estimate. On the other half, beside the
estimate of `vanta.context.estimate`: English chats are estimated 11 to 18 % too high instead of 15
to 36 %, tool schemas 10 to 16 % instead of 53 to 67 %, documentation 16 to 22 % instead of 25 to
54 %, code 20 to 31 % instead of 21 to 58 %; too low are 1 to 3 % of the texts in other languages
(the worst by 10 %) instead of 10 to 54 % (by 51 %), and 1 % of the code.

OpenAI's ranks were not at hand. Its family is that of Llama 3, whose vocabulary has the 100k tokens
of cl100k and more for other languages (Grattafiori et al., "The Llama 3 Herd of Models", 2024);
o200k needs no more tokens in any language that OpenAI lists ("Hello GPT-4o", 2024). Its weights of
Japanese are raised to OpenAI's own example (`tests/context/test_estimates.py`). Gemini has the
tokenizer of Gemma ("Gemma 3 Technical Report", 2025). Any other model has the family `any`, the
largest count of all vocabularies.

Invariant: weights are at least 0, and no weight of a count that can grow alone (letters, digits,
signs, spaces, characters of a script) is 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenFamily:
    """A family of tokenizers.

    :param name: its name.
    :param pattern: a regular expression that is found in the names of its models.
    :param weights: tokens of each count in `estimate_calibration.FEATURES`, on the high side.
    """

    name: str
    pattern: str
    weights: tuple[float, ...]


def _family(name: str, pattern: str, weights: str) -> TokenFamily:
    return TokenFamily(name, pattern, tuple(map(float, weights.split())))


FAMILIES = (
    _family(
        "openai",
        r"gpt-4o|gpt-4\.1|gpt-[5-9]|gpt-oss|chatgpt|(^|/)o[134](-|$)",
        "1.1 0.3 0.36 0.21 0.21 0.36 1.54 0.53 0.04 1.02 0.07 0.62 0.83 2.04 0.51 0.9 "
        "0.9 3.75 1 3.36 3.45 0.87",
    ),
    _family(
        "qwen",
        r"qwen|qwq",
        "1.1 0.33 0.36 0.21 0.21 1.15 0.98 0.54 0.02 1.05 0.07 0.62 0.69 1.15 1.14 0.7 "
        "0.91 1.39 1.01 2.67 3.45 0.87",
    ),
    _family(
        "llama-3",
        r"llama-?[34]",
        "1.1 0.3 0.36 0.21 0.21 0.36 1.54 0.53 0.04 1.01 0.07 0.62 0.86 2.06 0.35 0.77 "
        "0.79 3.85 0.93 3.35 3.45 0.87",
    ),
    _family(
        "llama-2",
        r"llama-?2|codellama|mistral|mixtral|phi-?3|vicuna",
        "1.09 0.7 0.36 0.22 0.21 1.03 0.98 0.45 0.34 1.83 0.07 1.59 0.85 1.4 0 1.19 1.48 "
        "4.6 2.32 3.59 3.45 0.87",
    ),
    _family(
        "command",
        r"command|aya",
        "1.07 0.29 0.36 0.21 0.55 1.03 0.98 0.52 0.18 0.82 0.07 1.16 0.67 1.33 0.49 0.58 "
        "0.7 1.75 0.83 2.69 3.45 0.87",
    ),
    _family(
        "deepseek",
        r"deepseek",
        "1.08 0.47 0.36 0.21 0.21 1.03 0.98 0.48 0.24 1.21 0.07 1.25 0.92 2.42 0 1.61 "
        "0.92 4.6 2.6 3.66 3.45 0.87",
    ),
    _family(
        "gemma",
        r"gemma|gemini",
        "1.08 0.3 0.36 0.21 0.57 1.03 0.98 0.44 0.37 0.98 0.07 1.1 0.63 1.15 0 0.48 0.73 "
        "1.72 0.79 0.95 3.45 0.87",
    ),
    _family(
        "smollm",
        r"smollm",
        "1.02 0.53 0.36 0.21 0.21 1.03 0.98 0.63 0.1 0.82 0.07 1.6 1.22 2.33 0.58 2.03 "
        "1.87 4.6 3.17 3.64 3.45 0.87",
    ),
)
ANY = _family(
    "any",
    "",
    "1.08 0.69 0.36 0.21 0.21 1.03 0.98 0.44 0.37 1.86 0.07 1.56 1.31 2.41 0 2 1.81 "
    "4.6 3.13 3.64 3.45 0.87",
)


def family_of(model: str) -> TokenFamily:
    """Return the family of a model.

    :param model: the model's name, with or without its provider; "" for an unknown model.
    :returns: the first family whose pattern is found, otherwise `ANY`.
    """
    name = model.casefold()
    return next((item for item in FAMILIES if re.search(item.pattern, name)), ANY)
