"""`vanta replay` as a person uses it: a table in, figures, notes and a plot out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.cli.as_user import Run, user

WIDE = """\
id,local.ttft_s,local.total_s,local.score,local.output_tokens,api.ttft_s,api.total_s,api.score,api.output_tokens
a,0.2,1,1,10,0.5,2,1,10
b,0.4,1,0,10,0.3,2,1,10
c,2.0,3,0,10,0.5,2,1,10
d,0.2,1,1,10,1.5,4,0,10
"""
OUTCOMES = "prompt,weak_correct,strong_correct\n" + "".join(
    f"question {number},{number % 2},1\n" for number in range(20)
)
MEASURED = "provider,model,i,error_code,ttft_s,e2e_s,itl_s,in_tokens,out_tokens\n" + "".join(
    f"p,{model},{i},0,{ttft + i / 100},{ttft + i / 100 + 1},0.01,500,100\n"
    for model, ttft in (("small", 0.1), ("large", 0.4))
    for i in range(30)
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> Iterator[Run]:
    (tmp_path / "wide.csv").write_text(WIDE)
    (tmp_path / "outcomes.csv").write_text(OUTCOMES)
    (tmp_path / "measured.csv").write_text(MEASURED)
    (tmp_path / "arrivals.csv").write_text("arrives_s,n\n" + "0.5,1\n" * 25)
    with user(tmp_path, monkeypatch, capfd) as run:
        yield run


def test_the_figures_are_those_of_the_table(run: Run) -> None:
    done = run("replay", "wide.csv", "-p", "local", "-p", "race", "--price", "api=0/10", "--json")
    assert done.code == 0
    local, race = done.json["policies"]
    assert (local["policy"], local["accuracy"], local["cost_usd"]) == ("local", 0.5, 0.0)
    assert local["first_content_s"] == {"p50": 0.2, "p95": 2.0, "p99": 2.0}
    assert local["whole_s"] == {"p50": 1.0, "p95": 3.0, "p99": 3.0}
    assert (race["accuracy"], race["served"]) == (1.0, {"api": 0.5, "local": 0.5})
    assert race["first_content_s"] == {"p50": 0.2, "p95": 0.5, "p99": 0.5}
    assert race["cost_usd"] == pytest.approx(2 * 10 * 10e-6 / 4)
    assert done.json["notes"] == []


def test_people_get_a_table_with_the_best_marked(run: Run) -> None:
    done = run("replay", "wide.csv", "-p", "local", "-p", "api")
    assert done.code == 0
    assert "50.0%" in done.out
    assert "4 turns per policy" in done.err


def test_outcomes_and_measurements_are_joined_and_it_is_said(run: Run) -> None:
    joined = ("outcomes.csv", "--latency", "measured.csv", "--from", "local=p/small")
    done = run("replay", *joined, "--from", "api=p/large", "--gate-auroc", "0.8", "--json")
    assert done.code == 0
    assert "correlation of 0.57" in done.json["notes"][0]
    assert "modelled with an AUROC of 0.8" in done.json["notes"][1]
    by_name = {one["policy"]: one for one in done.json["policies"]}
    assert by_name["local"]["accuracy"] == 0.5
    assert by_name["api"]["accuracy"] == 1.0
    assert by_name["api"]["first_content_s"]["p50"] >= 0.4


def test_the_same_seed_gives_the_same_numbers(run: Run) -> None:
    measured = ("replay", "measured.csv", "--from", "local=p/small", "--from", "api=p/large")
    first, again, other = (
        run(*measured, "-p", "race", "--turns", "50", "--json", "--seed", seed).json["policies"]
        for seed in ("1", "1", "2")
    )
    assert first == again
    assert first != other


def test_turns_can_arrive_as_somebody_elses_did(run: Run) -> None:
    joined = ("outcomes.csv", "--latency", "measured.csv", "--from", "local=p/small")
    at = ("--from", "api=p/large", "--arrivals", "arrivals.csv")
    done = run("replay", *joined, *at, "-p", "local", "--json")
    assert done.code == 0
    assert done.json["turns"] == 20


def test_a_policy_that_routes_says_that_it_has_no_text_to_route_by(run: Run) -> None:
    assert "route" not in {
        one["policy"] for one in run("replay", "wide.csv", "--json").json["policies"]
    }
    done = run("replay", "wide.csv", "-p", "route", "--json")
    assert done.json["notes"] == [
        "No text was recorded: to `route` and `speculate` every message looks the same."
    ]


def test_the_plot_is_a_picture_of_all_policies(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "pareto.svg"
    done = run("replay", "wide.csv", "-p", "local", "-p", "api", "-p", "race", "--plot", str(path))
    assert done.code == 0
    texts = {element.text for element in ET.parse(path).iter()}  # noqa: S314 - our own file
    assert {"local", "api", "race", "accuracy, % against USD for 1,000 turns"} <= texts


def test_without_scores_the_plot_shows_how_soon_and_sooner_is_higher(
    run: Run, tmp_path: Path
) -> None:
    measured = ("replay", "measured.csv", "--from", "local=p/small", "--from", "api=p/large")
    path = tmp_path / "pareto.svg"
    done = run(*measured, "-p", "local", "-p", "api", "--turns", "40", "--plot", str(path))
    assert done.code == 0
    elements = list(ET.parse(path).iter())  # noqa: S314 - our own file
    assert any(
        element.text == "p95 of first content, s against USD for 1,000 turns"
        for element in elements
    )
    local, api = (float(dot.attrib["cy"]) for dot in elements if dot.tag.endswith("circle"))
    assert local < api


def test_columns_are_mapped_by_name(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("first,end\n0.5,2\n")
    maps = ("--map", "local.ttft_s=first", "--map", "local.total_s=end")
    done = run("replay", "mine.csv", *maps, "-p", "local", "--json")
    assert done.code == 0
    assert done.json["policies"][0]["accuracy"] is None
    assert done.json["policies"][0]["first_content_s"]["p50"] == 0.5


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("nowhere.csv",), "'nowhere.csv' does not exist. Give the path of the data."),
        (("wide.csv", "-p", "rase"), "no policy is named 'rase'. Did you mean 'race'?"),
        (("wide.csv", "--map", "x"), "'x' is not of the form --map FIELD=COLUMN"),
        (("wide.csv", "--price", "api=cheap"), "give two amounts in USD"),
        (("wide.csv", "--from", "api=p/x"), "add --latency FILE"),
        (("outcomes.csv",), "--latency FILE --from"),
        (("measured.csv",), "Say which track is which: --from local=NAME"),
        (("measured.csv", "--from", "local=p/huge"), "no measurements are named 'p/huge'. Known"),
        (("outcomes.csv", "--arrivals", "wide.csv"), "has no column 'arrives_s'"),
        (("wide.csv", "--plot", "no/where.svg"), "'no/where.svg' cannot be written"),
    ],
)
def test_a_mistake_is_told_with_what_to_do(run: Run, argv: tuple[str, ...], said: str) -> None:
    done = run("replay", *argv)
    assert done.code == 2
    assert said in done.text.replace("│ ", "").replace(" │", "")


CHECKED = """
[policies.checked]
base = "cascade"

