"""Ways out around a turn: questions of money, found tools, turns that wait, spans.

Each function takes one way; `test_leaks` then looks for the canary outside.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest

from tests.privacy.leaks.paths_of_text import TELL
from tests.privacy.leaks.world import SECRET, World, calls
from vanta import ApprovalError, ApprovalPending, TurnOptions
from vanta.testing import Behaviour

NOTE_AND_POST = calls(("note", {"text": SECRET}), ("post", {"text": SECRET}))
PARK = TurnOptions(approvals="park", private=True)
ASKED_AGAIN = "Where does the key lie, under which stone?"


async def message_in_a_question_of_price(world: World) -> None:
    """A person is asked about the price of the api by its name, and not in a private turn."""
    questions: list[str] = []

    async def approve(track: str, model: str) -> bool:
        questions.append(f"{track} {model}")
        return True

    config = {"budget": {"day_usd": 1.0, "unpriced": "ask"}}
    async with world.open(config=config, approve_unpriced=approve) as runtime:
        await runtime.session("a").ask(TELL, private=True, policy="race")
        assert questions == []
        await runtime.session("a").ask("And now?", policy="api")
    assert questions == ["api test-model"]
    world.spans += questions


async def query_of_find_tools_to_a_remote_embedder(world: World) -> None:
    """The embedder is loaded and used for tools, and does not see what a private turn looks for."""
    options = {"base_url": world.upstream.base_url, "api_key_env": "VANTA_NO_KEY"}
    memory = {"embedder": "openai", "embedder_options": options, "index": "none"}
    config = {"memory": memory, "tools": {"max_schema_tokens": 100}}
    async with world.open(calls(("find_tools", {"query": SECRET})), config=config) as runtime:
        await runtime.session("z").ask("Do you like stones?", track="api")
        with anyio.fail_after(30):
            while not world.upstream.embedded:
                await anyio.lowlevel.checkpoint()
        reply = await runtime.session("a").ask(TELL, private=True)
    assert [(call.tool, call.state) for call in reply.trace.calls] == [("find_tools", "finished")]


async def parked_turn_to_another_user(world: World) -> None:
    """Neither its error, nor another user's list, nor the record of the turn has its text."""
    async with world.open(NOTE_AND_POST) as runtime:
        with pytest.raises(ApprovalPending) as parked:
            await runtime.session("a").ask(TELL, options=PARK)
        world.spans.append(str(parked.value))
        (own,) = await runtime.parked.list(user="default")
        assert own.private
        assert await runtime.parked.list(user="eve") == []
        with pytest.raises(ApprovalError) as refused:
            await runtime.resume("0" * 32)
        (record,) = await runtime.store.records(limit=1)
        world.spans += [str(refused.value), json.dumps(record["trace"])]


async def parked_turn_that_is_resumed(world: World) -> None:
    """What it did is as private as it was, in the process that resumes it and afterwards."""
    async with world.open(NOTE_AND_POST) as runtime:
        with pytest.raises(ApprovalPending) as parked:
            await runtime.session("a").ask(TELL, options=PARK)
    async with world.open(NOTE_AND_POST) as runtime:
        reply = await runtime.resume(parked.value.turn_id, deny=parked.value.calls)
        assert reply.trace.private
        await runtime.session("a").ask(ASKED_AGAIN, policy="api")
    assert world.upstream.chats


async def parked_turn_that_has_expired(world: World) -> None:
    """The next turn learns that `note` has run, and nothing of its text."""
    async with world.open(NOTE_AND_POST) as runtime:
        with pytest.raises(ApprovalPending):
            await runtime.session("a").ask(TELL, options=PARK)
    config = {"tools": {"approvals_expire_s": 1e-6}}
    async with world.open(NOTE_AND_POST, config=config) as runtime:
        assert await runtime.parked.list() == []
        await runtime.session("a").ask(ASKED_AGAIN, policy="api")
    assert world.received("made in a private turn")


async def withheld_call_that_is_made_again(world: World) -> None:
    """Another call of the tool runs, and its result does not bring the text of the first one."""
    async with world.open(NOTE_AND_POST) as runtime:
        with pytest.raises(ApprovalPending) as parked:
            await runtime.session("a").ask(TELL, options=PARK)
        await runtime.parked.take(parked.value.turn_id)
        again = Behaviour.calls("note", '{"text": "another text"}')
        world.upstream.then(again, Behaviour.answer("Fine."))
        reply = await runtime.session("a").ask(ASKED_AGAIN, policy="api")
    assert [call.state for call in reply.trace.calls] == ["finished"]


async def message_and_result_to_spans(world: World) -> None:
    """Spans of private turns, with their calls and errors, have no text."""
    pytest.importorskip("opentelemetry.sdk")
    from tests.telemetry.test_telemetry import Scope

    scope = Scope()
    scope.plugin.name = "spans"
    answer = calls(("diary", {}), ("note", {"text": SECRET}), ("post", {"text": SECRET}))
    async with world.open(answer, more_plugins=[scope.plugin]) as runtime:
        reply = await runtime.session("a").ask(TELL, private=True)
    states = [call.state for call in reply.trace.calls]
    assert states == ["finished", "finished", "denied"]
    assert scope.spans()
    world.spans += [span.to_json() for span in scope.spans()]
    world.spans.append(repr(scope.points()))
    scope.tracers.shutdown()
    scope.meters.shutdown()


PATHS: list[Callable[[World], Awaitable[None]]] = [
    message_in_a_question_of_price,
    query_of_find_tools_to_a_remote_embedder,
    parked_turn_to_another_user,
    parked_turn_that_is_resumed,
    parked_turn_that_has_expired,
    withheld_call_that_is_made_again,
    message_and_result_to_spans,
]
