"""Sampling: the checks of a request's parameters, the sampler chain, grammars and stop strings.

Invariant: no parameter or grammar that passes the checks ends the process, and none is silently
corrected or ignored.
"""

from __future__ import annotations

from vanta_llamacpp.sampling.call_grammar import (
    CallGrammar,
    call_grammar,
    closing_tokens,
    format_of,
)
from vanta_llamacpp.sampling.checks import check, grammar_for
from vanta_llamacpp.sampling.sampler import PENALTY_WINDOW, Sampler
from vanta_llamacpp.sampling.text_assembler import AssembledText, TextAssembler

__all__ = [
    "PENALTY_WINDOW",
    "AssembledText",
    "CallGrammar",
    "Sampler",
    "TextAssembler",
    "call_grammar",
    "check",
    "closing_tokens",
    "format_of",
    "grammar_for",
]
