"""What a template says of the turns that it is the system prompt of.

Invariant: plain data, checked where the front matter is read; a call's own word goes before it, and
it goes before the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vanta.engine import Sampling


@dataclass(frozen=True, slots=True)
class TurnDefaults:
    """How turns are answered that do not say otherwise: by one track or under one policy (None: as
    configured), sampled so (unset fields: as the track has them)."""

    track: str | None = None
    policy: str | None = None
    sampling: Sampling = Sampling()


@dataclass(frozen=True, slots=True)
class Range:
    """A type of front matter values with the range of its numbers; `above`: without `least`."""

    type: str
    least: float | None = None
    most: float | None = None
    above: bool = False

    def refusal(self, value: float) -> str:
        """Why `value` is out of the range, or nothing."""
        if self.least is not None and (value <= self.least if self.above else value < self.least):
            return f"has to be {'more than' if self.above else 'at least'} {self.least:g}"
        if self.most is not None and value > self.most:
            return f"has to be at most {self.most:g}"
        return ""


# The ranges are those of the configuration's `tracks.NAME.sampling`, which a test compares.
SAMPLING: Mapping[str, Range] = {
    "max_tokens": Range("integer", least=1),
    "temperature": Range("number", least=0),
    "top_p": Range("number", least=0, most=1, above=True),
    "top_k": Range("integer", least=0),
    "min_p": Range("number", least=0, most=1),
    "repeat_penalty": Range("number", least=0, above=True),
    "presence_penalty": Range("number", least=-2, most=2),
    "frequency_penalty": Range("number", least=-2, most=2),
    "typical_p": Range("number", least=0, most=1, above=True),
    "dry_multiplier": Range("number", least=0),
    "seed": Range("integer"),
    "stop": Range("list"),
    "grammar": Range("string"),
    "json_schema": Range("mapping"),
}
