"""Turns with tools under attack: late and half calls, losing legs, failed turns, odd answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import sniffio

import vanta
from tests.runtime.home import open_scripted
from tests.tools.test_rounds import Counted, Paid, agent, results
from vanta import ErrorKind, GenerationRequest, ToolResult, TurnOptions
from vanta.testing import CallTool, Fail, Finish, Hang, ScriptedEngine, Wait

pytestmark = pytest.mark.anyio


async def ask_with(
    folder: Path,
    script: Sequence[Any],
    tools: Sequence[Any],
    tables: Mapping[str, Any] | None = None,
) -> vanta.Reply:
    """Run a turn whose first round follows a script, and whose second says "Done."."""

    def reply(request: GenerationRequest) -> Sequence[Any]:
        return ["Done."] if results(request) else script

    config: dict[str, Any] = {"tools": dict(tables or {})}
    local = ScriptedEngine(reply=reply)
    async with open_scripted(
        folder, local=local, own_tools=tools, policy="local", config=config, deadline_s=2
    ) as runtime:
        return await runtime.session("a").ask("Go.")


async def test_a_leg_that_the_deadline_stopped_calls_nothing(tmp_path: Path) -> None:
    counted = Counted()
    script = ["One moment please.", CallTool("send", '{"to": "Late"}'), Hang()]
    reply = await ask_with(tmp_path, script, counted.tools)
    assert (reply.text, reply.finish_reason) == ("One moment please.", "deadline")
    assert not counted.runs


async def test_a_call_whose_arguments_were_cut_off_does_not_run(tmp_path: Path) -> None:
    runs: list[str] = []

    @vanta.tool
    def wipe(path: str = "/") -> str:
        """Delete a folder."""
        runs.append(path)
        return "gone"

    script = ["One moment please.", CallTool("wipe", ""), Finish("length")]
    reply = await ask_with(tmp_path, script, [wipe])
    assert not runs
    assert [call.state for call in reply.trace.calls] == ["refused"]


async def test_calls_that_only_read_are_limited_too(tmp_path: Path) -> None:
    counted = Counted()
    script = [CallTool("look_up", f'{{"city": "{n}"}}', id=f"c{n}") for n in range(40)]
    reply = await ask_with(tmp_path, script, counted.tools, {"max_calls": 2})
    assert sum(counted.runs.values()) == 2
    assert Counter(call.state for call in reply.trace.calls) == {"finished": 2, "refused": 38}


async def test_an_early_call_of_a_losing_leg_is_in_the_trace_and_on_the_bill(
    tmp_path: Path,
) -> None:
    counted, done = Counted(), anyio.Event()

    class Lookup(Paid):
        async def call(self, *given: Any) -> ToolResult:
            result = await super().call(*given)
            done.set()
            return result

    local = agent(CallTool("look_up", '{"city": "Rome"}'))
    api = ScriptedEngine(Wait(done), "The api answers.")
    paid = Lookup("paid", [counted.look_up])
    async with open_scripted(
        tmp_path, local=local, api=api, own_tools=[paid], policy="prefer", deadline_s=30
    ) as runtime:
        reply = await runtime.session("a").ask("Weather?")
    assert (reply.track, counted.runs) == ("api", {"look_up Rome": 1})
    assert reply.cost_usd == pytest.approx(0.02)


async def test_what_a_failed_turn_has_done_is_read_by_the_next_and_not_repeated(
    tmp_path: Path,
) -> None:
    counted = Counted()
    seen: list[str] = []

    def reply(request: GenerationRequest) -> list[Any]:
        seen.append(" ".join(message.content for message in request.messages))
        if results(request):
            return [Fail(ErrorKind.BAD_REQUEST)]
        sent = "Sent to Anna." in seen[-1]
        return ["It was sent."] if sent else [CallTool("send", '{"to": "Anna"}', id="1")]

    async with open_scripted(
        tmp_path, local=ScriptedEngine(reply=reply), own_tools=counted.tools, policy="local"
    ) as runtime:
        session = runtime.session("a")
        with pytest.raises(vanta.AllTracksFailed):
            await session.ask("Send it.")
        again = await session.ask("Send it.")
        await session.ask("Thanks.")
    assert again.text == "It was sent."
    assert counted.runs == {"send Anna": 1}
    assert seen[-1].count("and then the turn was cut off") == 1


async def test_private_calls_of_a_turn_that_was_cut_off_stay_private(tmp_path: Path) -> None:
    running = anyio.Event()

    @vanta.tool(private=True)
    async def hang(what: str) -> str:
        """Never return."""
        running.set()
        await anyio.sleep_forever()
        return what

    local = ScriptedEngine(
        scripts=[[CallTool("hang", '{"what": "SECRET-ZOE"}')], ["I do not know."]]
    )
    api = ScriptedEngine("The api.")
    async with open_scripted(tmp_path, local=local, api=api, own_tools=[hang]) as runtime:
        session = runtime.session("a")
        async with anyio.create_task_group() as group:
            group.start_soon(partial(session.ask, "Go.", policy="local", private=True))
            await running.wait()
            group.cancel_scope.cancel()
        second = await session.ask("Again.", policy="local")
        await session.ask("Third.", policy="api")
    assert second.trace.private
    assert "SECRET-ZOE" in str(local.runs[-1].request)
    assert all("SECRET-ZOE" not in str(run.request) for run in api.runs)


async def cut_off_private_write(
    folder: Path, later: Sequence[Any], **given: Any
) -> tuple[list[str], list[vanta.Reply], ScriptedEngine]:
    """Cut a private turn off after its write, then ask in turns that are not private."""
    sent: list[str] = []

    @vanta.tool(private=True)
    async def send(to: str) -> str:
        """Send a message."""
        sent.append(to)
        return f"Sent to {to}, reference BLUE-HERON."

    def fails(request: GenerationRequest) -> Sequence[Any]:
        done = results(request)
        return [Fail(ErrorKind.BAD_REQUEST)] if done else [CallTool("send", '{"to": "Zoe Quay"}')]

    api = ScriptedEngine(scripts=later)
    async with open_scripted(
        folder, local=ScriptedEngine(reply=fails), api=api, own_tools=[send], **given
    ) as runtime:
        session = runtime.session("a")
        with pytest.raises(vanta.AllTracksFailed):
            await session.ask("Send it.", policy="local", private=True)
        replies = [await session.ask("Go on.", policy="api") for _ in range(2)]
    return sent, replies, api


AGAIN = [CallTool("send", '{"to":  "Zoe Quay"}', id="again")]


async def test_a_private_write_is_known_to_a_later_turn_and_not_repeated(tmp_path: Path) -> None:
    """Without a person, an equal call is denied; the private text is not shown."""
    later = [AGAIN, ["I did not send it."], AGAIN, ["I still did not."]]
    sent, replies, api = await cut_off_private_write(tmp_path, later)
    assert sent == ["Zoe Quay"]
    states = [call.state for reply in replies for call in reply.trace.calls]
    assert states == ["denied", "denied"]
    first = str(api.runs[0].request)
    assert "a call of this tool was made in a private turn" in first.lower()
    assert "Zoe" not in first
    assert all("BLUE-HERON" not in str(run.request) for run in api.runs)
    assert str(api.runs[-1].request).count("was made in a private turn") == 1
    assert not any(reply.trace.private for reply in replies)


async def test_a_person_may_have_a_private_write_repeated(tmp_path: Path) -> None:
    asked: list[str] = []

    async def approve(request: vanta.ApprovalRequest) -> bool:
        asked.append(request.why)
        return True

    sent, replies, _api = await cut_off_private_write(
        tmp_path, [AGAIN, ["Sent."], AGAIN, ["Sent once more."]], approve=approve
    )
    assert sent == ["Zoe Quay"] * 3
    assert asked == ["it may repeat a call of a private turn that was cut off"]
    assert [reply.text for reply in replies] == ["Sent.", "Sent once more."]


async def test_another_call_of_the_tool_runs_after_a_private_one(tmp_path: Path) -> None:
    other = [CallTool("send", '{"to": "Anna"}', id="other")]
    sent, _replies, _api = await cut_off_private_write(tmp_path, [other, ["Sent."], ["Fine."]])
    assert sent == ["Zoe Quay", "Anna"]


class Answered:
    """Opens when an engine has given its first answer."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self._engine = engine

    async def wait(self) -> None:
        while not self._engine.runs:
            await anyio.lowlevel.checkpoint()
        await self._engine.runs[0].stopped.wait()


