"""What every engine does with what it is given and what it receives, whatever its source.

Reasoning inside an answer becomes reasoning deltas (`ReasoningFilter`), messages are arranged for
models that refuse a role or an order (`arranged`), calls that a model writes into its text become
calls (`CallFilter`), those that a request does not allow are dropped (`CallLimit`), and sampling
values are checked. Invariant:
linear in the length of the text; a text without marks and messages in order pass unchanged.
"""

from __future__ import annotations

from vanta.normalising.call_markups import CALL_TOKENS
from vanta.normalising.call_reader import CallReader
from vanta.normalising.calls import CallFilter, CallLimit
from vanta.normalising.json_answers import is_cut_off, json_start, json_texts
from vanta.normalising.quoted_calls import NONE_QUOTED, QuotedCalls, quoted_calls
from vanta.normalising.reasoning import (
    REASONING_TOKENS,
    ReasoningFilter,
    ReasoningSplitter,
    SplitText,
    open_answer,
    quoted_marks,
    reasoning_end,
    without_reasoning,
)
from vanta.normalising.roles import AS_GIVEN, RoleRules, arranged, learn_roles, probe_rules
from vanta.normalising.values import Sampling, check_deadline, check_number, check_sampling
from vanta.normalising.written_calls import call_schema, signatures, written

__all__ = [
    "AS_GIVEN",
    "CALL_TOKENS",
    "NONE_QUOTED",
    "REASONING_TOKENS",
    "CallFilter",
    "CallLimit",
    "CallReader",
    "QuotedCalls",
    "ReasoningFilter",
    "ReasoningSplitter",
    "RoleRules",
    "Sampling",
    "SplitText",
    "arranged",
    "call_schema",
    "check_deadline",
    "check_number",
    "check_sampling",
    "is_cut_off",
    "json_start",
    "json_texts",
    "learn_roles",
    "open_answer",
    "probe_rules",
    "quoted_calls",
    "quoted_marks",
    "reasoning_end",
    "signatures",
    "without_reasoning",
    "written",
]
