"""`vanta demo` on the real model: the five turns happen, and nothing of it is left over."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.stage import COMMAND, Stage
from vanta.cli.demo.loopback_server import Loopback
from vanta.cli.demo.plan import CUT_AFTER, EQUAL_CALLS, TURNS, DemoScene
from vanta.config import load


@pytest.fixture
def ready(stage: Stage, smollm2_path: Path) -> Stage:
    """The stage with the model in its store."""
    models = stage.folder / "data" / "models"
    models.mkdir(parents=True)
    (models / "smollm2-135m-instruct.gguf").symlink_to(smollm2_path)
    return stage


SERVER = Loopback("http://127.0.0.1:1/v1", "small", 0.4, CUT_AFTER)


def test_with_a_key_the_api_is_the_users_own_and_only_the_cut_is_simulated() -> None:
    scene = DemoScene("small", 1, None, SERVER)
    assert set(scene.describe()["real"]) == {"local", "api"}
    assert set(scene.describe()["simulated"]) == {"takeover", "equal-calls"}
    tracks = load(scene.config("sqlite://"), environ={}).config.tracks
    assert tracks["api"].options == {}


def test_the_users_key_is_never_sent_to_a_server_of_the_demo() -> None:
    scene = DemoScene("small", 1, SERVER, SERVER)
    tracks = load(scene.config("sqlite://"), environ={}).config.tracks
    for name in ("api", "api-cut"):
        assert tracks[name].options["base_url"] == SERVER.base_url
        assert tracks[name].options["api_key_env"] not in ("", "OPENAI_API_KEY")


def test_a_picture_that_cannot_be_written_is_an_error_before_anything_starts(stage: Stage) -> None:
    done = stage.vanta("demo", "--svg", "no/such/folder/race.svg")
    assert done.returncode == 2
    assert "no/such/folder" in done.stderr


@pytest.mark.timeout(300)
def test_the_demo_shows_what_it_says(ready: Stage) -> None:
    done = subprocess.run(
        [*COMMAND, "demo", "--json", "--svg", "race.svg"],
        capture_output=True,
        text=True,
        cwd=ready.folder,
        env=ready.environ,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    race, prefer, cascade, takeover, equal = [turn["reply"] for turn in data["turns"]]
    assert [turn["policy"] for turn in data["turns"]] == [
        turn.policy for turn in (*TURNS, EQUAL_CALLS)
    ]
    assert set(data["simulated"]) == {"api", "prices", "takeover", "equal-calls"}
    assert _states(race)["won"] in (["local"], ["api"])
    assert prefer["text"]
    assert _states(cascade) == {"rejected": ["local"], "won": ["api"]}
    assert _states(takeover)["broken"] == ["api-cut"]
    assert takeover["track"] == "local"
    assert _broken_leg(takeover)["usage"]["output_tokens"] >= CUT_AFTER
    assert data["turns"][-1]["tool_runs"] == 1
    assert [call["shared"] for call in equal["trace"]["calls"]] == [True]
    assert {leg["track"] for leg in equal["trace"]["legs"] if leg["round"] == 0} == {"api", "local"}
    assert equal["text"].startswith("It is ")
    assert (ready.folder / "race.svg").read_text().startswith("<svg ")
    assert _servers_of(ready) == []


@pytest.mark.timeout(300)
def test_ctrl_c_stops_the_demo_and_everything_that_it_started(ready: Stage) -> None:
    running = subprocess.Popen(
        [*COMMAND, "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ready.folder,
        env=ready.environ,
    )
    with running:
        assert running.stdout is not None
        while "you>" not in running.stdout.readline():
            assert running.poll() is None
        assert _servers_of(ready)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Traceback" not in err
    assert _servers_of(ready) == []


def test_without_the_model_and_a_network_it_names_what_is_missing(stage: Stage) -> None:
    done = stage.vanta("demo", "--model", "llama-3.2-1b-instruct")
    assert done.returncode == 1
    assert "llama-3.2-1b-instruct" in done.stderr
    assert "Traceback" not in done.stderr


def _states(reply: dict[str, Any]) -> dict[str, list[str]]:
    states: dict[str, list[str]] = {}
    for leg in reply["trace"]["legs"]:
        states.setdefault(leg["state"], []).append(leg["track"])
    return states


def _broken_leg(reply: dict[str, Any]) -> dict[str, Any]:
    return next(leg for leg in reply["trace"]["legs"] if leg["state"] == "broken")


def _servers_of(stage: Stage) -> list[int]:
    """Processes that serve out of this stage's data directory."""
    mark = f"VANTA_DATA_DIR={stage.folder / 'data'}".encode()
    return [int(proc.name) for proc in Path("/proc").glob("[0-9]*") if _serves(proc, mark)]


def _serves(proc: Path, mark: bytes) -> bool:
    try:
        line, environ = (proc / "cmdline").read_bytes(), (proc / "environ").read_bytes()
    except OSError:
        return False
    return b"vanta.testing.serve" in line and mark in environ
