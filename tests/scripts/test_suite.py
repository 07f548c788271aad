"""Many scripts over one runtime: order, limits, repeats and reports."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import anyio
import anyio.lowlevel
import pytest

from vanta.engine import GenerationRequest
from vanta.errors import ErrorKind, ScriptError, UnknownName
from vanta.runtime import Runtime
from vanta.testing import Fail, ScriptedEngine, Wait
from vanta_scripts import (
    RunOptions,
    RunReport,
    Script,
    Suite,
    check_names,
    find_scripts,
    junit_report,
    load_script,
    parse_script,
    select,
    update_equals,
)
from vanta_scripts.preflight import last_failed, record_failures
from vanta_scripts.reports.figures import figures, percentile, variant_figures

pytestmark = pytest.mark.anyio
Open = Callable[..., Awaitable[Runtime]]
Make = Callable[..., ScriptedEngine]


def echo(request: GenerationRequest) -> list[str]:
    return [request.messages[-1].content]


def script(name: str, *turns: str, head: str = "") -> Script:
    lines = "\n".join(f"- {turn}" for turn in turns or ("say: hi",))
    return parse_script(f"name: {name}\n{head}\nturns:\n{lines}", source=f"{name}.yaml")


FAILS = "{say: no, expect: {contains: 'yes'}}"


async def report_of(runtime: Runtime, *scripts: Script, **options: Any) -> RunReport:
    return await Suite(runtime, scripts, RunOptions(**options)).run()


async def test_a_suite_passes_and_keeps_its_order(vanta_runtime: Open, scripted: Make) -> None:
    runtime = await vanta_runtime(local=scripted(reply=echo), policy="local")
    report = await report_of(runtime, script("b"), script("a"), parallel=4)
    assert report.passed
    assert report.verdict == "passed"
    assert [outcome.script.name for outcome in report.outcomes] == ["b", "a"]
    assert report.incomplete == []


async def test_one_failed_script_fails_the_suite(vanta_runtime: Open, scripted: Make) -> None:
    runtime = await vanta_runtime(local=scripted(reply=echo), policy="local")
    report = await report_of(runtime, script("a", FAILS), script("b"))
    assert report.verdict == "failed"
    assert [outcome.passed for outcome in report.outcomes] == [False, True]


async def test_as_many_scripts_run_in_parallel_as_requested(
    vanta_runtime: Open, scripted: Make
) -> None:
    gate = anyio.Event()
    engine = scripted("x", Wait(gate))
    runtime = await vanta_runtime(local=engine, policy="local")
    suite = Suite(runtime, [script(f"s{n}") for n in range(5)], RunOptions(parallel=3))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(suite.run)
        with anyio.fail_after(20):
            while engine.streaming < 3:
                await anyio.lowlevel.checkpoint()
            for _ in range(50):
                await anyio.lowlevel.checkpoint()
        assert engine.streaming == 3
        gate.set()
    assert suite.report().passed


async def test_fail_fast_starts_no_further_script(vanta_runtime: Open, scripted: Make) -> None:
    engine = scripted(reply=echo)
    runtime = await vanta_runtime(local=engine, policy="local")
    report = await report_of(runtime, script("a", FAILS), script("b"), fail_fast=True)
    assert len(engine.requests) == 1
    assert report.stopped == "a failed, and the first failure ends the run"
    assert report.incomplete == ["b"]
    assert report.verdict == "failed"


async def test_no_turn_starts_beyond_the_cost_limit(vanta_runtime: Open, scripted: Make) -> None:
    engine = scripted("one")
    price = {"local": {"output_usd_per_mtok": 1_000_000}}
    runtime = await vanta_runtime(local=engine, policy="local", tracks=price)
    report = await report_of(
        runtime, script("a", "say: x", "say: y", "say: z"), script("b"), max_cost_usd=2
    )
    assert len(engine.requests) == 2
    assert report.cost_usd == 2
    assert report.stopped == "$2 was spent, the limit is $2"
    assert report.incomplete == ["a", "b"]
    assert report.results[0].stopped == report.stopped
    assert report.verdict == "incomplete"


@pytest.mark.parametrize(
    ("rate", "passed", "verdict"),
    [("0.5", True, "passed"), ("0.9", False, "failed")],
)
async def test_a_pass_rate_lets_some_runs_fail(
    rate: str, passed: bool, verdict: str, vanta_runtime: Open, scripted: Make
) -> None:
    engine = scripted(scripts=[["yes"], ["no"], ["yes"], ["no"]])
    runtime = await vanta_runtime(local=engine, policy="local")
    flaky = script("a", FAILS, head=f"repeat: 4\npass_rate: {rate}\nseed: 3")
    report = await report_of(runtime, flaky)
    (outcome,) = report.outcomes
    assert (outcome.passed_runs, outcome.planned, outcome.passed) == (2, 4, passed)
    assert report.verdict == verdict
    assert [request.sampling.seed for request in engine.requests] == [3, 4, 5, 6]
    assert len({run.session for run in outcome.runs}) == 4


async def test_the_repeat_option_overrides_the_scripts(vanta_runtime: Open, scripted: Make) -> None:
    runtime = await vanta_runtime(local=scripted("x"), policy="local")
    report = await report_of(runtime, script("a", head="repeat: 5"), repeat=2)
    assert [run.number for run in report.results] == [1, 2]


async def test_the_variants_of_a_matrix_are_compared(vanta_runtime: Open, scripted: Make) -> None:
    runtime = await vanta_runtime(local=scripted("yes"), api=scripted("no"))
    report = await report_of(runtime, script("a", FAILS, head="matrix: {track: [local, api]}"))
    compared = variant_figures(report.to_dict())
    assert {name: one["pass_rate"] for name, one in compared.items()} == {
        "track=local": 1.0,
        "track=api": 0.0,
    }
    assert compared["track=api"]["wins"] == {"api": 1}


async def test_the_report_of_a_cancelled_suite_has_the_finished_turns(
    vanta_runtime: Open, scripted: Make
) -> None:
    gate = anyio.Event()
    engine = scripted(scripts=[["one"], ["two", Wait(gate)]])
    runtime = await vanta_runtime(local=engine, policy="local")
    suite = Suite(runtime, [script("a", "say: x", "say: y"), script("b")])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(suite.run)
        with anyio.fail_after(20):
            while len(engine.requests) < 2:
                await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    report = suite.report("interrupted")
    (cut,) = report.results
    assert [turn.passed for turn in cut.turns] == [True]
    assert cut.stopped == "interrupted"
    assert report.verdict == "incomplete"


async def test_a_script_that_cannot_start_fails_and_the_others_run(
    vanta_runtime: Open, scripted: Make
) -> None:
    runtime = await vanta_runtime(local=scripted("x"), policy="local")
    report = await report_of(runtime, script("a", head="models: {lokal: m}"), script("b"))
    assert [outcome.passed for outcome in report.outcomes] == [False, True]
    assert "no track is named 'lokal'" in report.results[0].stopped
    assert report.verdict == "failed"


async def test_a_report_is_json_ready_with_its_figures(vanta_runtime: Open, scripted: Make) -> None:
    engine = scripted(scripts=[["yes"], [Fail(ErrorKind.AUTH)]])
    runtime = await vanta_runtime(local=engine, policy="local")
    report = await report_of(runtime, script("a", FAILS, FAILS, head="tags: [t]"))
    data = json.loads(json.dumps(report.to_dict()))
    assert data["figures"]["pass_rate"] == 0.5
    assert data["figures"]["wins"] == {"local": 1}
    assert data["figures"]["p95_s"] > 0
    assert data["outcomes"][0]["passed"] is False
    assert data["scripts"][0]["tags"] == ["t"]


async def test_junit_has_a_case_for_each_turn(vanta_runtime: Open, scripted: Make) -> None:
    engine = scripted(scripts=[["yes"], ["no\x07"], [Fail(ErrorKind.AUTH)]])
    runtime = await vanta_runtime(local=engine, policy="local")
    report = await report_of(runtime, script("a", FAILS, FAILS, FAILS), script("b"), fail_fast=True)
    root = ET.fromstring(junit_report(report.to_dict()))  # noqa: S314 - our own text
    assert {name: root.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "3", "failures": "1", "errors": "1", "skipped": "0",
    }  # fmt: skip
    passed, failed, errored = root.iter("testcase")
    assert (passed.find("failure"), passed.findtext("system-out")) == (None, "yes")
    failure, error = failed.find("failure"), errored.find("error")
    assert failure is not None
    assert "contains 'yes'" in failure.get("message", "")
    assert error is not None
    assert failed.findtext("system-out") == "no\ufffd"
    assert (failed.get("file"), failed.get("line")) == ("a.yaml", "5")


def test_percentiles_are_measured_values() -> None:
    assert [percentile([4, 1, 3, 2], share) for share in (0.0, 0.5, 0.95, 1.0)] == [1, 2, 4, 4]
    assert percentile([], 0.5) is None
    assert figures([])["pass_rate"] is None


def named(**tags: str) -> list[Script]:
    return [script(name, head=f"tags: [{tag}]") for name, tag in tags.items()]


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ("", "abcd"),
        ("slow", "ac"),
        ("not slow", "bd"),
        ("a.yaml or B", "ab"),
        ("slow and not a.", "c"),
        ("not (slow or b.)", "d"),
        ("not not slow", "ac"),
        ("nothing", ""),
    ],
)
def test_scripts_are_selected_by_words(words: str, left: str) -> None:
    scripts = named(a="slow", b="quick", c="slow", d="quick")
    assert "".join(chosen.name for chosen in select(scripts, words=words)) == left


def test_scripts_are_selected_by_tag() -> None:
    scripts = named(a="slow", b="quick", c="other")
    assert [chosen.name for chosen in select(scripts, tags=["slow", "quick"])] == ["a", "b"]
    assert [chosen.name for chosen in select(scripts, words="b", tags=["slow"])] == []


@pytest.mark.parametrize("words", ["and", "a or", "(a", "a b", "not", "a)", "()"])
def test_an_invalid_expression_is_an_error(words: str) -> None:
    with pytest.raises(ScriptError, match="cannot be parsed at"):
        select([], words=words)


def test_scripts_are_found_in_folders(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.vanta.yaml", "sub/c.yml", ".hidden/d.yaml", "e.txt", ".f.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    files = find_scripts([tmp_path, tmp_path / "e.txt", tmp_path / "b.yaml"])
    names = [str(path.relative_to(tmp_path)) for path in files]
    assert names == ["a.vanta.yaml", "b.yaml", str(Path("sub/c.yml")), "e.txt"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ScriptError, match="there is no script in this folder"):
        find_scripts([tmp_path / "empty"])


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("policy: rcae", "no policy is named 'rcae'. Did you mean 'race'?"),
        ("track: lokal", "no track is named 'lokal'. Did you mean 'local'?"),
        ("models: {lokal: m}", "no track is named 'lokal'. Did you mean 'local'?"),
        ("system: shrot", "no template is named 'system/shrot'."),
    ],
)
async def test_names_are_checked_before_anything_runs(
    head: str, message: str, vanta_runtime: Open, scripted: Make
) -> None:
    runtime = await vanta_runtime(local=scripted("x"), policy="local")
    with pytest.raises(UnknownName) as caught:
        check_names(script("a", head=head), runtime)
    assert str(caught.value).startswith(f"a.yaml: {message}")
    check_names(script("a", "{say: x, track: api, upstream: refuse}"), runtime)


async def test_an_update_changes_only_the_values_of_equals(
    tmp_path: Path, vanta_runtime: Open, scripted: Make
) -> None:
    path = tmp_path / "a.yaml"
    before = (
        "name: a  # ein Näme 😀\nturns:\n"
        "- say: one\n  expect: {equals: eins, contains: o}  # kept\n"
        "- say: two\n  expect:\n    equals: |\n      zwei\n      drei\n    contains: w\n"
        "- say: three\n  expect: {equals: three}\n"
    )
    path.write_text(before, encoding="utf-8")
    runtime = await vanta_runtime(local=scripted(reply=echo), policy="local")
    report = await report_of(runtime, load_script(path))
    assert update_equals(report.results) == [f"{path}:4", f"{path}:7"]
    assert path.read_text(encoding="utf-8") == before.replace("eins", '"one"').replace(
        "|\n      zwei\n      drei\n", '"two"\n'
    )
    again = await report_of(runtime, load_script(path))
    assert again.passed
    assert update_equals(again.results) == []


async def test_an_update_leaves_a_changed_file_alone(
    tmp_path: Path, vanta_runtime: Open, scripted: Make
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("name: a\nturns: [{say: one, expect: {equals: x}}]")
    runtime = await vanta_runtime(local=scripted(reply=echo), policy="local")
    report = await report_of(runtime, load_script(path))
    path.write_text("name: a\nturns: []")
    with pytest.raises(ScriptError, match="cannot be updated"):
        update_equals(report.results)
    assert path.read_text() == "name: a\nturns: []"


async def test_the_last_failures_are_recorded(
    tmp_path: Path, vanta_runtime: Open, scripted: Make
) -> None:
    runtime = await vanta_runtime(local=scripted(reply=echo), policy="local")
    scripts = [script("a"), script("b", FAILS)]
    assert last_failed(scripts, tmp_path) == scripts
    record_failures(await report_of(runtime, *scripts), tmp_path)
    assert last_failed(scripts, tmp_path) == scripts[1:]
    record_failures(await report_of(runtime, script("b")), tmp_path)
    assert last_failed(scripts, tmp_path) == scripts
    (tmp_path / "last_failed.json").write_text("no json")
    assert last_failed(scripts, tmp_path) == scripts
