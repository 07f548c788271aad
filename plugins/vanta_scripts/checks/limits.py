"""Expectations on what a turn may take: seconds, money, tokens.

Invariant: a limit is held up to and including its value; what was not measured holds no limit.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vanta.expectations import Expectation, Failure, Seen
from vanta_scripts.checks.values import NotNegative, Positive

_Count = Annotated[int, Field(ge=1)]


def _max_seconds(limit_s: float, seen: Seen) -> Failure | None:
    took_s = seen.reply.timings.duration_s
    if took_s <= limit_s:
        return None
    return Failure("max_seconds", f"a reply within {limit_s:g} s", f"one after {took_s:.2f} s")


def _max_first_content(limit_ms: float, seen: Seen) -> Failure | None:
    first_s = seen.reply.timings.first_content_s
    if first_s is not None and first_s * 1000 <= limit_ms:
        return None
    came = "none at all" if first_s is None else f"it after {first_s * 1000:.0f} ms"
    return Failure("max_first_content_ms", f"text to read within {limit_ms:g} ms", came)


def _max_cost(limit_usd: float, seen: Seen) -> Failure | None:
    cost_usd = seen.reply.cost_usd
    if cost_usd <= limit_usd:
        return None
    return Failure("max_cost_usd", f"a turn for ${limit_usd:g} at most", f"one for ${cost_usd:g}")


def _max_tokens(limit: int, seen: Seen) -> Failure | None:
    usage = seen.reply.usage
    if usage and usage.output_tokens <= limit:
        return None
    came = "no count of them" if usage is None else f"{usage.output_tokens}"
    return Failure("max_tokens", f"at most {limit} tokens", came)


EXPECTATIONS = (
    Expectation("max_seconds", "seconds that the turn may take", Positive, _max_seconds),
    Expectation(
        "max_first_content_ms", "milliseconds to the first text", Positive, _max_first_content
    ),
    Expectation("max_cost_usd", "US dollars for all of the turn's legs", NotNegative, _max_cost),
    Expectation("max_tokens", "tokens that the reply may have", _Count, _max_tokens),
)
