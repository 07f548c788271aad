"""Says of one key what it is, where it came from, and what lower layers had said.

Invariant: an `Explanation` is fit to be printed: it holds no secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vanta.config import walk
from vanta.config.layers import Merged
from vanta.config.origin import Key, Origin, dotted
from vanta.config.secret import shown
from vanta.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known of one key.

    below: what lower layers had said, nearest first. parts: for a table, its keys explained.
    """

    key: str
    value: Any
    origin: Origin
    description: str
    below: tuple[tuple[Origin, Any], ...] = ()
    parts: tuple[Explanation, ...] = ()

    def __str__(self) -> str:
        if self.parts:
            return "\n".join([f"[{self.key}]  {self.description}", *map(str, self.parts)])
        lines = [
            f"{self.key} = {_as_toml(self.value)}",
            f"  {self.description}",
            f"  from {self.origin}",
        ]
        lines += [f"  over {_as_toml(value)} from {origin}" for origin, value in self.below]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            "key": self.key,
            "value": self.value,
            "origin": str(self.origin),
            "description": self.description,
            "below": [{"origin": str(origin), "value": value} for origin, value in self.below],
            "parts": [part.to_dict() for part in self.parts],
        }


def explain(key: Key, values: Mapping[str, Any], merged: Merged) -> Explanation:
    """Explain `key`; `values` is the whole configuration as JSON-ready data. Raises ConfigError."""
    spot = walk.find(key)
    if spot is None:
        raise ConfigError(f"no key is named {dotted(key)!r}. {walk.advice(key)}")
    value = _look_up(key, values)
    if isinstance(value, Mapping) and value and key not in merged.origins:
        parts = tuple(explain((*key, name), values, merged) for name in value)
        return Explanation(
            dotted(key), shown(value), merged.origin_near(key), spot.description, parts=parts
        )
    origin = merged.origins.get(key, Origin("default"))
    said = [setting for setting in merged.history.get(key, []) if setting.origin != origin]
    return Explanation(
        dotted(key),
        shown(value, key[-1]),
        origin,
        spot.description,
        tuple((setting.origin, shown(setting.value, key[-1])) for setting in reversed(said)),
    )


def _look_up(key: Key, values: Any) -> Any:
    for length, part in enumerate(key, 1):
        if not isinstance(values, Mapping) or part not in values:
            raise ConfigError(f"{dotted(key[:length])!r} is a valid key, but nothing sets it.")
        values = values[part]
    return values


def _as_toml(value: Any) -> str:
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
