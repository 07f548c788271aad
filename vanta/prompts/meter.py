"""The meter that every render runs against: steps, characters and a deadline.

Invariant: whatever a template does more than once, it pays for here first; when a limit is
reached, `Exceeded` ends the render. No thread is involved.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Undefined
from jinja2.environment import TemplateModule

from vanta.prompts.limits import RenderLimits


class Exceeded(Exception):  # noqa: N818 - a signal between this package's modules, not an error
    """A render reached one of its limits; the text says which."""


@dataclass(slots=True)
class Meter:
    """Counts what one render takes."""

    limits: RenderLimits
    steps: int = 0
    ends_at: float = field(init=False)

    def __post_init__(self) -> None:
        self.ends_at = time.monotonic() + self.limits.seconds

    def spend(self, steps: int = 1) -> None:
        """Pay for `steps`, before they are made."""
        self.steps += steps
        if self.steps > self.limits.steps:
            raise Exceeded(f"takes more than {self.limits.steps} steps. Is there an endless loop?")
        if time.monotonic() >= self.ends_at:
            raise Exceeded(f"takes more than {self.limits.seconds:g} s. Is there an endless loop?")

    def allow(self, characters: int) -> None:
        """Refuse a text of so many characters if that is too many."""
        if characters > self.limits.characters:
            raise Exceeded(f"makes a text of more than {self.limits.characters} characters")

    def measure(self, value: Any) -> int:
        """Pay for looking at all of `value` and return its characters as text, about.

        Lists that hold one list many times are counted as often, so that no value can be built
        whose text or whose comparison would take for ever.
        """
        characters, waiting = 0, [value]
        while waiting:
            item = waiting.pop()
            self.spend()
            if isinstance(item, str):
                characters += len(item)
            elif isinstance(item, Mapping):
                waiting += [*item.keys(), *item.values()]
            elif isinstance(item, list | tuple | set):
                waiting += item
            elif isinstance(item, TemplateModule):
                raise Exceeded("uses a whole template as a value. Include it instead.")
            else:
                characters += 20
            self.allow(characters)
        return characters

    def each(self, values: Iterable[Any]) -> Iterator[Any]:
        """`values`, paid for one by one."""
        for value in values:
            self.spend()
            yield value


current: ContextVar[Meter] = ContextVar("vanta_prompts_meter")


def writable(value: Any) -> Any:
    """`value`, if it is something that a prompt can say: data, not a part of Jinja's workings."""
    if not isinstance(value, str | int | float | list | tuple | dict | Undefined | None):
        problem = f"writes a {type(value).__name__}, which is no text"
        raise Exceeded(f"{problem}. Make it a list or join it.")
    return measured(value)


def measured(value: Any) -> Any:
    """`value`, looked at and found small enough."""
    current.get().measure(value)
    return value


def joined(parts: Iterable[Any], separator: str = "") -> str:
    """The parts as one text, refused before it is built if it is too long."""
    meter = current.get()
    texts = []
    total = 0
    for part in meter.each(parts):
        total += meter.measure(writable(part)) + len(separator)
        meter.allow(total)
        texts.append(str(part))
    return separator.join(texts)


def arithmetic(operator: str, left: Any, right: Any) -> None:
    """Refuse an operation whose result could be out of proportion to what it is made of."""
    meter = current.get()
    meter.spend()
    if all(isinstance(side, int | float) for side in (left, right)):
        if operator == "**" or max(abs(left), abs(right)) > 2**63:
            raise Exceeded("calculates with powers or numbers beyond 2**63")
    elif operator != "+":
        raise Exceeded(f"uses {operator!r} on something that is no number")
    else:
        meter.allow(meter.measure(left) + meter.measure(right))