async def test_a_leg_that_amends_calls_nothing(tmp_path: Path) -> None:
    counted = Counted()
    local = ScriptedEngine("The capital of Australia is Sydney, with 5 million people.")
    amends = CallTool("send", '{"to": "A"}')
    api = ScriptedEngine(Wait(Answered(local)), "No. It is Canberra, with 400 thousand.", amends)
    async with open_scripted(
        tmp_path, local=local, api=api, own_tools=counted.tools, policy="refine"
    ) as runtime:
        reply = await runtime.session("a").ask("Which city?")
    assert reply.text.startswith("No. It is Canberra")
    assert (dict(counted.runs), reply.trace.rounds) == ({}, 1)


@pytest.mark.parametrize("answer", ["no", {"approved": False}, None, 1, RuntimeError(), "cancel"])
async def test_only_an_answer_that_says_so_runs_a_call(answer: Any, tmp_path: Path) -> None:
    if answer == "cancel" and sniffio.current_async_library() == "trio":
        pytest.skip("trio lets no code raise Cancelled")

    async def approve(_request: vanta.ApprovalRequest) -> Any:
        if answer == "cancel":
            raise anyio.get_cancelled_exc_class()
        if isinstance(answer, Exception):
            raise answer
        return answer

    counted = Counted()
    config: dict[str, Any] = {"tools": {"ask": ["program.send"]}}
    async with open_scripted(
        tmp_path,
        local=agent(CallTool("send", '{"to": "Anna"}')),
        own_tools=counted.tools,
        policy="local",
        config=config,
        approve=approve,
    ) as runtime:
        session = runtime.session("a")
        reply = await session.ask("Send it.")
        history = await session.history()
    assert not counted.runs
    assert reply.text == "All done."
    assert [message.role for message in history] == ["user", "assistant", "tool", "assistant"]


