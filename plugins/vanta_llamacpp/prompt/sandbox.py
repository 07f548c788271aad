"""Where the template of a stranger runs: jinja2's immutable sandbox, with a clock and a meter.

Operators, literals, slices and calls go through the environment, which asks the meter (see
`meter`); filters and functions are those of `filters`. Invariant: what runs inside `faults` and
`time_limit` ends soon, takes some hundred megabytes at the most, and raises only `TemplateFault`.
"""

from __future__ import annotations

import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import BuiltinMethodType, FrameType
from typing import Any

from jinja2 import Template, nodes, pass_context
from jinja2.compiler import CodeGenerator, Frame
from jinja2.ext import loopcontrols
from jinja2.runtime import BlockReference, Context, LoopContext, Macro, TemplateReference
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from vanta_llamacpp.prompt.filters import (
    ALLOWED_FILTERS,
    ALLOWED_GLOBALS,
    LONGEST_REASON,
    call_method,
)
from vanta_llamacpp.prompt.meter import (
    METER,
    Meter,
    TemplateFault,
    bounded_number,
    joined_texts,
    text_of,
)

LONGEST_COMPILE_S = 5.0
LONGEST_PROMPT = 16 * 1024 * 1024
_METHODS: dict[type, str] = {
    str: "capitalize casefold count endswith find index isalnum isalpha isascii isdecimal isdigit "
    "islower isnumeric isspace istitle isupper join lower lstrip partition removeprefix "
    "removesuffix replace rfind rindex rpartition rsplit rstrip split splitlines startswith strip "
    "swapcase title upper",
    dict: "copy get items keys values",
    list: "copy count index",
    tuple: "count index",
}
_LIBRARY = (sysconfig.get_path("stdlib"), "<frozen")
_PACKAGES = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
_JINJAS_OWN = frozenset({"_loop_vars", "_block_vars"})
_OPEN = (BlockReference, LoopContext, Macro, Namespace, TemplateReference)
"""Objects of jinja2 whose attributes a template may see."""


class _OverTime(BaseException):
    """The time is over; no `except Exception` of jinja2's may swallow that."""


class Arguments(dict[str, Any]):
    """Arguments of a call: a mapping to templates that write JSON, and its text to the others."""

    def __init__(self, found: Mapping[str, Any], text: str) -> None:
        super().__init__(found)
        self._text = text

    def __str__(self) -> str:
        """As the model wrote them."""
        return self._text


