"""Turns on a transcript of the caller: what is sent, run, returned, kept and refused."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import vanta
from tests.runtime.home import open_scripted
from vanta import GenerationRequest, Message, Tool, ToolCall, ToolResult, TurnOptions, UsageError
from vanta.memory import NewItem
from vanta.testing import CallTool, Fail, Finish, ScriptedEngine

pytestmark = pytest.mark.anyio

POLICIES = ["local", "api", "race", "hedge", "cascade", "speculate", "prefer", "refine", "route"]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
BOOK = Tool("book", "Book a hotel.", SCHEMA)
TRANSCRIPT = [Message("system", "Be short."), Message("user", "Hello.")]


class Counted:
    """Tools of vanta that count their runs."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()

    @vanta.tool(effect="read")
    async def weather(self, city: str) -> str:
        """Return the weather of a city."""
        self.runs[f"weather {city}"] += 1
        return f"It rains in {city}."

    @vanta.tool
    async def send(self, to: str) -> str:
        """Send a message."""
        self.runs[f"send {to}"] += 1
        return f"Sent to {to}."

    @property
    def tools(self) -> list[Any]:
        return [self.weather, self.send]


def texts(request: GenerationRequest) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in request.messages]


def scripted(*first: Any, then: str = "Done.") -> ScriptedEngine:
    """Return an engine that says `first`, and `then` once the last message is a result."""
    return ScriptedEngine(
        reply=lambda request: [then] if request.messages[-1].role == "tool" else list(first)
    )


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_transcript_is_answered_under_every_policy(policy: str, tmp_path: Path) -> None:
    local, api = ScriptedEngine("Two."), ScriptedEngine("Two.")
    transcript: list[Message | Mapping[str, Any]] = [
        Message("system", "Be short."),
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "One."},
        {"role": "user", "content": [{"type": "text", "text": "Two?"}]},
    ]
    async with open_scripted(tmp_path, local=local, api=api) as runtime:
        reply = await runtime.complete(transcript, options=TurnOptions(policy=policy))
    assert reply.text == "Two."
    assert reply.messages == (Message("assistant", "Two."),)
    (run, *_) = local.runs or api.runs
    assert texts(run.request) == [
        ("system", "Be short."),
        ("user", "One?"),
        ("assistant", "One."),
        ("user", "Two?"),
    ]


async def test_calls_of_the_callers_tools_are_returned_and_its_results_are_read(
    tmp_path: Path,
) -> None:
    engine = scripted("I book it. ", CallTool("book", '{"city": "Rome"}'), then="Booked.")
    async with open_scripted(tmp_path, local=engine, policy="local") as runtime:
        reply = await runtime.complete(TRANSCRIPT, tools=[BOOK])
        assert reply.finish_reason == "tool_calls"
        (call,) = reply.tool_calls
        assert (call.name, call.arguments) == ("book", '{"city": "Rome"}')
        assert reply.messages == (Message("assistant", "I book it. ", (call,)),)
        result = Message("tool", "Room 12.", tool_call_id=call.id)
        last = await runtime.complete([*TRANSCRIPT, *reply.messages, result], tools=[BOOK])
    assert (last.text, last.finish_reason, last.tool_calls) == ("Booked.", "stop", ())
    assert texts(engine.runs[1].request)[-2:] == [
        ("assistant", "I book it. "),
        ("tool", "Room 12."),
    ]
    assert engine.runs[1].request.messages[-1].tool_call_id == call.id
    assert [tool.name for tool in engine.runs[0].request.tools] == ["book"]


