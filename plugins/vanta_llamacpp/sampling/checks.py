"""Checks of a request's sampling parameters, before it is queued.

Invariant: llama.cpp accepts every value that passes; none is silently corrected or ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from vanta import Sampling
from vanta_llamacpp.errors import Faults
from vanta_llamacpp.sampling.json_schema import UnsupportedSchemaError, grammar_of
from vanta_llamacpp.sampling.loosening import loosened

MAX_GRAMMAR = 64 * 1024
"""Characters of a grammar."""
MAX_GRAMMAR_DEPTH = 1000
"""llama.cpp's parser recurses on brackets and rules: beyond this it could overflow its stack."""
MAX_REPEATS = 1000
MAX_TOP_LOGPROBS = 20
_LITERALS = re.compile(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|#[^\n]*')
_REPEATS = re.compile(r"\{\s*(\d*)\s*,\s*(\d*)\s*\}")


def check(sampling: Sampling, vocabulary_size: int, faults: Faults) -> None:
    """Raise a `bad_request` EngineError for values that this model cannot take.

    `Sampling` has checked types and ranges. Cheap; needs no native library.
    """
    _check_bias(sampling.logit_bias, vocabulary_size, faults)
    if sampling.grammar is not None and sampling.json_schema is not None:
        raise faults.bad_request("both 'grammar' and 'json_schema' are set", "Remove one of them.")


def _check_bias(biases: Mapping[int, float], vocabulary_size: int, faults: Faults) -> None:
    for token in biases:
        if not 0 <= token < vocabulary_size:
            raise faults.bad_request(
                f"'logit_bias' has the key {token!r}, which is not one of the {vocabulary_size} "
                "token ids"
            )


def grammar_for(sampling: Sampling, faults: Faults, *, checked: bool = False) -> str | None:
    """Return the GBNF grammar that the answer must follow, or None. Raises EngineError.

    checked: the caller checks the answer, so what no grammar can enforce of a schema is left out.
    """
    grammar = sampling.grammar
    if sampling.json_schema is not None:
        try:
            schema = loosened(sampling.json_schema) if checked else sampling.json_schema
            grammar = grammar_of(schema)
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
