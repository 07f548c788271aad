"""The environment that templates are rendered in: Jinja's immutable sandbox, with a meter.

The compiler sends loops, literals, slices, comparisons, `~` and calls through the meter (see
`vanta.prompts.sandbox.meter`); filters, methods and functions are those of an `AllowList`.
Invariant: a rendering ends within its `RenderLimits`, and nothing that a template can reach reads
a file, changes a value that it was given, or leaves the sandbox. Constants are not folded, because
folding would run expressions before there is a meter.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import BuiltinMethodType
from typing import Any

from jinja2 import BaseLoader, StrictUndefined, Template, Undefined, nodes, pass_context
from jinja2.compiler import CodeGenerator, Frame
from jinja2.environment import TemplateModule
from jinja2.lexer import Token, TokenStream
from jinja2.runtime import BlockReference, Context, LoopContext, Macro, TemplateReference
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from vanta.prompts.sandbox.contract import AllowList, RenderLimits, SandboxError
from vanta.prompts.sandbox.filters import METERED_FILTERS, call_text_method
from vanta.prompts.sandbox.meter import (
    bounded_number,
    each,
    joined,
    made,
    meter,
    metering,
    text_of,
)

MOST_TOKENS = 30_000
MOST_BRANCHES = 500
"""Of one template. Jinja's compiler takes the square of the branches; templates of real models have
some 5,000 tokens and 150 branches."""
_LOOP_VARIABLES = frozenset({"_loop_vars", "_block_vars"})
_OPEN = (BlockReference, LoopContext, Macro, Namespace, TemplateModule, TemplateReference)
"""Objects of Jinja whose attributes a template may read."""


class MeteredEnvironment(ImmutableSandboxedEnvironment):
    """Renders templates with what an allow-list allows, inside `metering`.

    :param allowed: filters, methods, functions and extensions for templates.
    :param loader: finds included, imported and extended templates; None: there are none.
    """

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "**", "%"})

    def __init__(self, allowed: AllowList, loader: BaseLoader | None = None) -> None:
        super().__init__(
            loader=loader,
            undefined=StrictUndefined if allowed.strict else Undefined,
            extensions=allowed.extensions,
            optimized=False,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_written,
        )
        self._methods = allowed.methods
        self.filters = {name: METERED_FILTERS[name] for name in allowed.filters}
        self.globals = {
            "namespace": Namespace,
            "range": _range_up_to(allowed.longest_range),
            **allowed.functions,
        }
        self.concat = self.joined  # type: ignore[method-assign] # macros and blocks
        self.made = made
        self.each = each

    def compile(self, source: Any, *args: Any, **kwargs: Any) -> Any:
        """Compile a template that is not too large to compile in a second or so."""
        tree = self.parse(source, *args[:2]) if isinstance(source, str) else source
        pending, branches = [tree], 0
        while pending:
            node = pending.pop()
            branches += isinstance(node, nodes.If | nodes.CondExpr)
            pending += node.iter_child_nodes()
        if branches > MOST_BRANCHES:
            raise SandboxError(f"has more than {MOST_BRANCHES} branches")
        return super().compile(tree, *args, **kwargs)

    def _tokenize(self, *args: Any, **kwargs: Any) -> TokenStream:
        stream = super()._tokenize(*args, **kwargs)
        return TokenStream(_counted(stream), stream.name, stream.filename)

    @staticmethod
    def joined(parts: Iterable[Any]) -> str:
        """Join what a block, a macro or the operator `~` writes."""
        return joined("", map(text_of, parts))

    @staticmethod
    def compared(value: Any) -> Any:
        """Return the result of a comparison or a test."""
        meter().check_time()
        return value

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Look up an item, as attributes of filters do for every value of a list."""
        meter().check_time()
        return super().getitem(obj, argument)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Add texts and lists; calculate with numbers, up to 64 bits."""
        numbers = all(isinstance(side, int | float) for side in (left, right))
        if operator == "+" and not numbers:
            return meter().sum(left, right)
        if not numbers:
            raise SandboxError(f"uses {operator!r} on something that is not a number")
        if operator == "**":
            raise SandboxError("calculates with powers or numbers beyond 2**63")
        meter().charge()
        bounded_number(left)
        return bounded_number(super().call_binop(context, operator, left, bounded_number(right)))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 - so named by Jinja, for keywords of a template's own
        """Call a macro, a method, `loop(...)` or a function, and count its result."""
        current = meter()
        current.charge()
        given = (*args, *_own(kwargs).values())
        if isinstance(__obj, Macro):  # which may read them as the lists `varargs` and `kwargs`
            current.made([value for value in given if not isinstance(value, Namespace)])
        if isinstance(__obj, LoopContext):
            args = tuple(map(each, args))
        if isinstance(__obj, BuiltinMethodType) and isinstance(__obj.__self__, str):
            return current.made(call_text_method(__obj, args, _own(kwargs)))
        if __obj is Namespace:
            current.charge(sum(map(sys.getsizeof, given)))
        result = super().call(__context, __obj, *args, **kwargs)
        return result if isinstance(result, Namespace) else current.made(result)

    def wrap_str_format(self, value: Any) -> None:
        """Leave `str.format` alone: no allow-list has it."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Allow listed methods of data, and public attributes of Jinja's own objects."""
        if isinstance(obj, _OPEN):
            return super().is_safe_attribute(obj, attr, value)
        return any(isinstance(obj, kind) and attr in names for kind, names in self._methods.items())

    def get_template(self, *args: Any, **kwargs: Any) -> Template:
        """Find a template, one step for each that is included, extended or imported."""
        meter().charge()
        return super().get_template(*args, **kwargs)


