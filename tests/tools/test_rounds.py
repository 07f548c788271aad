"""Turns that act: rounds, limits, failover with results, privacy of results, one run per call."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import BaseModel

import vanta
from tests.runtime.home import open_scripted
from vanta import ErrorKind, GenerationRequest, ToolResult, TurnOptions
from vanta.testing import CallTool, Fail, ScriptedEngine, Wait

pytestmark = pytest.mark.anyio

POLICIES = ["local", "api", "race", "hedge", "cascade", "speculate", "prefer", "refine", "route"]


class Counted:
    """Tools that count their runs: one of each effect."""

    def __init__(self, gate: anyio.Event | None = None) -> None:
        self.runs: Counter[str] = Counter()
        self._gate = gate

    @vanta.tool(effect="read")
    async def look_up(self, city: str) -> str:
        """Return the weather of a city."""
        self.runs[f"look_up {city}"] += 1
        if self._gate:
            await self._gate.wait()
        return f"It rains in {city}."

    @vanta.tool
    async def send(self, to: str) -> str:
        """Send a message."""
        self.runs[f"send {to}"] += 1
        return f"Sent to {to}."

    @property
    def tools(self) -> list[Any]:
        return [self.look_up, self.send]


def results(request: GenerationRequest) -> list[str]:
    """Return the results of this turn's calls."""
    last = max(n for n, message in enumerate(request.messages) if message.role == "user")
    return [message.content for message in request.messages[last:] if message.role == "tool"]


def agent(*calls: CallTool, then: str = "All done.", before: str = "") -> ScriptedEngine:
    """Return an engine that calls tools first, and answers once it reads their results."""

    def reply(request: GenerationRequest) -> list[Any]:
        first = [before, *calls] if before else list(calls)
        return [then] if results(request) else first

    return ScriptedEngine(reply=reply)


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_turn_calls_a_tool_and_answers_under_every_policy(
    policy: str, tmp_path: Path
) -> None:
    counted = Counted()
    local = agent(CallTool("look_up", '{"city": "Rome"}'), then="Local: it rains.")
    api = agent(CallTool("look_up", '{"city": "Rome"}'), then="Local: it rains.")
    async with open_scripted(
        tmp_path, local=local, api=api, own_tools=counted.tools, policy=policy
    ) as runtime:
        reply = await runtime.session("a").ask("What is the weather in Rome?")
    assert reply.text == "Local: it rains."
    assert counted.runs == {"look_up Rome": 1}
    assert reply.trace.rounds == 2
    assert [(call.tool, call.state) for call in reply.trace.calls] == [("look_up", "finished")]


async def test_the_transcript_has_the_calls_and_the_next_turn_reads_them(tmp_path: Path) -> None:
    counted = Counted()
    local = agent(CallTool("send", '{"to": "Anna"}'), before="One moment. ", then="Sent.")
    async with open_scripted(
        tmp_path, local=local, own_tools=counted.tools, policy="local"
    ) as runtime:
        session = runtime.session("a")
        async with session.stream("Write to Anna.") as turn:
            texts = [str(text) async for text in turn.text()]
        assert texts[-1] == turn.reply.text == "One moment. \n\nSent."
    async with open_scripted(tmp_path, local=local, own_tools=counted.tools) as runtime:
        history = await runtime.session("a").history()
    assert [message.role for message in history] == ["user", "assistant", "tool", "assistant"]
    assert history[1].tool_calls[0].name == "send"
    assert history[2].tool_call_id == history[1].tool_calls[0].id
    assert "Sent to Anna." in history[2].content
    assert [message.content for message in history[1::2]] == ["One moment. ", "Sent."]


