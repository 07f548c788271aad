"""Ways out for a private message, the history, memories, and what is derived from them.

Each function takes one way; `test_leaks` then looks for the canary outside.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

import vanta
from tests.privacy.leaks.world import CANARY, SECRET, World, api_calls, calls, results
from vanta import GenerationRequest, NoTrack, ToolContext, ToolResult
from vanta.memory import NewItem, Selection
from vanta.testing import Behaviour

SEND = calls(("post", {"text": SECRET}))
LOOK = calls(("look_up", {"text": SECRET}))
TELL = f"Remember this: {SECRET}"


class Letters(vanta.Toolset):
    """A stranger's toolset, such as an MCP server's: it does not claim to be private."""

    name = "letters"

    def __init__(self, world: World) -> None:
        (self._post,) = [tool for tool in world.tools if tool.__name__ == "post"]

    async def tools(self) -> Sequence[vanta.Tool]:
        """Return `mail`."""
        text = {"type": "object", "properties": {"text": {"type": "string"}}}
        return [vanta.Tool("mail", "Send a letter.", text)]

    async def call(
        self, name: str, arguments: Mapping[str, Any], context: ToolContext
    ) -> ToolResult:
        """Send the text to the other machine."""
        return ToolResult(await self._post(str(arguments.get("text", name))))


class NoOptions(BaseModel):
    """The options of a toolset that has none."""


class LettersPlugin:
    """The plugin that brings the stranger's toolset."""

    name = "letters"

    def __init__(self, world: World) -> None:
        self._world = world

    @vanta.hookimpl
    def vanta_toolsets(self) -> list[vanta.ToolsetFactory]:
        """Return the toolset."""

        def create(_options: BaseModel, _context: vanta.ToolsetContext) -> vanta.Toolset:
            return Letters(self._world)

        return [vanta.ToolsetFactory("letters", "letters", NoOptions, create)]


async def _denied(world: World, answer: Any, message: str = TELL, **given: Any) -> None:
    """Have a private message answered by calls that are all denied."""
    private = given.pop("private", True)
    async with world.open(answer, **given) as runtime:
        reply = await runtime.session("a").ask(message, private=private)
    assert {call.state for call in reply.trace.calls} == {"denied"}


async def message_to_a_tool(world: World) -> None:
    await _denied(world, SEND)


async def message_to_a_tool_that_only_reads(world: World) -> None:
    await _denied(world, LOOK)


async def message_to_several_tools_at_once(world: World) -> None:
    def both(request: GenerationRequest) -> list[Any]:
        sent, looked = SEND(request), LOOK(request)
        return sent if results(request) else [*sent, dataclasses.replace(looked[0], id="c9")]

    await _denied(world, both)


async def message_that_a_detector_finds(world: World) -> None:
    config = {"privacy": {"detect": ["email"]}}
    message = f"{SECRET} Write to ada@example.org."
    await _denied(world, SEND, message, config=config, private=None)


async def message_of_a_private_session(world: World) -> None:
    async with world.open(SEND) as runtime:
        reply = await runtime.session("a", private=True).ask(TELL)
    assert [call.state for call in reply.trace.calls] == ["denied"]


async def message_to_a_tool_that_rules_allow(world: World) -> None:
    await _denied(world, SEND, config={"tools": {"allow": ["program.post"], "mode": "allow"}})


async def message_to_a_strangers_toolset(world: World) -> None:
    mail = calls(("mail", {"text": SECRET}))
    config = {"tools": {"use": ["letters"], "allow": ["letters.*"]}}
    plugin = LettersPlugin(world)
    async with world.open(mail, config=config, more_plugins=[plugin]) as runtime:
        reply = await runtime.session("a").ask(TELL, private=True)
    assert [call.state for call in reply.trace.calls] == ["denied"]


async def message_to_a_tool_that_was_approved_for_good(world: World) -> None:
    """The standing approval counts for public turns; a private one asks each time."""
    questions: list[str] = []

    async def approve(request: vanta.ApprovalRequest) -> vanta.Approval:
        questions.append(request.why)
        return vanta.Approval(len(questions) == 1, scope="always")

    def mail(request: GenerationRequest) -> list[Any]:
        message = next(item.content for item in request.messages if item.role == "user")
        return calls(("mail", {"text": SECRET if CANARY in message else "Hello."}))(request)

    config = {"tools": {"use": ["letters"]}}
    async with world.open(
        mail, config=config, more_plugins=[LettersPlugin(world)], approve=approve
    ) as runtime:
        states = []
        for number, message in enumerate(["Hello.", "Hello.", TELL]):
            session = runtime.session(f"s{number}")
            reply = await session.ask(message, policy="local", private=message == TELL)
            states += [call.state for call in reply.trace.calls]
    assert states == ["finished", "finished", "denied"]
    assert len(questions) == 2
    assert "privacy" in questions[1]


