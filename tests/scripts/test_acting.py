"""Scripts that act: toolsets, scripted tools, pages, approvals, rounds, faults between rounds."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

import vanta
from vanta import GenerationRequest, ScriptError, UnknownName
from vanta.runtime import Runtime
from vanta.testing import CallTool, ScriptedEngine
from vanta_scripts import (
    RunOptions,
    ScriptResult,
    Suite,
    check_names,
    html_report,
    junit_report,
    parse_script,
    run_script,
)

pytestmark = pytest.mark.anyio
Open = Callable[..., Awaitable[Runtime]]
Make = Callable[..., ScriptedEngine]

SEND = (
    "tools: [{name: send, parameters: {type: object, properties: {to: {type: string}}}, "
    "results: [Sent.]}]"
)


def agent(*rounds: tuple[str, dict[str, Any]]) -> Callable[[GenerationRequest], list[Any]]:
    """Return what calls one tool after another in each turn, and then repeats the last result."""

    def reply(request: GenerationRequest) -> list[Any]:
        last = max(n for n, message in enumerate(request.messages) if message.role == "user")
        results = [item.content for item in request.messages[last:] if item.role == "tool"]
        if len(results) < len(rounds):
            name, arguments = rounds[len(results)]
            return [CallTool(name, json.dumps(arguments), id=f"c{last}_{len(results)}")]
        return [results[-1] if results else "Hello."]

    return reply


async def ran(runtime: Runtime, turns: str, head: str = "") -> ScriptResult:
    script = parse_script(f"name: test\npolicy: local\n{head}\nturns:\n{turns}", source="x.yaml")
    check_names(script, runtime)
    return await run_script(runtime, script)


async def test_a_scripted_tool_runs_and_its_call_is_judged(
    vanta_runtime: Open, scripted: Make
) -> None:
    local = scripted(reply=agent(("send", {"to": "Anna"})))
    runtime = await vanta_runtime(local=local)
    expect = (
        "tool_called: {name: fixture.send, arguments: {to: Anna}, times: 1}, rounds: 2, "
        "tool_result: {name: send, contains: Sent., state: finished}, contains: Sent."
    )
    result = await ran(runtime, f"- {{say: Go., expect: {{{expect}}}}}", f"{SEND}\nallow: ['*']")
    assert result.passed, result.describe()
    (call,) = result.turns[0].calls
    assert (call.identity, call.state, call.rule) == (
        "fixture.send",
        "finished",
        "tools.allow '*' of the script",
    )


@pytest.mark.parametrize(
    ("expect", "actual"),
    [
        ("tool_called: {name: send, arguments: {to: Bob}}", 'send({"to": "Anna"})'),
        ("tool_called: {name: send, matches: {to: '^B'}}", 'send({"to": "Anna"})'),
        ("tool_called: {name: send, times: 2}", 'send({"to": "Anna"})'),
        ("tool_result: Lost.", "1 other results"),
        ("tool_result: {contains: Sent., name: read}", "1 other results"),
        ("denied: send", 'fixture.send({"to": "Anna"}) finished'),
        ("rounds: 3", '2: fixture.send({"to": "Anna"}) finished'),
    ],
)
async def test_a_call_that_is_not_as_expected_fails(
    expect: str, actual: str, vanta_runtime: Open, scripted: Make
) -> None:
    runtime = await vanta_runtime(local=scripted(reply=agent(("send", {"to": "Anna"}))))
    turns = f"- {{say: Go., expect: {{{expect}}}}}"
    result = await ran(runtime, turns, f"{SEND}\nallow: [fixture.send]")
    (failure,) = result.turns[0].failures
    assert failure.actual == actual
    assert '  call     fixture.send({"to": "Anna"}) finished' in result.describe()


async def test_a_call_that_no_rule_allows_is_denied(vanta_runtime: Open, scripted: Make) -> None:
    """Also if the configuration of the user allows everything."""
    runtime = await vanta_runtime(
        local=scripted(reply=agent(("send", {"to": "Anna"}))), tools={"mode": "allow"}
    )
    result = await ran(runtime, "- {say: Go., expect: {denied: send, contains: approval}}", SEND)
    assert result.passed, result.describe()


async def test_approvals_answer_in_order_and_for_as_long_as_they_say(
    vanta_runtime: Open, scripted: Make
) -> None:
    runtime = await vanta_runtime(local=scripted(reply=agent(("send", {"to": "Anna"}))))
    turns = """
  - say: a
    approvals: [{answer: deny, reason: Not now.}]
    expect: {denied: send, contains: Not now.}
  - {say: b, approvals: [{answer: approve, call: read}], expect: {denied: send}}
  - {say: c, approvals: [approve], expect: {tool_result: Sent.}}
  - {say: d, expect: {denied: send}}
  - {say: e, approvals: [{answer: approve, call: fixture.send, scope: session}]}
  - {say: f, expect: {tool_result: Sent.}}
  - {say: g, session: other, expect: {denied: send}}
