"""Calls that a model has to make, may make, or must not make: always valid, however small it is."""

from __future__ import annotations

import dataclasses
import json
import random
from typing import Any

import anyio
import pytest

from benchmarks.tools.random_schemas import random_tool_schema
from tests.llamacpp.support import answer, request
from vanta.engine import GenerationRequest, Tool
from vanta.errors import EngineError, ErrorKind
from vanta.messages import Completion, Message, ToolCall
from vanta.tools import read_arguments
from vanta_llamacpp.engine import LlamaCppEngine
from vanta_llamacpp.prompt.output_parser import OutputParser
from vanta_llamacpp.sampling.call_grammar import (
    HERMES,
    LLAMA3,
    MISTRAL_LIST,
    CallFormat,
    call_grammar,
    format_of,
)
from vanta_llamacpp.sampling.json_schema import grammar_of
from vanta_llamacpp.sampling.loosening import loosened

WEATHER = Tool(
    "weather",
    "Returns the weather in a city.",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer", "minimum": 1, "maximum": 7},
        },
        "required": ["city", "days"],
    },
)
MAIL = Tool(
    "send_mail",
    "Sends a mail.",
    {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]},
)
TOOLS = (WEATHER, MAIL)


def asking(choice: str, *, max_tokens: int = 120, **rest: Any) -> GenerationRequest:
    """Return a request about two tools."""
    question = request("Write to Bob what the weather in Oslo is.", max_tokens=max_tokens)
    return dataclasses.replace(question, tools=TOOLS, tool_choice=choice, **rest)


def check_calls(told: Completion, tools: tuple[Tool, ...] = TOOLS) -> None:
    """Check that there are calls, and nothing else, and that all are valid."""
    assert told.tool_calls
    assert (told.text, told.finish_reason) == ("", "tool_calls")
    schemas = {tool.name: tool.parameters for tool in tools}
    for call in told.tool_calls:
        read_arguments(call.arguments, schemas[call.name])


@pytest.mark.anyio
@pytest.mark.one_loop
@pytest.mark.parametrize("choice", ["required", "weather", "send_mail"])
async def test_a_call_is_forced(shared_engine: LlamaCppEngine, choice: str) -> None:
    told = await answer(shared_engine, asking(choice, parallel_tool_calls=False))
    check_calls(told)
    assert len(told.tool_calls) == 1
    assert choice in ("required", told.tool_calls[0].name)


@pytest.mark.anyio
@pytest.mark.one_loop
async def test_a_forced_call_ends_within_the_tokens_of_the_answer(
    shared_engine: LlamaCppEngine,
) -> None:
    """The last tokens close what is open: greedy, so small a model would write for ever."""
    for tokens in (40, 60):
        told = await answer(shared_engine, asking("send_mail", max_tokens=tokens))
        check_calls(told)
        assert told.usage is not None
        assert told.usage.output_tokens <= tokens


@pytest.mark.anyio
@pytest.mark.one_loop
async def test_under_none_the_prompt_offers_no_tools(shared_engine: LlamaCppEngine) -> None:
    told = await answer(shared_engine, asking("none", max_tokens=8))
    plain = await answer(shared_engine, dataclasses.replace(asking("auto", max_tokens=8), tools=()))
    assert told.usage is not None
    assert plain.usage is not None
    assert told.usage.input_tokens == plain.usage.input_tokens
    assert (told.text, told.tool_calls) == (plain.text, ())


def shown() -> GenerationRequest:
    """Return a request whose history shows the model how to call a tool."""
    history: list[Message] = []
    for number, city in enumerate(("Rome", "Lima", "Bern")):
        call = ToolCall(f"c{number}", "weather", json.dumps({"city": city, "days": 2}))
        history += [
            Message("user", f"What is the weather in {city}?"),
            Message("assistant", "", (call,)),
            Message("tool", "It rains.", tool_call_id=call.id),
            Message("assistant", f"It rains in {city}."),
        ]
    question = asking("auto")
    last = Message("user", "What is the weather in Oslo?")
    return dataclasses.replace(question, messages=(*history, last))


@pytest.mark.anyio
@pytest.mark.one_loop
async def test_a_call_that_the_model_begins_is_valid(shared_engine: LlamaCppEngine) -> None:
    """Once it has written the mark, it can write nothing but a valid call."""
    told = await answer(shared_engine, shown())
    check_calls(told)


@pytest.mark.anyio
@pytest.mark.one_loop
async def test_random_schemas_give_valid_calls(shared_engine: LlamaCppEngine) -> None:
    """The same as `benchmarks/tools`, of fewer schemas."""
    dice = random.Random(5)  # noqa: S311 - it only varies the test
    tools = [Tool(f"tool_{n}", "Does it.", random_tool_schema(dice)) for n in range(4)]
    answers: list[tuple[Tool, Completion]] = []

    async def call(tool: Tool) -> None:
        query = request("Do it.", max_tokens=64)
        query = dataclasses.replace(query, tools=(tool,), tool_choice="required")
        answers.append((tool, await answer(shared_engine, query)))

    async with anyio.create_task_group() as group:
        for tool in tools:
            group.start_soon(call, tool)
    assert len(answers) == len(tools)
    for tool, told in answers:
        check_calls(told, (tool,))


