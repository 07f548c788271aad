"""`vanta tune` as a person uses it: limits in, a configuration to paste out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.as_user import Run, user
from tests.trusted import trust

TABLE = (
    "local.ttft_s,local.total_s,local.score,local.mean_logprob,local.output_tokens,"
    "api.ttft_s,api.total_s,api.score,api.output_tokens\n"
) + "".join(
    f"0.1,0.4,{int(n % 4 != 0)},{-0.2 if n % 4 else -0.8},10,0.8,2,1,10\n" for n in range(60)
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> Iterator[Run]:
    (tmp_path / "turns.csv").write_text(TABLE)
    with user(tmp_path, monkeypatch, capfd) as run:
        yield run


TUNE = ("tune", "turns.csv", "--price", "api=0/1000", "-p", "local", "-p", "api", "-p", "cascade")


def test_what_it_prints_can_be_pasted_and_is_then_the_policy(run: Run, tmp_path: Path) -> None:
    done = run(*TUNE, "--max-cost", "0.006", "--json")
    assert done.code == 0
    assert done.json["keeps"] is True
    assert done.json["held_out"]["accuracy"] == 1.0
    (tmp_path / "vanta.toml").write_text(done.json["config"])
    trust(tmp_path)
    (policy,) = [one for one in run("policies", "list", "--json").json if one["default"]]
    assert policy["name"] == "tuned"


def test_people_see_the_snippet_and_what_it_would_have_done(run: Run) -> None:
    done = run(*TUNE, "--max-cost", "0.006")
    assert done.code == 0
    assert 'policy = "' in done.out
    assert "on 30 turns that had no part in the choice" in done.err


def test_limits_that_nothing_keeps_end_in_failure_with_the_nearest(run: Run) -> None:
    done = run(*TUNE, "--max-p95", "0.01")
    assert done.code == 1
    assert "No candidate keeps these limits. This comes nearest:" in done.err
    assert 'policy = "' in done.out
