"""The programs of docs/turns.md run."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import vanta
from tests.house.source import ROOT
from tests.pictures import png_bytes
from vanta import GenerationRequest
from vanta.api import Opening
from vanta.testing import CallTool, ScriptedEngine, scripted_plugin
from vanta.testing.scripted import ALL

PAGE = ROOT.joinpath("docs/turns.md").read_text("utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)

EXPECTED = ([2, "user", 0], [2, "tool", 0], [1, "user", 1])
"""Requests, the role of the last message and its images, of each program."""


def reply(request: GenerationRequest) -> list[CallTool | str]:
    """Call both tools first, and answer once the last message is a result."""
    if request.tools and request.messages[-1].role != "tool":
        return [
            CallTool("weather", '{"city": "Rome"}'),
            CallTool("book_hotel", '{"city": "Rome"}'),
        ]
    return ["It is done."]


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_its_programs_run(
    number: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    engine = ScriptedEngine(reply=reply, capabilities=replace(ALL, images=True))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.png").write_bytes(png_bytes())

    open_for_real = vanta.open
    config = {"data_dir": str(tmp_path), "tracks": {"local": {"engine": "scripted", "model": "x"}}}

    def opened(**given: Any) -> Opening:
        plugins = [scripted_plugin(local=engine)]
        return open_for_real(config, plugins=plugins, policy="local", **given)

    monkeypatch.setattr("vanta.open", opened)
    exec(compile(PROGRAMS[number], "docs/turns.md", "exec"), {"__name__": "__main__"})  # noqa: S102
    assert capsys.readouterr().out.strip().endswith("It is done.")
    last = engine.runs[-1].request.messages[-1]
    assert [len(engine.runs), last.role, len(last.images)] == EXPECTED[number]


def test_there_are_programs() -> None:
    assert len(PROGRAMS) == len(EXPECTED)