@pytest.mark.anyio
@pytest.mark.one_loop
@pytest.mark.parametrize(("choice", "tools"), [("required", ()), ("clock", TOOLS)])
async def test_a_call_of_a_tool_that_is_not_offered_is_refused(
    shared_engine: LlamaCppEngine, choice: str, tools: tuple[Tool, ...]
) -> None:
    with pytest.raises(EngineError, match=choice) as raised:
        await answer(shared_engine, dataclasses.replace(asking(choice), tools=tools))
    assert raised.value.kind is ErrorKind.BAD_REQUEST


@pytest.mark.parametrize(
    ("template", "form", "native"),
    [
        ("{{ messages }}", HERMES, True),
        ("{% if tools %}<tool_call>", HERMES, True),
        ("{% if tools %}<tool_call>\n<function=", HERMES, False),
        ("{% if tools %}[TOOL_CALLS] [", MISTRAL_LIST, True),
        ("{% if tools %}[TOOL_CALLS]name[ARGS]", HERMES, False),
        ('{% if tools %}{"name": function name, "parameters": ...}', LLAMA3, True),
        ("{% if tools %}something else", HERMES, False),
    ],
)
def test_the_format_of_calls_follows_from_the_template(
    template: str, form: CallFormat, native: bool
) -> None:
    assert format_of(template) == (form, native)


@pytest.mark.parametrize("form", [HERMES, MISTRAL_LIST, LLAMA3])
def test_an_answer_of_calls_is_parsed_as_calls(form: CallFormat) -> None:
    """What the grammar's literals make, with the JSON of two calls between them."""
    call = json.dumps({"name": "weather", form.arguments: {"city": "Oslo", "days": 2}})
    both = f"{call}{form.closing}{form.separator}{call}{form.closing}" if form.separator else call
    bracket = "[" if form is MISTRAL_LIST else ""
    parsed = OutputParser((WEATHER,))
    output = parsed.add(f"{form.mark}{bracket}{both}{form.end}") + parsed.finish()
    assert output.text == ""
    assert {part.name for part in output.calls} == {"weather"}
    assert len(output.calls) == (2 if form.separator else 1)


def test_more_calls_than_allowed_are_dropped() -> None:
    parser = OutputParser((WEATHER,), most=1)
    call = '<tool_call>{"name": "weather"}</tool_call>'
    output = parser.add(call + call) + parser.finish()
    assert ([part.name for part in output.calls], output.text) == (["weather"], "")


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"properties": {"a": {"type": "integer", "minimum": 0}}},
        {"type": "object", "required": ["a"]},
        {"type": "object", "properties": {"a": {"allOf": [{"$ref": "#/$defs/b"}]}}, "$defs": {}},
        {"type": "object", "properties": {"a": {"type": ["string", "null"], "minLength": 3}}},
        {"type": "object", "properties": {"a": {"type": "string", "maxLength": 1 << 31}}},
        {"type": "object", "properties": {"a": {"type": "array", "items": True}}},
        {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}},
        {"type": "object", "properties": {"a": {"pattern": "(?=x)", "type": "string"}}},
        {"type": "object", "properties": {"a": {"enum": [], "type": "text"}}},
        {"type": "object", "properties": {"a": True}, "patternProperties": {"^x": {}}},
        {"allOf": [{"type": "object"}, {"properties": {"a": {}}}]},
        {"type": "object", "properties": {"a": {"oneOf": [{}, {}]}}},
    ],
)
def test_a_schema_that_no_grammar_enforces_is_loosened(schema: dict[str, Any]) -> None:
    """A call can be forced with any schema; arguments are checked before it is run."""
    assert grammar_of(loosened(schema))
    calls = call_grammar(HERMES, (Tool("t", "", schema),), parallel=True)
    assert 'call ::= "\\n"? vanta-call' in calls.whole


def test_a_schema_that_a_grammar_enforces_stays_as_it_is() -> None:
    assert loosened(MAIL.parameters) is MAIL.parameters


def test_the_grammar_of_very_many_tools_is_short_enough() -> None:
    """Their arguments are then any object."""
    schema = {
        "type": "object",
        "properties": {f"property_{n}": {"type": "string"} for n in range(20)},
    }
    tools = [Tool(f"tool_{n}", "", schema) for n in range(100)]
    assert len(call_grammar(HERMES, tools, parallel=True).whole) < 64 * 1024
