"""The tracks of a script: failing stand-ins, other models, several users, restarts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from vanta.engine import GenerationRequest
from vanta.errors import ScriptError, UnknownName
from vanta.runtime import Runtime
from vanta.testing import CallTool, ScriptedEngine, open_scripted
from vanta_scripts import ScriptResult, parse_script, run_script, variants
from vanta_scripts.script import repetition

pytestmark = pytest.mark.anyio
Open = Callable[..., Awaitable[Runtime]]
Make = Callable[..., ScriptedEngine]


def remembers(request: GenerationRequest) -> list[str]:
    messages = [message.content for message in request.messages if message.role == "user"]
    return [" then ".join(messages)]


async def ran(runtime: Runtime, turns: str, head: str = "") -> ScriptResult:
    script = parse_script(f"name: test\n{head}\nturns:\n{turns}")
    return await run_script(runtime, script)


def texts(result: ScriptResult) -> list[str]:
    return [turn.reply.text if turn.reply else f"! {turn.error}" for turn in result.turns]


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("refuse", "network"),
        ("unauthorized", "auth"),
        ("not_found", "model_not_found"),
        ("rate_limited", "rate_limited"),
        ("server_error", "server"),
        ("overloaded", "overloaded"),
        ("context_overflow", "context_overflow"),
    ],
)
async def test_the_stand_in_fails_as_planned(
    fault: str, says: str, vanta_runtime: Open, scripted: Make
) -> None:
    runtime = await vanta_runtime(local=scripted("from local"), policy="race")
    result = await ran(
        runtime,
        f"- {{say: a, track: api, upstream: {fault}, expect: {{error: {says}}}}}\n"
        f"- {{say: b, upstream: {fault}, expect: {{contains: from local, track: local}}}}\n"
        "- {say: c, track: api, expect: {equals: Hello from upstream.}}",
    )
    assert result.passed, result.describe()


@pytest.mark.parametrize("fault", ["cut", "malformed", "error_frame", "stall"])
async def test_local_takes_over_when_the_stand_in_breaks_in_the_middle(
    fault: str, vanta_runtime: Open, scripted: Make
) -> None:
    local = scripted("one two three four")
    runtime = await vanta_runtime(local=local, policy="prefer", stall_timeout_s=0.8)
    result = await ran(
        runtime,
        "- say: a\n"
        f"  upstream: {{fault: {fault}, after: 2, text: one two three four}}\n"
        "  expect:\n"
        "    equals: one two three four\n"
        "    events: [Committed api, Takeover local, TurnFinished]",
    )
    assert result.passed, result.describe()


async def test_a_turn_may_override_how_the_stand_in_answers(
    vanta_runtime: Open, scripted: Make
) -> None:
    runtime = await vanta_runtime(local=scripted("l"), policy="local")
    head = "track: api\nupstream: {text: as always}"
    result = await ran(runtime, "- say: a\n- {say: b, upstream: {text: for once}}\n- say: c", head)
    assert texts(result) == ["as always", "for once", "as always"]


async def test_the_runtime_keeps_its_own_tracks(vanta_runtime: Open, scripted: Make) -> None:
    api = scripted("the real one")
    runtime = await vanta_runtime(local=scripted("l"), api=api, policy="api")
    assert texts(await ran(runtime, "- {say: a, upstream: {text: stand-in}}")) == ["stand-in"]
    assert texts(await ran(runtime, "- say: a")) == ["the real one"]
    assert len(api.requests) == 1


async def test_users_and_sessions_are_isolated(vanta_runtime: Open, scripted: Make) -> None:
    runtime = await vanta_runtime(local=scripted(reply=remembers), policy="local")
    result = await ran(
        runtime,
        "- say: one\n- {say: two, user: bob}\n- {say: three, session: side}\n"
        "- say: four\n- {say: five, session: side}\n- {say: six, user: bob}",
    )
    assert texts(result) == [
        "one", "two", "three", "one then four", "three then five", "two then six",
    ]  # fmt: skip


async def test_messages_survive_a_restart(
    tmp_path: Path, vanta_runtime: Open, scripted: Make
) -> None:
    opened: list[ScriptedEngine] = []

    def reopen() -> AbstractAsyncContextManager[Runtime]:
        opened.append(scripted(reply=remembers))
        return open_scripted(tmp_path, {"local": opened[-1], "policy": "local"})

    runtime = await vanta_runtime(local=scripted("not used"), policy="local")
    script = parse_script("name: n\nturns:\n- say: one\n- {say: two, restart: true}\n- say: three")
    result = await run_script(runtime, script, reopen=reopen)
    assert texts(result) == ["one", "one then two", "one then two then three"]
    assert [len(engine.requests) for engine in opened] == [1, 2]


async def test_a_restart_without_reopen_is_refused(vanta_runtime: Open, scripted: Make) -> None:
    runtime = await vanta_runtime(local=scripted("x"), policy="local")
    with pytest.raises(ScriptError, match="a turn restarts the runtime"):
        await ran(runtime, "- say: one\n- {say: two, restart: true}")


async def test_a_track_runs_another_model(vanta_runtime: Open, scripted: Make) -> None:
    runtime = await vanta_runtime(local=scripted("x"), policy="local")
    assert texts(await ran(runtime, "- say: a", "models: {local: m2}")) == ["x"]
    with pytest.raises(UnknownName, match=r"no track is named 'lokal'\. Did you mean 'local'"):
        await ran(runtime, "- say: a", "models: {lokal: m2}")


async def test_models_of_a_track_that_is_off_are_refused(
    vanta_runtime: Open, scripted: Make
) -> None:
    runtime = await vanta_runtime(local=scripted("x"), policy="local")
    runtime.off = {**runtime.off, "other": "it is not enabled"}
    with pytest.raises(ScriptError, match=r"track 'other' of 'models' is off: it is not enabled"):
        await ran(runtime, "- say: a", "models: {other: m2}")


async def test_deadlines_reach_the_turn(vanta_runtime: Open, scripted: Make) -> None:
    runtime = await vanta_runtime(local=scripted("x"), policy="local")
    result = await ran(runtime, "- say: a\n- {say: b, deadline_s: 7}", "deadline_s: 9")
    assert [turn.reply.trace.deadline_s for turn in result.turns if turn.reply] == [9.0, 7.0]


async def test_the_cost_of_judging_is_counted(vanta_runtime: Open, scripted: Make) -> None:
    runtime = await vanta_runtime(
        local=scripted("fine"),
        judge=scripted("yes"),
        tracks={"judge": {"output_usd_per_mtok": 1_000_000}},
        policy="local",
    )
    result = await ran(runtime, "- {say: a, expect: {judge: {question: Fine?, track: judge}}}")
    assert result.passed, result.describe()
    assert result.cost_usd == 1.0


async def test_tools_are_offered_in_conversations_only(vanta_runtime: Open, scripted: Make) -> None:
    local = scripted(reply=lambda request: ["yes" if len(request.messages) == 1 else "fine"])
    runtime = await vanta_runtime(local=local, policy="local")
    head = "tools: [now, {name: get_weather, description: The weather}]"
    turns = "- {say: a, expect: {judge: {question: Fine?, track: local}}}"
    result = await ran(runtime, turns, head)
    assert result.passed, result.describe()
    answered, judged = local.requests
    assert [tool.name for tool in answered.tools] == ["now", "get_weather"]
    assert "You can ask for these tools: now, get_weather." in answered.messages[0].content
    assert judged.tools == ()
    await ran(runtime, "- say: a")
    assert local.requests[-1].tools == ()
    assert "tools" not in local.requests[-1].messages[0].content


async def test_tool_calls_are_checked_and_never_run(vanta_runtime: Open, scripted: Make) -> None:
    local = scripted(CallTool("get_weather", '{"city": "Paris"}'))
    runtime = await vanta_runtime(local=local, policy="race")
    called = "tool_called: {name: get_weather, arguments: {city: Paris}}"
    turns = f"- {{say: a, track: local, expect: {{{called}}}}}\n"
    turns += f"- {{say: b, track: api, upstream: {{call: get_weather}}, expect: {{{called}}}}}"
    result = await ran(runtime, turns, "tools: [get_weather]")
    first, second = result.turns
    assert first.passed, result.describe()
    (failure,) = second.failures
    assert failure.actual == "get_weather({})"


def test_a_matrix_expands_to_every_combination_in_order() -> None:
    script = parse_script(
        "name: n\ntrack: local\nsampling: {max_tokens: 5}\nmodels: {api: z}\n"
        "matrix:\n  policy: [race, hedge]\n  models: [{local: a}, {local: b, api: c}]\n"
        "  sampling: [{temperature: 0}, {}]\n"
        "turns: [{say: a}]"
    )
    made = variants(script)
    assert [variant.title for variant in made][:3] == [
        "n [policy=race, models=local:a, sampling=temperature:0.0]",
        "n [policy=race, models=local:a, sampling=unchanged]",
        "n [policy=race, models=local:b api:c, sampling=temperature:0.0]",
    ]
    assert len(made) == 8
    assert (made[0].policy, made[0].track, made[0].models) == (
        "race", None, {"api": "z", "local": "a"},
    )  # fmt: skip
    assert (made[0].sampling.temperature, made[0].sampling.max_tokens) == (0.0, 5)
    assert made[-1].sampling.temperature is None


def test_a_script_without_a_matrix_is_its_only_variant() -> None:
    script = parse_script("name: n\nturns: [{say: a}]")
    assert variants(script) == (script,)


def test_each_repetition_of_a_seeded_script_has_its_own_seed() -> None:
    seeded = parse_script("name: n\nseed: 7\nturns: [{say: a}]")
    assert [repetition(seeded, n).sampling.seed for n in (1, 2, 3)] == [7, 8, 9]
    free = parse_script("name: n\nturns: [{say: a}]")
    assert repetition(free, 2) is free
