"""Ways out for a private result: later rounds, other tracks, errors, pages, later turns.

Each function takes one way; `test_leaks` then looks for the canary outside.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

import vanta
from tests.privacy.leaks.world import SECRET, World, api_calls, calls, results
from vanta import AllTracksFailed, ErrorKind, GenerationRequest, ToolResult
from vanta.testing import Behaviour, Fail

READ = calls(("diary", {}))
LONG = "\n".join([SECRET] * 600)


async def result_to_the_api_in_the_next_round(world: World) -> None:
    """The api asks for the diary and wins the round; the next one is the private track's."""
    world.upstream.then(api_calls("diary"), Behaviour.answer("Fine."))
    async with world.open(READ) as runtime:
        reply = await runtime.session("a").ask("Read it.", policy="prefer")
    assert reply.track == "local"
    assert reply.trace.private


async def result_to_the_api_in_a_new_race(world: World) -> None:
    world.upstream.then(api_calls("diary"), Behaviour.answer("Fine."))
    async with world.open(READ, config={"tools": {"rounds": "race"}}) as runtime:
        reply = await runtime.session("a").ask("Read it.", policy="prefer")
    assert reply.track == "local"


async def result_under_each_policy(world: World) -> None:
    async with world.open(READ) as runtime:
        for policy in ("race", "hedge", "cascade", "speculate", "prefer", "refine", "route"):
            world.upstream.always(api_calls("diary"))
            reply = await runtime.session(policy).ask("Read it.", policy=policy)
            assert reply.track == "local"


async def result_without_a_private_track(world: World) -> None:
    """It is withheld from the api, and from those who follow the turn as a public one."""
    world.upstream.then(api_calls("diary"), Behaviour.answer("Fine."))
    async with world.open() as runtime:
        reply = await runtime.session("a").ask("Read it.", policy="api")
    assert [call.state for call in reply.trace.calls] == ["finished"]
    assert not reply.trace.private
    assert world.received("withheld")


async def result_without_a_private_track_beside_another(world: World) -> None:
    """A public result of the same round is shown."""

    @vanta.tool(effect="read", private=True)
    async def day() -> str:
        """Return the day."""
        return "It is Tuesday."

    world.upstream.then(api_calls("diary"), api_calls("day"), Behaviour.answer("Fine."))
    async with world.open(tools=[day]) as runtime:
        await runtime.session("a").ask("Read it.", policy="api")
    assert world.received("withheld")
    assert world.received("It is Tuesday.")


def _long_diary(world: World) -> Any:
    @vanta.tool(effect="read", private=True)
    async def whole_diary() -> ToolResult:
        """Read the whole diary."""
        world.inside.append(SECRET)
        return ToolResult(LONG, private=True)

    return whole_diary


async def page_of_a_withheld_result(world: World) -> None:
    page = api_calls("read_result", '{"result": "r1", "page": 2}')
    world.upstream.then(api_calls("whole_diary"), page, Behaviour.answer("Fine."))
    async with world.open(tools=[_long_diary(world)]) as runtime:
        reply = await runtime.session("a").ask("Read it.", policy="api")
    assert len(reply.trace.calls) == 2


async def page_of_a_private_result_and_then_a_tool(world: World) -> None:
    answer = calls(
        ("whole_diary", {}), ("read_result", {"result": "r1", "page": 2}), ("post", {"text": LONG})
    )
    async with world.open(answer, tools=[_long_diary(world)]) as runtime:
        reply = await runtime.session("a").ask("Read it.", policy="prefer", track="local")
    assert [call.state for call in reply.trace.calls] == ["finished", "finished", "denied"]


async def result_to_a_tool(world: World) -> None:
    answer = calls(("diary", {}), ("post", {"text": SECRET}), ("look_up", {"text": SECRET}))
    async with world.open(answer) as runtime:
        reply = await runtime.session("a").ask("Read it.", policy="local")
    assert [call.state for call in reply.trace.calls] == ["finished", "denied", "denied"]


async def result_to_the_api_that_takes_over(world: World) -> None:
    """The private track breaks after the result: the turn fails rather than fails over."""

    def breaks(request: GenerationRequest) -> list[Any]:
        return [Fail(ErrorKind.SERVER)] if results(request) else READ(request)

    world.upstream.then(api_calls("diary"), Behaviour.answer("Fine."))
    async with world.open(breaks) as runtime:
        with pytest.raises(AllTracksFailed):
            await runtime.session("a").ask("Read it.", policy="prefer")
    assert len(world.upstream.chats) == 1