@pytest.mark.parametrize("given", [{"approved": "no"}, {"approved": True, "scope": "Once"}])
async def test_an_approval_of_another_kind_is_refused(given: Any) -> None:
    with pytest.raises(vanta.InvalidValue):
        vanta.Approval(**given)


async def test_no_tools_time_passes_while_a_person_is_asked(tmp_path: Path) -> None:
    async def approve(_request: vanta.ApprovalRequest) -> bool:
        await anyio.sleep(3.5)  # longer than the deadline, which does not run meanwhile
        return True

    counted = Counted()
    config: dict[str, Any] = {"tools": {"ask": ["program.send"]}}

    @vanta.tool
    async def write() -> str:
        """Write something."""
        return "written"

    script = [CallTool("write", id="1"), CallTool("send", '{"to": "A"}', id="2")]
    async with open_scripted(
        tmp_path,
        local=agent(*script),
        own_tools=[*counted.tools, write],
        policy="local",
        config=config,
        approve=approve,
        deadline_s=3.0,
    ) as runtime:
        reply = await runtime.session("a").ask("Go.")
    assert [call.state for call in reply.trace.calls] == ["finished", "finished"]


@pytest.mark.parametrize("chosen", [TurnOptions(tools=["nope"]), TurnOptions(tool_choice="nope")])
async def test_a_chosen_tool_that_does_not_exist_is_named(
    chosen: TurnOptions, tmp_path: Path
) -> None:
    async with open_scripted(
        tmp_path, local=ScriptedEngine("Hi"), own_tools=Counted().tools, policy="local"
    ) as runtime:
        with pytest.raises(vanta.UnknownName, match="'nope'"):
            await runtime.session("a").ask("Hi", options=chosen)


async def test_with_one_round_the_model_answers_without_tools(tmp_path: Path) -> None:
    counted = Counted()
    local = ScriptedEngine(reply=lambda request: [CallTool("send")] if request.tools else ["Hi."])
    config: dict[str, Any] = {"tools": {"max_rounds": 1}}
    async with open_scripted(
        tmp_path, local=local, own_tools=counted.tools, policy="local", config=config
    ) as runtime:
        reply = await runtime.session("a").ask("Hi")
    assert (reply.text, reply.trace.rounds, reply.trace.limit) == ("Hi.", 1, "max_rounds")


async def test_an_answer_that_calls_a_thousand_times_is_no_answer_and_runs_nothing(
    tmp_path: Path,
) -> None:
    counted = Counted()
    script = [CallTool("send", f'{{"to": "{n}"}}', id=f"c{n}") for n in range(1000)]
    with pytest.raises(vanta.AllTracksFailed, match="more than 256 tool calls"):
        await ask_with(tmp_path, script, counted.tools)
    assert not counted.runs
