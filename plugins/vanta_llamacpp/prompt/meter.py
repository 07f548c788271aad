"""What the rendering of a chat template may make: each value, and all of them together.

Whatever can make a value asks the meter, and what could make one far larger than its arguments asks
before. Invariant: nothing that a template can reach makes a text or a list without its being
counted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any

from jinja2.utils import Namespace

HEAVIEST = 16 * 1024 * 1024
"""Bytes of one value, with all that is in it; what is in it twice counts twice."""
MOST_MADE = 96 * 1024 * 1024
"""Bytes of all values that one rendering makes."""
HEAVIEST_WRITTEN = HEAVIEST // 8
"""Bytes of a list or a mapping that is written out; its text may take several times as much."""
LARGEST = 1 << 63
PER_PIECE = 80
_PER_ITEM = 8
_PER_CONTAINER = 200
"""Bytes of a short text, of a place in a list, and of what the meter keeps of a list or mapping."""
_CONTAINERS: tuple[type, ...] = (
    list,
    tuple,
    dict,
    type({}.keys()),
    type({}.values()),
    type({}.items()),
)


class TemplateFault(Exception):  # noqa: N818 - the word that the messages use
    """The template is broken, or refuses these messages."""


class Meter:
    """What one rendering may still make."""

    def __init__(self) -> None:
        self._left = MOST_MADE
        # Each with the value itself, so that no other value gets its id.
        self._weights: dict[int, tuple[object, int]] = {}

    def charge(self, size: int) -> None:
        """Count `size` bytes. Raises TemplateFault where that is too much."""
        self._left -= size
        if size > HEAVIEST:
            raise TemplateFault(f"it makes a value of more than {HEAVIEST} bytes")
        if self._left < 0:
            raise TemplateFault(f"it makes values of more than {MOST_MADE} bytes in all")

    def made(self, value: Any) -> Any:
        """`value`, counted."""
        self.charge(sys.getsizeof(value))
        if isinstance(value, _CONTAINERS):
            self.charge(_PER_CONTAINER)
            self.weight(value)
        return value

    def sum(self, left: Any, right: Any) -> Any:
        """`left + right`, counted; of lists without another look at all that is in them."""
        if not (isinstance(left, list) and isinstance(right, list)):
            return self.made(left + right)
        weight = self.weight(left) + self.weight(right)
        if weight > HEAVIEST:
            raise TemplateFault(f"it makes a value of more than {HEAVIEST} bytes")
        self.charge(_PER_CONTAINER + (len(left) + len(right)) * _PER_ITEM)
        found = left + right
        self._weights[id(found)] = (found, weight)
        return found

    def weight(self, value: object) -> int:
        """The bytes of `value` as a tree. Raises TemplateFault where that is too much."""
        if isinstance(value, Namespace):
            raise TemplateFault("it puts a namespace into a list or a text")
        if not isinstance(value, _CONTAINERS):
            return sys.getsizeof(value)
        if id(value) not in self._weights:
            weight = sys.getsizeof(value)
            for inner in _inside(value):
                weight += self.weight(inner)
                if weight > HEAVIEST:
                    raise TemplateFault(f"it makes a value of more than {HEAVIEST} bytes")
            self._weights[id(value)] = (value, weight)
        return self._weights[id(value)][1]


METER: ContextVar[Meter] = ContextVar("vanta_llamacpp_meter")


def _inside(container: Any) -> Iterator[object]:
    yield from container
    if isinstance(container, dict):
        yield from container.values()


def text_of(value: Any) -> str:
    """`value` as text. Raises TemplateFault where that would be too much."""
    if isinstance(value, str):
        return value
    meter = METER.get()
    if meter.weight(value) > HEAVIEST_WRITTEN:
        raise TemplateFault(f"it writes out a value of more than {HEAVIEST_WRITTEN} bytes")
    text: str = meter.made(str(value))
    return text


def joined_texts(between: str, parts: Iterable[str]) -> str:
    meter, kept, length = METER.get(), [], 0
    for part in parts:
        length += len(part) + len(between)
        if length > HEAVIEST:
            raise TemplateFault(f"it makes a text of more than {HEAVIEST} characters")
        kept.append(part)
    text: str = meter.made(between.join(kept))
    return text


def drawn(values: Iterable[Any]) -> list[Any]:
    """`values` as a list, counted one by one."""
    meter, kept = METER.get(), []
    size = _PER_ITEM if isinstance(values, _CONTAINERS) else PER_PIECE
    for value in values:
        meter.charge(size)
        kept.append(value)
    return kept


def listed(values: Any) -> Any:
    return drawn(values) if values else values


def bounded_number(value: Any) -> Any:
    if isinstance(value, int) and abs(value) > LARGEST:
        raise TemplateFault("it computes with a number of more than 64 bits")
    return value
