"""Where a value of the configuration came from. Invariant: it never holds the value itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["default", "file", "environment", "argument"]
Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """A source. where: the file's path, the variable's name or the argument; "" for a default.

    line: in the file, from 1; None elsewhere.
    """

    kind: Kind
    where: str = ""
    line: int | None = None

    def __str__(self) -> str:
        if self.kind == "file":
            return self.where if self.line is None else f"{self.where}:{self.line}"
        if self.kind == "default":
            return "vanta's default"
        return (
            f"{'environment variable' if self.kind == 'environment' else 'argument'} {self.where}"
        )


def dotted(key: Sequence[str]) -> str:
    """A key as people write it: `tracks.local.window`."""
    return ".".join(key)
