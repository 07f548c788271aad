"""Recorded runs play again without any engine, and hold no secret."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from vanta.api import open as open_runtime
from vanta.engine import GenerationRequest
from vanta.errors import ErrorKind, ScriptError
from vanta.runtime import Runtime
from vanta.testing import Fail, Hang, ScriptedEngine
from vanta_scripts import RunOptions, RunReport, Script, Suite, parse_script
from vanta_scripts.cassette import Player, Recorder, load_cassette, save_cassette

pytestmark = pytest.mark.anyio
Open = Callable[..., Awaitable[Runtime]]
Make = Callable[..., ScriptedEngine]


def script(turns: str, head: str = "", source: str = "taped.yaml") -> Script:
    return parse_script(f"name: taped\n{head}\nturns:\n{turns}", source=source)


def said(report: RunReport) -> list[Any]:
    return [
        (turn.reply.text, turn.reply.track, turn.reply.model) if turn.reply else turn.error
        for run in report.results
        for turn in run.turns
    ]


async def recorded(runtime: Runtime, scripts: list[Script], path: Path) -> RunReport:
    recorder = Recorder()
    report = await Suite(runtime, scripts, RunOptions(), tape=recorder).run()
    save_cassette(recorder.cassette, path)
    return report


async def played(path: Path, scripts: list[Script], **config: Any) -> RunReport:
    player = Player(load_cassette(path))
    config = {"data_dir": str(path.parent / "played"), "tracks": player.tracks, **config}
    async with open_runtime(config, plugins=[player]) as runtime:
        assert {track.engine.name for track in runtime.tracks.values()} <= {
            one.engine for one in load_cassette(path).tracks.values()
        }
        recast = [player.recast(one) for one in scripts]
        return await Suite(runtime, recast, RunOptions(), tape=player).run()


async def test_a_run_plays_again_to_the_letter(
    tmp_path: Path, vanta_runtime: Open, scripted: Make
) -> None:
    def reply(request: GenerationRequest) -> list[str]:
        return [f"{len(request.messages)} {request.messages[-1].content}"]

    runtime = await vanta_runtime(local=scripted(reply=reply), policy="local")
    scripts = [script("- say: one\n- say: two\n- say: one"), script("- say: one", source="2.yaml")]
    first = await recorded(runtime, scripts, tmp_path / "tape.json")
    again = await played(tmp_path / "tape.json", scripts, policy="local")
    assert said(again) == said(first)
    assert said(first)[2] == ("6 one", "local", "scripted-1")
    assert again.passed


async def test_losers_lose_again_and_errors_come_again(
    tmp_path: Path, vanta_runtime: Open, scripted: Make
) -> None:
    runtime = await vanta_runtime(
        local=scripted(scripts=[["l1"], [Fail(ErrorKind.AUTH)], ["l3"]]),
        api=scripted(scripts=[[Hang()], ["a2"], [Fail(ErrorKind.AUTH)]]),
        policy="race",
    )
    turns = script("- say: a\n- say: b\n- say: c\n- {say: d, track: api}")
    first = await recorded(runtime, [turns], tmp_path / "tape.json")
    again = await played(tmp_path / "tape.json", [turns], policy="race")
    assert said(again) == said(first)
    assert [one[0] for one in said(first)[:3]] == ["l1", "a2", "l3"]
    assert "the script fails here" in said(again)[3]


@pytest.mark.parametrize("fault", ["cut", "stall", "refuse"])
async def test_a_stand_in_is_not_needed_any_more(
    fault: str, tmp_path: Path, vanta_runtime: Open, scripted: Make
) -> None:
    runtime = await vanta_runtime(
        local=scripted("one two three"), policy="prefer", stall_timeout_s=0.8
    )
    upstream = f"{{fault: {fault}, after: 1, text: one two three}}"
    upstream = upstream if fault != "refuse" else "refuse"
    turns = script(f"- {{say: a, upstream: {upstream}}}\n- {{say: b, track: api}}")
    first = await recorded(runtime, [turns], tmp_path / "tape.json")
    again = await played(tmp_path / "tape.json", [turns], policy="prefer", stall_timeout_s=0.8)
    assert said(again) == said(first)
    assert [one[:2] for one in said(first)] == [
        ("one two three", "local"),
        ("Hello from upstream.", "api"),
    ]


async def test_what_was_not_recorded_is_told_and_not_invented(
    tmp_path: Path, vanta_runtime: Open, scripted: Make
) -> None:
    runtime = await vanta_runtime(local=scripted("x"), policy="local")
    await recorded(runtime, [script("- say: one")], tmp_path / "tape.json")
    again = await played(tmp_path / "tape.json", [script("- say: two")], policy="local")
    (told,) = said(again)
    assert "the cassette has no answer to this for track 'local' in 'taped.yaml: taped'" in told
    assert "record it again" in told


async def test_a_cassette_holds_no_secret(
    tmp_path: Path, vanta_runtime: Open, scripted: Make
) -> None:
    key = "sk-very-secret-0123456789"
    engine = scripted(scripts=[[f"your key is {key}, is it?"], ["x"]])
    runtime = await vanta_runtime(local=engine, policy="local")
    recorder = Recorder()
    await Suite(runtime, [script("- say: what is my key?")], tape=recorder).run()
    save_cassette(recorder.cassette, tmp_path / "tape.json", {"OPENAI_API_KEY": key})
    text = (tmp_path / "tape.json").read_text()
    assert key not in text
    assert "your key is" not in text or "[removed]" in text
    assert "what is my key" not in text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("no json", "is no cassette"),
        ("{}", "was not|is no cassette|version"),
        (json.dumps({"reels": [{"script": 1}]}), "is no cassette"),
        (json.dumps({"version": 9}), "was recorded by another vanta"),
    ],
)
def test_a_file_that_is_no_cassette_is_told(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "tape.json"
    path.write_text(text)
    if text == "{}":
        assert load_cassette(path).reels == []
        return
    with pytest.raises(ScriptError, match=why):
        load_cassette(path)


def test_a_cassette_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match="cannot be read"):
        load_cassette(tmp_path / "none.json")
