"""The programs of docs/turns.md run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import vanta
from tests.house.source import ROOT
from vanta import GenerationRequest
from vanta.api import Opening
from vanta.testing import CallTool, ScriptedEngine, scripted_plugin

PAGE = ROOT.joinpath("docs/turns.md").read_text("utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


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
    engine = ScriptedEngine(reply=reply)

    open_for_real = vanta.open
    config = {"data_dir": str(tmp_path), "tracks": {"local": {"engine": "scripted", "model": "x"}}}

    def opened(**given: Any) -> Opening:
        plugins = [scripted_plugin(local=engine)]
        return open_for_real(config, plugins=plugins, policy="local", **given)

    monkeypatch.setattr("vanta.open", opened)
    exec(compile(PROGRAMS[number], "docs/turns.md", "exec"), {"__name__": "__main__"})  # noqa: S102
    assert capsys.readouterr().out.strip().endswith("It is done.")
    assert len(engine.runs) == 2
    roles = [message.role for message in engine.runs[-1].request.messages]
    assert roles[-1] == ("tool" if number else "user")


def test_there_are_programs() -> None:
    assert len(PROGRAMS) == 2