[policies.checked.gate]
verify_with = "api"
verify_share = 1.0
verify_margin = 9.0
"""
MINE = ("--config", "mine.toml")
WORDS = """\
id,local.ttft_s,local.total_s,local.score,local.mean_logprob,api.ttft_s,api.total_s,api.score,api.verify_yes,api.verify_s
a,0.2,1,1,-0.2,0.5,2,1,0.9,0.1
b,0.2,1,0,-0.2,0.5,2,1,0.1,0.1
"""


def test_a_policy_with_a_verifier_needs_words_and_the_message_says_how_to_record_them(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text(CHECKED)
    (tmp_path / "silent.csv").write_text(WORDS.replace("verify_", "unknown_"))
    done = run("replay", "silent.csv", *MINE, "-p", "checked")
    assert (done.code, done.out) == (2, "")
    assert "'api.verify_yes'" in done.text
    assert "vanta trace export" in done.text
    among = run("replay", "silent.csv", *MINE, "--json")
    assert among.code == 0, "a policy that was not named is left out with a note"
    assert "checked" not in {item["policy"] for item in among.json["policies"]}
    assert any("Left out: policy 'checked'" in note for note in among.json["notes"])
    modelled = run(
        "replay", "silent.csv", *MINE, "-p", "checked", "--verifier-auroc", "0.9", "--json"
    )
    assert modelled.code == 0
    assert any("modelled with an AUROC of 0.9" in note for note in modelled.json["notes"])


def test_recorded_words_are_played(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(CHECKED)
    (tmp_path / "words.csv").write_text(WORDS)
    done = run("replay", "words.csv", *MINE, "-p", "checked", "-p", "cascade", "--json")
    assert done.code == 0
    checked, plain = done.json["policies"]
    assert (checked["accuracy"], plain["accuracy"]) == (1.0, 0.5)
    assert checked["served"] == {"api": 0.5, "local": 0.5}


def test_a_policy_with_the_calibrated_gate_can_be_replayed(run: Run, tmp_path: Path) -> None:
    gate = "[policies.checked.gate]"
    calibrated = CHECKED.replace(gate, f'{gate}\nuse = "calibrated"')
    (tmp_path / "mine.toml").write_text(calibrated)
    (tmp_path / "words.csv").write_text(WORDS)
    done = run("replay", "words.csv", *MINE, "-p", "checked", "--json")
    assert done.code == 0, done.err
    assert done.json["policies"][0]["accuracy"] == 1.0