async def test_a_round_with_calls_of_both_runs_vantas_and_returns_the_callers(
    tmp_path: Path,
) -> None:
    counted = Counted()
    engine = scripted(
        CallTool("weather", '{"city": "Rome"}'),
        CallTool("book", '{"city": "Rome"}'),
        CallTool("send", '{"to": "Anna"}'),
    )
    async with open_scripted(
        tmp_path, local=engine, own_tools=counted.tools, policy="local"
    ) as runtime:
        reply = await runtime.complete(TRANSCRIPT, tools=[BOOK, "program"])
        assert [call.name for call in reply.tool_calls] == ["book"]
        assert counted.runs == {"weather Rome": 1, "send Anna": 1}
        asked, *results = reply.messages
        assert [call.name for call in asked.tool_calls] == ["weather", "book", "send"]
        assert [result.tool_call_id for result in results] == [
            asked.tool_calls[0].id,
            asked.tool_calls[2].id,
        ]
        assert "It rains in Rome." in results[0].content
        own = Message("tool", "Room 12.", tool_call_id=reply.tool_calls[0].id)
        last = await runtime.complete([*TRANSCRIPT, *reply.messages, own], tools=[BOOK, "program"])
    assert last.text == "Done."
    assert counted.runs == {"weather Rome": 1, "send Anna": 1}
    assert len(engine.runs) == 2


async def test_vantas_tools_run_by_name_only(tmp_path: Path) -> None:
    counted = Counted()
    engine = scripted("Let me see. ", CallTool("weather", '{"city": "Rome"}'), then="It rains.")
    async with open_scripted(
        tmp_path, local=engine, own_tools=counted.tools, policy="local"
    ) as runtime:
        without = await runtime.complete(TRANSCRIPT)
        assert engine.runs[0].request.tools == ()
        assert (counted.runs, without.tool_calls) == ({}, ())
        reply = await runtime.complete(TRANSCRIPT, tools=["weather"])
        assert [tool.name for tool in engine.runs[1].request.tools] == ["weather"]
        named = await runtime.complete(TRANSCRIPT, options=TurnOptions(tools=["program"]))
        with pytest.raises(vanta.UnknownName, match="named 'wether'"):
            await runtime.complete(TRANSCRIPT, tools=["wether"])
    assert reply.text == named.text == "Let me see. \n\nIt rains."
    assert reply.tool_calls == ()
    assert [message.role for message in reply.messages] == ["assistant", "tool", "assistant"]
    assert counted.runs == {"weather Rome": 2}


async def test_a_tool_of_vanta_that_has_the_name_of_the_callers_is_offered_under_another(
    tmp_path: Path,
) -> None:
    counted, own = Counted(), Tool("weather", "The caller's.", SCHEMA)
    engine = scripted(CallTool("program_weather", '{"city": "Rome"}'))
    async with open_scripted(
        tmp_path, local=engine, own_tools=counted.tools, policy="local"
    ) as runtime:
        reply = await runtime.complete(TRANSCRIPT, tools=[own, "program"])
    names = [tool.name for tool in engine.runs[0].request.tools]
    assert names == ["weather", "program_weather", "send"]
    assert counted.runs == {"weather Rome": 1}
    assert reply.text == "Done."


async def test_the_choice_may_name_a_tool_of_either_side(tmp_path: Path) -> None:
    counted = Counted()
    engine = scripted(CallTool("book", "{}"), CallTool("weather", '{"city": "Rome"}'))
    async with open_scripted(
        tmp_path, local=engine, own_tools=counted.tools, policy="local"
    ) as runtime:
        own = await runtime.complete(TRANSCRIPT, tools=[BOOK], tool_choice="book")
        both = await runtime.complete(TRANSCRIPT, tools=[BOOK, "program"], tool_choice="book")
        run = await runtime.complete(TRANSCRIPT, tools=[BOOK, "program"], tool_choice="weather")
        none = await runtime.complete(TRANSCRIPT, tools=[BOOK], tool_choice="none")
        with pytest.raises(vanta.UnknownName, match="no tool is named 'boook'"):
            await runtime.complete(TRANSCRIPT, tools=[BOOK], tool_choice="boook")
        with pytest.raises(UsageError, match="'required', and the turn has no tools"):
            await runtime.complete(TRANSCRIPT, tool_choice="required")
    assert [call.name for call in own.tool_calls] == ["book"]
    assert [call.name for call in both.tool_calls] == ["book"]
    assert (run.text, counted.runs) == ("Done.", {"weather Rome": 1})
    assert none.trace.status == "answered"
    assert engine.runs[-1].request.tools == ()


