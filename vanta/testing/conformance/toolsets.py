"""The conformance suite of toolsets.

    from vanta.testing import ToolsetConformance

    class TestMyToolset(ToolsetConformance):
        calls = {"forecast": {"city": "Oslo"}}

        @pytest.fixture
        async def toolset(self):
            toolset = MyToolset(...)
            yield toolset
            await toolset.aclose()

Invariant: a test needs nothing but the `toolset` fixture, which yields a fresh toolset, and the
hints. Only the calls of the hints are made, each several times.
"""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any, ClassVar

import anyio
import pytest

from vanta.errors import ToolError
from vanta.tool_contract import Tool, ToolContext, ToolResult, Toolset
from vanta.tools.arguments import canonical, check_arguments
from vanta.tools.registry import TOOLSET_NAME, OfferedTool, ToolRegistry, tool_problem

CONTEXT = ToolContext(user="ada", session="one", turn="turn", call_id="call", idempotency_key="key")
_TOGETHER = 8


class ToolsetConformance:
    """Derive from it, define a `toolset` fixture, and set the hints that differ.

    :cvar calls: for each tool the arguments of a harmless call that succeeds. A tool without an
        entry is not called.
    :cvar patience_s: seconds that no step may take.
    """

    pytestmark = pytest.mark.anyio

    calls: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    patience_s: ClassVar[float] = 60.0

    async def test_its_name_can_stand_in_rules(self, toolset: Toolset) -> None:
        """A letter, then at most 31 letters, digits, `_` and `-`."""
        assert TOOLSET_NAME.fullmatch(toolset.name), toolset.name

    async def test_its_tools_keep_the_contract(self, toolset: Toolset) -> None:
        """Names, schemas and limits are valid, descriptions are there, no two share a name."""
        tools = await self._tools(toolset)
        names = [item.name for item in tools]
        assert names, "it has no tools"
        assert len(set(names)) == len(names), f"two tools share a name: {names}"
        for item in tools:
            assert tool_problem(item) is None, (item.name, tool_problem(item))
            assert item.description.strip(), f"{item.name} has no description"

    async def test_listing_twice_gives_the_same_tools(self, toolset: Toolset) -> None:
        """A tool whose description or schema changes loses its approvals."""
        assert await self._tools(toolset) == await self._tools(toolset)

    async def test_the_calls_of_the_hints_are_of_its_tools(self, toolset: Toolset) -> None:
        """Their arguments are valid under the schema of the tool."""
        tools = {item.name: item for item in await self._tools(toolset)}
        assert set(self.calls) <= set(tools), "a hint names no tool"
        for name, arguments in self.calls.items():
            check_arguments(dict(arguments), tools[name].parameters)

    async def test_a_call_gives_a_result(self, toolset: Toolset) -> None:
        """Text that can be encoded, data that is JSON, and no error; arguments stay as they are."""
        for name, arguments in self._hints():
            given = copy.deepcopy(dict(arguments))
            with anyio.fail_after(self.patience_s):
                result = await toolset.call(name, given, CONTEXT)
            assert isinstance(result, ToolResult), f"{name} returned {type(result).__name__}"
            assert not result.is_error, f"{name}: {result.text}"
            result.text.encode("utf-8")
            json.dumps(result.data, allow_nan=False)
            assert canonical(given) == canonical(arguments), f"{name} changes its arguments"

    async def test_many_calls_at_once_all_succeed(self, toolset: Toolset) -> None:
        """One instance serves all turns of a runtime."""
        results: list[ToolResult] = []

        async def call(name: str, arguments: Mapping[str, Any]) -> None:
            results.append(await toolset.call(name, copy.deepcopy(dict(arguments)), CONTEXT))

        with anyio.fail_after(self.patience_s):
            async with anyio.create_task_group() as tasks:
                for name, arguments in self._hints():
                    for _ in range(_TOGETHER):
                        tasks.start_soon(call, name, arguments)
        assert [result.text for result in results if result.is_error] == []

    async def test_a_cancelled_call_harms_no_later_one(self, toolset: Toolset) -> None:
        """A call ends when its turn does, and the next one works."""
        for name, arguments in self._hints():
            with anyio.fail_after(self.patience_s):
                with anyio.CancelScope() as scope:
                    scope.cancel()
                    await toolset.call(name, copy.deepcopy(dict(arguments)), CONTEXT)
                result = await toolset.call(name, copy.deepcopy(dict(arguments)), CONTEXT)
            assert not result.is_error, f"{name}: {result.text}"

    async def test_a_call_of_an_unknown_tool_is_an_error(self, toolset: Toolset) -> None:
        """A `ToolError`, or a result with `is_error`, and nothing else."""
        try:
            result = await toolset.call("no_such_tool", {}, CONTEXT)
        except ToolError:
            return
        assert result.is_error, "it returned a result for a tool that it does not have"

    async def test_wrong_arguments_never_reach_a_tool(self, toolset: Toolset) -> None:
        """Under the registry they are a result that the model can correct."""
        registry = ToolRegistry({toolset.name: toolset})
        for item in await self._tools(toolset):
            offered = OfferedTool(toolset.name, item, item.name)
            required = item.parameters.get("required", ())
            wrong = {key: {"not": ["valid"]} for key in required}
            try:
                check_arguments(wrong, item.parameters)
            except ToolError:
                result = await registry.call(offered, wrong, CONTEXT)
                assert result.is_error

    async def test_closing_twice_is_the_same_as_once(self, toolset: Toolset) -> None:
        """Closing is idempotent, also after calls."""
        for name, arguments in self._hints():
            await toolset.call(name, copy.deepcopy(dict(arguments)), CONTEXT)
        with anyio.fail_after(self.patience_s):
            await toolset.aclose()
            await toolset.aclose()

    async def _tools(self, toolset: Toolset) -> list[Tool]:
        with anyio.fail_after(self.patience_s):
            return list(await toolset.tools())

    def _hints(self) -> list[tuple[str, Mapping[str, Any]]]:
        if not self.calls:
            pytest.skip("the hint `calls` is empty")
        return list(self.calls.items())