async def result_in_the_middle_of_an_answer(world: World) -> None:
    """The private track breaks after it has shown text that quotes the result."""

    def breaks(request: GenerationRequest) -> list[Any]:
        return [SECRET, Fail(ErrorKind.NETWORK)] if results(request) else READ(request)

    world.upstream.then(api_calls("diary"), Behaviour.answer("Fine."))
    async with world.open(breaks) as runtime:
        with pytest.raises(AllTracksFailed):
            await runtime.session("a").ask("Read it.", policy="prefer")
    assert len(world.upstream.chats) == 1


async def result_to_a_gate(world: World) -> None:
    """A strict gate rejects the private answer; no other track is asked for a better one."""
    config = {"policies": {"cascade": {"gate": {"min_mean_logprob": -1e-9}}}}
    async with world.open(READ, config=config) as runtime:
        with contextlib.suppress(AllTracksFailed):
            await runtime.session("a").ask("Read it.", policy="cascade")
    assert all("stone" not in chat.body for chat in world.upstream.chats)


async def result_in_the_history(world: World) -> None:
    async with world.open(READ) as runtime:
        session = runtime.session("a")
        first = await session.ask("Read it.", policy="local")
        await session.ask("What did it say?", policy="api")
    assert first.trace.private
    assert world.upstream.chats


async def result_in_memory(world: World) -> None:
    def quotes(request: GenerationRequest) -> list[Any]:
        return [SECRET] if results(request) else READ(request)

    async with world.open(quotes) as runtime:
        await runtime.session("a").ask("Where does the key lie?", policy="local")
        await runtime.session("b").ask("Where does the key lie, which stone?", policy="api")
    assert world.upstream.chats


async def result_that_is_an_error(world: World) -> None:
    @vanta.tool(effect="read", private=True)
    async def locked_diary() -> ToolResult:
        """Read the diary."""
        world.inside.append(SECRET)
        return ToolResult(f"It is locked: {SECRET}", is_error=True, private=True)

    world.upstream.then(api_calls("locked_diary"), Behaviour.answer("Fine."))
    async with world.open(tools=[locked_diary]) as runtime:
        await runtime.session("a").ask("Read it.", policy="api")
    assert world.received("withheld")


async def result_among_others(world: World) -> None:
    """A tool returns private results within its own data."""

    @vanta.tool(effect="read", private=True)
    async def diaries() -> Any:
        """Read all diaries."""
        world.inside.append(SECRET)
        return {"monday": ToolResult("Rain."), "tuesday": [ToolResult(SECRET, private=True)]}

    world.upstream.then(api_calls("diaries"), Behaviour.answer("Fine."))
    async with world.open(tools=[diaries]) as runtime:
        await runtime.session("a").ask("Read it.", policy="api")
    assert world.received("withheld")


async def result_within_a_result(world: World) -> None:
    @vanta.tool(effect="read", private=True)
    async def wrapped() -> Any:
        """Read the diary."""
        world.inside.append(SECRET)
        return ToolResult(ToolResult(SECRET, private=True))  # type: ignore[arg-type]

    world.upstream.then(api_calls("wrapped"), Behaviour.answer("Fine."))
    async with world.open(tools=[wrapped]) as runtime:
        await runtime.session("a").ask("Read it.", policy="api")
    assert world.received("withheld")


async def withheld_result_of_a_turn_that_failed(world: World) -> None:
    """The next turn is told of the calls of a turn without a reply, but not of this one's text."""
    world.upstream.then(api_calls("note", '{"text": "Hello."}'), Behaviour.server_error())
    async with world.open() as runtime:
        session = runtime.session("a")
        with pytest.raises(AllTracksFailed):
            await session.ask("Note it.", policy="api")
        world.upstream.always(Behaviour.answer("Fine."))
        await session.ask("Did you?", policy="api")
        (call,) = await runtime.journal.list()
    assert call.private
    assert call.state == "finished"


