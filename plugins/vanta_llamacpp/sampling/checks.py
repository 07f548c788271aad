"""Checks of a request's sampling parameters, before it is queued.

Invariant: llama.cpp accepts every value that passes; none is silently corrected or ignored.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from vanta import Sampling
from vanta_llamacpp.errors import Faults
from vanta_llamacpp.sampling.json_schema import UnsupportedSchemaError, grammar_of

MAX_GRAMMAR = 64 * 1024
"""Characters of a grammar."""
MAX_GRAMMAR_DEPTH = 1000
"""llama.cpp's parser recurses on brackets and rules: beyond this it could overflow its stack."""
MAX_REPEATS = 1000
MAX_TOP_LOGPROBS = 20
MAX_BIAS = 1e6
_INTEGERS = ("max_tokens", "top_k", "logprobs", "seed")
_LITERALS = re.compile(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|#[^\n]*')
_REPEATS = re.compile(r"\{\s*(\d*)\s*,\s*(\d*)\s*\}")
_RANGES: dict[str, tuple[float, float]] = {
    "max_tokens": (1, 1 << 30),
    "temperature": (0, 100),
    "top_p": (0, 1),
    "top_k": (0, 1 << 30),
    "min_p": (0, 1),
    "typical_p": (0.001, 1),
    "dry_multiplier": (0, 100),
    "repeat_penalty": (0.01, 100),
    "presence_penalty": (-100, 100),
    "frequency_penalty": (-100, 100),
    "logprobs": (0, MAX_TOP_LOGPROBS),
}


def check(sampling: Sampling, vocabulary_size: int, faults: Faults) -> None:
    """Raise a `bad_request` EngineError for invalid values. Cheap; needs no native library."""
    for name in _INTEGERS:
        value = getattr(sampling, name)
        if value is not None and not isinstance(value, int):
            raise faults.bad_request(f"{name!r} must be an integer, not {value!r}")
    for name, (least, most) in _RANGES.items():
        value = getattr(sampling, name)
        if value is not None and not isinstance(value, int | float):
            raise faults.bad_request(f"{name!r} must be a number, not {value!r}")
        if value is not None and not least <= value <= most:
            raise faults.bad_request(
                f"{name!r} must be between {least:g} and {most:g}, not {value}"
            )
    if "" in sampling.stop:
        raise faults.bad_request("a stop string is empty", "Remove it.")
    _check_bias(sampling.logit_bias, vocabulary_size, faults)
    if sampling.grammar is not None and sampling.json_schema is not None:
        raise faults.bad_request("both 'grammar' and 'json_schema' are set", "Remove one of them.")


def _check_bias(biases: Mapping[Any, Any], vocabulary_size: int, faults: Faults) -> None:
    for token, bias in biases.items():
        if not (isinstance(token, int) and 0 <= token < vocabulary_size):
            raise faults.bad_request(
                f"'logit_bias' has the key {token!r}, which is not one of the {vocabulary_size} "
                "token ids"
            )
        is_number = isinstance(bias, int | float)
        if not (is_number and (-MAX_BIAS <= bias <= MAX_BIAS or bias == -math.inf)):
            raise faults.bad_request(
                f"'logit_bias' of token {token} must be between {-MAX_BIAS:g} and {MAX_BIAS:g}, or "
                f"-inf to ban the token, not {bias!r}"
            )


def grammar_for(sampling: Sampling, faults: Faults) -> str | None:
    """Return the GBNF grammar that the answer must follow, or None. Raises EngineError."""
    grammar = sampling.grammar
    if sampling.json_schema is not None:
        try:
            grammar = grammar_of(sampling.json_schema)
        except UnsupportedSchemaError as error:
            raise faults.unsupported(f"the JSON schema cannot be enforced: {error}") from error
    if grammar is not None:
        _check_grammar(grammar, faults)
    return grammar


def _check_grammar(grammar: str, faults: Faults) -> None:
    """Raise for what would crash llama.cpp's parser. It reports all other errors itself."""
    if not grammar.strip():
        raise faults.bad_request("the grammar is empty", "Write GBNF, or remove it.")
    if not grammar.isascii() and any("\ud800" <= char <= "\udfff" for char in grammar):
        raise faults.bad_request(
            "the grammar has half of a surrogate pair", "Write whole characters."
        )
    bare = _LITERALS.sub("", grammar)
    if "<" in bare:
        raise faults.bad_request(
            "the grammar names tokens with <...>, which can crash llama.cpp",
            "Write the text instead of the token.",
        )
    for least, most in _REPEATS.findall(bare):
        if max(_repeats(least), _repeats(most)) > MAX_REPEATS or (
            most and _repeats(most) < _repeats(least)
        ):
            raise faults.bad_request(
                f"the grammar has the repetition {{{least},{most}}}",
                f"Write the smaller number first, and none above {MAX_REPEATS}.",
            )
    depth = _depth(bare)
    if len(grammar) > MAX_GRAMMAR or depth > MAX_GRAMMAR_DEPTH:
        raise faults.bad_request(
            f"the grammar has {len(grammar)} characters and is {depth} levels deep; at most "
            f"{MAX_GRAMMAR} characters and {MAX_GRAMMAR_DEPTH} levels are allowed",
            "Simplify it; in a schema, lower 'maxLength' and 'maxItems'.",
        )


def _repeats(digits: str) -> int:
    """Return the number, without parsing one that is far too long."""
    return int(digits or 0) if len(digits) <= len(str(MAX_REPEATS)) else MAX_REPEATS + 1


def _depth(grammar: str) -> int:
    depth = deepest = 0
    for character in grammar:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    return deepest