async def test_equal_calls_of_two_legs_run_once(tmp_path: Path) -> None:
    gate, counted = anyio.Event(), Counted()

    def held(request: GenerationRequest) -> list[Any]:
        if results(request):
            return ["It rains."]
        return [CallTool("look_up", '{"city": "Rome", "x": 1}'[:-9] + "}"), Wait(gate)]

    local = ScriptedEngine(reply=lambda request: held(request)[:1])
    api = ScriptedEngine(reply=lambda request: held(request)[:1])
    gate.set()
    async with open_scripted(
        tmp_path, local=local, api=api, own_tools=counted.tools, policy="prefer"
    ) as runtime:
        reply = await runtime.session("a").ask("Weather?")
    assert counted.runs == {"look_up Rome": 1}
    assert reply.text == "It rains."


async def test_a_read_call_begins_before_its_leg_has_committed(tmp_path: Path) -> None:
    """The local leg is held for two seconds, and its call has begun by then."""
    started, counted = anyio.Event(), Counted()

    async def look_up(city: str) -> str:
        """Look a city up."""
        started.set()
        return await counted.look_up(city)

    local = agent(CallTool("look_up", '{"city": "Rome"}'), then="It rains.")

    def late(request: GenerationRequest) -> list[Any]:
        if results(request):
            return ["It rains."]
        return [Wait(started), CallTool("look_up", '{"city":"Rome"}')]

    api = ScriptedEngine(reply=late)
    tools = [vanta.tool(effect="read")(look_up)]
    async with open_scripted(
        tmp_path, local=local, api=api, own_tools=tools, policy="prefer", deadline_s=30
    ) as runtime:
        reply = await runtime.session("a").ask("Weather?")
    assert counted.runs == {"look_up Rome": 1}
    assert [call.shared for call in reply.trace.calls] == [True]


async def test_a_write_call_waits_for_the_commit(tmp_path: Path) -> None:
    """The local leg's call is dropped with the leg: only the committed leg's runs."""
    counted = Counted()
    local = agent(CallTool("send", '{"to": "Local"}'))
    api = agent(CallTool("send", '{"to": "Api"}'))
    async with open_scripted(
        tmp_path, local=local, api=api, own_tools=counted.tools, policy="prefer"
    ) as runtime:
        reply = await runtime.session("a").ask("Send it.")
    assert counted.runs == {"send Api": 1}
    assert reply.track == "api"


async def test_a_track_that_breaks_after_its_call_is_taken_over_with_the_result(
    tmp_path: Path,
) -> None:
    counted = Counted()

    def breaks(request: GenerationRequest) -> list[Any]:
        if results(request):
            return [Fail(ErrorKind.SERVER)]
        return [CallTool("send", '{"to": "Anna"}', id="x1")]

    def takes_over(request: GenerationRequest) -> list[Any]:
        return [f"It says: {results(request)}"]

    local, api = ScriptedEngine(reply=breaks), ScriptedEngine(reply=takes_over)
    async with open_scripted(
        tmp_path, local=local, api=api, own_tools=counted.tools, policy="cascade", retries=0
    ) as runtime:
        reply = await runtime.session("a").ask("Send it.")
    assert counted.runs == {"send Anna": 1}
    assert reply.track == "api"
    assert "Sent to Anna." in reply.text


async def test_at_the_limit_of_rounds_the_model_answers_without_tools(tmp_path: Path) -> None:
    def forever(request: GenerationRequest) -> list[Any]:
        number = len(results(request))
        return [CallTool("send", f'{{"to": "{number}"}}')] if request.tools else ["Enough."]

    counted = Counted()
    local = ScriptedEngine(reply=forever)
    config: Mapping[str, Any] = {"tools": {"max_rounds": 3}}
    async with open_scripted(
        tmp_path, local=local, own_tools=counted.tools, policy="local", config=dict(config)
    ) as runtime:
        reply = await runtime.session("a").ask("Go on.")
    assert reply.text == "Enough."
    assert reply.trace.limit == "max_rounds"
    assert reply.trace.rounds == 3
    assert counted.runs == {"send 0": 1, "send 1": 1}


