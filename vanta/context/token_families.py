"""Families of tokenizers: what each takes for a text, about, before any server has counted.

Weights belong to the counts of `vanta.context.estimate_calibration`. They come from counts alone:
3,452 texts (chats, tool schemas, code, documentation, and messages in 110 languages) were counted
with the vocabularies that llama.cpp has for its tests, and `benchmarks/token_families.py` fits the
weights to half of them so that almost no text exceeds its estimate. On the other half, beside the
estimate of `vanta.context.estimate`: English chats are estimated 11 to 20 % too high instead of 15
to 36 %, tool schemas 8 to 12 % instead of 53 to 67 %, documentation 15 to 22 % instead of 25 to
54 %; too low are 2 to 4 % of the texts in other languages instead of 10 to 54 %, and at most 1 % of
the code.

OpenAI's ranks were not at hand. Its family is that of Llama 3, whose vocabulary has the 100k tokens
of cl100k and more for other languages (Grattafiori et al., "The Llama 3 Herd of Models", 2024);
o200k needs no more tokens in any language that OpenAI lists ("Hello GPT-4o", 2024). Gemini has the
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
        "1.09 0.54 0.3 0.13 0.21 0.36 1.37 0.56 0.03 1.33 0.07 0.68 0.7 1.79 0.73 0.67 "
        "0.69 3.53 0.88 3.01 3.09 0.78",
    ),
    _family(
        "qwen",
        r"qwen|qwq",
        "1.09 0.6 0.3 0.13 0.21 1.03 0.89 0.55 0 1.31 0.07 0.74 0.59 1.03 1.18 0.66 0.67 "
        "2.99 0.88 2.39 3.09 0.78",
    ),
    _family(
        "llama-3",
        r"llama-?[34]",
        "1.1 0.53 0.31 0.13 0.21 0.36 1.4 0.57 0.01 1.34 0.07 0.64 0.72 1.81 0.61 0.67 "
        "0.69 3.54 0.81 3.01 3.09 0.78",
    ),
    _family(
        "llama-2",
        r"llama-?2|codellama|mistral|mixtral|phi-?3|vicuna",
        "1.04 1.03 0.27 0.23 0.39 1.03 0.23 0.41 0.47 1.54 0.07 1.77 0.75 1.36 0 1.05 "
        "1.32 4.12 2.07 3.19 3.09 0.78",
    ),
    _family(
        "command",
        r"command|aya",
        "1.06 0.6 0.26 0.13 0.5 1.03 0.44 0.54 0.16 0.53 0.07 1.62 0.54 1.14 0.68 0.5 "
        "0.59 1.6 0.72 2.4 3.09 0.78",
    ),
    _family(
        "deepseek",
        r"deepseek",
        "1.04 0.89 0.26 0.13 0.21 1.03 0.42 0.47 0.28 0.6 0.07 1.63 0.82 2.16 0 1.44 0.77 "
        "4.12 2.3 3.26 3.09 0.78",
    ),
    _family(
        "gemma",
        r"gemma|gemini",
        "1.06 0.73 0.26 0.13 0.22 1.03 0.57 0.41 0.35 0.87 0.07 1.3 0.56 1.03 0 0.41 0.64 "
        "1.62 0.69 0.84 3.09 0.78",
    ),
    _family(
        "smollm",
        r"smollm",
        "1.04 0.94 0.29 0.15 0.21 1.03 0.31 0.56 0.2 0.8 0.07 1.58 1.18 2.16 0 1.8 1.69 "
        "4.12 2.82 3.25 3.09 0.78",
    ),
)
ANY = _family(
    "any",
    "",
    "1.05 1.06 0.26 0.2 0.31 1.03 0.39 0.46 0.38 1.16 0.07 1.92 1.16 2.14 0 1.75 1.62 "
    "4.12 2.77 3.24 3.09 0.78",
)


def family_of(model: str) -> TokenFamily:
    """Return the family of a model.

    :param model: the model's name, with or without its provider; "" for an unknown model.
    :returns: the first family whose pattern is found, otherwise `ANY`.
    """
    name = model.casefold()
    return next((item for item in FAMILIES if re.search(item.pattern, name)), ANY)
