"""Running scripts through a real runtime with scripted engines."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from vanta.api import open as open_runtime
from vanta.engine import GenerationRequest
from vanta.errors import ErrorKind, ScriptError, StoreError
from vanta.expectations import CheckedTurn, Expectation, Failure
from vanta.hookspecs import hookimpl
from vanta.runtime import Runtime
from vanta.testing import Fail, ScriptedEngine, open_scripted, scripted_plugin
from vanta_scripts import (
    RunReport,
    Script,
    ScriptOutcome,
    ScriptResult,
    TurnResult,
    known_expectations,
    load_script,
    parse_script,
    run_script,
)
from vanta_scripts.commands.run import error_exit_code

pytestmark = pytest.mark.anyio
EXAMPLES = Path(__file__).parents[2] / "examples"
Open = Callable[..., Awaitable[Runtime]]
Make = Callable[..., ScriptedEngine]


def script(turns: str, head: str = "") -> Script:
    return parse_script(f"name: test\n{head}\nturns:\n{turns}", source="test.yaml")


def echo(request: GenerationRequest) -> list[str]:
    return [f"you said {request.messages[-1].content}"]


def failing(kind: ErrorKind) -> Fail:
    return Fail(kind)


async def test_a_script_passes_if_its_expectations_hold(
    vanta_runtime: Open, scripted: Make
) -> None:
    runtime = await vanta_runtime(local=scripted(reply=echo), policy="local")
    result = await run_script(
        runtime,
        script("- {say: hello, expect: {contains: you said hello, track: local}}\n- say: bye"),
    )
    assert result.passed
    assert [turn.reply.text for turn in result.turns if turn.reply] == [
        "you said hello",
        "you said bye",
    ]
    assert (result.name, result.source) == ("test", "test.yaml")


async def test_a_failed_turn_is_reported_and_the_next_one_runs(
    vanta_runtime: Open, scripted: Make
) -> None:
    runtime = await vanta_runtime(local=scripted(reply=echo), policy="local")
    result = await run_script(
        runtime,
        script(
            "- {say: one, expect: {contains: two, not_contains: one, regex: one}}\n"
            "- {say: three, expect: {contains: three}}"
        ),
    )
    first, second = result.turns
    assert first.failures == (
        Failure("contains", "a reply that contains 'two'", "'you said one'"),
        Failure("not_contains", "a reply without 'one'", "'you said one'"),
    )
    assert (first.passed, second.passed, result.passed) == (False, True, False)
    assert result.describe() == (
        "test FAILED: 1 of 2 turns (test.yaml)\n"
        "test.yaml:4: turn 1 FAILED: 'one'\n"
        "  expected a reply that contains 'two'\n"
        "  got      'you said one'\n"
        "  expected a reply without 'one'\n"
        "  got      'you said one'"
    )


async def test_a_turn_without_an_answer_fails_and_the_next_one_runs(
    vanta_runtime: Open, scripted: Make
) -> None:
    engine = scripted(scripts=[[failing(ErrorKind.AUTH)], ["fine"]])
    runtime = await vanta_runtime(local=engine, policy="local")
    result = await run_script(runtime, script("- say: one\n- {say: two, expect: {contains: fine}}"))
    first, second = result.turns
    assert first.reply is None
    assert first.error is not None
    assert "no track could answer" in first.error
    assert f"  error    {first.error}" in first.describe()
    assert second.passed


async def test_an_unknown_track_fails_its_turn_with_the_nearest_name(
    vanta_runtime: Open, scripted: Make
) -> None:
    runtime = await vanta_runtime(local=scripted("x"), policy="local")
    result = await run_script(runtime, script("- {say: a, track: lokal}\n- say: b"))
    assert result.turns[0].error == "no track is named 'lokal'. Did you mean 'local'?"
    assert result.turns[1].passed


async def test_track_and_policy_of_a_turn_override_those_of_the_script(
    vanta_runtime: Open, scripted: Make
) -> None:
    runtime = await vanta_runtime(local=scripted("l"), api=scripted("a"), policy="api")
    result = await run_script(
        runtime,
        script("- say: a\n- {say: b, policy: api}\n- {say: c, track: local}", "track: local"),
    )
    assert [turn.reply.track for turn in result.turns if turn.reply] == ["local", "api", "local"]


async def test_private_turns_stay_on_private_tracks(vanta_runtime: Open, scripted: Make) -> None:
    local, api = scripted("l"), scripted("a")
    runtime = await vanta_runtime(
        local=local, api=api, policy="api", tracks={"local": {"private": True}}
    )
    turns = "- {say: a, policy: race}\n- {say: b, private: false}"
    result = await run_script(runtime, script(turns, "private: true"))
    assert [turn.reply.track for turn in result.turns if turn.reply] == ["local", "api"]
    result = await run_script(runtime, script("- {say: secret, private: true, policy: race}"))
    assert result.turns[0].reply is not None
    assert result.turns[0].reply.track == "local"
    assert all("secret" not in str(request) for request in api.requests)


async def test_sampling_reaches_the_engine(vanta_runtime: Open, scripted: Make) -> None:
    engine = scripted("x")
    runtime = await vanta_runtime(local=engine, policy="local")
    await run_script(runtime, script("- say: a", "sampling: {temperature: 0, seed: 7}"))
    assert (engine.requests[0].sampling.temperature, engine.requests[0].sampling.seed) == (0.0, 7)


async def test_system_and_variables_shape_the_prompt(vanta_runtime: Open, scripted: Make) -> None:
    engine = scripted("x")
    runtime = await vanta_runtime(local=engine, policy="local")
    await run_script(runtime, script("- say: a", "variables: {assistant_name: Bo}"))
    await run_script(runtime, script("- say: a", "system: short"))
    await run_script(runtime, script("- say: a"))
    prompts = [request.messages[0].content for request in engine.requests]
    assert prompts[0].startswith("You are Bo, a helpful assistant.")
    assert prompts[1].startswith("You are Vanta, a helpful assistant who answers briefly.")
    assert prompts[2].startswith("You are Vanta, a helpful assistant.")


async def test_an_unknown_system_template_fails_every_turn(
    vanta_runtime: Open, scripted: Make
) -> None:
    runtime = await vanta_runtime(local=scripted("x"), policy="local")
    result = await run_script(runtime, script("- say: a\n- say: b", "system: shrot"))
    for turn in result.turns:
        assert turn.error is not None
        assert "no template is named 'system/shrot'. Did you mean 'system/short'?" in turn.error


async def test_each_run_is_a_new_session_unless_the_script_names_one(
    vanta_runtime: Open, scripted: Make
) -> None:
    engine = scripted("x")
    runtime = await vanta_runtime(local=engine, policy="local")
    fresh, named = script("- say: a"), script("- say: a", "session: kept\nuser: ada")
    first, second = await run_script(runtime, fresh), await run_script(runtime, fresh)
    assert first.session != second.session
    await run_script(runtime, named)
    assert (await run_script(runtime, named)).session == "kept"
    assert [len(request.messages) for request in engine.requests] == [2, 2, 2, 4]
    assert len(await runtime.session("kept", user="ada").history()) == 4


async def test_progress_is_reported_after_each_turn(vanta_runtime: Open, scripted: Make) -> None:
    runtime = await vanta_runtime(local=scripted("x"), policy="local")
    reported: list[tuple[str, int, bool]] = []

    def progress(running: Script, turn: TurnResult) -> None:
        reported.append((running.name, turn.number, turn.passed))

    await run_script(
        runtime, script("- {say: a, expect: {contains: y}}\n- say: b"), progress=progress
    )
    assert reported == [("test", 1, False), ("test", 2, True)]


@pytest.mark.usefixtures("no_blocking")
async def test_running_a_script_does_not_block_the_event_loop(
    vanta_runtime: Open, scripted: Make
) -> None:
    runtime = await vanta_runtime(local=scripted("x"), policy="local")
    result = await run_script(runtime, script("- say: a\n- say: b", "system: short"))
    assert result.passed


async def test_a_result_is_json_ready(vanta_runtime: Open, scripted: Make) -> None:
    engine = scripted(scripts=[["x"], [failing(ErrorKind.AUTH)]])
    runtime = await vanta_runtime(local=engine, policy="local")
    result = await run_script(runtime, script("- {say: a, expect: {contains: y}}\n- say: b"))
    data: Any = json.loads(json.dumps(result.to_dict()))
    assert (data["passed"], data["session"]) == (False, result.session)
    first, second = data["turns"]
    assert (first["line"], first["reply"]["text"], first["error"]) == (4, "x", None)
    assert first["failures"][0] == {
        "expectation": "contains",
        "expected": "a reply that contains 'y'",
        "actual": "'x'",
        "diff": [],
    }
    assert second["reply"] is None
    assert result.cost_usd == 0


class Judges:
    """A plugin with an expectation that counts words and one that raises."""

    name = "judges"

    @hookimpl
    def vanta_expectations(self) -> list[Expectation]:
        return [
            Expectation("max_words", "words at the most", int, self._words),
            Expectation("broken", "raises", bool, self._broken),
        ]

    async def _words(self, limit: int, seen: CheckedTurn) -> Failure | None:
        words = len(seen.reply.text.split())
        if words <= limit:
            return None
        return Failure("max_words", f"{limit} words to {seen.say!r}", f"{words}")

    def _broken(self, _value: bool, _seen: CheckedTurn) -> Failure | None:
        raise ZeroDivisionError("oh")


async def test_a_plugins_expectation_may_wait_or_raise(tmp_path: Path, scripted: Make) -> None:
    engine = scripted("one two")
    config = {
        "data_dir": str(tmp_path),
        "policy": "local",
        "tracks": {"local": {"engine": "scripted", "model": "m"}},
    }
    text = "name: n\nturns:\n- {say: a, expect: {max_words: 2}}\n"
    text += "- {say: b, expect: {broken: true, max_words: 1}}"
    async with open_runtime(config, plugins=[scripted_plugin(local=engine), Judges()]) as runtime:
        known = known_expectations(runtime.plugins)
        result = await run_script(runtime, parse_script(text, expectations=known))
    first, second = result.turns
    assert first.passed
    assert second.failures == (
        Failure(
            "broken",
            "a verdict of expectation 'broken'",
            "the error ZeroDivisionError: oh",
        ),
        Failure("max_words", "1 words to 'b'", "2"),
    )


@pytest.mark.parametrize("name", ["hello", "race", "memory"])
async def test_the_examples_pass_on_tracks_that_know_the_answers(
    name: str, tmp_path: Path, vanta_runtime: Open, scripted: Make
) -> None:
    def knows(request: GenerationRequest) -> list[str]:
        notes, _, says = request.messages[-1].content.rpartition("</notes>\n\n")
        known = {"Hello!": "Hello", "And of Italy?": "Rome"}
        known |= {"What is my cat called?": notes, "Where does my sister Lena live?": notes}
        return [known.get(says, "Paris" if "France" in says else "red, 4")]

    runtime = await vanta_runtime(
        local=scripted(reply=knows),
        api=scripted(reply=knows),
        tracks={"local": {"private": True}},
    )

    def reopen() -> AbstractAsyncContextManager[Runtime]:
        return open_scripted(tmp_path / "again", {"local": scripted(reply=knows)})

    script = load_script(EXAMPLES / f"{name}.yaml")
    result = await run_script(runtime, script, reopen=reopen)
    assert result.passed, result.describe()


def result_of(*passed: bool) -> ScriptResult:
    turns = tuple(
        TurnResult(number, "a", error=None if good else "broke")
        for number, good in enumerate(passed, start=1)
    )
    return ScriptResult("n", "f", "s", 0.0, turns)


def report_of(*runs: ScriptResult) -> RunReport:
    outcomes = tuple(ScriptOutcome(script("- say: a"), (run,), 1) for run in runs)
    return RunReport(outcomes, 0.0)


def test_a_report_passes_only_if_every_turn_of_every_script_passed() -> None:
    assert report_of(result_of(True), result_of(True, True)).verdict == "passed"
    assert report_of(result_of(True), result_of(True, False)).verdict == "failed"
    assert report_of().verdict == "incomplete"


def test_the_exit_code_tells_a_wrong_script_from_a_broken_machine() -> None:
    assert error_exit_code(ScriptError("bad script")) == 2
    assert error_exit_code(StoreError("full disk")) == 3