async def test_a_call_of_a_tool_that_does_not_exist_is_not_returned(tmp_path: Path) -> None:
    engine = scripted(CallTool("boook", "{}"), then="I cannot.")
    async with open_scripted(tmp_path, local=engine, policy="local") as runtime:
        reply = await runtime.complete(TRANSCRIPT, tools=[BOOK])
    assert (reply.text, reply.tool_calls) == ("I cannot.", ())
    assert "no tool is named 'boook'. Did you mean 'book'?" in reply.messages[1].content


async def test_a_call_that_the_token_limit_cut_off_is_not_returned(tmp_path: Path) -> None:
    engine = ScriptedEngine(
        CallTool("book", '{"city": "Rome"}'), CallTool("book", '{"city": "Pa'), Finish("length")
    )
    async with open_scripted(tmp_path, local=engine, policy="local") as runtime:
        reply = await runtime.complete(TRANSCRIPT, tools=[BOOK])
    assert [call.arguments for call in reply.tool_calls] == ['{"city": "Rome"}']
    assert reply.finish_reason == "length"


async def test_a_track_that_breaks_is_taken_over(tmp_path: Path) -> None:
    local = ScriptedEngine(Fail(vanta.ErrorKind.SERVER))
    api = scripted(CallTool("book", '{"city": "Rome"}'))
    async with open_scripted(tmp_path, local=local, api=api, policy="hedge") as runtime:
        reply = await runtime.complete(TRANSCRIPT, tools=[BOOK])
    assert (reply.track, [call.name for call in reply.tool_calls]) == ("api", ["book"])


async def test_calls_without_ids_get_ids_that_the_transcript_does_not_have(tmp_path: Path) -> None:
    engine = ScriptedEngine(CallTool("book", '{"city": "Rome"}', id="call_0_0"))
    past = [
        Message("user", "Book."),
        Message("assistant", "", (ToolCall("call_0_0", "book", "{}"),)),
        Message("tool", "Full.", tool_call_id="call_0_0"),
    ]
    async with open_scripted(tmp_path, local=engine, policy="local") as runtime:
        reply = await runtime.complete(past, tools=[BOOK])
    assert reply.tool_calls[0].id not in {"", "call_0_0"}


@dataclasses.dataclass
class Trip:
    """A booked trip."""

    city: str
    nights: int


TRIP = '{"city": "Rome", "nights": 2}'


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_typed_answer_on_a_transcript_under_every_policy(
    policy: str, tmp_path: Path
) -> None:
    local, api = ScriptedEngine(TRIP), ScriptedEngine(TRIP)
    async with open_scripted(tmp_path, local=local, api=api) as runtime:
        options = TurnOptions(policy=policy)
        reply = await runtime.complete(TRANSCRIPT, output=Trip, options=options)
        async with runtime.stream(TRANSCRIPT, output=Trip, options=options) as turn:
            async for _event in turn:
                pass
            streamed = turn.reply
    assert reply.output == streamed.output == Trip("Rome", 2)


async def test_a_typed_answer_that_does_not_validate_is_no_answer(tmp_path: Path) -> None:
    local, api = ScriptedEngine('{"city": 3}'), ScriptedEngine(TRIP)
    async with open_scripted(tmp_path, local=local, api=api, policy="cascade") as runtime:
        reply = await runtime.complete(TRANSCRIPT, output=Trip)
    assert (reply.track, reply.output) == ("api", Trip("Rome", 2))


async def test_a_typed_answer_comes_after_the_callers_own_calls(tmp_path: Path) -> None:
    engine = scripted(CallTool("book", '{"city": "Rome"}', id="c1"), then=TRIP)
    async with open_scripted(tmp_path, local=engine, policy="local") as runtime:
        first = await runtime.complete(TRANSCRIPT, tools=[BOOK], output=Trip)
        assert [call.name for call in first.tool_calls] == ["book"]
        assert first.output is None
        messages = [*TRANSCRIPT, *first.messages]
        messages.append(Message("tool", "Booked.", tool_call_id=first.tool_calls[0].id))
        second = await runtime.complete(messages, tools=[BOOK], output=Trip)
    assert second.output == Trip("Rome", 2)


async def test_a_transcript_has_no_turn_to_replace(tmp_path: Path) -> None:
    async with open_scripted(tmp_path, local=ScriptedEngine("Hi.")) as runtime:
        with pytest.raises(UsageError, match="replaces is 'abc'"):
            await runtime.complete(TRANSCRIPT, options=TurnOptions(replaces="abc"))


