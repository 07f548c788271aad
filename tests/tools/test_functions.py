"""Functions as tools: their schema, their descriptions, and what they are called with."""

from __future__ import annotations

import contextvars
import datetime as dt
import functools
import importlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Annotated, Any, Literal

import anyio
import pytest
from pydantic import BaseModel, Field

import vanta
from vanta import FunctionToolset, Tool, ToolContext, ToolError, UsageError
from vanta.tools.functions import tool

NONE: list[Any] = []


class Place(BaseModel):
    """A place.

    With more about it.
    """

    city: str = Field(description="Its city.")
    title: str = ""


@vanta.tool(effect="read", private=True, timeout_s=5, price_usd=0.5, max_result_tokens=99)
def forecast(
    place: Place,
    days: Annotated[int, Field(ge=1, le=14)] = 1,
    *,
    unit: Literal["c", "f"] = "c",
    on: dt.date | None = None,
    context: ToolContext | None = None,
) -> dict[str, Any]:
    """Return the forecast of a place.

    It is a guess.

    :param place: where
        it is.
    :param int days: days ahead.
    :returns: the forecast.
    """
    assert isinstance(place, Place)
    assert on is None or isinstance(on, dt.date)
    return {"city": place.city, "days": days, "unit": unit, "user": context and context.user}


def only(function: Callable[..., Any]) -> Tool:
    async def listed() -> Tool:
        (found,) = await FunctionToolset("mine", [function]).tools()
        return found

    return anyio.run(listed)


def test_the_decorator_and_the_contract_do_not_hide_each_other() -> None:
    importlib.import_module("vanta.tool_contract")
    importlib.import_module("vanta.tools")
    assert vanta.tool is tool
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("vanta.tool")
    assert vanta.tool is tool


def test_a_decorated_function_is_the_same_function() -> None:
    def plain(text: str) -> str:
        """Return a text."""
        return text

    assert tool(plain) is plain
    assert tool(effect="read")(plain)("a") == "a"


def test_the_schema_comes_from_the_type_hints_and_the_docstring() -> None:
    found = only(forecast)
    assert (found.name, found.description) == (
        "forecast",
        "Return the forecast of a place.\n\nIt is a guess.",
    )
    assert (found.effect, found.private, found.timeout_s) == ("read", True, 5)
    assert (found.price_usd, found.max_result_tokens) == (0.5, 99)
    assert found.parameters["required"] == ["place"]
    properties = found.parameters["properties"]
    assert list(properties) == ["place", "days", "unit", "on"]
    assert properties["days"] == {
        "default": 1,
        "description": "days ahead.",
        "maximum": 14,
        "minimum": 1,
        "type": "integer",
    }
    assert properties["place"]["description"] == "where it is."
    assert properties["unit"]["enum"] == ["c", "f"]
    inner = found.parameters["$defs"]["Place"]
    assert list(inner["properties"]) == ["city", "title"]
    assert '"title": "' not in json.dumps(found.parameters)


def google(count: int, names: list[str]) -> None:
    """Count names.

    Args:
        count (int): how many,
            at most.
        names: the names: all of them

    Returns:
        count: not a parameter
    """


def numpy(count: int, names: list[str]) -> None:
    """Count names.

    Parameters
    ----------
    count : int
        how many,
        at most.
    names
        the names: all of them

    Returns
    -------
    count : None
        not a parameter
    """


@pytest.mark.parametrize("function", [google, numpy])
def test_docstrings_of_other_styles_are_read(function: Callable[..., Any]) -> None:
    found = only(function)
    described = {name: item["description"] for name, item in found.parameters["properties"].items()}
    assert found.description == "Count names."
    assert described == {"count": "how many, at most.", "names": "the names: all of them"}


@pytest.mark.anyio
async def test_a_function_gets_values_of_its_own_types_and_the_context() -> None:
    toolset = FunctionToolset("mine", [forecast])
    arguments = {"place": {"city": "Oslo"}, "on": "2026-01-02", "unit": "f"}
    result = await toolset.call("forecast", arguments, ToolContext(user="ada"))
    assert result.data == {"city": "Oslo", "days": 1, "unit": "f", "user": "ada"}