async def test_at_the_limit_of_calls_the_rest_does_not_run(tmp_path: Path) -> None:
    def many(request: GenerationRequest) -> list[Any]:
        if not request.tools:
            return ["Enough."]
        return [CallTool("send", f'{{"to": "{n}"}}', id=f"c{n}") for n in range(40)]

    counted = Counted()
    config: dict[str, Any] = {"tools": {"max_calls": 2}}
    local = ScriptedEngine(reply=many)
    async with open_scripted(
        tmp_path, local=local, own_tools=counted.tools, policy="local", config=config
    ) as runtime:
        reply = await runtime.session("a").ask("Go on.")
    assert sum(counted.runs.values()) == 2
    assert reply.trace.limit == "max_calls"
    assert Counter(call.state for call in reply.trace.calls) == {"finished": 2, "refused": 38}


async def test_a_wrong_call_is_corrected_at_most_twice(tmp_path: Path) -> None:
    counted = Counted()
    seen: list[list[str]] = []

    def wrong(request: GenerationRequest) -> list[Any]:
        seen.append([tool.name for tool in request.tools])
        if "look_up" in seen[-1]:
            return [CallTool("look_up", '{"town": 1}')]
        return [str(len(results(request)))]

    local = ScriptedEngine(reply=wrong)
    async with open_scripted(
        tmp_path, local=local, own_tools=counted.tools, policy="local"
    ) as runtime:
        reply = await runtime.session("a").ask("Weather?")
    assert reply.text == "3"
    assert not counted.runs
    assert seen[-1] == ["send"]
    assert {call.state for call in reply.trace.calls} == {"refused"}


async def test_an_unknown_tool_is_a_result_that_names_the_nearest(tmp_path: Path) -> None:
    def reply_to(request: GenerationRequest) -> list[Any]:
        return results(request) or [CallTool("lookup", "{}")]

    async with open_scripted(
        tmp_path, local=ScriptedEngine(reply=reply_to), own_tools=Counted().tools, policy="local"
    ) as runtime:
        reply = await runtime.session("a").ask("Weather?")
    assert "look_up" in reply.text


async def test_what_a_rule_denies_is_read_by_the_model(tmp_path: Path) -> None:
    counted = Counted()
    local = ScriptedEngine(
        reply=lambda request: results(request) or [CallTool("send", '{"to": "Anna"}')]
    )
    config: dict[str, Any] = {"tools": {"deny": ["program.send"]}}
    async with open_scripted(
        tmp_path, local=local, own_tools=counted.tools, policy="local", config=config
    ) as runtime:
        reply = await runtime.session("a").ask("Send it.")
        (denied,) = await runtime.journal.list()
    assert not counted.runs
    assert "program.send" in reply.text
    assert [call.state for call in reply.trace.calls] == ["denied"]
    assert (denied.state, denied.tool, denied.reason) == (
        "denied",
        "send",
        "tools.deny 'program.send'",
    )


@pytest.mark.parametrize(
    ("answer", "runs"),
    [(True, 1), (False, 0), (vanta.Approval(approved=False, reason="Not today."), 0)],
)
async def test_a_person_is_asked_and_the_deadline_stands_still(
    answer: Any, runs: int, tmp_path: Path
) -> None:
    counted = Counted()
    asked: list[vanta.ApprovalRequest] = []

    async def approve(request: vanta.ApprovalRequest) -> Any:
        asked.append(request)
        await anyio.sleep(1.2)  # longer than the deadline, which does not run meanwhile
        return answer

    local = ScriptedEngine(
        reply=lambda request: results(request) or [CallTool("send", '{"to": "Anna"}')]
    )
    config: dict[str, Any] = {"tools": {"ask": ["program.send"]}}
    async with open_scripted(
        tmp_path,
        local=local,
        own_tools=counted.tools,
        policy="local",
        config=config,
        approve=approve,
        deadline_s=1.0,
    ) as runtime:
        reply = await runtime.session("a").ask("Send it.")
    assert sum(counted.runs.values()) == runs
    assert [(request.tool, request.arguments) for request in asked] == [("send", {"to": "Anna"})]
    if isinstance(answer, vanta.Approval):
        assert "Not today." in reply.text


