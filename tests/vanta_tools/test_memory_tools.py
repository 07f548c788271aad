"""The tools of `memory`: the user and the privacy are those of the call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.memory.home import Home, home
from vanta import ToolContext, ToolError, ToolResult
from vanta.memory import NewItem, Scope
from vanta_tools.memory import MemoryOptions, MemoryToolset


async def call(
    place: Home, tool: str, *, user: str = "ada", private: bool = False, **arguments: Any
) -> ToolResult:
    toolset = MemoryToolset(MemoryOptions(forget=True), lambda: place.memory, lambda: 1e9)
    return await toolset.call(tool, arguments, ToolContext(user, "one", "turn", private=private))


@pytest.mark.anyio
async def test_what_is_remembered_is_found_by_the_same_user_alone(tmp_path: Path) -> None:
    async with home(tmp_path) as place:
        noted = await call(place, "remember", text="Ada's  dog is called\nRex.")
        assert noted.text == "Noted as item 1."
        found = await call(place, "search", query="What is the dog called?")
        assert found.text == "[1] 2001-09-09, noted by the assistant: Ada's dog is called Rex."
        assert not found.private
        other = await call(place, "search", user="bob", query="What is the dog called?")
        assert other.text == "(nothing)"


@pytest.mark.anyio
async def test_what_a_private_turn_remembers_stays_private(tmp_path: Path) -> None:
    async with home(tmp_path) as place:
        noted = await call(place, "remember", private=True, text="Ada's dog is called Rex.")
        assert noted.private
        public = await call(place, "search", query="dog called")
        assert public.text == "(nothing)"
        private = await call(place, "search", private=True, query="dog called")
        assert "Rex" in private.text
        assert private.private
        assert (await call(place, "forget", ids=[1])).is_error


@pytest.mark.anyio
async def test_items_are_forgotten_for_good_and_only_ones_own(tmp_path: Path) -> None:
    async with home(tmp_path) as place:
        await place.memory.add([NewItem("bob", "fact", "Bob's cat is called Tom.", 1e9)])
        await call(place, "remember", text="Ada's dog is called Rex.")
        foreign = await call(place, "forget", ids=[1, 2])
        assert foreign.is_error
        assert "No item has the id 1." in foreign.text
        assert (await call(place, "forget", ids=[2, 2])).text.startswith("Forgot 1 item(s).")
        assert await place.memory.newest(Scope("ada")) == []
        assert len(await place.memory.newest(Scope("bob"))) == 1


@pytest.mark.anyio
async def test_a_runtime_without_memory_says_so() -> None:
    toolset = MemoryToolset(MemoryOptions(), lambda: None)
    with pytest.raises(ToolError, match="memory is off"):
        await toolset.call("search", {"query": "x"}, ToolContext("ada"))


@pytest.mark.anyio
async def test_a_turn_without_a_user_has_no_memory(tmp_path: Path) -> None:
    async with home(tmp_path) as place:
        with pytest.raises(ToolError, match="no user"):
            await call(place, "search", user="", query="x")
        with pytest.raises(ToolError, match="no user"):
            await call(place, "remember", user="", text="x")


@pytest.mark.anyio
async def test_forgetting_is_off_until_it_is_on() -> None:
    tools = await MemoryToolset(MemoryOptions(), lambda: None).tools()
    assert [(tool.name, tool.effect, tool.private) for tool in tools] == [
        ("search", "read", True),
        ("remember", "write", True),
    ]
    tools = await MemoryToolset(MemoryOptions(write=False, forget=True), lambda: None).tools()
    assert [tool.name for tool in tools] == ["search", "forget"]