class _Code(CodeGenerator):
    """Sends through the environment what jinja2 compiles to plain Python."""

    def visit_List(self, node: nodes.List, frame: Frame) -> None:  # noqa: N802 - jinja2's name
        self._metered(super().visit_List, node, frame)

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:  # noqa: N802
        self._metered(super().visit_Dict, node, frame)

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:  # noqa: N802
        if node.ctx == "load":
            self._metered(super().visit_Tuple, node, frame)
        else:
            super().visit_Tuple(node, frame)

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:  # noqa: N802
        if isinstance(node.arg, nodes.Slice):
            self._metered(super().visit_Getitem, node, frame)
        else:
            super().visit_Getitem(node, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802
        self.write("environment.joined((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def signature(
        self, node: Any, frame: Frame, extra_kwargs: Mapping[str, Any] | None = None
    ) -> None:
        """Without `*` and `**`, which would spread a long text into millions of arguments."""
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            self.fail("'*' and '**' in a call are not allowed", node.lineno)
        super().signature(node, frame, extra_kwargs)

    def _metered(self, visit: Callable[[Any, Frame], None], node: nodes.Expr, frame: Frame) -> None:
        self.write("environment.made(")
        visit(node, frame)
        self.write(")")


class _Sandbox(ImmutableSandboxedEnvironment):
    """Refuses what could make gigabytes out of a line."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "**", "%"})
    code_generator_class = _Code

    @staticmethod
    def concat(parts: Iterable[str]) -> str:
        """What a block, a macro or a call of a loop wrote."""
        return joined_texts("", parts)

    @staticmethod
    def joined(parts: Iterable[Any]) -> str:
        """The operator `~`."""
        return joined_texts("", map(text_of, parts))

    @staticmethod
    def made(value: Any) -> Any:
        """A literal or a slice."""
        return METER.get().made(value)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Sums of texts and lists; all else is for numbers, and ends where integers get large."""
        if operator == "+":
            left, right = _summand(left, right), _summand(right, left)
            return METER.get().sum(left, right)
        if operator == "**" or not all(isinstance(side, (int, float)) for side in (left, right)):
            raise TemplateFault(f"it computes {operator!r} with something else than numbers")
        return bounded_number(super().call_binop(context, operator, left, right))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 - so named by jinja2, for keywords of a template's own
        """As jinja2 does, and metered."""
        meter = METER.get()
        if isinstance(__obj, Macro):  # it may read them as lists, `varargs` and `kwargs`
            given = (*args, *_own(kwargs).values())
            meter.made([each for each in given if not isinstance(each, Namespace)])
        if isinstance(__obj, BuiltinMethodType) and isinstance(__obj.__self__, str):
            return meter.made(call_method(__obj, args, _own(kwargs)))
        if __obj is Namespace:
            meter.charge(sum(map(sys.getsizeof, args)))
        found = super().call(__context, __obj, *args, **kwargs)
        return found if isinstance(found, Namespace) else meter.made(found)

    def wrap_str_format(self, _value: Any) -> None:
        """No special treatment: `is_safe_attribute` refuses it."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """As jinja2 says, of objects that are known."""
        if isinstance(obj, _OPEN):
            return super().is_safe_attribute(obj, attr, value)
        return any(
            isinstance(obj, kind) and attr in names.split() for kind, names in _METHODS.items()
        )


@contextmanager
def faults(prefix: str = "") -> Iterator[None]:
    """All that a template may raise, which is whatever Python can, as TemplateFault."""
    try:
        yield
    except Exception as error:
        reason = str(error) or repr(error)
        raise TemplateFault(prefix + reason[:LONGEST_REASON]) from error


def _is_library(frame: FrameType) -> bool:
    """Whether a line is of Python's own library, where all that templates reach ends by itself."""
    path = frame.f_code.co_filename
    return path.startswith(_LIBRARY) and not path.startswith(_PACKAGES)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TemplateFault from whatever Python line this thread is at once the time is over."""
    until, before = time.monotonic() + seconds, sys.gettrace()

    def watch(frame: FrameType, event: str, _argument: object) -> Any:
        # What is raised while a generator is thrown away, or in a callback of a weak reference, is
        # lost, and with it this function: so only from lines, and none of the standard library's.
        if event == "line" and time.monotonic() > until and not _is_library(frame):
            raise _OverTime
        return watch

    sys.settrace(watch)
    try:
        yield
    except _OverTime:
        raise TemplateFault(f"it takes longer than {seconds:g} s") from None
    finally:
        sys.settrace(before)


def compiled(source: str) -> Template:
    environment = _Sandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols], optimized=False,
        finalize=_written,
    )  # fmt: skip
    environment.filters = dict(ALLOWED_FILTERS)
    environment.globals = dict(ALLOWED_GLOBALS)
    with faults("it does not compile: "), time_limit(LONGEST_COMPILE_S):
        return environment.from_string(source)


@pass_context
def _written(_context: Context, value: Any) -> str:
    """What `{{ }}` writes. That it takes a context keeps jinja2 from working it out ahead."""
    return text_of(value)


def _summand(value: Any, other: Any) -> Any:
    """`value` as it can be added to `other`: numbers, texts and lists alone may grow."""
    if isinstance(value, Arguments) and isinstance(other, str):
        return str(value)
    if isinstance(value, (int, float)):
        return bounded_number(value)
    if isinstance(value, str):
        METER.get().charge(len(value))
    return value


def _own(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Without what jinja2 passes to know the variables of a loop."""
    return {name: each for name, each in kwargs.items() if name not in _JINJAS_OWN}


def written_out(parts: Iterable[str]) -> str:
    kept: list[str] = []
    length = 0
    meter = METER.set(Meter())
    try:
        for part in parts:
            length += len(part)
            if length > LONGEST_PROMPT:
                raise TemplateFault(f"its prompt has more than {LONGEST_PROMPT} characters")
            kept.append(part)
    finally:
        METER.reset(meter)
    return "".join(kept)