async def test_without_a_handler_what_would_be_asked_is_denied(tmp_path: Path) -> None:
    counted = Counted()
    local = ScriptedEngine(
        reply=lambda request: results(request) or [CallTool("send", '{"to": "Anna"}')]
    )
    config: dict[str, Any] = {"tools": {"ask": ["program.send"]}}
    async with open_scripted(
        tmp_path, local=local, own_tools=counted.tools, policy="local", config=config
    ) as runtime:
        reply = await runtime.session("a").ask("Send it.")
    assert not counted.runs
    assert "approval" in reply.text


def secret() -> ToolResult:
    """Read the diary."""
    return ToolResult("The diary says: I love Zoe.", private=True)


async def test_a_private_result_reaches_private_tracks_alone(tmp_path: Path) -> None:
    tools = [vanta.tool(effect="read", private=True)(secret)]
    local = agent(CallTool("secret"), then="It is about love.")
    api = agent(CallTool("secret"), then="never")
    config: dict[str, Any] = {"tools": {"rounds": "race"}}
    async with open_scripted(
        tmp_path, local=local, api=api, own_tools=tools, policy="race", config=config
    ) as runtime:
        reply = await runtime.session("a").ask("What does it say?")
        assert reply.text == "It is about love."
        assert reply.trace.private
        again = await runtime.session("a").ask("And?", policy="api")
    assert all("Zoe" not in str(run.request) for run in api.runs)
    assert again.track == "api"


async def test_without_a_private_track_a_private_result_is_withheld(tmp_path: Path) -> None:
    tools = [vanta.tool(effect="read", private=True)(secret)]
    api = ScriptedEngine(reply=lambda request: results(request) or [CallTool("secret")])
    async with open_scripted(tmp_path, api=api, own_tools=tools, policy="api") as runtime:
        reply = await runtime.session("a").ask("What does it say?")
    assert "withheld" in reply.text
    assert all("Zoe" not in str(run.request) for run in api.runs)
    assert not reply.trace.private


async def test_a_long_result_is_read_in_pages(tmp_path: Path) -> None:
    lines = [f"line {number} of the long text" for number in range(2000)]

    def long() -> str:
        """Return much."""
        return "\n".join(lines)

    def reads(request: GenerationRequest) -> list[Any]:
        found = results(request)
        if not found:
            return [CallTool("long")]
        if len(found) == 1:
            assert "read_result" in [tool.name for tool in request.tools]
            return [CallTool("read_result", '{"result": "r1", "page": 2}')]
        return [found[1]]

    config: dict[str, Any] = {"tools": {"max_result_tokens": 200}}
    local = ScriptedEngine(reply=reads)
    tools = [vanta.tool(effect="read")(long)]
    async with open_scripted(
        tmp_path, local=local, own_tools=tools, policy="local", config=config
    ) as runtime:
        reply = await runtime.session("a").ask("Read it.")
    assert "page 2" in reply.text
    assert lines[0] not in reply.text


async def test_cancelling_a_turn_leaves_a_write_call_unknown(tmp_path: Path) -> None:
    running = anyio.Event()

    async def hang() -> str:
        """Never return."""
        running.set()
        await anyio.sleep_forever()
        return ""

    async with open_scripted(
        tmp_path, local=agent(CallTool("hang")), own_tools=[vanta.tool(hang)], policy="local"
    ) as runtime:
        async with anyio.create_task_group() as group:
            group.start_soon(runtime.session("a").ask, "Go.")
            await running.wait()
            group.cancel_scope.cancel()
        calls = await runtime.journal.list()
    assert [call.state for call in calls] == ["unknown"]


