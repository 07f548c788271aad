"""The conformance suite of toolsets passes a good toolset and catches each kind of bad one."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from vanta import FunctionToolset, Tool, ToolContext, ToolError, ToolResult, Toolset
from vanta.testing import ToolsetConformance


async def double(number: int) -> int:
    """Double a number."""
    return 2 * number


def join(words: list[str]) -> str:
    """Join words."""
    return " ".join(words)


CALLS: Mapping[str, Mapping[str, Any]] = {"double": {"number": 2}, "join": {"words": ["a", "b"]}}


class TestFunctionToolset(ToolsetConformance):
    """The suite, against functions."""

    calls = CALLS

    @pytest.fixture
    def toolset(self) -> Toolset:
        return FunctionToolset("mine", [double, join])


class Good(Toolset):
    """A wrapper of good functions; subclasses break one rule each."""

    name = "good"

    def __init__(self) -> None:
        self.inner = FunctionToolset("good", [double, join])
        self.closed = 0
        self.calls_made = 0

    async def tools(self) -> Sequence[Tool]:
        return await self.inner.tools()

    async def call(
        self, name: str, arguments: Mapping[str, Any], context: ToolContext
    ) -> ToolResult:
        self.calls_made += 1
        return await self.inner.call(name, arguments, context)

    async def aclose(self) -> None:
        self.closed += 1


class Unnamed(Good):
    name = "not a name"


class Empty(Good):
    async def tools(self) -> Sequence[Tool]:
        return []


class Twice(Good):
    async def tools(self) -> Sequence[Tool]:
        return [*await self.inner.tools(), *await self.inner.tools()]


class Lying(Good):
    async def tools(self) -> Sequence[Tool]:
        first, second = await self.inner.tools()
        return [dataclasses.replace(first, parameters={"type": "number"}), second]


class Changing(Good):
    async def tools(self) -> Sequence[Tool]:
        self.calls_made += 1
        first, second = await self.inner.tools()
        return [dataclasses.replace(first, description=f"call {self.calls_made}"), second]


class Mute(Good):
    async def tools(self) -> Sequence[Tool]:
        return [dataclasses.replace(item, description=" ") for item in await self.inner.tools()]


class Careless(Good):
    async def call(
        self, name: str, arguments: Mapping[str, Any], context: ToolContext
    ) -> ToolResult:
        result = await super().call(name, arguments, context)
        if isinstance(arguments, dict):
            arguments["number"] = 0
        return result


class Plain(Good):
    async def call(self, name: str, arguments: Mapping[str, Any], context: ToolContext) -> Any:
        return (await super().call(name, arguments, context)).text


class Halves(Good):
    async def call(
        self, name: str, arguments: Mapping[str, Any], context: ToolContext
    ) -> ToolResult:
        await super().call(name, arguments, context)
        return ToolResult("\ud800")


class Unready(Good):
    async def call(
        self, name: str, arguments: Mapping[str, Any], context: ToolContext
    ) -> ToolResult:
        await super().call(name, arguments, context)
        return ToolResult("x", data={1, 2})


class Single(Good):
    async def call(
        self, name: str, arguments: Mapping[str, Any], context: ToolContext
    ) -> ToolResult:
        if self.calls_made > 2:
            return ToolResult("busy", is_error=True)
        return await super().call(name, arguments, context)


class Permissive(Good):
    async def call(
        self, name: str, arguments: Mapping[str, Any], context: ToolContext
    ) -> ToolResult:
        try:
            return await super().call(name, arguments, context)
        except ToolError:
            return ToolResult("fine")


class Fragile(Good):
    async def aclose(self) -> None:
        if self.closed:
            raise RuntimeError("it is closed already")
        await super().aclose()


async def failures(toolset: type[Toolset]) -> set[str]:
    """The tests of the suite that a toolset fails."""

    class Suite(ToolsetConformance):
        calls = CALLS
        patience_s = 20

    failed = set()
    for name, test in inspect.getmembers(Suite(), inspect.iscoroutinefunction):
        if name.startswith("test_"):
            try:
                await test(toolset())
            except Exception:  # noqa: BLE001 - any exception is a failed test
                failed.add(name)
    return failed


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("toolset", "caught"),
    [
        (Good, ""),
        (Unnamed, "its_name_can_stand_in_rules"),
        (Empty, "its_tools_keep_the_contract"),
        (Twice, "its_tools_keep_the_contract"),
        (Lying, "its_tools_keep_the_contract"),
        (Changing, "listing_twice_gives_the_same_tools"),
        (Mute, "its_tools_keep_the_contract"),
        (Careless, "a_call_gives_a_result"),
        (Plain, "a_call_gives_a_result"),
        (Halves, "a_call_gives_a_result"),
        (Unready, "a_call_gives_a_result"),
        (Single, "many_calls_at_once_all_succeed"),
        (Permissive, "a_call_of_an_unknown_tool_is_an_error"),
        (Fragile, "closing_twice_is_the_same_as_once"),
    ],
)
async def test_the_suite_catches_what_breaks_the_contract(
    toolset: type[Toolset], caught: str
) -> None:
    failed = await failures(toolset)
    assert (f"test_{caught}" in failed) if caught else failed == set()


@pytest.mark.anyio
async def test_a_suite_without_calls_skips_them() -> None:
    with pytest.raises(pytest.skip.Exception):
        await ToolsetConformance().test_a_call_gives_a_result(Good())
