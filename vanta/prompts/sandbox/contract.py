"""The contract of the sandbox: what a template may call and how much it may use.

Invariant: plain data that loads without Jinja, so that every module can name it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

_NONE: Mapping[Any, Any] = MappingProxyType({})


class SandboxError(Exception):
    """A template exceeds a limit or does something that the sandbox forbids.

    The message is a verb phrase about the template, such as "takes more than 2 s", so that the
    caller can name the template before it.
    """


@dataclass(frozen=True, slots=True)
class RenderLimits:
    """The resources of one rendering.

    :param characters: length of the output; also the size of a template file, in bytes.
    :param value_bytes: size of one value with everything in it; shared parts count each time.
    :param total_bytes: size of all values that one rendering makes, together.
    :param steps: loop rounds, calls, filters, look-ups and other metered operations.
    :param seconds: wall-clock time.
    """

    characters: int = 250_000
    value_bytes: int = 1_000_000
    total_bytes: int = 100_000_000
    steps: int = 200_000
    seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class AllowList:
    """What a template may use; everything else does not exist for it.

    Methods and filters are metered by the sandbox; functions of the caller's own are not.

    :param filters: names of metered filters, see `vanta.prompts.sandbox.filters`.
    :param methods: names of the methods that values of a type offer.
    :param functions: global functions by name. Each must be bounded by its arguments.
    :param longest_range: how many numbers `range` yields at most.
    :param extensions: Jinja extensions, as classes or import paths.
    :param strict: an undefined variable is an error; otherwise it renders as nothing.
    """

    filters: frozenset[str]
    methods: Mapping[type, frozenset[str]]
    functions: Mapping[str, Callable[..., Any]] = field(default_factory=lambda: _NONE)
    longest_range: int = 10_000
    extensions: tuple[Any, ...] = ()
    strict: bool = True
