"""The sandbox that templates are rendered in: Jinja's immutable sandbox, with every way to spend
time or memory metered.

Invariant: the only way to run something often (loops, calls, inclusion) or to make something large
(concatenation, arithmetic, filters, what is given a name) leads through `vanta.prompts.meter`.
Filters and methods are a list of what is allowed; the rest does not exist. Constant folding is off,
for it would run a template's expressions before there is a meter.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from jinja2 import BaseLoader, StrictUndefined, Template, nodes, pass_context
from jinja2.filters import FILTERS
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from vanta.prompts.meter import Exceeded, arithmetic, current, joined, measured, writable

_FILTERS = """
    abs capitalize count d default dictsort first float int items last length list lower map max
    min reject rejectattr reverse select selectattr sort title trim truncate unique upper wordcount
"""
_TEXT_METHODS = """
    capitalize count endswith find lower lstrip rstrip split splitlines startswith strip title upper
"""
_METHODS: Mapping[type, frozenset[str]] = {
    str: frozenset(_TEXT_METHODS.split()),
    dict: frozenset(("get", "items", "keys", "values")),
}
_MAX_RANGE = 10_000


class PromptEnvironment(ImmutableSandboxedEnvironment):
    """Renders prompt templates; needs a meter in `vanta.prompts.meter.current`."""

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))

    def __init__(self, loader: BaseLoader) -> None:
        super().__init__(
            loader=loader,
            undefined=StrictUndefined,
            optimized=False,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_finalize,
        )
        allowed = {name: _metered(FILTERS[name]) for name in _FILTERS.split()}
        self.filters = {**allowed, **_OWN_FILTERS}
        self.globals = {"range": _range, "namespace": _Namespace}
        self.concat = joined  # type: ignore[method-assign] # macros and set blocks
        self.joined = joined
        self.measured = measured

    def compile(self, source: Any, *args: Any, **kwargs: Any) -> Any:
        """Compile with loops, concatenations and assignments led through the meter."""
        if isinstance(source, str):
            source = self.parse(source, *args[:2])
        return super().compile(_Metering(self).visit(source), *args, **kwargs)

    def each(self, values: Iterable[Any]) -> Iterator[Any]:
        """What a loop in a template really loops over."""
        return current.get().each(values)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Call something from a template: a macro, a method, `loop(...)`."""
        current.get().spend()
        for value in (*args, *kwargs.values()):
            measured(value)
        if isinstance(__obj, LoopContext):
            args = tuple(current.get().each(values) for values in args)
        return measured(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Calculate, if the result stays in proportion."""
        arithmetic(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Of the methods of data only those on the list; the rest as the sandbox has it."""
        if callable(value) and isinstance(obj, str | bytes | int | float | list | tuple | dict):
            return attr in _METHODS.get(type(obj), ())
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """`str.format` is not on the list, so that it needs no wrapping."""

    def get_template(self, *args: Any, **kwargs: Any) -> Template:
        """Find a template: included, extended and imported ones are paid for, too."""
        current.get().spend()
        return super().get_template(*args, **kwargs)


class _Namespace(Namespace):
    """Jinja's namespace, without its contents in its text."""

    def __repr__(self) -> str:
        return "<namespace>"


class _Metering(NodeTransformer):
    """Rewrites a template's tree so that loops, `~` and assignments call the environment."""

    def __init__(self, environment: PromptEnvironment) -> None:
        self._environment = environment

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - Jinja's visitor protocol
        self.generic_visit(node)
        node.iter = self._call("each", node.iter)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return self._call("joined", nodes.List(node.nodes, lineno=node.lineno))

    def visit_Assign(self, node: nodes.Assign) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.node = self._call("measured", node.node)
        return node

    def visit_With(self, node: nodes.With) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.values = [self._call("measured", value) for value in node.values]
        return node

    def _call(self, name: str, argument: nodes.Node) -> nodes.Expr:
        function = nodes.EnvironmentAttribute(name, lineno=argument.lineno)
        call = nodes.Call(function, [argument], [], None, None, lineno=argument.lineno)
        call.set_environment(self._environment)
        return call


def _metered(function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that looks at what it is given and at what it gives."""

    @functools.wraps(function)
    def filtered(*args: Any, **kwargs: Any) -> Any:
        for value in (*args, *kwargs.values()):
            measured(value)
        result = function(*args, **kwargs)
        return current.get().each(result) if isinstance(result, Iterator) else measured(result)

    return filtered


def _replace(text: str, old: str, new: str, count: int = -1) -> str:
    text = _string(text)
    found = text.count(old) if count < 0 else min(count, text.count(old))
    current.get().allow(len(text) + found * (len(new) - len(old)))
    return text.replace(old, new, count)


def _indent(text: str, width: int = 4, first: bool = False) -> str:
    lines = _string(text).split("\n")
    current.get().allow(len(text) + len(lines) * width)
    indented = [" " * width + line if line.strip() else line for line in lines]
    return "\n".join(indented if first else [*lines[:1], *indented[1:]])


def _round(value: float, precision: int = 0) -> float:
    if not -15 <= precision <= 15:
        raise Exceeded("rounds to more than 15 digits")
    return round(float(value), precision)


def _tojson(value: Any) -> str:
    return json.dumps(measured(value), ensure_ascii=False)


def _string(value: Any) -> str:
    return str(writable(value))


def _range(*args: int) -> range:
    numbers = range(*args)
    if len(numbers) > _MAX_RANGE:
        raise Exceeded(f"loops over a range of more than {_MAX_RANGE} numbers")
    return numbers


@pass_context  # which also keeps Jinja from folding constants
def _finalize(_context: Context, value: Any) -> Any:
    """What `{{ ... }}` writes: looked at first, so that its text cannot be endless."""
    return writable(value)


_OWN_FILTERS: Mapping[str, Callable[..., Any]] = {
    "indent": _indent,
    "join": lambda values, d="": joined(values, d),
    "replace": _replace,
    "round": _round,
    "string": _string,
    "tojson": _tojson,
}