async def private_call_of_a_turn_that_failed(world: World) -> None:
    def breaks(request: GenerationRequest) -> list[Any]:
        return (
            [Fail(ErrorKind.SERVER)]
            if results(request)
            else calls(("note", {"text": SECRET}))(request)
        )

    async with world.open(breaks) as runtime:
        session = runtime.session("a")
        with pytest.raises(AllTracksFailed):
            await session.ask(f"Note it: {SECRET}", private=True)
        await session.ask("Did you?", policy="api")
    assert world.upstream.chats


async def private_call_of_a_turn_that_was_cancelled(world: World) -> None:
    running = anyio.Event()

    @vanta.tool(private=True)
    async def engrave(text: str) -> str:
        """Engrave a text; it takes for ever."""
        world.inside.append(text)
        running.set()
        await anyio.sleep_forever()
        return "Done."

    answer = calls(("engrave", {"text": SECRET}))
    async with world.open(answer, tools=[engrave]) as runtime:
        session = runtime.session("a")
        async with anyio.create_task_group() as group:

            async def go() -> None:
                await session.ask("Engrave it.", private=True)

            group.start_soon(go)
            await running.wait()
            group.cancel_scope.cancel()
        await session.ask("Did you?", policy="api")
    assert world.upstream.chats


async def cut_off_call_to_a_tool(world: World) -> None:
    """A later turn is shown the private call that was cut off, and may not send its text."""

    def answer(request: GenerationRequest) -> list[Any]:
        if "Note it." in request.messages[-1].content:
            return calls(("note", {"text": SECRET}))(request)
        shown = any(message.role == "tool" for message in request.messages)
        if shown and not results(request):
            return calls(("post", {"text": SECRET}))(request)
        return [Fail(ErrorKind.SERVER)] if not shown or len(results(request)) > 1 else ["Fine."]

    async with world.open(answer) as runtime:
        session = runtime.session("a")
        with contextlib.suppress(AllTracksFailed):
            await session.ask("Note it.", private=True, policy="local")
        await session.ask("Go on.", policy="local")
        calls_made = [call.tool for call in await runtime.journal.list()]
    assert calls_made[0] == "note"


async def result_to_the_log_by_a_value_that_cannot_be_read(world: World) -> None:
    class Odd:
        def __repr__(self) -> str:
            return SECRET

    @vanta.tool(effect="read", private=True)
    async def odd() -> Any:
        """Return something odd."""
        world.inside.append(SECRET)
        return Odd()

    async with world.open(calls(("odd", {})), tools=[odd]) as runtime:
        reply = await runtime.session("a").ask("Read it.", private=True)
    assert [call.state for call in reply.trace.calls] == ["failed"]


async def result_in_the_record_of_the_turn(world: World) -> None:
    """A trace has names, times and rules, and no text."""
    async with world.open(READ) as runtime:
        reply = await runtime.session("a").ask("Read it.", policy="local")
    world.spans.append(json.dumps(reply.trace.to_dict()))


async def result_of_a_leg_that_lost(world: World) -> None:
    """A read began for the private leg, which then lost: its result is dropped."""
    world.upstream.then(Behaviour.answer("Fine."))
    async with world.open(READ) as runtime:
        session = runtime.session("a")
        await session.ask("Read it.", policy="prefer")
        await session.ask("And now?", policy="api")
    world.inside.append(SECRET)
    assert world.upstream.chats


PATHS: list[Callable[[World], Awaitable[None]]] = [
    result_to_the_api_in_the_next_round,
    result_to_the_api_in_a_new_race,
    result_under_each_policy,
    result_without_a_private_track,
    result_without_a_private_track_beside_another,
    page_of_a_withheld_result,
    page_of_a_private_result_and_then_a_tool,
    result_to_a_tool,
    result_to_the_api_that_takes_over,
    result_in_the_middle_of_an_answer,
    result_to_a_gate,
    result_in_the_history,
    result_in_memory,
    result_that_is_an_error,
    result_among_others,
    result_within_a_result,
    withheld_result_of_a_turn_that_failed,
    private_call_of_a_turn_that_failed,
    private_call_of_a_turn_that_was_cancelled,
    cut_off_call_to_a_tool,
    result_to_the_log_by_a_value_that_cannot_be_read,
    result_in_the_record_of_the_turn,
    result_of_a_leg_that_lost,
]
