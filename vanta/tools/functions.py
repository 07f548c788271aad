"""Python functions as tools: `@vanta.tool`, and the toolset that runs them.

    @vanta.tool(effect="read", private=True)
    def word_count(text: str) -> int:
        '''Count the words of a text.

        :param text: the text.
        '''
        return len(text.split())

The schema comes from the type hints, the descriptions from the docstring. A decorated function is
the same function: the decorator only marks it. Invariant: a toolset that exists has a valid schema
for each of its functions; a function gets values of its own types, or is not called.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
import re
import threading
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, overload

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread

from vanta.errors import ToolError, UsageError, did_you_mean
from vanta.tool_contract import Effect, Tool, ToolContext, ToolResult, Toolset
from vanta.tools.arguments import schema_problem
from vanta.tools.results import result_of

if typing.TYPE_CHECKING:
    from pydantic import BaseModel

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "__vanta_tool__"
_THREADS = 16
_FIELD = re.compile(r":param\s+(?:[^:]*\s)?\*{0,2}(?P<name>\w+)\s*:\s*(?P<text>.*)")
_GOOGLE = re.compile(r"(?:\*{0,2})(?P<name>\w+)\s*(?:\([^)]*\))?\s*:\s*(?P<text>.*)")
_SECTION = re.compile(
    r"^(?::\w+.*|(?:Args|Arguments|Parameters|Returns?|Raises|Yields|Examples?|Notes?):?\s*)$"
)


@dataclass(frozen=True, slots=True)
class ToolMark:
    """What `@vanta.tool` was given; the fields are those of `vanta.Tool`."""

    name: str | None = None
    description: str | None = None
    effect: Effect = "write"
    private: bool = False
    untrusted: bool = False
    timeout_s: float = 30.0
    max_result_tokens: int | None = None
    price_usd: float = 0.0


@overload
def tool(function: F, /) -> F: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    effect: Effect = "write",
    private: bool = False,
    untrusted: bool = False,
    timeout_s: float = 30.0,
    max_result_tokens: int | None = None,
    price_usd: float = 0.0,
) -> Callable[[F], F]: ...
def tool(function: Any = None, /, **fields: Any) -> Any:
    """Mark a function as a tool: `@vanta.tool`, or `@vanta.tool(effect="read")`.

    The function may be synchronous, and then runs in a worker thread, or asynchronous. A parameter
    annotated with `vanta.ToolContext` gets the context of the call and is not part of the schema.

    :param function: the function.
    :param name: the tool's name; the function's own by default.
    :param description: what it does; the docstring's text by default.
    :param effect: what running a call twice would do.
    :param private: whether nothing of a call leaves this machine.
    :param untrusted: whether its results are written by others.
    :param timeout_s: seconds that one call may take.
    :param max_result_tokens: tokens of its result that the model is shown at once.
    :param price_usd: what one call costs, in US dollars.
    :returns: the same function, or the decorator.
    :raises UsageError: for what is not a function, or cannot be marked, as a bound method.
    """
    mark = ToolMark(**fields)

    def marked(target: F) -> F:
        if not callable(target):
            raise UsageError(f"vanta.tool marks functions, not {target!r}")
        inner = target.__func__ if isinstance(target, classmethod | staticmethod) else target
        try:
            setattr(inner, _MARK, mark)
        except AttributeError:
            raise UsageError(
                f"vanta.tool cannot mark {target!r}: mark a method in its class with @vanta.tool, "
                "and call anything else from a function of your own"
            ) from None
        return target

    return marked if function is None else marked(function)


class FunctionToolset(Toolset):
    """Functions as a toolset.

    :param name: its name.
    :param functions: functions with `@vanta.tool`, or plain ones, whose effect is then "write".
    :raises UsageError: if a function cannot be a tool, or two have one name.
    """

    def __init__(self, name: str, functions: Sequence[Callable[..., Any]]) -> None:
        self.name = name
        self._functions: dict[str, _Function] = {}
        for function in functions:
            item = _Function(function)
            if item.tool.name in self._functions:
                raise UsageError(
                    f"the toolset {name!r} has two functions named {item.tool.name!r}. Name one of "
                    'them otherwise: @vanta.tool(name="...").'
                )
            self._functions[item.tool.name] = item
        self._tools = [item.tool for item in self._functions.values()]

    async def tools(self) -> Sequence[Tool]:
        """Return the tools of the functions."""
        return self._tools

    async def call(
        self, name: str, arguments: Mapping[str, Any], context: ToolContext
    ) -> ToolResult:
        """Call a function with its own types, and turn what it returns into a result.

        :raises ToolError: if there is no such function, or an argument is not of its type.
        """
        item = self._functions.get(name)
        if item is None:
            raise ToolError(f"no tool is named {name!r}. {did_you_mean(name, self._functions)}")
        return await item.run(arguments, context)


class _Function:
    """One function with its tool and the model that reads its arguments."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._where = _where(function)
        if not callable(function):
            raise UsageError(f"{function!r} is not a function: it cannot be a tool")
        mark = getattr(function, _MARK, None) or ToolMark()
        text, described = _read_docstring(inspect.getdoc(function) or "")
        parameters = self._read_parameters()
        self._context = [name for name, hint in parameters.items() if _is_context(hint)]
        self._names = [name for name in parameters if name not in self._context]
        self._model = self._make_model(parameters, described)
        self._threads: anyio.CapacityLimiter | None = None
        self.tool = self._make_tool(mark, text)

    async def run(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolResult:
        """Call the function. Raises ToolError for arguments that are not of its types."""
        call = functools.partial(self._function, **self._values(arguments, context))
        if _is_async(self._function):
            value = await call()
            # A large value takes long to write: not on the event loop.
            if value is None or isinstance(value, bool | int | float | ToolResult):
                return result_of(value)
            return await anyio.to_thread.run_sync(result_of, value, limiter=self._limiter())
        return await self._in_thread(call)

    async def _in_thread(self, call: Callable[[], Any]) -> ToolResult:
        """Call in a thread of its own. A thread cannot be stopped: after a cancellation it runs on,
        with nothing that waits for it, and the end of the program does not wait for it either."""
        outcomes: list[ToolResult | BaseException] = []
        done, limiter, borrower = anyio.Event(), self._limiter(), object()
        loop = anyio.lowlevel.current_token()
        context = contextvars.copy_context()

        def finished() -> None:
            limiter.release_on_behalf_of(borrower)
            done.set()

        def work() -> None:
            outcomes.append(context.run(_outcome, call))
            with contextlib.suppress(anyio.RunFinishedError):
                anyio.from_thread.run_sync(finished, token=loop)

        await limiter.acquire_on_behalf_of(borrower)
        try:
            threading.Thread(target=work, name=f"tool {self.tool.name}", daemon=True).start()
        except RuntimeError as error:
            limiter.release_on_behalf_of(borrower)
            raise ToolError(f"no thread can be started: {error}") from error
        await done.wait()
        (outcome,) = outcomes
        if isinstance(outcome, Exception):
            raise outcome
        if isinstance(outcome, BaseException):
            raise ToolError(f"it ended with {type(outcome).__name__}") from outcome
        return outcome

    def _limiter(self) -> anyio.CapacityLimiter:
        """Each function has its own threads: one that hangs takes none from the others."""
        self._threads = self._threads or anyio.CapacityLimiter(_THREADS)
        return self._threads

    def _values(self, arguments: Mapping[str, Any], context: ToolContext) -> dict[str, Any]:
        from pydantic import ValidationError

        try:
            model = self._model.model_validate(dict(arguments))
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:3]
            )
            raise ToolError(f"the arguments do not fit: {problems}. Correct them.") from None
        given = {
            name: getattr(model, f"p{number}")
            for number, name in enumerate(self._names)
            if f"p{number}" in model.model_fields_set
        }
        return {**given, **dict.fromkeys(self._context, context)}

    def _read_parameters(self) -> dict[str, Any]:
        """Return the type hint of each parameter. Raises UsageError for one that has none."""
        try:
            hints = typing.get_type_hints(_innermost(self._function), include_extras=True)
        except Exception as error:
            raise UsageError(f"{self._where}: a type hint cannot be read: {error}") from error
        found = {}
        for name, parameter in inspect.signature(self._function).parameters.items():
            if parameter.kind not in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}:
                raise UsageError(
                    f"{self._where}: the parameter {name!r} cannot be passed by its name, so a "
                    "model cannot pass it. Give each argument a parameter of its own."
                )
            if name not in hints:
                raise UsageError(f"{self._where}: the parameter {name!r} has no type hint")
            found[name] = hints[name]
        return found

    def _make_model(
        self, hints: Mapping[str, Any], described: Mapping[str, str]
    ) -> type[BaseModel]:
        from pydantic import ConfigDict, Field, create_model

        parameters = inspect.signature(self._function).parameters
        fields: dict[str, Any] = {}
        for number, name in enumerate(self._names):
            default = parameters[name].default
            options: dict[str, Any] = {"alias": name}
            if name in described:
                options["description"] = described[name]
            if default is not inspect.Parameter.empty:
                # A default without a JSON form stays out of the schema.
                options |= (
                    {"default": default} if _is_json(default) else {"default_factory": object}
                )
            fields[f"p{number}"] = (hints[name], Field(**options))
        try:
            return create_model(
                "Arguments", __config__=ConfigDict(extra="forbid", defer_build=False), **fields
            )
        except Exception as error:
            raise UsageError(
                f"{self._where}: its parameters have no JSON Schema: {error}"
            ) from error

    def _make_tool(self, mark: ToolMark, text: str) -> Tool:
        own = getattr(self._function, "__name__", type(self._function).__name__)
        name = mark.name or str(own)
        description = mark.description or text
        if not description:
            raise UsageError(
                f"{self._where}: it has no docstring, so a model does not know what it does. "
                'Write one, or @vanta.tool(description="...").'
            )
        try:
            schema = _without_titles(self._model.model_json_schema())
        except Exception as error:
            raise UsageError(
                f"{self._where}: its parameters have no JSON Schema: {error}"
            ) from error
        schema.pop("description", None)
        if problem := schema_problem(schema):
            raise UsageError(f"{self._where}: {problem}")
        fields = {key: getattr(mark, key) for key in _KEPT}
        return Tool(name, description, schema, **fields)