async def test_the_configured_prompt_stands_where_the_caller_has_none(tmp_path: Path) -> None:
    engine = ScriptedEngine("Hi.")
    user = Message("user", "Hello.")
    config: dict[str, Any] = {"variables": {"assistant_name": "Robin"}}
    async with open_scripted(tmp_path, local=engine, policy="local", config=config) as runtime:
        await runtime.complete([user])
        await runtime.complete([Message("system", ""), user])
        await runtime.complete([Message("system", "Be short."), user])
        await runtime.session("a").ask("Hello.")
    own, none, given, session = (texts(run.request) for run in engine.runs)
    assert own[0][1].startswith("You are Robin, a helpful assistant")
    assert own == session
    assert none == [("user", "Hello.")]
    assert given == [("system", "Be short."), ("user", "Hello.")]


async def test_nothing_of_one_turn_is_shown_in_another(tmp_path: Path) -> None:
    counted = Counted()
    engine = scripted(CallTool("send", '{"to": "Anna"}'))
    async with open_scripted(
        tmp_path, local=engine, own_tools=counted.tools, policy="local"
    ) as runtime:
        first = await runtime.complete([Message("user", "My secret.")], tools=["program"])
        second = await runtime.complete([Message("user", "Which secret?")], tools=["program"])
        asked = await runtime.session("a").ask("Which secret?")
        calls = await runtime.journal.list()
        records = await runtime.store.records()
        assert await runtime.store.history("default", first.trace.session_id) == []
    assert first.trace.session_id != second.trace.session_id != asked.trace.session_id
    seen = [text for run in engine.runs[2:] for _, text in texts(run.request)]
    assert [text for text in seen if "My secret" in text or "Done" in text] == []
    assert {run.request.session for run in engine.runs[:4]} == {""}
    assert len({call.session for call in calls}) == 3
    assert "secret" not in str(records)


async def test_a_named_conversation_keeps_the_cache_and_the_approvals_but_no_history(
    tmp_path: Path,
) -> None:
    engine = ScriptedEngine("Yes.")
    async with open_scripted(tmp_path, local=engine, policy="local") as runtime:
        await runtime.session("talk").ask("From the session.")
        reply = await runtime.complete(TRANSCRIPT, session="talk", store=False)
        assert reply.trace.session_id == "talk"
        assert len(await runtime.session("talk").history()) == 2
        await runtime.complete(TRANSCRIPT, session="talk", store=True)
        history = await runtime.session("talk").history()
        await runtime.session("talk").ask("And now?")
    requests = [run.request for run in engine.runs]
    assert len({request.session for request in requests}) == 1
    assert texts(requests[1]) == [("system", "Be short."), ("user", "Hello.")]
    assert [message.content for message in history][-2:] == ["Hello.", "Yes."]
    assert [text for _, text in texts(requests[-1])][-3:] == ["Hello.", "Yes.", "And now?"]


async def test_an_exchange_is_kept_once_it_is_answered(tmp_path: Path) -> None:
    engine = scripted(CallTool("book", '{"city": "Rome"}'), then="Booked.")
    async with open_scripted(tmp_path, local=engine, policy="local") as runtime:
        reply = await runtime.complete(TRANSCRIPT, tools=[BOOK], store=True, session="s")
        assert await runtime.store.history("default", "s") == []
        result = Message("tool", "Room 12.", tool_call_id=reply.tool_calls[0].id)
        await runtime.complete(
            [*TRANSCRIPT, *reply.messages, result], tools=[BOOK], store=True, session="s"
        )
        (exchange,) = await runtime.store.history("default", "s")
    roles = [message.role for message in exchange.messages]
    assert roles == ["user", "assistant", "tool", "assistant"]


