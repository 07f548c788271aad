"""What a request demands of the sampling, checked before it is queued.

Invariant: what passes here makes sense to llama.cpp; nothing is quietly put right or ignored.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from vanta.engine import Sampling
from vanta_llamacpp.errors import Faults
from vanta_llamacpp.sampling.json_schema import SchemaFault, grammar_of

LONGEST_GRAMMAR = 64 * 1024
DEEPEST_GRAMMAR = 1000
"""llama.cpp's parser recurses on brackets and rules: beyond this it could overflow its stack."""
MOST_REPEATS = 1000
MOST_RIVALS = 20
MOST_BIAS = 1e6
_WHOLE = ("max_tokens", "top_k", "logprobs", "seed")
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
    "logprobs": (0, MOST_RIVALS),
}


def check(sampling: Sampling, vocabulary_size: int, faults: Faults) -> None:
    """Raise `bad_request` for values that make no sense; cheap, needs no library."""
    for name in _WHOLE:
        value = getattr(sampling, name)
        if value is not None and not isinstance(value, int):
            raise faults.bad_request(f"{name!r} is {value!r}; it has to be a whole number")
    for name, (least, most) in _RANGES.items():
        value = getattr(sampling, name)
        if value is not None and not isinstance(value, int | float):
            raise faults.bad_request(f"{name!r} is {value!r}; it has to be a number")
        if value is not None and not least <= value <= most:
            raise faults.bad_request(f"{name!r} is {value}; {least:g} to {most:g} make sense")
    if "" in sampling.stop:
        raise faults.bad_request("a stop string is empty", "Remove it.")
    _check_bias(sampling.logit_bias, vocabulary_size, faults)
    if sampling.grammar is not None and sampling.json_schema is not None:
        raise faults.bad_request("both 'grammar' and 'json_schema' are set", "Leave one out.")


def _check_bias(biases: Mapping[Any, Any], vocabulary_size: int, faults: Faults) -> None:
    for token, bias in biases.items():
        if not (isinstance(token, int) and 0 <= token < vocabulary_size):
            raise faults.bad_request(f"'logit_bias' names {token!r}, no token of {vocabulary_size}")
        known = isinstance(bias, int | float)
        if not (known and (-MOST_BIAS <= bias <= MOST_BIAS or bias == -math.inf)):
            raise faults.bad_request(
                f"'logit_bias' of token {token} is {bias!r}; {-MOST_BIAS:g} to {MOST_BIAS:g} make "
                "sense, and -inf to ban it"
            )


def gbnf(sampling: Sampling, faults: Faults) -> str | None:
    """The grammar that the answer must follow, None for none. Raises EngineError."""
    grammar = sampling.grammar
    if sampling.json_schema is not None:
        try:
            grammar = grammar_of(sampling.json_schema)
        except SchemaFault as error:
            raise faults.unsupported(f"the JSON schema cannot be kept: {error}") from error
    if grammar is not None:
        _check_grammar(grammar, faults)
    return grammar


def _check_grammar(grammar: str, faults: Faults) -> None:
    """What llama.cpp's parser would not survive; the rest it refuses itself."""
    if not grammar.strip():
        raise faults.bad_request("the grammar is empty", "Write GBNF, or leave it out.")
    if not grammar.isascii() and any("\ud800" <= one <= "\udfff" for one in grammar):
        raise faults.bad_request("the grammar has half of a surrogate pair", "Write whole ones.")
    bare = _LITERALS.sub("", grammar)
    if "<" in bare:
        raise faults.bad_request(
            "the grammar names tokens with <...>, which llama.cpp may end the process over",
            "Write the text instead of the token.",
        )
    for least, most in _REPEATS.findall(bare):
        if max(_times(least), _times(most)) > MOST_REPEATS or (
            most and _times(most) < _times(least)
        ):
            raise faults.bad_request(
                f"the grammar repeats {{{least},{most}}} times",
                f"Write the smaller number first, and none above {MOST_REPEATS}.",
            )
    if len(grammar) > LONGEST_GRAMMAR or _depth(bare) > DEEPEST_GRAMMAR:
        raise faults.bad_request(
            f"the grammar has {len(grammar)} characters, {_depth(bare)} levels deep; "
            f"{LONGEST_GRAMMAR} and {DEEPEST_GRAMMAR} are allowed",
            "Simplify it; in a schema, lower 'maxLength' and 'maxItems'.",
        )


def _times(digits: str) -> int:
    """The number, where it may be short enough."""
    return int(digits or 0) if len(digits) <= len(str(MOST_REPEATS)) else MOST_REPEATS + 1


def _depth(grammar: str) -> int:
    depth = deepest = 0
    for character in grammar:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    return deepest
