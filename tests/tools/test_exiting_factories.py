"""A plugin whose code exits ends neither the program nor the other tools."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import vanta
from tests.runtime.home import open_scripted
from tests.tools.test_rounds import Counted, agent
from vanta import EngineFactory, Toolset, ToolsetContext, ToolsetFactory
from vanta.testing import CallTool

pytestmark = pytest.mark.anyio


class NoOptions(BaseModel):
    """The options of a toolset that has none."""


class Exiting:
    """A plugin whose toolsets and engines exit when they are built, or asked why they are off."""

    name = "exiting"

    @vanta.hookimpl
    def vanta_toolsets(self) -> Iterable[ToolsetFactory]:
        def create(_options: Any, _context: ToolsetContext) -> Toolset:
            sys.exit("no licence")

        def off(_options: Any) -> str | None:
            sys.exit("no licence")

        return [
            ToolsetFactory("builds", "exits", NoOptions, create),
            ToolsetFactory("asks", "exits", NoOptions, create, off=off),
        ]

    @vanta.hookimpl
    def vanta_engines(self) -> Iterable[EngineFactory]:
        def create(_options: Any, _context: Any) -> Any:
            sys.exit("no licence")

        return [EngineFactory("exits", "exits", NoOptions, create)]


async def test_a_factory_that_exits_is_off_with_its_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    counted = Counted()
    local = agent(CallTool("send", '{"to": "Anna"}'))
    config = {
        "tools": {"use": ["builds", "asks"]},
        "tracks": {"api": {"engine": "exits", "model": "x", "enabled": True}},
    }
    async with open_scripted(
        tmp_path,
        local=local,
        plugins=[Exiting()],
        own_tools=counted.tools,
        policy="local",
        config=config,
    ) as runtime:
        reply = await runtime.session("a").ask("Send it.")
        off = dict(runtime.off)
    assert reply.text == "All done."
    assert counted.runs == {"send Anna": 1}
    assert "no licence" in off["api"]
    for name in ("builds", "asks"):
        assert f"toolset '{name}' could not be built: SystemExit: no licence" in caplog.text
