"""Values that a caller passes, with their checks: how to sample, and deadlines.

Python callers, templates, scripts and configurations all end here. Invariant: a value that passes
is finite, of its type and within its range, so that no later comparison with it goes wrong: one
with a number that is not a number is always false, and opens every cap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vanta.errors import InvalidValue

MOST_TOKENS = 1 << 30
MAX_BIAS = 1e6
MAX_DEADLINE_S = 1e7
"""Seconds, about four months: a longer turn has a mistake in its deadline."""

_WHOLE: dict[str, tuple[int, int]] = {
    "max_tokens": (1, MOST_TOKENS),
    "top_k": (0, MOST_TOKENS),
    "logprobs": (0, 20),
    "seed": (-(1 << 63), (1 << 64) - 1),
}
_NUMBERS: dict[str, tuple[float, float]] = {
    "temperature": (0, 100),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "typical_p": (0.001, 1),
    "repeat_penalty": (0.01, 100),
    "presence_penalty": (-100, 100),
    "frequency_penalty": (-100, 100),
    "dry_multiplier": (0, 100),
}


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample. None leaves a value to the engine.

    An engine that does not support a value raises `unsupported` instead of ignoring it.

    :param max_tokens: largest number of output tokens.
    :param temperature: 0 for greedy decoding.
    :param top_p: nucleus sampling, 0 to 1.
    :param top_k: number of most likely tokens to sample from.
    :param min_p: smallest probability relative to the most likely token, 0 to 1.
    :param typical_p: locally typical sampling, 0 to 1 (Meister et al. 2022,
        https://arxiv.org/abs/2202.00666).
    :param repeat_penalty: factor by which repeated tokens become less likely; 1 disables it.
    :param presence_penalty: penalty for tokens that occurred at all.
    :param frequency_penalty: penalty for each occurrence of a token.
    :param dry_multiplier: strength of the DRY penalty on tokens that would continue a
        repetition; 0 disables it.
    :param seed: seed of the random number generator.
    :param stop: strings that end the answer and are not part of it.
    :param logit_bias: bias to add, by token id.
    :param grammar: GBNF grammar that the answer must match.
    :param json_schema: JSON Schema that the answer must be valid under.
    :param logprobs: number of top alternatives to return per token, 0 to 20; None disables
        logprobs.
    :raises InvalidValue: if a value is of another type, out of its range, or not a number.
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    dry_multiplier: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    grammar: str | None = None
    json_schema: Mapping[str, Any] | None = None
    logprobs: int | None = None

    def __post_init__(self) -> None:
        check_sampling({name: getattr(self, name) for name in Sampling.__dataclass_fields__})


def check_sampling(values: Mapping[str, Any]) -> None:
    """Check the fields of a `Sampling`.

    :param values: the values by the name of their field; None is always allowed.
    :raises InvalidValue: for the first value that is not possible.
    """
    for name, (least, most) in _WHOLE.items():
        check_number(f"sampling.{name}", values.get(name), least, most, whole=True)
    for number, limits in _NUMBERS.items():
        check_number(f"sampling.{number}", values.get(number), *limits)
    _check_stop(values.get("stop", ()))
    _check_bias(values.get("logit_bias") or {})
    grammar, schema = values.get("grammar"), values.get("json_schema")
    if grammar is not None and not isinstance(grammar, str):
        raise _wrong("sampling.grammar", "must be a text in GBNF", grammar)
    if schema is not None and not isinstance(schema, Mapping):
        raise _wrong("sampling.json_schema", "must be a JSON Schema, a mapping", schema)


def check_deadline(value: object) -> None:
    """Check a deadline in seconds; None is allowed.

    :param value: the deadline.
    :raises InvalidValue: if it is not a finite number above 0.
    """
    if value is not None and not (_is_number(value) and 0 < value <= MAX_DEADLINE_S):  # type: ignore[operator]
        limits = f"must be a number of seconds above 0 and at most {MAX_DEADLINE_S:.0f}"
        raise _wrong("deadline_s", limits, value)


def check_number(
    name: str, value: object, least: float, most: float, *, whole: bool = False
) -> None:
    """Check that a value is None, or a number within its range.

    :param name: the name of the value, for the message.
    :param value: the value.
    :param least: the smallest number allowed.
    :param most: the largest number allowed.
    :param whole: whether only whole numbers are allowed.
    :raises InvalidValue: if it is neither.
    """
    if value is None:
        return
    kind = "whole number" if whole else "number"
    is_right_type = _is_number(value) and (isinstance(value, int) or not whole)
    if not (is_right_type and least <= value <= most):  # type: ignore[operator]
        raise _wrong(name, f"must be a {kind} from {least:g} to {most:g}", value)


def _check_stop(stop: object) -> None:
    is_list = isinstance(stop, list | tuple)
    if not is_list or not all(isinstance(text, str) and text for text in stop):  # type: ignore[attr-defined]
        raise _wrong("sampling.stop", "must be a tuple of texts that are not empty", stop)


def _check_bias(biases: object) -> None:
    if not isinstance(biases, Mapping):
        raise _wrong("sampling.logit_bias", "must map token ids to numbers", biases)
    for token, bias in biases.items():
        if not isinstance(token, int) or isinstance(token, bool) or token < 0:
            raise _wrong("sampling.logit_bias", "must have token ids as keys", token)
        if bias != -math.inf:
            check_number(f"sampling.logit_bias[{token}]", bias, -MAX_BIAS, MAX_BIAS)
        if bias is None:
            raise _wrong(f"sampling.logit_bias[{token}]", "must be a number", bias)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wrong(name: str, rule: str, value: object) -> InvalidValue:
    shown = repr(value)
    return InvalidValue(f"{name} {rule}, not {shown if len(shown) <= 60 else shown[:57] + '...'}.")
