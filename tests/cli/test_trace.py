"""`vanta trace` as a person uses it: turns are listed, drawn, and exported for a replay."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.as_user import Run, install, user
from tests.cli.stage import CONFIG, PLUGIN
from tests.trusted import trust
from vanta import ContextTrace, ToolsTrace, ToolTrace, Trace
from vanta.cli.trace import describe_tools


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> Iterator[Run]:
    """A user who has asked three questions, one of them in vain."""
    (tmp_path / "vanta.toml").write_text(CONFIG)
    trust(tmp_path)
    monkeypatch.setenv("STAGE_JOURNAL", str(tmp_path / "journal"))
    install(tmp_path, "stage", PLUGIN, monkeypatch)
    with user(tmp_path, monkeypatch, capfd) as run:
        assert run("ask", "echo hello", "--session", "one").code == 0
        assert run("ask", "fail auth", "--session", "two", "--user", "bob").code == 1
        assert run("ask", "cut begun ", "--session", "one", "--policy", "race").code == 0
        yield run


def test_turns_are_listed_with_their_outcome(run: Run) -> None:
    done = run("trace", "list")
    assert done.code == 0
    lines = done.out.splitlines()
    assert [line.split()[-6:-3] for line in lines[1:]] == [
        ["local", "answered", "local"],
        ["local", "failed", "-"],
        ["race", "answered", "api"],
    ]
    assert "bob/two" in lines[2]


def test_the_list_can_be_narrowed(run: Run) -> None:
    of_bob = run("trace", "list", "--user", "bob", "--json").json
    assert [(one["user"], one["status"]) for one in of_bob] == [("bob", "failed")]
    of_one = run("trace", "list", "--session", "one", "--json").json
    assert [one["trace"]["policy"] for one in of_one] == ["local", "race"]
    last = run("trace", "list", "--limit", "1", "--json").json
    assert last == of_one[-1:]


def test_a_turn_is_drawn_by_the_beginning_of_its_id(run: Run) -> None:
    first = run("trace", "list", "--json").json[0]
    done = run("trace", "show", first["id"][:8])
    assert done.code == 0
    assert f"{first['id']}: answered by local in" in done.out
    assert "█" in done.out
    assert run("trace", "show", first["id"], "--json").json == first


def test_without_an_id_the_last_turn_is_drawn_with_its_broken_leg(run: Run) -> None:
    done = run("trace", "show")
    assert "answered by api" in done.out
    assert "✂" in done.out
    assert "0 local: at once; " in done.err


def test_an_export_is_a_line_a_turn_and_can_be_replayed(run: Run, tmp_path: Path) -> None:
    done = run("trace", "export", "--session", "one")
    assert done.code == 0
    records = [json.loads(line) for line in done.out.splitlines()]
    assert [record["track"] for record in records] == ["local", "api"]
    assert "hello" not in done.out
    (tmp_path / "mine.jsonl").write_text(done.out)
    replayed = run("replay", "mine.jsonl", "-p", "local", "--turns", "1", "--json")
    assert replayed.code == 0, replayed.err


def test_an_unknown_turn_is_reported(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("trace", "show", "zzz")
    assert done.code == 2
    assert "no turn's id begins with 'zzz'. `vanta trace list` lists them" in done.text
    monkeypatch.setenv("VANTA_DATA_DIR", str(Path.cwd() / "other"))
    assert "No turn is stored yet" in run("trace", "list").err
    assert "no turn is stored yet. " in run("trace", "show").text


def test_the_tools_of_a_prompt_have_a_line_with_scores_and_tokens(run: Run, tmp_path: Path) -> None:
    config = CONFIG.replace(
        "[tracks.local]", '[tools]\nuse = ["mail"]\n[tracks.local]\nwindow = 4096'
    )
    (tmp_path / "vanta.toml").write_text(config)
    trust(tmp_path)
    assert run("ask", "echo hello", "--session", "one").code == 0
    shown = run("trace", "show").err
    (tools,) = [line for line in shown.splitlines() if "was shown 1 tool" in line]
    data = run("trace", "show", "--json").json["trace"]["context"]["local"]
    assert [tool["name"] for tool in data["tools"]["shown"]] == ["send"]
    assert tools == f"local was shown 1 tool, {data['tools']['tokens']} of 896 tokens"
    assert data["window"] == 4096
    (tmp_path / "vanta.toml").write_text(
        config.replace("[tools]", "[tools]\nmax_schema_tokens = 9")
    )
    trust(tmp_path)
    assert run("ask", "echo hello", "--session", "one").code == 0
    assert "was shown 1 tool" not in run("trace", "show").err


def test_a_ranking_is_described_by_its_best_tools() -> None:
    best = [
        ToolTrace(name=f"tool{n}", tokens=10 + n, detail="bare", score=2.0 - n / 10)
        for n in range(14)
    ]
    tools = ToolsTrace(
        offered=60, tokens=300, room=320, shown=tuple(best), finder=True, note="it is slow"
    )
    trace = Trace(
        turn_id="t", session_id="s", policy="local", private=False, deadline_s=1, duration_s=1,
        status="answered", skipped={}, context={"local": ContextTrace(tools=tools)}, legs=(),
    )  # fmt: skip
    (line,) = describe_tools(trace)
    assert line.startswith(
        "local was shown 14 of 60 tools and find_tools, 300 of 320 tokens (by words alone: it is "
        "slow): tool0 (score 2.00, 10 tokens, bare), tool1 (score 1.90, 11 tokens, bare), "
    )
    assert line.endswith("tool11 (score 0.90, 21 tokens, bare), and 2 more")