_KEPT = ("effect", "private", "untrusted", "timeout_s", "max_result_tokens", "price_usd")


def _is_context(hint: Any) -> bool:
    return hint is ToolContext or ToolContext in typing.get_args(hint)


def _is_async(function: Any) -> bool:
    inner = _innermost(function)
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(inner):
        return True
    return inspect.iscoroutinefunction(
        getattr(inner, "__call__", None)  # noqa: B004 - an object with an async `__call__`
    )


def _innermost(function: Any) -> Any:
    """Return what a partial or a wrapper calls in the end: its hints are the function's."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    if not (inspect.isroutine(function) or isinstance(function, type)):
        return getattr(type(function), "__call__", function)  # noqa: B004 - an object's own call
    return function


def _outcome(call: Callable[[], Any]) -> ToolResult | BaseException:
    """Return the result of a call, or what it raised: nothing may end the thread unseen."""
    try:
        value = call()
        if inspect.iscoroutine(value):
            value.close()
            raise TypeError("a plain function returned a coroutine: make it async")
        return result_of(value)
    except BaseException as error:  # noqa: BLE001 - also an exit: it may not end the event loop
        return error


def _is_json(value: object) -> bool:
    try:
        result_of(value)
    except ToolError:
        return False
    return True


def _where(function: Any) -> str:
    inner = _innermost(function)
    name = getattr(inner, "__qualname__", repr(function))
    code = getattr(inner, "__code__", None)
    return f"function {name!r} ({code.co_filename}:{code.co_firstlineno})" if code else repr(name)


def _read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Return the description and the parameters of a docstring: reST, Google or numpy."""
    lines = text.splitlines()
    start = next((n for n, line in enumerate(lines) if _SECTION.match(line)), len(lines))
    described: dict[str, str] = {}
    current, indent, style = "", 0, ""
    for line in lines[start:]:
        stripped, depth = line.strip(), len(line) - len(line.lstrip())
        if _SECTION.match(line):
            field = _FIELD.match(line)
            style = "" if field or stripped.rstrip(":") not in _PARAMETERS else stripped
            current, indent = (field["name"], 0) if field else ("", 0)
            if field:
                described[current] = field["text"]
            continue
        if stripped and not stripped.strip("-"):
            style = "numpy" if style else ""
        elif stripped and current and depth > indent:
            described[current] = f"{described[current]} {stripped}".strip()
        elif stripped and style == "numpy":
            current, indent = stripped.split(":")[0].strip(" *"), depth
            described[current] = ""
        elif style and (entry := _GOOGLE.match(stripped)):
            current, indent = entry["name"], depth
            described[current] = entry["text"]
    return "\n".join(lines[:start]).strip(), described


_PARAMETERS = {"Args", "Arguments", "Parameters"}


def _without_titles(schema: Any) -> Any:
    """Return a schema without the titles that pydantic adds: they cost tokens and say nothing."""
    if not isinstance(schema, dict):
        return schema
    kept: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "title" and isinstance(value, str):
            continue
        if key in {"properties", "$defs", "patternProperties"}:
            kept[key] = {name: _without_titles(below) for name, below in value.items()}
        elif key in {"default", "const", "enum", "examples"}:
            kept[key] = value
        elif isinstance(value, list):
            kept[key] = [_without_titles(item) for item in value]
        else:
            kept[key] = _without_titles(value)
    return kept
