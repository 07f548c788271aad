"""`vanta route`, as a user meets it."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.as_user import Run, user
from tests.routing import worlds


@pytest.fixture
def vanta(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    with open(tmp_path / "outcomes.csv", "w", newline="") as file:  # noqa: PTH123
        table = csv.writer(file)
        table.writerow(["set", "question", "ours", "theirs"])
        for row in worlds.outcomes(250):
            table.writerow(["a", row.prompt, int(row.weak), int(row.strong)])
        table.writerow(["b", "not read", "not a number", ""])
    with user(tmp_path, monkeypatch, capfd) as run:
        yield run


FIT = (
    *("route", "fit", "outcomes.csv", "--out", "router.json", "--where", "set=a"),
    *("--prompt", "question", "--weak", "ours", "--strong", "theirs"),
)


def test_a_router_is_fitted_and_asked(vanta: Run, tmp_path: Path) -> None:
    done = vanta(*FIT)
    assert done.code == 0, done.err
    for words in ("wrote router.json", "APGR", "by length alone", "30%", "calibration error"):
        assert words in done.text
    assert " o" in done.out
    hard = vanta(
        "route", "explain", "prove derive theorem integral lemma", "--model", "router.json"
    )
    assert hard.out.startswith("hard: the strong track is needed with ")
    assert "word 'prove'" in hard.out
    assert "Not fitted" not in hard.out
    assert (tmp_path / "router.json").stat().st_size < 100_000


def test_json_has_what_the_page_has(vanta: Run) -> None:
    told = vanta(*FIT, "--json").json
    assert (told["rows"], told["out"]) == (250, "router.json")
    assert told["apgr"] > 0.6
    assert list(told["thresholds"]) == ["0.1", "0.2", "0.3", "0.4", "0.5"]
    assert sum(one["rows"] for one in told["reliability"]) == 250
    asked = ("route", "explain", "hello the of", "-m", "router.json", "--top", "3", "--json")
    easy = vanta(*asked).json
    assert (easy["fitted"], easy["hard"], len(easy["pushes"])) == (True, False, 3)
    assert vanta(*asked, "--share", "1").json["hard"] is True


def test_without_a_model_the_guess_is_called_a_guess(vanta: Run) -> None:
    assert "Not fitted: a guess by length alone" in vanta("route", "explain", "hi").text
    assert vanta("route", "explain", "hi", "--json").json["fitted"] is False


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("route", "fit", "nowhere.csv", "-o", "r.json"), "'nowhere.csv' cannot be read"),
        (("route", "fit", "outcomes.csv", "-o", "r.json"), "there is no 'prompt', only 'set'"),
        (("route", "fit", "outcomes.csv", "-o", "r.json", "--where", "set"), "COLUMN=VALUE"),
        ((*FIT[:6], "set=c", *FIT[7:]), "0 different prompts are too few"),
        (("route", "explain", "hi", "-m", "outcomes.csv"), "is not a model file of the router"),
    ],
)
def test_a_mistake_is_a_sentence_and_the_code_for_usage(
    vanta: Run, argv: tuple[str, ...], said: str
) -> None:
    done = vanta(*argv)
    assert (done.code, done.out) == (2, "")
    assert said in done.text