"""
    result = await ran(runtime, turns, SEND)
    assert result.passed, result.describe()


async def test_what_no_turn_used_is_a_warning(vanta_runtime: Open, scripted: Make) -> None:
    """The verdict stays; the report names each of them once."""
    runtime = await vanta_runtime(local=scripted(reply=agent(("send", {"to": "Anna"}))))
    head = """
toolsets: [clock]
tools:
  - {name: send, parameters: {type: object}, results: [Sent., {when: {to: Bob}, text: Lost.}]}
  - {name: read, results: [Nothing.]}
allow: ["clock.*"]
fixtures: {pages: {/prices: Tea is 3 euros.}}
approvals: [{answer: approve, call: send}, {answer: deny, call: clock.now}]
"""
    turns = """
  - {say: a, expect: {tool_result: Sent.}}
  - {say: b, approvals: [approve, approve], expect: {tool_result: Sent.}}
"""
    result = await ran(runtime, turns, head)
    assert result.passed, result.describe()
    assert result.warnings == (
        "no question used the answer 'deny' under 'approvals' for 'clock.now'",
        "no question used the answer 'approve' under 'approvals'",
        "the rule 'clock.*' under 'allow' allowed no call",
        "no call got result 2 of 'fixture.send'",
        "no call ran the tool 'fixture.read'",
        "no request fetched the page '/prices'",
    )
    assert result.to_dict()["warnings"] == list(result.warnings)
    assert "warning  x.yaml: no call ran the tool 'fixture.read'" in result.describe()


async def test_a_script_whose_plans_are_used_warns_of_nothing(
    vanta_runtime: Open, scripted: Make
) -> None:
    """An answer for all turns that one turn used is used."""
    local = scripted(reply=agent(("send", {"to": "Anna"})))
    runtime = await vanta_runtime(local=local)
    head = f"{SEND}\nallow: [fixture.send]"
    result = await ran(runtime, "- {say: a}", head)
    assert (result.passed, result.warnings) == (True, ())
    for scope in ("session", "once"):
        plan = f"{SEND}\napprovals: [{{answer: approve, scope: {scope}}}]"
        asked = await ran(runtime, "- {say: a}\n- {say: b}", plan)
        assert (asked.passed, asked.warnings) == (True, ())


async def test_results_depend_on_arguments_and_may_be_errors(
    vanta_runtime: Open, scripted: Make
) -> None:
    local = scripted(reply=agent(("day", {"of": "a"}), ("day", {"of": "b"}), ("day", {"of": "b"})))
    runtime = await vanta_runtime(local=local)
    head = """
tools:
  - name: day
    effect: read
    parameters: {type: object, properties: {of: {type: string}}}
    results:
      - {when: {of: b}, text: Closed., error: true}
      - {when: {of: b}, text: Friday.}
      - {when: {of: a}, text: Monday.}
