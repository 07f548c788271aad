"""The meter of one rendering: steps, bytes and a deadline.

Every operation that can run often, or whose result can be larger than its arguments, charges the
meter first. Invariant: no value becomes reachable for a template before its size is counted, and
no two charges are further apart than one operation on bounded values.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from jinja2 import Undefined
from jinja2.environment import TemplateModule
from jinja2.utils import Namespace

from vanta.prompts.sandbox.contract import RenderLimits, SandboxError

ITEM_BYTES = 8
PIECE_BYTES = 80
CONTAINER_BYTES = 200
"""A place in a list, a short text with its place, and what the meter keeps of a container."""
LARGEST_NUMBER = 1 << 63
_VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))
_CONTAINERS = (list, tuple, dict, *_VIEWS)
_DATA = (str, int, float, list, tuple, dict, *_VIEWS, Undefined, type(None))


class RenderMeter:
    """Counts what one rendering uses, and ends it with `SandboxError` at a limit."""

    def __init__(self, limits: RenderLimits) -> None:
        self.limits = limits
        self._steps = limits.steps
        self._bytes = limits.total_bytes
        self._ends_at = time.monotonic() + limits.seconds
        # Keeps each container alive, so that its id stays its own.
        self._weights: dict[int, tuple[object, int]] = {}

    def charge(self, size: int = 0) -> None:
        """Count one step that makes a value of `size` bytes."""
        limits = self.limits
        self._steps -= 1
        self._bytes -= size
        if size > limits.value_bytes:
            raise self._too_large()
        if self._bytes < 0:
            raise SandboxError(f"makes values of more than {limits.total_bytes} bytes in total")
        if self._steps < 0:
            raise SandboxError(f"takes more than {limits.steps} steps. Is there an endless loop?")
        self.check_time()

    def check_time(self) -> None:
        """End the rendering if its time is over."""
        if time.monotonic() >= self._ends_at:
            limit = self.limits.seconds
            raise SandboxError(f"takes more than {limit:g} s. Is there an endless loop?")

    def made(self, value: Any) -> Any:
        """Return `value`, counted."""
        self.charge(sys.getsizeof(value))
        if isinstance(value, _CONTAINERS):
            self.charge(CONTAINER_BYTES)
            self.weight(value)
        return value

    def sum(self, left: Any, right: Any) -> Any:
        """Return `left + right`, counted. A sum of lists is weighed without a second look."""
        if not (isinstance(left, list) and isinstance(right, list)):
            return self.made(left + right)
        weight = self.weight(left) + self.weight(right)
        if weight > self.limits.value_bytes:
            raise self._too_large()
        self.charge(CONTAINER_BYTES + (len(left) + len(right)) * ITEM_BYTES)
        total = left + right
        self._weights[id(total)] = (total, weight)
        return total

    def weight(self, value: object) -> int:
        """Return the bytes of `value` as a tree: what it holds twice counts twice."""
        if isinstance(value, Namespace):
            raise SandboxError("puts a namespace into a list or a text")
        if isinstance(value, TemplateModule):
            raise SandboxError("uses a whole template as a value. Include it instead.")
        if not isinstance(value, _CONTAINERS):
            return sys.getsizeof(value)
        if id(value) not in self._weights:
            weight = sys.getsizeof(value)
            for item in _items_of(value):
                weight += self.weight(item)
                if weight > self.limits.value_bytes:
                    raise self._too_large()
            self._weights[id(value)] = (value, weight)
        return self._weights[id(value)][1]

    def writable(self, value: Any) -> None:
        """Refuse a value that is not data, or whose text could be much larger than it is."""
        if not isinstance(value, _DATA):
            self.weight(value)
            problem = f"writes a {type(value).__name__}, which is not text"
            raise SandboxError(f"{problem}. Make it a list or join it.")
        most = self.limits.value_bytes // 4
        if isinstance(value, _CONTAINERS) and self.weight(value) > most:
            raise SandboxError(f"writes out a list or mapping of more than {most} bytes")

    def _too_large(self) -> SandboxError:
        return SandboxError(f"makes a value of more than {self.limits.value_bytes} bytes")


_meter: ContextVar[RenderMeter] = ContextVar("vanta_render_meter")


@contextmanager
def metering(limits: RenderLimits) -> Iterator[RenderMeter]:
    """Meter all rendering in this block against `limits`."""
    meter = RenderMeter(limits)
    token = _meter.set(meter)
    try:
        yield meter
    finally:
        _meter.reset(token)


def meter() -> RenderMeter:
    """Return the meter of the current rendering."""
    return _meter.get()


def made(value: Any) -> Any:
    """Return `value`, counted by the current meter."""
    return meter().made(value)


def each(values: Iterable[Any]) -> Iterator[Any]:
    """Yield `values`, one step each."""
    charge = meter().charge
    for value in values:
        charge()
        yield value


def text_of(value: Any) -> str:
    """Return `value` as text."""
    if isinstance(value, str):
        return value
    current = meter()
    current.writable(value)
    text: str = current.made(str(value))
    return text


def joined(separator: str, parts: Iterable[str]) -> str:
    """Join `parts`, refused before the text is built if it is too long."""
    current, texts, length = meter(), [], 0
    for part in parts:
        length += len(part) + len(separator)
        if length > current.limits.value_bytes:
            current.charge(length)
        texts.append(part)
    text: str = current.made(separator.join(texts))
    return text


def drawn(values: Iterable[Any]) -> list[Any]:
    """Return `values` as a list, counted item by item."""
    charge, items = meter().charge, []
    size = ITEM_BYTES if isinstance(values, _CONTAINERS) else PIECE_BYTES
    for value in values:
        charge(size)
        items.append(value)
    return items


def bounded_number(value: Any) -> Any:
    """Return `value` unless it is an integer of more than 64 bits."""
    if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        raise SandboxError("calculates with powers or numbers beyond 2**63")
    return value


def _items_of(container: Any) -> Iterator[object]:
    yield from container
    if isinstance(container, dict):
        yield from container.values()