@pytest.mark.anyio
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"place": {}},
        {"place": {"city": "Oslo"}, "days": 99},
        {"place": {"city": "Oslo"}, "on": "soon"},
        {"place": {"city": "Oslo"}, "context": {"user": "root"}},
        {"place": {"city": "Oslo"}, "p1": 3},
    ],
)
async def test_a_function_is_not_called_with_other_values(arguments: dict[str, Any]) -> None:
    toolset = FunctionToolset("mine", [forecast])
    with pytest.raises(ToolError, match="do not fit"):
        await toolset.call("forecast", arguments, ToolContext())


class Counter:
    """Methods, class methods and objects as tools."""

    def __init__(self) -> None:
        self.count = 0

    @vanta.tool
    def add(self, number: int, model_config: str = "", schema: str = "", _hidden: int = 0) -> int:
        """Add a number."""
        self.count += number + _hidden
        return self.count

    @staticmethod
    @vanta.tool(name="zero", description="Return zero.")
    def nothing() -> int:
        return 0

    async def __call__(self, number: int = 1) -> int:
        """Take a number away."""
        self.count -= number
        return self.count


@pytest.mark.anyio
async def test_methods_objects_and_partials_are_tools() -> None:
    counter = Counter()
    named = tool(name="halve", description="Halve.")(functools.partial(divmod_of, by=2))
    toolset = FunctionToolset("mine", [counter.add, counter.nothing, counter, named])
    assert [item.name for item in await toolset.tools()] == ["add", "zero", "Counter", "halve"]
    given = {"number": 5, "_hidden": 1, "schema": "x", "model_config": "y"}
    assert (await toolset.call("add", given, ToolContext())).data == 6
    assert (await toolset.call("Counter", {}, ToolContext())).data == 5
    assert (await toolset.call("zero", {}, ToolContext())).data == 0
    assert (await toolset.call("halve", {"number": 7}, ToolContext())).data == [3, 1]


def divmod_of(number: int, by: int) -> tuple[int, int]:
    """Divide."""
    return divmod(number, by)


def bare(x) -> None:  # type: ignore[no-untyped-def]
    """Do it."""


def silent(x: int) -> None:
    pass


def rest(*x: int) -> None:
    """Do it."""


def named_rest(**x: int) -> None:
    """Do it."""


def positional(x: int, /) -> None:
    """Do it."""


def lost(x: Missing) -> None:  # type: ignore[name-defined] # noqa: F821
    """Do it."""


def unwritable(x: threading.Lock) -> None:
    """Do it."""


def callback(x: Callable[[int], int]) -> None:
    """Do it."""


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (bare, "no type hint"),
        (silent, "no docstring"),
        (rest, "cannot be passed by its name"),
        (named_rest, "cannot be passed by its name"),
        (positional, "cannot be passed by its name"),
        (lost, "type hint cannot be read"),
        (unwritable, "no JSON Schema"),
        (callback, "no JSON Schema"),
        ("text", "not a function"),
    ],
)
def test_a_function_that_cannot_be_a_tool_is_an_error_with_its_place(
    function: Any, words: str
) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        FunctionToolset("mine", [function])
    assert getattr(function, "__name__", "text") in str(caught.value)


def test_two_functions_of_one_name_are_an_error() -> None:
    with pytest.raises(UsageError, match="two functions named 'forecast'"):
        FunctionToolset("mine", [forecast, tool(name="forecast")(google)])
    tool(google)  # the mark is the function's: take the other name from it


def test_the_decorator_takes_no_unknown_field() -> None:
    with pytest.raises(TypeError):
        tool(effects="read")  # type: ignore[call-overload]
    with pytest.raises(UsageError, match="not 3"):
        tool(3)  # type: ignore[call-overload]


def test_a_default_without_a_json_form_stays_out_of_the_schema() -> None:
    def since(when: dt.timezone = dt.UTC, path: Any = NONE) -> str:
        """Return the time."""
        return str(when)

    hidden = object()

    def with_object(x: Any = hidden) -> bool:
        """Return whether it is hidden."""
        return x is hidden

    assert "default" not in only(with_object).parameters["properties"]["x"]
    with pytest.raises(UsageError, match="no JSON Schema"):
        FunctionToolset("mine", [since])


