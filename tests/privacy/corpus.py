"""The corpus of the detectors: lines with the kinds of data that they contain.

A section begins with `=== LABELS: TOPIC`; LABELS are names of detectors, or `none`. In a line,
`\\n`, `\\t` and `\\u....` are escapes, and `{b62:20}` stands for twenty random characters, so that
no file has the form of a real key. A third of the lines, chosen by their hash, is held out:
patterns are written from the others.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent / "data"
_LOWER = "abcdefghijklmnopqrstuvwxyz"
_ALPHABETS = {
    "b62": "0123456789" + _LOWER + _LOWER.upper(),
    "b64": "0123456789+/" + _LOWER + _LOWER.upper(),
    "b32": "234567" + _LOWER.upper(),
    "hex": "0123456789abcdef",
    "dig": "0123456789",
}
_RANDOM = re.compile(r"\{(b62|b64|b32|hex|dig):(\d+)\}")
_ESCAPE = re.compile(r"\\(?:n|t|u(?P<code>[0-9a-f]{4}))")


@dataclass(frozen=True, slots=True)
class Case:
    """One line. labels: the detectors that must find something in it."""

    line: str
    text: str
    labels: frozenset[str]
    held_out: bool


def read_corpus() -> list[Case]:
    """Return all cases."""
    return [case for name in ("positives.txt", "negatives.txt") for case in _read(_FOLDER / name)]


def _read(path: Path) -> list[Case]:
    labels: frozenset[str] = frozenset()
    cases = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("=== "):
            names = line[4:].partition(":")[0].split(",")
            labels = frozenset(names) - {"none"}
        elif line:
            cases.append(_case(line, labels))
    return cases


def _case(line: str, labels: frozenset[str]) -> Case:
    digest = hashlib.sha256(line.encode()).digest()
    generator = random.Random(digest)  # noqa: S311 - these are no secrets

    def characters(match: re.Match[str]) -> str:
        return "".join(generator.choices(_ALPHABETS[match[1]], k=int(match[2])))

    text = _ESCAPE.sub(_unescaped, _RANDOM.sub(characters, line))
    return Case(line, text, labels, held_out=digest[0] % 3 == 0)


def _unescaped(match: re.Match[str]) -> str:
    escape = match[0]
    return {"\\n": "\n", "\\t": "\t"}.get(escape) or chr(int(match["code"], 16))