async def test_memory_is_asked_on_request(tmp_path: Path) -> None:
    engine = ScriptedEngine("Yes.")
    async with open_scripted(tmp_path, local=engine, policy="local") as runtime:
        assert runtime.memory is not None
        item = NewItem("default", "fact", "The cat is called Mia.", 0.0)
        await runtime.memory.add([item])
        question = [Message("user", "What is the cat called?")]
        without = await runtime.complete(question)
        reply = await runtime.complete(question, memory=True)
    assert without.trace.recall is None
    assert reply.trace.recall is not None
    assert "Mia" not in texts(engine.runs[0].request)[-1][1]
    assert "Mia" in texts(engine.runs[1].request)[-1][1]


def secret() -> ToolResult:
    """Read the secret."""
    return ToolResult("The code is 4711.", private=True)


async def test_private_text_stays_private_in_the_callers_hands(tmp_path: Path) -> None:
    local = scripted(CallTool("secret", "{}"), then="It is known.")
    api = ScriptedEngine("From the api.")
    tools = [vanta.tool(effect="read", private=True)(secret)]
    async with open_scripted(
        tmp_path, local=local, api=api, own_tools=tools, policy="prefer"
    ) as runtime:
        first = await runtime.complete(
            TRANSCRIPT, tools=["program"], options=TurnOptions(track="local")
        )
        assert first.trace.private
        data = [vanta.message_data(message) for message in first.messages]
        assert all(item["private"] for item in data)
        for added in (first.messages, data):
            transcript = [*TRANSCRIPT, *added, Message("user", "Repeat it.")]
            reply = await runtime.complete(transcript)
            assert reply.trace.skipped["api"] == "the turn is private and this track is not"
            assert "transcript is private" in str(reply.trace.private_because)
    assert api.runs == []


async def test_a_private_message_of_the_past_is_detected(tmp_path: Path) -> None:
    local, api = ScriptedEngine("Yes."), ScriptedEngine("Yes.")
    transcript = [
        Message("user", "My card is 4111 1111 1111 1111."),
        Message("assistant", "Thanks."),
        Message("user", "What now?"),
    ]
    config = {"privacy": {"detect": ["card"]}}
    async with open_scripted(tmp_path, local=local, api=api, config=config) as runtime:
        reply = await runtime.complete(transcript)
    assert reply.trace.private
    assert api.runs == []


async def test_a_killed_call_of_a_named_conversation_is_shown_and_then_part_of_the_transcript(
    tmp_path: Path,
) -> None:
    counted = Counted()
    engine = ScriptedEngine(
        scripts=[
            [CallTool("send", '{"to": "Anna"}')],
            [Fail(vanta.ErrorKind.SERVER)],
            ["It was sent."],
            ["Nothing is new."],
        ]
    )
    async with open_scripted(
        tmp_path, local=engine, own_tools=counted.tools, policy="local", retries=0
    ) as runtime:
        given: dict[str, Any] = {"tools": ["program"], "session": "talk"}
        with pytest.raises(vanta.AllTracksFailed):
            await runtime.complete(TRANSCRIPT, **given)
        reply = await runtime.complete(TRANSCRIPT, **given)
        asked, result, answer = reply.messages
        assert "Do not repeat it" in result.content
        assert asked.tool_calls[0].name == "send"
        assert answer.content == "It was sent."
        again = await runtime.complete(
            [*TRANSCRIPT, *reply.messages, Message("user", "And?")], **given
        )
    assert len(again.messages) == 1
    assert counted.runs == {"send Anna": 1}


async def test_a_stream_shows_the_text_and_ends_with_the_calls(tmp_path: Path) -> None:
    engine = scripted("One ", "moment.", CallTool("book", '{"city": "Rome"}'))
    async with open_scripted(tmp_path, local=engine, policy="local") as runtime:
        async with runtime.stream(TRANSCRIPT, tools=[BOOK]) as turn:
            shown = [str(text) async for text in turn.text()]
        async with runtime.stream(TRANSCRIPT, tools=[BOOK]) as left:
            async for _ in left.text():
                break
        await runtime.idle()
    assert shown[-1] == turn.reply.text == "One moment."
    assert [call.name for call in turn.reply.tool_calls] == ["book"]
    assert "messages" not in turn.reply.to_dict()