@pytest.mark.anyio
async def test_synchronous_functions_run_in_threads_of_their_own_and_asynchronous_ones_do_not() -> (
    None
):
    home = threading.get_ident()

    def away() -> bool:
        """Return whether it runs elsewhere."""
        return threading.get_ident() != home

    async def here() -> bool:
        """Return whether it runs here."""
        return threading.get_ident() == home

    toolset = FunctionToolset("mine", [away, here])
    assert (await toolset.call("away", {}, ToolContext())).data is True
    assert (await toolset.call("here", {}, ToolContext())).data is True


@pytest.mark.anyio
async def test_a_function_that_hangs_holds_up_no_other() -> None:
    released = threading.Event()

    def hang() -> None:
        """Wait."""
        released.wait(60)

    def quick() -> int:
        """Return one."""
        return 1

    toolset = FunctionToolset("mine", [hang, quick])
    try:
        with anyio.move_on_after(0.2) as scope:
            async with anyio.create_task_group() as tasks:
                for _ in range(60):
                    tasks.start_soon(toolset.call, "hang", {}, ToolContext())
        assert scope.cancelled_caught
        with anyio.fail_after(30):
            assert (await toolset.call("quick", {}, ToolContext())).data == 1
    finally:
        released.set()


HANGS = """
import anyio
import time
import vanta
from vanta.tools import ToolRegistry


@vanta.tool(timeout_s=0.1)
def hang() -> None:
    '''Wait.'''
    time.sleep(3600)


async def main():
    registry = ToolRegistry({"mine": vanta.FunctionToolset("mine", [hang])})
    (offered,) = await registry.offered()
    print((await registry.call(offered, {}, vanta.ToolContext())).text)
    await registry.aclose()


anyio.run(main)
"""


def test_a_function_that_hangs_does_not_hold_up_the_end_of_the_program() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=120, check=True
    )
    assert "did not finish within 0.1 s" in done.stdout


@pytest.mark.anyio
async def test_a_wrapped_function_runs_where_its_wrapper_belongs() -> None:
    def through(function: Any) -> Any:
        @functools.wraps(function)
        async def wrapper(**fields: Any) -> Any:
            return function(**fields)

        return wrapper

    @through
    def shout(text: str) -> str:
        """Shout."""
        return text.upper()

    def forgets(text: str) -> Any:
        """Forget to await."""
        return through(shout)(text=text)

    toolset = FunctionToolset("mine", [shout, forgets])
    assert (await toolset.call("shout", {"text": "a"}, ToolContext())).text == "A"
    with pytest.raises(TypeError, match="make it async"):
        await toolset.call("forgets", {"text": "a"}, ToolContext())


@pytest.mark.anyio
async def test_a_function_in_a_thread_sees_the_variables_of_its_context() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")

    def read() -> str:
        """Read it."""
        return variable.get()

    variable.set("set")
    assert (await FunctionToolset("mine", [read]).call("read", {}, ToolContext())).text == "set"


@pytest.mark.anyio
async def test_a_function_that_exits_or_forgets_to_await_is_an_error() -> None:
    def leave() -> None:
        """Exit."""
        raise SystemExit(3)

    def stop() -> None:
        """Stop."""
        raise StopIteration

    toolset = FunctionToolset("mine", [leave, stop])
    with pytest.raises(ToolError, match="SystemExit"):
        await toolset.call("leave", {}, ToolContext())
    with pytest.raises((StopIteration, RuntimeError)):
        await toolset.call("stop", {}, ToolContext())


@pytest.mark.parametrize("target", [[].append, len, "text".upper])
def test_what_cannot_be_marked_is_refused_with_the_next_step(target: Any) -> None:
    with pytest.raises(UsageError, match="mark a method in its class"):
        vanta.tool(target)


@pytest.mark.anyio
async def test_a_method_that_is_marked_in_its_class_is_a_tool() -> None:
    class Counter:
        def __init__(self) -> None:
            self.count = 0

        @vanta.tool(effect="read")
        def add(self, number: int) -> int:
            """Add a number."""
            self.count += number
            return self.count

    toolset = vanta.FunctionToolset("counter", [Counter().add])
    (tool,) = await toolset.tools()
    assert (tool.name, tool.effect, set(tool.parameters["properties"])) == (
        "add",
        "read",
        {"number"},
    )
    assert (await toolset.call("add", {"number": 2}, vanta.ToolContext())).text == "2"