async def test_a_turn_can_choose_its_tools(tmp_path: Path) -> None:
    seen: list[tuple[list[str], str]] = []

    def reply_to(request: GenerationRequest) -> list[Any]:
        seen.append(([tool.name for tool in request.tools], request.tool_choice))
        return ["Hello."]

    async with open_scripted(
        tmp_path, local=ScriptedEngine(reply=reply_to), own_tools=Counted().tools, policy="local"
    ) as runtime:
        session = runtime.session("a")
        await session.ask("Hi", options=TurnOptions(tools=["send"], tool_choice="required"))
        await session.ask("Hi", options=TurnOptions(tools=[]))
        await session.ask("Hi", options=TurnOptions(tool_choice="none"))
    required = [(["send"], "required"), (["send"], "auto")]
    assert seen == [*required, ([], "auto"), ([], "auto")]


class Paid(vanta.FunctionToolset):
    """Functions that cost two cents a call."""

    async def tools(self) -> Sequence[vanta.Tool]:
        return [dataclasses.replace(tool, price_usd=0.02) for tool in await super().tools()]


async def test_a_tool_with_a_price_is_paid_for_and_held_by_the_cap(tmp_path: Path) -> None:
    counted = Counted()

    def sends(request: GenerationRequest) -> list[Any]:
        found = results(request)
        return [" ".join(found)] if found else [CallTool("send", '{"to": "Anna"}')]

    config: dict[str, Any] = {"budget": {"session_usd": 0.03}}
    local = ScriptedEngine(reply=sends)
    async with open_scripted(
        tmp_path,
        local=local,
        own_tools=[Paid("paid", [counted.send])],
        policy="local",
        config=config,
    ) as runtime:
        session = runtime.session("a")
        first, second = await session.ask("Send it."), await session.ask("Again.")
    assert first.cost_usd == pytest.approx(0.02)
    assert first.trace.calls[0].cost_usd == pytest.approx(0.02)
    assert [call.state for call in second.trace.calls] == ["denied"]
    assert counted.runs == {"send Anna": 1}


class NoOptions(BaseModel):
    """The options of a toolset that has none."""


class MailPlugin:
    """A plugin with a toolset, which a person is asked about unless a rule allows it."""

    def __init__(self, counted: Counted) -> None:
        self._counted = counted

    @vanta.hookimpl
    def vanta_toolsets(self) -> list[vanta.ToolsetFactory]:
        def create(_options: BaseModel, _context: vanta.ToolsetContext) -> vanta.Toolset:
            return vanta.FunctionToolset("mail", self._counted.tools)

        return [vanta.ToolsetFactory("mail", "mail", NoOptions, create)]


@pytest.mark.parametrize(("scope", "asked"), [("once", 3), ("session", 2), ("always", 1)])
async def test_an_approval_lasts_as_long_as_the_person_said(
    scope: Any, asked: int, tmp_path: Path
) -> None:
    """Two turns of one session, and one of another, after the process has ended."""
    counted, questions = Counted(), []

    async def approve(request: vanta.ApprovalRequest) -> vanta.Approval:
        questions.append(request.why)
        return vanta.Approval(approved=True, scope=scope)

    def sends(request: GenerationRequest) -> list[Any]:
        return results(request) or [CallTool("send", '{"to": "Anna"}')]

    config: dict[str, Any] = {"tools": {"use": ["mail"]}}
    for sessions in (["a", "a"], ["b"]):
        async with open_scripted(
            tmp_path,
            local=ScriptedEngine(reply=sends),
            plugins=[MailPlugin(counted)],
            policy="local",
            config=config,
            approve=approve,
        ) as runtime:
            for session in sessions:
                await runtime.session(session).ask("Send it.")
    assert counted.runs == {"send Anna": 3}
    assert len(questions) == asked


async def test_a_private_turn_calls_no_tool_that_leaves_the_machine(tmp_path: Path) -> None:
    counted = Counted()
    config: dict[str, Any] = {"tools": {"mode": "allow"}}
    local = ScriptedEngine(
        reply=lambda request: results(request) or [CallTool("send", '{"to": "Anna"}')]
    )
    async with open_scripted(
        tmp_path, local=local, own_tools=counted.tools, policy="local", config=config
    ) as runtime:
        reply = await runtime.session("a").ask("Send it.", private=True)
    assert not counted.runs
    assert "privacy" in reply.text