def test_the_synchronous_facade_completes_and_streams(tmp_path: Path) -> None:
    engine = ScriptedEngine("Yes.")
    with open_scripted(tmp_path, local=engine, policy="local") as runtime:
        assert runtime.complete(TRANSCRIPT).text == "Yes."
        with runtime.stream(TRANSCRIPT) as turn:
            assert [str(text) for text in turn.text()][-1] == "Yes."
        with pytest.raises(UsageError, match="messages: the list is empty"):
            runtime.complete([])


async def test_the_cap_counts_turns_without_a_session(tmp_path: Path) -> None:
    engine = ScriptedEngine("Yes.")
    config = {
        "tracks": {"api": {"input_usd_per_mtok": 1e6, "output_usd_per_mtok": 1e6}},
        "budget": {"user_usd": 0.001},
    }
    async with open_scripted(tmp_path, api=engine, policy="api", config=config) as runtime:
        with pytest.raises(vanta.AllTracksFailed, match="cap"):
            await runtime.complete(TRANSCRIPT)
    assert engine.runs == []


def call(*ids: str) -> Message:
    return Message("assistant", "", tuple(ToolCall(item, "book", "{}") for item in ids))


def result(call_id: str | None) -> Message:
    return Message("tool", "Done.", tool_call_id=call_id)


USER = Message("user", "Hello.")
WRONG: dict[str, tuple[Any, str]] = {
    "nothing": ([], "messages: the list is empty"),
    "a text": ("Hello", "messages: pass a list of messages"),
    "one message": (USER, "messages: pass a list of messages"),
    "one mapping": ({"role": "user", "content": "Hello"}, "messages: pass a list of messages"),
    "no message": (
        [USER, 7],
        r"messages\[1\]: a message is a vanta.Message or a mapping, not 'int'",
    ),
    "a role": (
        [{"role": "robot", "content": "x"}],
        r"messages\[0\]: the role 'robot' is not one of",
    ),
    "no role": ([{"content": "x"}], r"messages\[0\]: the role None is not one of"),
    "content": ([{"role": "user", "content": 7}], r"messages\[0\]: the content is of type int"),
    "an empty user": ([Message("user", "")], r"messages\[0\]: the user's message is empty"),
    "an empty answer": ([USER, Message("assistant", ""), USER], r"messages\[1\]: the assistant's"),
    "only a system prompt": ([Message("system", "x")], "no message of the user"),
    "an answer at the end": (
        [USER, Message("assistant", "Hi.")],
        r"messages\[1\]: the transcript ends with an answer of the assistant",
    ),
    "a result first": ([result("a"), USER], r"messages\[0\]: the call 'a' was not asked for"),
    "a result without its call": (
        [USER, call("a"), result("b")],
        r"messages\[2\]: the call 'b' was not asked for.* wait for a result here: 'a'",
    ),
    "two results": ([USER, call("a"), result("a"), result("a")], r"messages\[3\]: the call 'a'"),
    "no result": ([USER, call("a")], r"messages\[2\]: the result of the call 'a' \('book'\)"),
    "a result too few": (
        [USER, call("a", "b"), result("a"), USER],
        r"messages\[3\]: the result of the call 'b' \('book'\), which messages\[1\] asks for",
    ),
    "a late result": ([USER, call("a"), USER, result("a")], r"messages\[2\]: the result of the"),
    "two calls of one id": (
        [USER, call("a", "a"), result("a")],
        r"messages\[1\]: two calls have the id 'a'",
    ),
    "a call without an id": (
        [USER, call(""), result("")],
        r"messages\[1\]: the call of 'book' has",
    ),
    "a result without an id": ([USER, call("a"), result(None)], r"messages\[2\]: the tool's mes"),
    "calls of a user": (
        [Message("user", "x", (ToolCall("a", "book", "{}"),))],
        r"messages\[0\]: a message of the user has no calls",
    ),
    "an id of a user": (
        [Message("user", "x", tool_call_id="a")],
        r"messages\[0\]: a message of the user has no 'tool_call_id'",
    ),
    "calls of another shape": (
        [USER, {"role": "assistant", "tool_calls": [{"id": "a"}]}],
        r"messages\[1\]: tool_calls\[0\] is not an object with a 'function'",
    ),
    "a list of calls": (
        [USER, {"role": "assistant", "tool_calls": "book"}],
        r"messages\[1\]: 'tool_calls' is not a list",
    ),
    "arguments": (
        [
            USER,
            {
                "role": "assistant",
                "tool_calls": [{"id": "a", "function": {"name": "b", "arguments": {"x": {1}}}}],
            },
        ],
        r"messages\[1\]: the arguments of tool_calls\[0\] are not JSON",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
async def test_a_wrong_transcript_is_refused_with_its_place(kind: str, tmp_path: Path) -> None:
    messages, problem = WRONG[kind]
    engine = ScriptedEngine("Yes.")
    async with open_scripted(tmp_path, local=engine, policy="local") as runtime:
        with pytest.raises(UsageError, match=problem):
            await runtime.complete(messages)
        with pytest.raises(UsageError, match=problem):
            async with runtime.stream(messages):
                pass
    assert engine.runs == []


RIGHT: dict[str, list[Any]] = {
    "a greeting first": [Message("assistant", "Hi!"), USER],
    "two of the user": [USER, USER],
    "system between": [USER, Message("assistant", "a"), Message("system", "b"), USER],
    "system last": [USER, Message("system", "Be short.")],
    "two system first": [Message("system", "a"), Message("system", "b"), USER],
    "developer": [{"role": "developer", "content": "a"}, USER],
    "results in another order": [USER, call("a", "b"), result("b"), result("a")],
    "ids again": [USER, call("a"), result("a"), USER, call("a"), result("a"), USER],
    "an empty result": [USER, call("a"), Message("tool", "", tool_call_id="a")],
    "arguments as an object": [
        USER,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "a", "function": {"name": "b", "arguments": {"x": 1}}}],
        },
        {"role": "tool", "content": "1", "tool_call_id": "a", "name": "b"},
    ],
    "no text": [{"role": "user", "content": [{"type": "text", "text": "x"}]}],
}


