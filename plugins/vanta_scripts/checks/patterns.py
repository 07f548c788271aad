"""Regular expressions that can hang nothing.

Python's engine backtracks, and holds the interpreter while it does. A pattern that could take long
is therefore matched by a process of its own, which is killed when its time is up; one that cannot
(hardly any repetition, a short text) is matched here. Invariant: the event loop waits for no match.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence

import anyio

TIME_LIMIT_S = 5.0
_SHORT = 1000
_REPEATS = re.compile(r"[*+{]")
_OPTIONAL = re.compile(r"(?<!\()\?")
_MATCHER = (
    "import json, re, sys\n"
    "patterns, text = json.load(sys.stdin)\n"
    "json.dump([p for p in patterns if not re.search(p, text)], sys.stdout)\n"
)


class PatternTimeout(Exception):  # noqa: N818 - never leaves this package
    """A pattern was not decided in time."""


async def unmatched(patterns: Sequence[str], text: str) -> list[str]:
    """Those of `patterns` that are found nowhere in `text`. Raises PatternTimeout."""
    if len(text) <= _SHORT and not any(map(_could_take_long, patterns)):
        return [pattern for pattern in patterns if not re.search(pattern, text)]
    with anyio.move_on_after(TIME_LIMIT_S):
        done = await anyio.run_process(
            [sys.executable, "-I", "-S", "-c", _MATCHER],
            input=json.dumps([patterns, text]).encode(),
        )
        found: list[str] = json.loads(done.stdout)
        return found
    raise PatternTimeout


def _could_take_long(pattern: str) -> bool:
    """Whether it has more than one repetition or a few optional parts; too careful, never wrong:
    with less, the steps are at most some times the square of a short text's length."""
    return len(_REPEATS.findall(pattern)) > 1 or len(_OPTIONAL.findall(pattern)) > 3