allow: [fixture.*]
"""
    expect = (
        "tool_result: [{contains: Monday., state: finished}, {contains: Closed., state: failed}, "
        "{contains: Friday., state: finished}], tool_called: {name: day, times: 3}, rounds: 4"
    )
    result = await ran(runtime, f"- {{say: Go., expect: {{{expect}}}}}", head)
    assert result.passed, result.describe()


async def test_files_are_the_scripts_own(
    vanta_runtime: Open, scripted: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of the user is not read and not written, even if the configuration has it on."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("mine")
    local = scripted(
        reply=agent(
            ("read", {"path": "notes/a.txt"}),
            ("write", {"path": "b.txt", "text": "written"}),
            ("list", {"path": "."}),
            ("read", {"path": "mine.txt"}),
        )
    )
    runtime = await vanta_runtime(local=local, tools={"use": ["files"], "allow": ["files.*"]})
    head = "toolsets: [files]\nallow: [files.*]\nfixtures: {files: {notes/a.txt: The cat is Miso.}}"
    expect = "tool_result: [The cat is Miso., b.txt, {state: failed}], rounds: 5"
    turn = f"- {{say: Go., expect: {{{expect}}}}}"
    result = await ran(runtime, turn, head)
    assert result.passed, result.describe()
    assert [call.state for call in result.turns[0].calls] == [*["finished"] * 3, "failed"]
    assert not (tmp_path / "b.txt").exists()
    again = await ran(runtime, turn, head)  # in a folder of its own
    assert again.passed, again.describe()


async def test_pages_are_fetched_and_nothing_else(vanta_runtime: Open, scripted: Make) -> None:
    def reply(request: GenerationRequest) -> list[Any]:
        message = [item.content for item in request.messages if item.role == "user"][-1]
        return agent(("fetch", {"url": message.split()[-1]}))(request)

    runtime = await vanta_runtime(local=scripted(reply=reply))
    head = (
        "toolsets: [fetch]\nallow: [fetch.*]\n"
        "fixtures: {pages: {/prices: Tea is 3 euros., /old: {text: '', status: 302, "
        "location: /prices}}}"
    )
    turns = """
  - {say: "Read {pages}/prices", expect: {contains: Tea is 3 euros.}}
  - {say: "Read {pages}/old", expect: {contains: Tea is 3 euros.}}
  - {say: "Read {pages}/none", expect: {contains: "404"}}
  - {say: "Read http://127.0.0.1:9/prices", expect: {tool_result: {state: failed}}}
  - {say: "Read https://example.org/", expect: {tool_result: {state: failed}}}
"""
    result = await ran(runtime, turns, head)
    assert result.passed, result.describe()


async def test_the_clock_and_memory_are_the_scripts_own(
    vanta_runtime: Open, scripted: Make
) -> None:
    local = scripted(
        reply=agent(
            ("now", {}), ("remember", {"text": "Ada likes tea."}), ("search", {"query": "tea"})
        )
    )
    runtime = await vanta_runtime(local=local, memory={"embedder": "none", "index": "none"})
    head = "at: 2026-03-02\ntoolsets: [clock, memory]\nallow: ['*']"
    result = await ran(
        runtime, "- {say: Go., expect: {tool_result: ['2026-03-02', Ada likes tea.]}}", head
    )
    assert result.passed, result.describe()
    assert runtime.memory is not None
    assert [item async for item in runtime.memory.export()] == []
    assert list(await runtime.journal.list()) == []


async def test_a_track_that_breaks_between_rounds_is_taken_over(
    vanta_runtime: Open, scripted: Make
) -> None:
    """The api calls, then its connection is cut: the other track answers with the result."""
    runtime = await vanta_runtime(local=scripted(reply=agent()), retries=0)
    turns = """
  - say: Go.
    policy: prefer
    upstream: {call: {name: send, arguments: {to: Anna}}, then: [server_error]}
    expect: {tool_called: {name: send, times: 1}, contains: Sent., track: local, rounds: 2}
  - say: Again.
    policy: prefer
    upstream:
      call: {name: send, arguments: {to: Bob}}
      then: [{fault: cut, after: 1, text: It was}]
    expect: {tool_called: {name: send, times: 1}, events: [CallFinished, Takeover local]}