def render(
    environment: MeteredEnvironment,
    template: Callable[[], Template],
    values: Mapping[str, Any],
    limits: RenderLimits,
) -> str:
    """Return the text of a template.

    :param template: returns the compiled template; called inside the meter.
    :param values: variables by name: plain data.
    :raises SandboxError: if the rendering exceeds `limits` or does something forbidden.
    """
    chunks, length = [], 0
    with metering(limits):
        for chunk in template().generate(values):
            length += len(chunk)
            if length > limits.characters:
                raise SandboxError(f"makes a text of more than {limits.characters} characters")
            chunks.append(chunk)
    return "".join(chunks)


class _MeteredCode(CodeGenerator):
    """Sends through the environment what Jinja compiles to plain Python."""

    def visit_List(self, node: nodes.List, frame: Frame) -> None:  # noqa: N802 - Jinja's protocol
        self._through("made", super().visit_List, node, frame)

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:  # noqa: N802
        self._through("made", super().visit_Dict, node, frame)

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:  # noqa: N802
        if node.ctx == "load":
            self._through("made", super().visit_Tuple, node, frame)
        else:
            super().visit_Tuple(node, frame)

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:  # noqa: N802
        if isinstance(node.arg, nodes.Slice):
            self._through("made", super().visit_Getitem, node, frame)
        else:
            super().visit_Getitem(node, frame)

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:  # noqa: N802
        self._through("compared", super().visit_Compare, node, frame)

    def visit_Test(self, node: nodes.Test, frame: Frame) -> None:  # noqa: N802
        self._through("compared", super().visit_Test, node, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802
        self.write("environment.joined((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def visit_For(self, node: nodes.For, frame: Frame) -> None:  # noqa: N802
        self._iterated.add(id(node.iter))
        super().visit_For(node, frame)

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        """Visit a node, the values of a loop through the meter."""
        if id(node) not in self._iterated:
            return super().visit(node, *args, **kwargs)
        self._iterated.discard(id(node))
        return self._through("each", super().visit, node, *args, **kwargs)

    def signature(
        self, node: Any, frame: Frame, extra_kwargs: Mapping[str, Any] | None = None
    ) -> None:
        """Refuse `*` and `**`, which would spread a long text into millions of arguments."""
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            self.fail("'*' and '**' in a call are not allowed", node.lineno)
        super().signature(node, frame, extra_kwargs)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._iterated: set[int] = set()

    def _through(self, name: str, visit: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self.write(f"environment.{name}(")
        visit(*args, **kwargs)
        self.write(")")


MeteredEnvironment.code_generator_class = _MeteredCode


@pass_context
def _written(_context: Context, value: Any) -> str:
    """Return what `{{ }}` writes. That it takes the context keeps Jinja from folding constants."""
    return text_of(value)


def _counted(tokens: Iterable[Token]) -> Iterator[Token]:
    for number, token in enumerate(tokens):
        if number >= MOST_TOKENS:
            raise SandboxError(f"has more than {MOST_TOKENS} tokens")
        yield token


def _range_up_to(longest: int) -> Callable[..., range]:
    def bounded_range(*args: int) -> range:
        numbers = range(*args)
        if len(numbers) > longest:
            raise SandboxError(f"loops over a range of more than {longest} numbers")
        return numbers

    return bounded_range


def _own(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the keywords of the template, without those that Jinja adds for loops."""
    return {name: value for name, value in kwargs.items() if name not in _LOOP_VARIABLES}
