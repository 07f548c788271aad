"""Calls of tools and reasoning, told apart from the answer, however the text is cut."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.llamacpp.support import answer, request
from vanta.engine import Tool
from vanta.messages import Message, ToolCall
from vanta.normalising import ReasoningSplitter, written
from vanta_llamacpp.engine import LlamaCppEngine
from vanta_llamacpp.prompt.output_parser import OutputParser, ParsedOutput

CLOCK = Tool("clock", "Tells the time.", {"type": "object", "properties": {}})
RAIN = Tool("rain", "Tells whether it rains.", {"type": "object", "properties": {}})
HERMES = (
    'Let me see.\n<tool_call>\n{"name": "clock", "arguments": {"zone": "UTC"}}\n</tool_call>\n'
    '<tool_call>{"name": "rain", "arguments": {}}</tool_call>'
)
MISTRAL = '[TOOL_CALLS][{"name": "clock", "arguments": {"zone": "UTC"}}, {"name": "rain"}]'
LLAMA3 = '{"name": "clock", "parameters": {"zone": "UTC"}}'


def read(text: str, cuts: list[int] | None = None, *, tools: bool = True) -> ParsedOutput:
    """All that is said in `text`, given in pieces."""
    marks, said, last = OutputParser((CLOCK, RAIN) if tools else ()), ParsedOutput(), 0
    for cut in [*sorted(cuts or []), len(text)]:
        said += marks.add(text[last:cut])
        last = max(last, cut)
    return said + marks.finish()


def calls(said: ParsedOutput) -> list[tuple[str, str]]:
    """Names and arguments."""
    return [(part.name, part.arguments) for part in said.calls]


@pytest.mark.parametrize(
    ("text", "shown", "count"),
    [
        (HERMES, "Let me see.\n", 2),
        (MISTRAL, "", 2),
        (LLAMA3, "", 1),
        ("<|python_tag|>" + LLAMA3, "", 1),
    ],
)
def test_the_models_own_formats_are_read(text: str, shown: str, count: int) -> None:
    """Text before them stays; each call has a number and an id of its own."""
    said = read(text)
    assert said.text == shown
    assert calls(said) == [("clock", '{"zone": "UTC"}'), ("rain", "{}")][:count]
    assert [part.index for part in said.calls] == list(range(count))
    assert len({part.id for part in said.calls}) == count


@given(
    text=st.sampled_from(
        [HERMES, MISTRAL, LLAMA3, "<think>so\n</think>\n\nHi <there", "a < b <tool", "{1}", " x"]
    ),
    cuts=st.lists(st.integers(0, 160), max_size=12),
    tools=st.booleans(),
)
def test_the_cuts_make_no_difference(text: str, cuts: list[int], tools: bool) -> None:
    """A mark may come in any pieces."""
    assert read(text, cuts, tools=tools) == read(text, tools=tools)


def test_reasoning_is_kept_apart() -> None:
    """At the beginning only: later it is text like any other."""
    assert read("\n<think>Well.\n</think>\n\nYes.") == ParsedOutput("Yes.", "Well.\n")
    assert read("Use <think> tags") == ParsedOutput("Use <think> tags")
    inside = OutputParser(thoughts=ReasoningSplitter("</think>"))
    assert inside.add("so</think>Yes.") == ParsedOutput("Yes.", "so")
    assert read("<think>for ever") == ParsedOutput("", "for ever")


def test_without_tools_nothing_is_a_call() -> None:
    """It is the text that was asked for."""
    for text in (HERMES, MISTRAL, LLAMA3):
        assert read(text, tools=False) == ParsedOutput(text)


@pytest.mark.parametrize("body", ["{", '{"name": 3}', "[]", "3", '[{"name": "a"}, 1]'])
def test_what_is_no_call_is_text(body: str) -> None:
    """Rather than lost, with its marks: it may be about them."""
    text = f"<tool_call>{body}</tool_call>"
    assert read(text) == ParsedOutput(text)


def test_a_model_without_a_place_for_tools_is_told_in_the_system_message() -> None:
    """And calls and results come back as text."""
    talk = (
        Message("system", "Be brief."),
        Message("user", "Time?"),
        Message("assistant", "", (ToolCall("c", "clock", '{"zone": "UTC"}'),)),
        Message("tool", "noon", tool_call_id="c"),
    )
    system, _, call, result = written(talk, (CLOCK,))
    assert system.content.startswith("Be brief.\n\n# Tools")
    assert '"name": "clock"' in system.content
    assert read(call.content).calls[0].arguments == '{"zone": "UTC"}'
    assert (result.role, "noon" in result.content) == ("user", True)
    assert written(talk[:2], ()) == list(talk[:2])
    assert written(talk[1:2], (CLOCK,))[0].role == "system"


@pytest.mark.anyio
@pytest.mark.one_loop
async def test_a_call_of_the_real_model_reaches_the_caller(shared_engine: LlamaCppEngine) -> None:
    """Forced by a grammar, since so small a model seldom calls of its own accord."""
    grammar = (
        'root ::= "<tool_call>\\n{\\"name\\": \\"clock\\", \\"arguments\\": {\\"zone\\": "'
        ' ("\\"UTC\\"" | "\\"CET\\"") "}}\\n</tool_call>"'
    )
    asked = request("What time is it?", grammar=grammar, max_tokens=60)
    told = await answer(shared_engine, dataclasses.replace(asked, tools=(CLOCK,)))
    assert told.finish_reason == "tool_calls"
    assert told.text == ""
    (call,) = told.tool_calls
    assert call.name == "clock"
    assert call.arguments in {'{"zone": "UTC"}', '{"zone": "CET"}'}


@pytest.mark.anyio
@pytest.mark.one_loop
async def test_reasoning_of_the_real_model_is_no_text(shared_engine: LlamaCppEngine) -> None:
    """Forced by a grammar as well."""
    told = await answer(
        shared_engine, request(grammar='root ::= "<think>Well.</think>Yes."', max_tokens=30)
    )
    assert (told.text, told.reasoning, told.finish_reason) == ("Yes.", "Well.", "stop")


@pytest.mark.anyio
@pytest.mark.one_loop
async def test_the_prompt_grows_by_the_tools(shared_engine: LlamaCppEngine) -> None:
    """They are really told."""
    plain = await answer(shared_engine, request(max_tokens=1))
    asked = dataclasses.replace(request(max_tokens=1), tools=(CLOCK,))
    told = await answer(shared_engine, asked)
    assert plain.usage is not None
    assert told.usage is not None
    assert told.usage.input_tokens > plain.usage.input_tokens + 80