async def message_to_the_log_by_an_approval_handler_that_fails(world: World) -> None:
    async def approve(request: vanta.ApprovalRequest) -> bool:
        raise ValueError(f"no dialog for {request.arguments}")

    await _denied(world, SEND, approve=approve)
    assert "approval handler" in world.logs.text


async def message_to_the_log_by_an_approval_handler_that_answers_anything(world: World) -> None:
    async def approve(request: vanta.ApprovalRequest) -> Any:
        return dict(request.arguments)

    await _denied(world, SEND, approve=approve)
    assert "approval handler" in world.logs.text


async def message_to_the_log_by_a_tool_that_fails(world: World) -> None:
    @vanta.tool(private=True)
    async def file_away(text: str) -> str:
        """File a text away."""
        raise RuntimeError(f"no room for {text}")

    answer = calls(("file_away", {"text": SECRET}))
    async with world.open(answer, tools=[file_away]) as runtime:
        reply = await runtime.session("a").ask(TELL, private=True)
    assert [call.state for call in reply.trace.calls] == ["failed"]
    assert "file_away" in world.logs.text


async def message_to_the_log_by_wrong_arguments(world: World) -> None:
    answer = calls(("post", {"txet": SECRET}), (CANARY, {"text": SECRET}))
    async with world.open(answer) as runtime:
        reply = await runtime.session("a").ask(TELL, private=True)
    assert [call.state for call in reply.trace.calls] == ["refused", "refused"]


async def message_under_each_policy(world: World) -> None:
    async with world.open() as runtime:
        for policy in ("race", "hedge", "cascade", "speculate", "prefer", "refine", "route"):
            reply = await runtime.session(policy).ask(TELL, policy=policy, private=True)
            assert reply.track == "local"


async def message_to_the_api_alone(world: World) -> None:
    world.inside.append(TELL)
    async with world.open() as runtime:
        with contextlib.suppress(NoTrack):
            await runtime.session("a").ask(TELL, policy="api", private=True)
    assert not world.upstream.chats


async def history_to_the_api(world: World) -> None:
    async with world.open() as runtime:
        session = runtime.session("a")
        await session.ask(TELL, private=True)
        await session.ask("What did I tell you?", policy="api")
        await session.ask("And now?", policy="race")
    assert world.upstream.chats


async def history_to_the_api_after_a_restart(world: World) -> None:
    async with world.open() as runtime:
        await runtime.session("a").ask(TELL, private=True)
    async with world.open() as runtime:
        await runtime.session("a").ask("What did I tell you?", policy="api")
    assert world.upstream.chats


async def history_to_a_tool(world: World) -> None:
    """The second turn is not private by itself, but its only track is shown the first."""

    def answer(request: GenerationRequest) -> list[Any]:
        return SEND(request) if len(request.messages) > 3 else ["Noted."]

    async with world.open(answer) as runtime:
        session = runtime.session("a")
        await session.ask(TELL, private=True)
        reply = await session.ask("Send it.", policy="local")
    assert [call.state for call in reply.trace.calls] == ["denied"]


async def history_of_calls_to_the_api(world: World) -> None:
    """The arguments of a private turn's calls, with their results."""
    async with world.open(calls(("note", {"text": SECRET}))) as runtime:
        session = runtime.session("a")
        await session.ask("Note it.", private=True)
        await session.ask("What did you note?", policy="api")
    assert world.upstream.chats


def _fact(private: bool = True) -> NewItem:
    return NewItem(user="default", kind="fact", text=SECRET, said_at=1.0e9, private=private)


async def memory_to_the_api(world: World) -> None:
    async with world.open() as runtime:
        assert runtime.memory is not None
        await runtime.memory.add([_fact()])
        question = "Where does the key lie, under which stone?"
        await runtime.session("a").ask(question, policy="api")
        await runtime.session("b").ask(question, policy="local")
    assert world.upstream.chats


async def memory_to_a_tool(world: World) -> None:
    async with world.open(SEND) as runtime:
        assert runtime.memory is not None
        await runtime.memory.add([_fact()])
        question = "Where does the key lie, under which stone?"
        reply = await runtime.session("a").ask(question, policy="local")
    assert [call.state for call in reply.trace.calls] == ["denied"]