"""
    result = await ran(runtime, turns, f"{SEND}\nallow: [fixture.send]")
    assert result.passed, result.describe()


async def test_private_results_stay_private_in_scripts(vanta_runtime: Open, scripted: Make) -> None:
    runtime = await vanta_runtime(local=scripted(reply=agent()))
    head = (
        "tools: [{name: diary, effect: read, private: true, "
        "results: [{text: Secret., private: true}]}]\nallow: [fixture.*]"
    )
    turns = (
        "- {say: Go., policy: api, upstream: {call: diary, then: [{text: Well.}]}, "
        "expect: {tool_result: withheld, contains: Well.}}"
    )
    result = await ran(runtime, turns, head)
    assert result.passed, result.describe()
    assert "Secret." not in json.dumps(result.to_dict())


@vanta.tool
def wipe() -> str:
    """Delete everything."""
    return "gone"


async def test_a_script_gains_no_right_over_the_users_own_tools(
    vanta_runtime: Open, scripted: Make
) -> None:
    """Neither its rules nor its approvals count for them; its denials do."""
    local = scripted(reply=agent(("wipe", {})))
    runtime = await vanta_runtime(
        local=local, own_tools=[wipe], tools={"ask": ["program.wipe"], "mode": "allow"}
    )
    head = "toolsets: [program]\nallow: [program.wipe, '*']\napprovals: [approve]"
    result = await ran(runtime, "- {say: Go., expect: {denied: wipe}}", head)
    assert result.passed, result.describe()
    allowing = await vanta_runtime(local=local, own_tools=[wipe])
    allowed = await ran(
        allowing, "- {say: Go., expect: {tool_result: gone}}", "toolsets: [program]\nallow: ['*']"
    )
    assert allowed.passed, allowed.describe()
    assert allowed.warnings == (), "the rule of the user is recorded, since both allow"
    denied = await ran(
        allowing,
        "- {say: Go., expect: {denied: wipe}}",
        "toolsets: [program]\nallow: ['*']\ndeny: [program.wipe]",
    )
    assert denied.passed, denied.describe()


@pytest.mark.parametrize("name", ["command", "fetch"])
async def test_a_script_turns_on_no_toolset_that_reaches_out(
    name: str, vanta_runtime: Open, scripted: Make
) -> None:
    runtime = await vanta_runtime(local=scripted("Hi."))
    with pytest.raises(ScriptError, match="is not on in your configuration"):
        await ran(runtime, "- say: Go.", f"toolsets: [{name}]\nallow: ['*']")
    with pytest.raises(UnknownName, match="files"):
        await ran(runtime, "- say: Go.", "toolsets: [flies]")


async def test_a_script_without_toolsets_calls_nothing(vanta_runtime: Open, scripted: Make) -> None:
    local = scripted("Hi.")
    runtime = await vanta_runtime(local=local, own_tools=[wipe])
    result = await ran(runtime, "- say: Go.")
    assert result.passed, result.describe()
    assert [request.tools for request in local.requests] == [()]


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("toolsets: [clock]\ntools: [send]", "the tool 'send' has no 'results', and calls run"),
        (f"session: s\n{SEND}", "continues a session calls your own tools"),
        ("session: s\nallow: ['*']", "Remove 'session' or 'allow'."),
        ("allow: ['(']", "x.yaml:2:9:"),
        ("fixtures: {files: {../a: b}}", "the file '../a' is not below the folder"),
        ("fixtures: {pages: {a: b}}", "the page 'a' does not begin with '/'"),
        ("approvals: [maybe]", "it must be one of approve, deny"),
        ("tools: [{name: a, results: [{txt: x}]}]", "unknown field 'txt'"),
        (
            "tools: [{name: a, results: [x], parameters: {type: 5}}]",
            "x.yaml:2:45:",
        ),
        ("upstream: {then: [{then: [cut]}]}", "'then' stands in another 'then'"),
        ("upstream: {then: [{fault: refuse, after: 2}]}", "'after' applies only to the faults"),
    ],
)
def test_contradictions_of_acting_scripts_are_reported(head: str, message: str) -> None:
    with pytest.raises(ScriptError) as caught:
        parse_script(f"name: n\n{head}\nturns: [{{say: a}}]", source="x.yaml")
    assert message in str(caught.value)


async def test_reports_show_the_calls(vanta_runtime: Open, scripted: Make) -> None:
    runtime = await vanta_runtime(local=scripted(reply=agent(("send", {"to": "<Anna>"}))))
    script = parse_script(
        f"name: test\npolicy: local\n{SEND}\nallow: ['*']\nturns: [{{say: Go.}}]", source="x.yaml"
    )
    report = (await Suite(runtime, [script], RunOptions()).run()).to_dict()
    (call,) = report["scripts"][0]["turns"][0]["calls"]
    assert call["tool"] == "send"
    assert call["state"] == "finished"
    assert json.loads(call["arguments"]) == {"to": "<Anna>"}
    out = ET.fromstring(junit_report(report)).findtext(".//system-out")  # noqa: S314 - our own
    assert out is not None
    assert out.startswith('fixture.send({"to": "<Anna>"}) finished: <result>')
    page = html_report(report)
    assert "calls fixture.send({&#34;to&#34;: &#34;&lt;Anna&gt;&#34;}) · finished" in page
