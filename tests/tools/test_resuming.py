"""A turn that waits for a person outlives its process, and is resumed once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

import vanta
from tests.memory.home import bytes_in
from tests.pictures import picture
from tests.runtime.home import open_scripted
from tests.tools.test_rounds import Counted, results
from tests.tools.test_stream_approvals import ASK, opened, sending
from vanta import (
    ApprovalError,
    ApprovalPending,
    ApprovalRequested,
    Event,
    GenerationRequest,
    ToolResult,
    TurnFailed,
    TurnOptions,
    TurnResumed,
)
from vanta.testing import CallTool, ScriptedEngine
from vanta.testing.scripted import ALL

pytestmark = pytest.mark.anyio

PARK = TurnOptions(approvals="park")


async def follow(turn: AsyncIterable[Event], seen: list[Event]) -> None:
    """Take all events of a turn."""
    async for event in turn:
        seen.append(event)  # noqa: PERF401 - what came before an error counts


async def first_question(turn: AsyncIterable[Event]) -> ApprovalRequested:
    """Take events until a call asks."""
    async for event in turn:
        if isinstance(event, ApprovalRequested):
            return event
    raise AssertionError("no call asked")


async def parked_in(runtime: vanta.Runtime, text: str = "Send it.") -> ApprovalPending:
    """Run a turn until it is parked."""
    with pytest.raises(ApprovalPending) as caught:
        await runtime.session("a").ask(text, options=PARK)
    return caught.value


async def test_a_turn_that_waited_too_long_has_expired_and_runs_nothing(tmp_path: Path) -> None:
    counted = Counted()
    short = {"tools": {**ASK["tools"], "approvals_expire_s": 1e-6}}
    async with opened(tmp_path, counted) as runtime:
        pending = await parked_in(runtime)
        assert [turn.turn for turn in await runtime.parked.list()] == [pending.turn_id]
    async with open_scripted(
        tmp_path, local=sending(), own_tools=counted.tools, policy="local", config=short
    ) as runtime:
        with pytest.raises(ApprovalError, match="has expired: it waited"):
            await runtime.resume(pending.turn_id, approve=pending.calls)
        assert await runtime.parked.list() == []
        (record,) = await runtime.store.records(limit=1)
        assert (record["status"], record["trace"]["status"]) == ("expired", "expired")
        assert (await runtime.session("a").ask("Hello?")).text
    assert not counted.runs


async def test_a_caller_who_does_not_wait_resumes_the_turn_later(tmp_path: Path) -> None:
    counted = Counted()
    async with opened(tmp_path, counted) as runtime:
        pending = await parked_in(runtime)
        assert not counted.runs
        assert await runtime.session("a").history() == []
    async with opened(tmp_path, counted) as runtime:
        (key,) = pending.calls
        reply = await runtime.resume(pending.turn_id, approve=[key])
        history = await runtime.session("a").history()
        (call,) = await runtime.journal.list()
        assert await runtime.parked.list() == []
    assert counted.runs == {"send Anna": 1}
    assert "Sent to Anna." in reply.text
    assert [message.role for message in history] == ["user", "assistant", "tool", "assistant"]
    assert (call.key, call.state, call.turn) == (key, "finished", pending.turn_id)
    assert reply.trace.turn_id == pending.turn_id
    assert [(leg.leg, leg.round) for leg in reply.trace.legs] == [(0, 0), (1, 1)]
    assert reply.trace.rounds == 2


async def test_a_parked_turn_keeps_the_image_of_its_message(tmp_path: Path) -> None:
    counted, cat = Counted(), picture()
    sees = replace(ALL, images=True)
    asked = [CallTool("send", '{"to": "Anna"}', id="c1")]
    first = ScriptedEngine(*asked, capabilities=sees)
    given: dict[str, Any] = {"own_tools": counted.tools, "policy": "local"}
    async with open_scripted(tmp_path, local=first, config=dict(ASK), **given) as runtime:
        with pytest.raises(ApprovalPending) as caught:
            await runtime.session("a").ask(["Send this.", cat], options=PARK)
    engine = ScriptedEngine(reply=lambda r: results(r) or asked, capabilities=sees)
    async with open_scripted(tmp_path, local=engine, config=dict(ASK), **given) as runtime:
        await runtime.resume(caught.value.turn_id, approve=caught.value.calls)
        history = await runtime.session("a").history()
    assert history[0].parts == ("Send this.", cat)
    assert engine.requests[0].messages[-3].parts == ("Send this.", cat)


async def test_a_denial_is_read_by_the_model_when_the_turn_goes_on(tmp_path: Path) -> None:
    counted = Counted()
    async with opened(tmp_path, counted) as runtime:
        pending = await parked_in(runtime)
        await runtime.parked.deny(pending.calls[0], "Not to Anna.")
        reply = await runtime.resume(pending.turn_id)
    assert not counted.runs
    assert "A person denied it. Not to Anna." in reply.text


async def test_without_a_decision_the_turn_stays_parked(tmp_path: Path) -> None:
    counted = Counted()
    async with opened(tmp_path, counted) as runtime:
        pending = await parked_in(runtime)
        for _ in range(2):
            with pytest.raises(ApprovalPending) as caught:
                await runtime.resume(pending.turn_id)
            assert caught.value.calls == pending.calls
        assert (await runtime.resume(pending.turn_id, approve=pending.calls)).text
    assert counted.runs == {"send Anna": 1}


async def test_what_is_not_decided_is_asked_of_the_handler(tmp_path: Path) -> None:
    counted, asked = Counted(), list[str]()

    async def approve(request: vanta.ApprovalRequest) -> bool:
        asked.append(request.key)
        return True

    async with opened(tmp_path, counted) as runtime:
        pending = await parked_in(runtime)
    async with opened(tmp_path, counted, approve=approve) as runtime:
        with pytest.raises(ApprovalPending):  # as its caller chose when it began
            await runtime.resume(pending.turn_id)
        await runtime.resume(pending.turn_id, approvals="wait")
    assert (len(asked), dict(counted.runs)) == (1, {"send Anna": 1})


@pytest.mark.parametrize("leaving", ["cancel", "leave", "close"])
async def test_a_turn_that_ends_while_it_waits_is_kept(leaving: str, tmp_path: Path) -> None:
    counted, asked = Counted(), anyio.Event()

    async def approve(_request: vanta.ApprovalRequest) -> bool:
        asked.set()
        await anyio.sleep_forever()
        return True

    async def ask(session: vanta.Session) -> None:
        with pytest.raises(vanta.RunError, match="runtime was closed"):
            await session.ask("Send it.")

    async with (
        anyio.create_task_group() as tasks,
        opened(tmp_path, counted, approve=approve, deadline_s=50) as runtime,
    ):
        session = runtime.session("a")
        if leaving == "leave":
            async with session.stream("Send it.") as turn:
                await first_question(turn)
        else:
            tasks.start_soon(ask, session)
            await asked.wait()
            if leaving == "cancel":
                tasks.cancel_scope.cancel()
    async with opened(tmp_path, counted) as runtime:
        (parked,) = await runtime.parked.list()
        assert parked.holder is None
        reply = await runtime.resume(parked.turn, approve=[parked.calls[0].key])
        (record,) = await runtime.store.records()
    assert counted.runs == {"send Anna": 1}
    assert (record["id"], record["status"]) == (reply.trace.turn_id, "answered")


CHILD = """
import sys
from pathlib import Path
import anyio, vanta
from tests.runtime.home import open_scripted
from vanta.testing import CallTool, ScriptedEngine