async def memory_by_the_search_tool(world: World) -> None:
    """The api searches memory for the words of a private item."""
    world.upstream.then(api_calls("search", '{"query": "key under the stone"}'), Behaviour.answer())
    config = {"tools": {"use": ["memory"], "allow": ["memory.*"]}}
    async with world.open(config=config) as runtime:
        assert runtime.memory is not None
        await runtime.memory.add([_fact()])
        reply = await runtime.session("a").ask("Where does the key lie?", policy="api")
        await runtime.session("b").ask("Where does the key lie, which stone?", policy="local")
    assert [call.state for call in reply.trace.calls] == ["finished"]


async def memory_that_a_private_turn_noted(world: World) -> None:
    remember = calls(("remember", {"text": SECRET}))
    config = {
        "tools": {"use": ["memory"], "allow": ["memory.*"], "options": {"memory": {"write": True}}}
    }
    async with world.open(remember, config=config) as runtime:
        first = await runtime.session("a").ask("Note it.", private=True)
        await runtime.session("b").ask("Where does the key lie, which stone?", policy="api")
    assert [call.state for call in first.trace.calls] == ["finished"]
    assert world.upstream.chats


async def memory_of_a_private_turn(world: World) -> None:
    async with world.open() as runtime:
        await runtime.session("a").ask(TELL, private=True)
        await runtime.session("b").ask("Where does the key lie, which stone?", policy="api")
    assert world.upstream.chats


async def message_to_a_remote_embedder(world: World) -> None:
    """Neither the question of a private turn nor its messages are embedded elsewhere."""
    options = {"base_url": world.upstream.base_url, "api_key_env": "VANTA_NO_KEY"}
    memory = {"embedder": "openai", "embedder_options": options, "index": "none"}
    async with world.open(config={"memory": memory}) as runtime:
        assert runtime.memory is not None
        await runtime.session("a").ask("Do you like stones?", policy="local")
        await runtime.memory.reindex()
        await runtime.session("a").ask(TELL, private=True)
        await runtime.memory.reindex()
        await runtime.session("b").ask(TELL, private=True)
    assert world.upstream.embedded


async def message_by_the_search_tool_to_a_remote_embedder(world: World) -> None:
    options = {"base_url": world.upstream.base_url, "api_key_env": "VANTA_NO_KEY"}
    memory = {"embedder": "openai", "embedder_options": options, "index": "none"}
    config = {"tools": {"use": ["memory"], "allow": ["memory.*"]}, "memory": memory}
    search = calls(("search", {"query": SECRET}))
    async with world.open(search, config=config) as runtime:
        assert runtime.memory is not None
        await runtime.session("z").ask("Do you like stones?", track="api")
        await runtime.memory.reindex()
        await runtime.session("a").ask(TELL, private=True)
    assert world.upstream.embedded


async def message_to_the_disk_after_it_was_forgotten(world: World) -> None:
    """Nothing of a forgotten turn's calls is left in the journal, for a later turn to show."""
    async with world.open(calls(("note", {"text": SECRET}))) as runtime:
        assert runtime.memory is not None
        await runtime.session("a").ask(TELL, private=True)
        await runtime.memory.forget(Selection("default", session="a"))
        left = await runtime.journal.list()
        await runtime.session("a").ask("What did you note?", policy="api")
    assert [(call.arguments, call.result, call.forgotten) for call in left] == [("", "", True)]


PATHS: list[Callable[[World], Awaitable[None]]] = [
    message_to_a_tool,
    message_to_a_tool_that_only_reads,
    message_to_several_tools_at_once,
    message_that_a_detector_finds,
    message_of_a_private_session,
    message_to_a_tool_that_rules_allow,
    message_to_a_strangers_toolset,
    message_to_a_tool_that_was_approved_for_good,
    message_to_the_log_by_an_approval_handler_that_fails,
    message_to_the_log_by_an_approval_handler_that_answers_anything,
    message_to_the_log_by_a_tool_that_fails,
    message_to_the_log_by_wrong_arguments,
    message_under_each_policy,
    message_to_the_api_alone,
    history_to_the_api,
    history_to_the_api_after_a_restart,
    history_to_a_tool,
    history_of_calls_to_the_api,
    memory_to_the_api,
    memory_to_a_tool,
    memory_by_the_search_tool,
    memory_that_a_private_turn_noted,
    memory_of_a_private_turn,
    message_to_a_remote_embedder,
    message_by_the_search_tool_to_a_remote_embedder,
    message_to_the_disk_after_it_was_forgotten,
]