@pytest.mark.parametrize("kind", RIGHT)
async def test_what_every_server_takes_is_taken(kind: str, tmp_path: Path) -> None:
    engine = ScriptedEngine("Yes.")
    async with open_scripted(tmp_path, local=engine, policy="local") as runtime:
        reply = await runtime.complete(RIGHT[kind])
    assert reply.text == "Yes."
    sent = engine.runs[0].request.messages
    ids = [item.id for message in sent for item in message.tool_calls]
    assert sorted(ids) == sorted(m.tool_call_id for m in sent if m.tool_call_id)
    assert len(set(ids)) == len(ids)


WRONG_TOOLS: dict[str, tuple[Any, str]] = {
    "a text": ("program", r"tools: pass a list, such as \['program'\]"),
    "a function": ([secret], r"tools\[0\]: 'function' is neither"),
    "two of one name": ([BOOK, BOOK], r"tools\[1\]: two tools are named 'book'"),
    "a name": ([Tool("a b", "x", SCHEMA)], r"tools\[0\]: the tool 'a b' cannot be offered"),
    "a schema": ([Tool("a", "x", {"type": 7})], r"tools\[0\]: the tool 'a' cannot be offered"),
}


@pytest.mark.parametrize("kind", WRONG_TOOLS)
async def test_a_wrong_tool_is_refused_with_its_place(kind: str, tmp_path: Path) -> None:
    tools, problem = WRONG_TOOLS[kind]
    async with open_scripted(tmp_path, local=ScriptedEngine("Yes."), policy="local") as runtime:
        with pytest.raises(UsageError, match=problem):
            await runtime.complete(TRANSCRIPT, tools=tools)
        read_result = Tool("read_result", "x", SCHEMA)
        with pytest.raises(UsageError, match="'read_result' is a name of vanta's own tools"):
            await runtime.complete(TRANSCRIPT, tools=[read_result, "clock"])
        with pytest.raises(vanta.UnknownName, match="no toolset is named 'clock'"):
            await runtime.complete(TRANSCRIPT, tools=["clock"])


def test_messages_are_read_as_they_are_written() -> None:
    messages = [USER, call("a", "b"), result("a"), Message("system", "x"), Message("user", "y")]
    assert [vanta.read_message(vanta.message_data(item)) for item in messages] == messages
    secret_one = Message("user", "x", private=True)
    assert vanta.read_message(vanta.message_data(secret_one)).private