home = Path(sys.argv[1])

@vanta.tool
async def send(to: str) -> str:
    "Send a message."
    raise RuntimeError("never")

async def approve(request):
    print(request.turn, request.key, flush=True)
    await anyio.sleep_forever()

async def main() -> None:
    engine = ScriptedEngine(CallTool("send", '{"to": "Anna"}', id="first"))
    config = {"tools": {"ask": ["program.send"]}}
    async with open_scripted(
        home, local=engine, own_tools=[send], policy="local", config=config, approve=approve
    ) as runtime:
        await runtime.session("a").ask("Send it.", deadline_s=600)

anyio.run(main, backend=sys.argv[2])
"""


def started_child(home: Path, backend: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(home), backend],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


async def test_a_killed_process_leaves_its_question_and_no_other_resumes_it_before(
    tmp_path: Path, anyio_backend: str
) -> None:
    with started_child(tmp_path, anyio_backend) as child:
        assert child.stdout is not None
        turn, key = child.stdout.readline().split()

        @vanta.tool
        async def send(to: str) -> str:
            """Send a message."""
            return await counted.send(to)

        counted = Counted()
        async with open_scripted(
            tmp_path, local=sending(), own_tools=[send], policy="local", config=dict(ASK)
        ) as runtime:
            with pytest.raises(ApprovalError, match="waits in process"):
                await runtime.resume(turn, approve=[key])
            child.send_signal(signal.SIGKILL)
            child.wait()
            reply = await runtime.resume(turn, approve=[key])
            with pytest.raises(ApprovalError, match=f"no turn '{turn}' waits"):
                await runtime.resume(turn)
    assert counted.runs == {"send Anna": 1}
    assert "Sent to Anna." in reply.text


async def test_of_two_runtimes_that_resume_one_turn_one_does(tmp_path: Path) -> None:
    counted, outcomes = Counted(), list[str]()
    async with opened(tmp_path, counted) as first, opened(tmp_path, counted) as second:
        pending = await parked_in(first)
        await first.parked.approve(pending.calls[0])

        async def resume(runtime: vanta.Runtime) -> None:
            try:
                outcomes.append((await runtime.resume(pending.turn_id)).text)
            except ApprovalError as error:
                outcomes.append(str(error))

        async with anyio.create_task_group() as tasks:
            for runtime in (first, second, first, second):
                tasks.start_soon(resume, runtime)
    assert counted.runs == {"send Anna": 1}
    assert sum("Sent to Anna." in outcome for outcome in outcomes) == 1
    assert all("turn" in outcome for outcome in outcomes if "Sent" not in outcome)


async def test_an_approval_of_a_tool_that_has_changed_asks_again(tmp_path: Path) -> None:
    counted = Counted()
    async with opened(tmp_path, counted) as runtime:
        pending = await parked_in(runtime)
        await runtime.parked.approve(pending.calls[0])

    @vanta.tool
    async def send(to: str) -> str:
        """Send a message, with a copy to the whole company."""
        return await counted.send(to)

    async with open_scripted(
        tmp_path, local=sending(), own_tools=[send], policy="local", config=dict(ASK)
    ) as runtime:
        with pytest.raises(ApprovalPending):
            await runtime.resume(pending.turn_id)
        assert not counted.runs
        await runtime.resume(pending.turn_id, approve=pending.calls)
    assert counted.runs == {"send Anna": 1}


async def test_a_rule_that_denies_by_now_beats_an_approval(tmp_path: Path) -> None:
    counted = Counted()
    async with opened(tmp_path, counted) as runtime:
        pending = await parked_in(runtime)
        await runtime.parked.approve(pending.calls[0])
    config: dict[str, Any] = {"tools": {"deny": ["program.send"]}}
    async with open_scripted(
        tmp_path, local=sending(), own_tools=counted.tools, policy="local", config=config
    ) as runtime:
        reply = await runtime.resume(pending.turn_id)
        assert await runtime.parked.list() == []
    assert not counted.runs
    assert "tools.deny 'program.send'" in reply.text


async def test_without_its_tools_a_turn_stays_parked(tmp_path: Path) -> None:
    counted = Counted()
    async with opened(tmp_path, counted) as runtime:
        pending = await parked_in(runtime)
    async with open_scripted(tmp_path, local=sending(), policy="local") as runtime:
        with pytest.raises(vanta.UsageError, match="none is on now"):
            await runtime.resume(pending.turn_id, approve=pending.calls)
    async with opened(tmp_path, counted) as runtime:
        await runtime.resume(pending.turn_id)
    assert counted.runs == {"send Anna": 1}


async def test_the_session_is_usable_meanwhile_and_the_resumed_turn_comes_after(
    tmp_path: Path,
) -> None:
    counted, seen = Counted(), list[list[str]]()

    def reply(request: GenerationRequest) -> Sequence[Any]:
        seen.append([message.content for message in request.messages if message.role == "user"])
        if "Send" in request.messages[-1].content:
            return [CallTool("send", '{"to": "Anna"}')]
        return results(request) or ["Hello."]

    async with open_scripted(
        tmp_path,
        local=ScriptedEngine(reply=reply),
        own_tools=counted.tools,
        policy="local",
        config=dict(ASK),
    ) as runtime:
        session = runtime.session("a")
        pending = await parked_in(runtime)
        assert (await session.ask("Hello?")).text == "Hello."
        await runtime.resume(pending.turn_id, approve=pending.calls)
        said = [message.content for message in await session.history() if message.role == "user"]
    assert said == ["Hello?", "Send it."]
    assert seen == [["Send it."], ["Hello?"], ["Hello?", "Send it."]]


async def test_calls_of_earlier_rounds_are_neither_repeated_nor_reported_as_cut_off(
    tmp_path: Path,
) -> None:
    counted, seen = Counted(), list[list[str]]()

    @vanta.tool
    async def note(text: str) -> str:
        """Note something."""
        counted.runs[f"note {text}"] += 1
        return "noted"

    def reply(request: GenerationRequest) -> Sequence[Any]:
        roles: list[str] = [message.role for message in request.messages]
        if request.messages[-1].content.startswith("Hello"):
            seen.append(roles)
            return ["Hello."]
        read = results(request)
        if not read:
            return ["First. ", CallTool("note", '{"text": "x"}')]
        return ["Then. ", CallTool("send", '{"to": "Anna"}')] if len(read) == 1 else ["Done."]

    async with open_scripted(
        tmp_path,
        local=ScriptedEngine(reply=reply),
        own_tools=[*counted.tools, note],
        policy="local",
        config=dict(ASK),
    ) as runtime:
        pending = await parked_in(runtime)
        await runtime.session("a").ask("Hello?")
        async with runtime.resume_stream(pending.turn_id, approve=pending.calls) as turn:
            texts = [str(text) async for text in turn.text()]
    assert seen == [["system", "user"]]
    assert counted.runs == {"note x": 1, "send Anna": 1}
    assert texts[0] == "First. \n\nThen. "
    assert texts[-1] == turn.reply.text == "First. \n\nThen. \n\nDone."
    assert [call.tool for call in turn.reply.trace.calls] == ["note", "send"]


async def test_the_stream_of_a_resumed_turn_decides_too(tmp_path: Path) -> None:
    counted = Counted()
    async with opened(tmp_path, counted) as runtime:
        async with runtime.session("a").stream("Send it.") as turn:
            await first_question(turn)
        (parked,) = await runtime.parked.list()
        async with runtime.resume_stream(parked.turn) as turn:
            events = []
            async for event in turn:
                events.append(event)
                if isinstance(event, ApprovalRequested):
                    await turn.approve(event)
    assert any(isinstance(event, TurnResumed) for event in events)
    assert counted.runs == {"send Anna": 1}


async def test_a_parked_turn_ends_with_an_event_and_a_record(tmp_path: Path) -> None:
    async with opened(tmp_path, Counted()) as runtime:
        events: list[Event] = []
        async with runtime.session("a").stream("Send it.", options=PARK) as turn:
            with pytest.raises(ApprovalPending):
                await follow(turn, events)
        (record,) = await runtime.store.records()
    assert isinstance(events[-1], TurnFailed)
    assert (events[-1].trace.status, record["status"]) == ("parked", "parked")


async def test_a_turn_is_resumed_as_private_as_it_was(tmp_path: Path) -> None:
    """The private result of an earlier round keeps the api track away after a restart, too."""
    counted, asked = Counted(), list[str]()

    @vanta.tool(effect="read", private=True)
    async def secret() -> ToolResult:
        """Read the diary."""
        return ToolResult("I love Zoe.", private=True)

    def local(request: GenerationRequest) -> Sequence[Any]:
        read = results(request)
        return (
            [CallTool("secret")]
            if not read
            else [CallTool("send", '{"to": "Anna"}')][len(read) - 1 :] or ["Done."]
        )

    def api(request: GenerationRequest) -> Sequence[Any]:
        asked.append(" ".join(message.content for message in request.messages))
        return ["From afar."]

    def runtime_of() -> Any:
        return open_scripted(
            tmp_path,
            local=ScriptedEngine(reply=local),
            api=ScriptedEngine(reply=api),
            own_tools=[*counted.tools, secret],
            policy="cascade",
            config={"tools": {"rounds": "race", "ask": ["program.send"]}},
        )

    async with runtime_of() as runtime:
        pending = await parked_in(runtime)
        (parked,) = await runtime.parked.list()
        assert parked.private
    async with runtime_of() as runtime:
        (call,) = parked.calls
        assert "privacy of the turn" in call.why or "program.send" in call.why
        reply = await runtime.resume(pending.turn_id, approve=pending.calls)
    assert reply.trace.private
    assert not any("Zoe" in text for text in asked)
    assert counted.runs == {"send Anna": 1}


async def test_clearing_the_conversation_removes_the_parked_turn(tmp_path: Path) -> None:
    async with opened(tmp_path, Counted()) as runtime:
        pending = await parked_in(runtime, "Send it to Zanzibarquay.")
        assert bytes_in(tmp_path, b"Zanzibarquay")
        await runtime.session("a").clear()
        with pytest.raises(ApprovalError, match="was removed"):
            await runtime.resume(pending.turn_id)


async def test_a_turn_whose_conversation_is_cleared_while_it_waits_runs_nothing(
    tmp_path: Path,
) -> None:
    counted = Counted()
    async with opened(tmp_path, counted) as runtime, opened(tmp_path, counted) as other:
        async with runtime.session("a").stream("Send it.") as turn:
            asked = await first_question(turn)
            await other.session("a").clear()
            await turn.approve(asked)
            with pytest.raises(ApprovalError, match="removed from the store while it waited"):
                await follow(turn, [])
        (record,) = await runtime.store.records()
    assert not counted.runs
    assert record["status"] == "failed"


def test_a_program_without_an_event_loop_resumes_too(tmp_path: Path) -> None:
    counted = Counted()
    with opened(tmp_path, counted) as runtime:
        with pytest.raises(ApprovalPending) as caught:
            runtime.session("a").ask("Send it.", options=PARK)
        (parked,) = runtime.parked.list()
        runtime.parked.approve(parked.calls[0].key)
        assert "Sent to Anna." in runtime.resume(caught.value.turn_id).text
    assert counted.runs == {"send Anna": 1}


RESUMING = """
import sys
from pathlib import Path
import anyio, vanta
from tests.runtime.home import open_scripted
from tests.tools.test_rounds import results
from vanta.testing import CallTool, ScriptedEngine

