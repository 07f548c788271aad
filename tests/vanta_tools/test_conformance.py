"""Every built-in toolset passes the suite that a stranger's must pass."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.memory.home import home
from tests.vanta_tools.pages import PageServer
from vanta import Toolset, ToolsetContext
from vanta.testing import ToolsetConformance
from vanta_tools.calculator import CalculatorToolset
from vanta_tools.clock import ClockOptions, ClockToolset
from vanta_tools.command import CommandOptions, CommandToolset, ProgramRule
from vanta_tools.files import FilesOptions, create_files
from vanta_tools.memory import MemoryOptions, MemoryToolset
from vanta_tools.web import FetchOptions, SearchOptions, create_fetch, create_search

Calls = Mapping[str, Mapping[str, Any]]


class TestClock(ToolsetConformance):
    calls: ClassVar[Calls] = {
        "now": {"timezone": "UTC"},
        "shift_time": {"start": "2026-01-01", "days": 3},
        "time_between": {"start": "2026-01-01", "end": "now"},
    }

    @pytest.fixture
    def toolset(self) -> Toolset:
        return ClockToolset(ClockOptions())


class TestCalculator(ToolsetConformance):
    calls: ClassVar[Calls] = {"calculate": {"expression": "1 + 1"}}

    @pytest.fixture
    def toolset(self) -> Toolset:
        return CalculatorToolset()


class TestFiles(ToolsetConformance):
    calls: ClassVar[Calls] = {
        "list": {"path": "."},
        "search": {"path": ".", "text": "one"},
        "read": {"path": "a.txt"},
        "write": {"path": "b/c.txt", "text": "two", "overwrite": True},
        "edit": {"path": "a.txt", "old": "one", "new": "one"},
    }

    @pytest.fixture
    def toolset(self, tmp_path: Path) -> Toolset:
        tmp_path.joinpath("a.txt").write_text("one")
        return create_files(FilesOptions(write=True), ToolsetContext(tmp_path, tmp_path))


class TestFetch(ToolsetConformance):
    @pytest.fixture
    def toolset(self, pages: PageServer, monkeypatch: pytest.MonkeyPatch) -> Toolset:
        pages.add("/", body="hello")
        host = f"127.0.0.1:{pages.port}"
        monkeypatch.setattr(type(self), "calls", {"fetch": {"url": f"http://{host}/"}})
        folder = Path()
        return create_fetch(FetchOptions(inside=(host,)), ToolsetContext(folder, folder))


class TestSearch(ToolsetConformance):
    calls: ClassVar[Calls] = {"web_search": {"query": "cats"}}

    @pytest.fixture
    def toolset(self, pages: PageServer) -> Toolset:
        pages.add("/search", body='{"results": [{"url": "https://a.example/", "title": "A"}]}')
        options = SearchOptions(url=f"http://127.0.0.1:{pages.port}")
        return create_search(options, ToolsetContext(Path(), Path()))


class TestCommand(ToolsetConformance):
    calls: ClassVar[Calls] = {"command": {"argv": ["py", "-c", "print(1)"]}}

    @pytest.fixture
    def toolset(self, tmp_path: Path) -> Toolset:
        return CommandToolset(
            CommandOptions(programs={"py": ProgramRule(path=sys.executable)}), tmp_path
        )


class TestMemory(ToolsetConformance):
    calls: ClassVar[Calls] = {
        "search": {"query": "dogs"},
        "remember": {"text": "Ada has a dog."},
    }

    @pytest.fixture
    async def toolset(self, tmp_path: Path) -> AsyncIterator[Toolset]:
        async with home(tmp_path) as place:
            yield MemoryToolset(MemoryOptions(forget=True), lambda: place.memory)
