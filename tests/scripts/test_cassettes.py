"""Recorded runs play back without any engine, and hold no secrets."""

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


def replies(report: RunReport) -> list[Any]:
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
            track.engine for track in load_cassette(path).tracks.values()
        }
        recast = [player.recast(script) for script in scripts]
        return await Suite(runtime, recast, RunOptions(), tape=player).run()


async def test_a_recorded_run_plays_back_exactly(
    tmp_path: Path, vanta_runtime: Open, scripted: Make
) -> None:
    def reply(request: GenerationRequest) -> list[str]:
        return [f"{len(request.messages)} {request.messages[-1].content}"]

    runtime = await vanta_runtime(local=scripted(reply=reply), policy="local")
    scripts = [script("- say: one\n- say: two\n- say: one"), script("- say: one", source="2.yaml")]
    first = await recorded(runtime, scripts, tmp_path / "tape.json")
    again = await played(tmp_path / "tape.json", scripts, policy="local")
    assert replies(again) == replies(first)
    assert replies(first)[2] == ("6 one", "local", "scripted-1")
    assert again.passed


async def test_losing_legs_and_errors_play_back(
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
    assert replies(again) == replies(first)
    assert [reply[0] for reply in replies(first)[:3]] == ["l1", "a2", "l3"]
    assert "the script fails here" in replies(again)[3]


@pytest.mark.parametrize("fault", ["cut", "stall", "refuse"])
async def test_playback_needs_no_stand_in(
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
    assert replies(again) == replies(first)
    assert [reply[:2] for reply in replies(first)] == [
        ("one two three", "local"),
        ("Hello from upstream.", "api"),
    ]


async def test_a_request_that_was_not_recorded_is_an_error(
    tmp_path: Path, vanta_runtime: Open, scripted: Make
) -> None:
    runtime = await vanta_runtime(local=scripted("x"), policy="local")
    await recorded(runtime, [script("- say: one")], tmp_path / "tape.json")
    again = await played(tmp_path / "tape.json", [script("- say: two")], policy="local")
    (error,) = replies(again)
    assert (
        "the cassette has no answer to this request of track 'local' in 'taped.yaml: taped'"
        in error
    )
    assert "record it again" in error


async def test_a_cassette_holds_no_secrets(
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
        ("no json", "is not a cassette"),
        ("{}", "was not|is not a cassette|version"),
        (json.dumps({"reels": [{"script": 1}]}), "is not a cassette"),
        (json.dumps({"version": 9}), "has version 9 of the cassette format"),
    ],
)
def test_a_file_that_is_not_a_cassette_is_refused(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "tape.json"
    path.write_text(text)
    if text == "{}":
        assert load_cassette(path).reels == []
        return
    with pytest.raises(ScriptError, match=why):
        load_cassette(path)


def test_a_missing_cassette_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match="cannot be read"):
        load_cassette(tmp_path / "none.json")
