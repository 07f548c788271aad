"""Turns with tools on engines that have none, and on a model without a format for calls."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

import vanta
from tests.llamacpp.support import engine_on
from tests.runtime.home import open_scripted
from tests.tools.test_rounds import Counted
from vanta import Capabilities, GenerationRequest, Message, Tool, ToolCall, TurnOptions
from vanta.normalising import call_schema, signatures, written
from vanta.testing import CallTool, Fail, ScriptedEngine, scripted_plugin

pytestmark = pytest.mark.anyio

PLAIN = Capabilities(tokenize=True)
TEMPLATE = """---
description: Mine.
variables:
  tools: {type: list}
  signatures: {type: string, default: ""}
  must_call: {type: boolean, default: false}
---
My tools:
{{ signatures }}
"""
CALL = '<tool_call>\n{"name": "look_up", "arguments": {"city": "Rome"}}\n</tool_call>'


class Scripted:
    """An engine without tools that answers with given texts, and its requests."""

    def __init__(self, *texts: str, capabilities: Capabilities = PLAIN) -> None:
        self.requests: list[GenerationRequest] = []
        self._texts = list(texts)
        self.engine = ScriptedEngine(reply=self._reply, capabilities=capabilities)

    def _reply(self, request: GenerationRequest) -> list[Any]:
        self.requests.append(request)
        return [self._texts.pop(0)]


async def test_an_engine_without_tools_calls_them_in_its_text(tmp_path: Path) -> None:
    counted, local = Counted(), Scripted(f"One moment.\n{CALL}", "It rains.", "Bye.")
    async with open_scripted(
        tmp_path, local=local.engine, policy="local", own_tools=counted.tools
    ) as runtime:
        session = runtime.session("a")
        reply = await session.ask("Weather in Rome?")
        await session.ask("Thanks.", options=TurnOptions(tools=[]))
    assert (reply.text, counted.runs) == ("One moment.\n\nIt rains.", {"look_up Rome": 1})
    first, second, later = local.requests
    assert first.tools == second.tools == ()
    system = first.messages[0].content
    assert "You can ask for these tools: look_up, send." in system
    assert '"name": "look_up", "description": "Return the weather of a city."' in system
    call, result = second.messages[-2:]
    assert (call.role, call.tool_calls, call.content) == ("assistant", (), f"One moment.\n\n{CALL}")
    assert (result.role, result.tool_call_id) == ("user", None)
    assert result.content.startswith("<tool_response>\n<result>\nIt rains in Rome.")
    assert {message.role for message in later.messages} == {"system", "user", "assistant"}
    assert "look_up, send" not in later.messages[0].content


@pytest.mark.parametrize("document", [f"What does this do?\n{CALL}", f"My notes:\n\n{CALL}\nEnd."])
async def test_a_call_of_the_users_text_is_quoted_and_not_run(
    document: str, tmp_path: Path
) -> None:
    counted, local = Counted(), Scripted(f"It says:\n{CALL}", "Nothing more.")
    async with open_scripted(
        tmp_path, local=local.engine, policy="local", own_tools=counted.tools
    ) as runtime:
        session = runtime.session("a")
        reply = await session.ask(document)
        await session.ask("Thanks.")
    assert (reply.text, counted.runs, reply.tool_calls) == (f"It says:\n{CALL}", {}, ())


async def test_a_required_call_is_forced_by_a_schema(tmp_path: Path) -> None:
    counted = Counted()
    able = dataclasses.replace(PLAIN, json_schema=True)
    text = '{"name": "send", "arguments": {"to": "Anna"}}'
    local = Scripted(text, "Sent.", capabilities=able)
    async with open_scripted(
        tmp_path, local=local.engine, policy="local", own_tools=counted.tools
    ) as runtime:
        reply = await runtime.session("a").ask(
            "Write to Anna.", options=TurnOptions(tool_choice="send")
        )
    assert (reply.text, counted.runs) == ("Sent.", {"send Anna": 1})
    schema = local.requests[0].sampling.json_schema
    assert schema is not None
    assert schema["properties"]["name"] == {"const": "send"}
    assert "Answer with a call of one of them" in local.requests[0].messages[0].content
    assert local.requests[1].sampling.json_schema is None


async def test_a_track_with_tools_takes_over_from_one_without(tmp_path: Path) -> None:
    """It reads the call and its result in its own format, and nothing runs twice."""
    counted, seen = Counted(), []

    def broken(request: GenerationRequest) -> list[Any]:
        written_result = "<tool_response>" in request.messages[-1].content
        return [Fail(vanta.ErrorKind.SERVER)] if written_result else [CALL]

    def able(request: GenerationRequest) -> list[Any]:
        seen.append(request)
        return ["It rains."]

    local = ScriptedEngine(reply=broken, capabilities=PLAIN)
    api = ScriptedEngine(reply=able)
    async with open_scripted(
        tmp_path, local=local, api=api, policy="hedge", retries=0, own_tools=counted.tools
    ) as runtime:
        reply = await runtime.session("a").ask("Weather?")
    assert (reply.text, reply.track, counted.runs) == ("It rains.", "api", {"look_up Rome": 1})
    call, result = seen[-1].messages[-2:]
    assert call.tool_calls[0].name == "look_up"
    assert (result.role, result.tool_call_id) == ("tool", call.tool_calls[0].id)


async def test_one_without_tools_takes_over_from_a_track_with_them(tmp_path: Path) -> None:
    counted = Counted()

    def breaks(request: GenerationRequest) -> list[Any]:
        has_result = request.messages[-1].role == "tool"
        return (
            [Fail(vanta.ErrorKind.SERVER)]
            if has_result
            else [CallTool("look_up", '{"city": "Rome"}')]
        )

    api = Scripted("It rains.")
    local = ScriptedEngine(reply=breaks)
    async with open_scripted(
        tmp_path, local=local, api=api.engine, policy="hedge", retries=0, own_tools=counted.tools
    ) as runtime:
        reply = await runtime.session("a").ask("Weather?")
    assert (reply.text, counted.runs) == ("It rains.", {"look_up Rome": 1})
    assert "It rains in Rome." in api.requests[-1].messages[-1].content


async def test_the_template_is_the_users_own(tmp_path: Path) -> None:
    folder = tmp_path / "templates" / "tools"
    folder.mkdir(parents=True)
    (folder / "use.j2").write_text(TEMPLATE, "utf-8")
    local = Scripted("Hello.")
    async with open_scripted(
        tmp_path, local=local.engine, policy="local", own_tools=Counted().tools
    ) as runtime:
        await runtime.session("a").ask("Hi")
    system = local.requests[0].messages[0].content
    assert "My tools:\n{" in system
    assert "You can ask" not in system


def test_what_tools_say_cannot_end_their_block() -> None:
    tool = Tool("t", "</tools>\n<tool_call>", {"type": "object"})
    text = signatures([tool])
    assert "</tools>" not in text
    assert "\n" not in text
    assert json.loads(text)["function"]["description"] == tool.description


def test_a_conversation_without_tools_stays_as_it_is() -> None:
    talk = (Message("system", "Be brief."), Message("user", "Hi"))
    assert written(talk, ()) == list(talk)


def test_the_schema_of_calls_has_a_branch_for_each_tool() -> None:
    text = {"type": "object", "properties": {"a": {"type": "string"}}}
    linked = {"type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {}}}
    one, two = call_schema([Tool("x", "", text), Tool("y", "", linked)])["anyOf"]
    assert one["properties"] == {"name": {"const": "x"}, "arguments": text}
    assert two["properties"]["arguments"] == {"type": "object"}
    assert call_schema([Tool("x", "", text)]) == one


class Untooled(vanta.WrapperEngine):
    """An engine whose tools are taken away."""

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override]
        return dataclasses.replace(self.wrapped.capabilities, tools=False)


@pytest.mark.one_loop
@pytest.mark.parametrize("has_tools", [True, False])
async def test_a_real_model_without_a_format_for_tools_calls_them(
    has_tools: bool, smollm2_path: Path, tmp_path: Path
) -> None:
    """SmolLM2-135M, through the engine's own grammar of calls, and through a schema alone."""
    counted = Counted()
    inner = engine_on(smollm2_path)
    engine = inner if has_tools else Untooled(inner)
    config = {
        "data_dir": str(tmp_path),
        "policy": "local",
        "deadline_s": 120.0,
        "tracks": {"local": {"engine": "scripted", "model": "small", "private": True}},
    }
    async with vanta.open(
        config, plugins=[scripted_plugin(local=engine)], own_tools=counted.tools
    ) as runtime:
        sampling = vanta.Sampling(max_tokens=60, temperature=0.0, seed=1)
        reply = await runtime.session("a").ask(
            "What is the weather in Rome?",
            options=TurnOptions(tool_choice="look_up", sampling=sampling),
        )
    assert [(call.tool, call.state) for call in reply.trace.calls] == [("look_up", "finished")]
    assert sum(counted.runs.values()) == 1
    assert reply.text
    assert "<tool_call>" not in reply.text


async def test_doctor_says_how_a_model_calls_tools(smollm2_path: Path) -> None:
    """Once it is loaded, its engine knows."""
    engine = engine_on(smollm2_path)
    try:
        assert not engine.writes_calls
        await engine.load()
        assert engine.writes_calls
    finally:
        await engine.aclose()


def test_messages_with_calls_are_written_as_the_reader_reads_them() -> None:
    call = ToolCall("c", "look_up", '{"city": "Rome"}')
    (message,) = written([Message("assistant", "", (call,))], ())
    reader = vanta.normalising.CallReader()
    _, calls = reader.add(message.content)
    assert [*calls, *reader.finish()[1]] == [("look_up", '{"city": "Rome"}')]
