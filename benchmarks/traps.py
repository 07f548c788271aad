"""The traps of the race benchmark, as data: what each of two servers does with a request.

Invariant: the second server ("fast") is the one whose text a user should see; a trap is a way in
which a race that looks at anything but readable text goes wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

WORDS = ["The ", "answer ", "of ", "the ", "{} ", "server."]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trap:
    """slow, fast: keyword arguments of `vanta.testing.Behaviour` (`kind`: its constructor).

    first_token_s: when the fast server sends its first token, in seconds from the request.
    loser: whether a leg is still running when the other one wins. config: what the runtime is told.
    """

    name: str
    summary: str
    slow: Mapping[str, Any]
    fast: Mapping[str, Any]
    first_token_s: float
    loser: bool = True
    config: Mapping[str, Any] = field(default_factory=dict)


HEADERS_FIRST = Trap(
    name="headers first",
    summary="one leg sends its headers, a role and an empty delta at once, its text 150 ms later; "
    "the other is silent for 30 ms, then all comes together",
    slow={"empty_deltas": 1, "ttft_s": 0.15},
    fast={"headers_after_s": 0.03},
    first_token_s=0.03,
)
FAILS_LATE = Trap(
    name="fails late",
    summary="one leg sends its headers at once and an error frame 30 ms later; the other's first "
    "text comes after 50 ms",
    slow={"kind": "error_frame", "ttft_s": 0.03},
    fast={"headers_after_s": 0.05},
    first_token_s=0.05,
    loser=False,
)
SILENT_PROMPT = Trap(
    name="silent prompt",
    summary="both send headers and a role at once and are then silent, longer than the stall "
    "timeout of 50 ms: one for 300 ms, the other for 100 ms",
    slow={"ttft_s": 0.3},
    fast={"ttft_s": 0.1},
    first_token_s=0.1,
    config={"stall_timeout_s": 0.05},
)
TRAPS = (HEADERS_FIRST, FAILS_LATE, SILENT_PROMPT)

SPRINT = Trap(
    name="sprint",
    summary="both answer at once, the loser slowly: races in quick succession, to find what leaks",
    slow={"ttft_s": 0.02, "gap_s": 0.02},
    fast={},
    first_token_s=0.0,
)
