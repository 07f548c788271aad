"""Calls that ask are decided by the program that iterates the turn, by a handler, or elsewhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import BaseModel

import vanta
from tests.runtime.home import open_scripted
from tests.tools.test_rounds import Counted, results
from vanta import ApprovalError, ApprovalRequested, CallFinished, TurnOptions
from vanta.api import Opening
from vanta.testing import CallTool, ScriptedEngine

pytestmark = pytest.mark.anyio

ASK: Mapping[str, Any] = {"tools": {"ask": ["program.send"]}}
WAIT = TurnOptions(approvals="wait")


def sending(*calls: CallTool) -> ScriptedEngine:
    """Return an engine that sends to Anna, and answers with what the calls said."""
    asked = list(calls) or [CallTool("send", '{"to": "Anna"}', id="c1")]
    return ScriptedEngine(reply=lambda request: results(request) or asked)


def opened(folder: Path, counted: Counted, *calls: CallTool, **more: Any) -> Opening:
    """Return a runtime whose tool `send` asks."""
    return open_scripted(
        folder,
        local=sending(*calls),
        own_tools=counted.tools,
        policy="local",
        config=dict(ASK),
        **more,
    )


async def test_a_program_approves_while_it_iterates_the_turn(tmp_path: Path) -> None:
    counted = Counted()
    async with (
        opened(tmp_path, counted) as runtime,
        runtime.session("a").stream("Send it.") as turn,
    ):
        async for event in turn:
            if isinstance(event, ApprovalRequested):
                assert (event.tool, event.arguments) == ("program.send", '{"to":"Anna"}')
                await turn.approve(event)
    assert counted.runs == {"send Anna": 1}
    assert "Sent to Anna." in turn.reply.text


async def test_a_program_denies_with_a_reason_that_the_model_reads(tmp_path: Path) -> None:
    counted = Counted()
    async with (
        opened(tmp_path, counted) as runtime,
        runtime.session("a").stream("Send it.") as turn,
    ):
        async for event in turn:
            if isinstance(event, ApprovalRequested):
                await turn.deny(event.key, "Not on Sundays.")
    assert not counted.runs
    assert "A person denied it. Not on Sundays." in turn.reply.text


@pytest.mark.parametrize("texts", [True, False])
async def test_a_program_that_knows_nothing_of_approvals_is_not_held_up(
    texts: bool, tmp_path: Path
) -> None:
    counted = Counted()
    async with (
        opened(tmp_path, counted) as runtime,
        runtime.session("a").stream("Send it.") as turn,
    ):
        items = [item async for item in (turn.text() if texts else turn)]
        assert items
        assert await runtime.parked.list() == []
    assert not counted.runs
    assert "it needs a person's approval (tools.ask 'program.send')" in turn.reply.text


async def test_a_waiting_turn_is_approved_by_another_task(tmp_path: Path) -> None:
    counted, keys = Counted(), list[str]()
    asked = anyio.Event()

    async def approve_later(turn: vanta.TurnStream) -> None:
        await asked.wait()
        await turn.approve(keys[0])

    async with (
        opened(tmp_path, counted, deadline_s=30) as runtime,
        runtime.session("a").stream("Send it.", options=WAIT) as turn,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(approve_later, turn)
        async for event in turn:
            if isinstance(event, ApprovalRequested):
                keys.append(event.key)
                asked.set()
    assert counted.runs == {"send Anna": 1}


async def test_a_waiting_call_is_approved_through_the_store(tmp_path: Path) -> None:
    """As `vanta approvals approve` does in another process."""
    counted = Counted()
    async with (
        opened(tmp_path, counted, deadline_s=30) as runtime,
        runtime.session("a").stream("Send it.", options=WAIT) as turn,
    ):
        async for event in turn:
            if isinstance(event, ApprovalRequested):
                (parked,) = await runtime.parked.list()
                (call,) = parked.open_calls
                assert (call.name, call.arguments) == ("program.send", '{"to":"Anna"}')
                await runtime.parked.approve(call.key)
    assert counted.runs == {"send Anna": 1}


async def test_the_first_answer_counts_where_a_handler_hangs(tmp_path: Path) -> None:
    counted = Counted()
    cancelled = anyio.Event()

    async def approve(_request: vanta.ApprovalRequest) -> bool:
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()
        return False

    async with (
        opened(tmp_path, counted, approve=approve) as runtime,
        runtime.session("a").stream("Send it.") as turn,
    ):
        async for event in turn:
            if isinstance(event, ApprovalRequested):
                await turn.approve(event)
    assert cancelled.is_set()
    assert counted.runs == {"send Anna": 1}


def renamed(event: ApprovalRequested) -> ApprovalRequested:
    return dataclasses.replace(event, tool="program.other")


def with_arguments(event: ApprovalRequested) -> ApprovalRequested:
    return dataclasses.replace(event, arguments='{"to":"Bert"}')


WRONG: list[tuple[Callable[[ApprovalRequested], Any], str]] = [
    (lambda _event: "nope", "no call 'nope' of this turn waits; these do: "),
    (lambda _event: 7, "7 is not a call"),
    (renamed, "has changed"),
    (with_arguments, "has changed"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
async def test_a_decision_about_another_call_is_an_error(
    change: Callable[[ApprovalRequested], Any], message: str, tmp_path: Path
) -> None:
    counted = Counted()
    async with (
        opened(tmp_path, counted) as runtime,
        runtime.session("a").stream("Send it.") as turn,
    ):
        async for event in turn:
            if isinstance(event, ApprovalRequested):
                with pytest.raises(ApprovalError, match=message):
                    await turn.approve(change(event))
                with pytest.raises(ApprovalError, match="is not a question"):
                    await turn.answer(event, "yes")
                await turn.deny(event)
                with pytest.raises(ApprovalError, match="is denied already"):
                    await turn.approve(event)
            if isinstance(event, CallFinished):
                with pytest.raises(ApprovalError, match="is denied already"):
                    await turn.deny(event.key)
        with pytest.raises(ApprovalError, match="is denied already"):
            await turn.approve(turn.reply.trace.calls[0].key)
    assert not counted.runs


async def test_a_turn_that_was_left_at_its_question_says_where_the_call_waits(
    tmp_path: Path,
) -> None:
    counted = Counted()
    async with opened(tmp_path, counted) as runtime:
        async with runtime.session("a").stream("Send it.") as turn:
            async for event in turn:
                if isinstance(event, ApprovalRequested):
                    break
        assert isinstance(event, ApprovalRequested)
        with pytest.raises(ApprovalError, match="waits in the store"):
            await turn.approve(event)
        (parked,) = await runtime.parked.list()
        assert [call.key for call in parked.open_calls] == [event.key]
    assert not counted.runs


@pytest.mark.parametrize("scope", ["session", "always"])
async def test_a_scope_covers_the_calls_that_follow(scope: Any, tmp_path: Path) -> None:
    counted = Counted()
    async with open_scripted(
        tmp_path,
        local=sending(CallTool("send", '{"to": "A"}', id="1"), CallTool("send", '{"to": "B"}')),
        own_tools=[],
        plugins=[Mailing(counted)],
        policy="local",
        config={"tools": {"use": ["mailing"]}},
    ) as runtime:
        asked = 0
        for _ in range(2):
            async with runtime.session("a").stream("Send it.") as turn:
                async for event in turn:
                    if isinstance(event, ApprovalRequested):
                        asked += 1
                        await turn.approve(event, scope)
    assert asked == 1
    assert counted.runs == {"send A": 2, "send B": 2}


class Mailing:
    """A plugin whose toolset no rule allows."""

    def __init__(self, counted: Counted) -> None:
        self._counted = counted

    @vanta.hookimpl
    def vanta_toolsets(self) -> list[vanta.ToolsetFactory]:
        def create(_options: Any, _context: Any) -> vanta.FunctionToolset:
            return vanta.FunctionToolset("mailing", self._counted.tools)

        return [vanta.ToolsetFactory("mailing", "messages", NoOptions, create)]


class NoOptions(BaseModel):
    """No options."""


async def test_a_caller_may_have_all_questions_denied(tmp_path: Path) -> None:
    counted, asked = Counted(), list[Any]()

    async def approve(request: vanta.ApprovalRequest) -> bool:
        asked.append(request)
        return True

    async with opened(tmp_path, counted, approve=approve) as runtime:
        reply = await runtime.session("a").ask("Go.", options=TurnOptions(approvals="deny"))
    assert (asked, dict(counted.runs)) == ([], {})
    assert "approval" in reply.text


async def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(vanta.InvalidValue, match="'deny', 'wait' or 'park'"):
        TurnOptions(approvals="later")  # type: ignore[arg-type]


def test_a_program_without_an_event_loop_decides_too(tmp_path: Path) -> None:
    counted = Counted()
    with (
        opened(tmp_path, counted) as runtime,
        runtime.session("a").stream("Send it.") as turn,
    ):
        for event in turn:
            if isinstance(event, ApprovalRequested):
                turn.approve(event)
    assert counted.runs == {"send Anna": 1}