home, turn, hangs = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "hangs"

@vanta.tool
async def send(to: str) -> str:
    "Send a message."
    with (home / "sent").open("a") as file:
        file.write(f"{to}\\n")
    print("running", flush=True)
    if hangs:
        await anyio.sleep_forever()
    return "Sent."

async def main() -> None:
    call = CallTool("send", '{"to": "Anna"}', id="first")
    engine = ScriptedEngine(reply=lambda request: results(request) or [call])
    config = {"tools": {"ask": ["program.send"]}}
    async with open_scripted(
        home, local=engine, own_tools=[send], policy="local", config=config
    ) as runtime:
        print("ready", flush=True)
        sys.stdin.readline()
        try:
            await runtime.resume(turn)
            print("done", flush=True)
        except vanta.ApprovalError as error:
            print(f"refused: {error}", flush=True)

anyio.run(main, backend=sys.argv[4])
"""


def resuming(home: Path, pending: ApprovalPending, how: str, backend: str) -> subprocess.Popen[str]:
    """Start a process that resumes a turn once it reads a line."""
    child = subprocess.Popen(
        [sys.executable, "-c", RESUMING, str(home), pending.turn_id, how, backend],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


async def parked_for_processes(home: Path) -> ApprovalPending:
    """Park a turn whose tool is that of the processes, and approve its call."""

    @vanta.tool
    async def send(to: str) -> str:
        """Send a message."""
        raise AssertionError(to)

    async with open_scripted(
        home, local=sending(), own_tools=[send], policy="local", config=dict(ASK)
    ) as runtime:
        pending = await parked_in(runtime)
        await runtime.parked.approve(pending.calls[0])
    return pending


async def test_of_several_processes_that_resume_one_turn_at_once_one_does(
    tmp_path: Path, anyio_backend: str
) -> None:
    pending = await parked_for_processes(tmp_path)
    children = [resuming(tmp_path, pending, "ends", anyio_backend) for _ in range(3)]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    outcomes = [child.communicate()[0] for child in children]
    assert (tmp_path / "sent").read_text().splitlines() == ["Anna"]
    assert sum("done\n" in outcome for outcome in outcomes) == 1
    assert sum("refused: " in outcome for outcome in outcomes) == 2


async def test_a_process_that_is_killed_while_the_approved_call_runs_leaves_it_unknown(
    tmp_path: Path, anyio_backend: str
) -> None:
    pending = await parked_for_processes(tmp_path)
    with resuming(tmp_path, pending, "hangs", anyio_backend) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write("go\n")
        child.stdin.flush()
        assert child.stdout.readline() == "running\n"
        child.send_signal(signal.SIGKILL)
    async with opened(tmp_path, Counted()) as runtime:
        with pytest.raises(ApprovalError, match="no turn"):
            await runtime.resume(pending.turn_id)
        await runtime.journal.abandoned()
        (call,) = await runtime.journal.list()
    assert (call.key, call.state) == (pending.calls[0], "unknown")
    assert (tmp_path / "sent").read_text().splitlines() == ["Anna"]


async def test_a_turn_with_a_typed_answer_asks_and_is_not_kept(tmp_path: Path) -> None:
    counted = Counted()

    async def approve(_request: vanta.ApprovalRequest) -> bool:
        assert await runtime.parked.list() == []
        return True

    def reply(request: GenerationRequest) -> Sequence[Any]:
        return ['{"answer": 7}'] if results(request) else [CallTool("send", '{"to": "Anna"}')]

    async with open_scripted(
        tmp_path,
        local=ScriptedEngine(reply=reply),
        own_tools=counted.tools,
        policy="local",
        config=dict(ASK),
        approve=approve,
    ) as runtime:
        answer = await runtime.session("a").ask("Send it. How many?", output=int)
    assert answer.output == 7
    assert counted.runs == {"send Anna": 1}


async def test_a_parked_turn_that_replaces_another_one_does_so_when_it_is_resumed(
    tmp_path: Path,
) -> None:
    counted = Counted()
    async with opened(tmp_path, counted) as runtime:
        first = await parked_in(runtime)
        await runtime.resume(first.turn_id, approve=first.calls)
        with pytest.raises(ApprovalPending) as caught:
            await runtime.session("a").edit(first.turn_id, "Send it again.", PARK)
        assert len(await runtime.session("a").branches()) == 1
    async with opened(tmp_path, counted) as runtime:
        session = runtime.session("a")
        await runtime.resume(caught.value.turn_id, approve=caught.value.calls)
        said = [message.content for message in await session.history() if message.role == "user"]
        main, edited = await session.branches()
    assert said == ["Send it again."]
    assert (main.replaced, edited.active, edited.replaces) == (True, True, first.turn_id)
