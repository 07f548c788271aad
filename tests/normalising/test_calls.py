"""Calls that models write into their text, in the notations of llama.cpp's own template tests.

https://github.com/ggml-org/llama.cpp/blob/master/tests/test-chat.cpp. Each text is also read in two
parts, cut at every character, and in pieces of one character.
"""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vanta.engine import Tool
from vanta.messages import Delta, Fold, TokenLogprob, ToolCallPart
from vanta.normalising import CALL_TOKENS, CallFilter, CallReader, ReasoningSplitter

INTEGERS = {"arg1": {"type": "integer"}, "arg2": {"type": "integer"}}
TOOLS = (
    Tool("special", "", {"type": "object", "properties": INTEGERS}),
    Tool("other", "", {"type": "object", "properties": INTEGERS}),
    Tool("get_time", "", {"type": "object", "properties": {"city": {"type": "string"}}}),
    Tool("python", "", {"type": "object", "properties": {"code": {"type": "string"}}}),
    Tool("set", "", {"type": "object", "properties": {"config": {"type": "object"}}}),
    Tool("empty", "", {"type": "object", "properties": {}}),
)
ONE = '{"name": "special", "arguments": {"arg1": 1}}'
TWO = '{"name": "other", "arguments": {"arg1": 1, "arg2": 2}}'
SPECIAL = ("special", {"arg1": 1})
OTHER = ("other", {"arg1": 1, "arg2": 2})
XML = "<function=special>\n<parameter=arg1>\n1\n</parameter>\n</function>"
XML_TWO = (
    "<function=other>\n<parameter=arg1>\n1\n</parameter>\n<parameter=arg2>\n2\n</parameter>\n"
    "</function>"
)
DSML = (
    '<｜DSML｜invoke name="{}">\n<｜DSML｜parameter name="{}" string="{}">{}</｜DSML｜parameter>\n'
)
DSML += "</｜DSML｜invoke>\n"

Read = tuple[str, list[tuple[str, str]], str]


def read(text: str, *cuts: int, tools: tuple[Tool, ...] = TOOLS) -> Read:
    """Return the text, the calls and the reasoning in an answer that arrives in pieces."""
    splitter, reader = ReasoningSplitter(calls=True), CallReader(tools)
    calls: list[tuple[str, str]] = []
    shown, reasoning, last = "", "", 0
    for cut in (*sorted(cuts), len(text), None):
        piece = splitter.finish() if cut is None else splitter.add(text[last:cut])
        last = last if cut is None else max(last, cut)
        reasoning += piece.reasoning
        for more, found in [reader.add(piece.text), *([reader.finish()] if cut is None else [])]:
            shown, calls = shown + more, calls + found
    return shown, calls, reasoning


def in_every_piece(text: str) -> Read:
    """Return what is in `text`, the same however it is cut."""
    whole = read(text)
    for cut in range(1, len(text)):
        assert read(text, cut) == whole, f"cut at {cut}: {text[:cut]!r}"
    assert read(text, *range(len(text))) == whole
    return whole


CALLS = {
    "Hermes": (f"<tool_call>\n{ONE}</tool_call>", [SPECIAL]),
    "Granite 4, Qwen 2.5": (f"<tool_call>\n{ONE}\n</tool_call>", [SPECIAL]),
    "Qwen, two": (
        f"<tool_call>\n{ONE}\n</tool_call>\n<tool_call>\n{TWO}\n</tool_call>",
        [SPECIAL, OTHER],
    ),
    "Hermes, never closed": (f"<tool_call>\n{ONE}\n<tool_call>\n{TWO}", [SPECIAL, OTHER]),
    "Hermes, two in one": (f"<tool_call>\n{ONE}\n{TWO}\n</tool_call>", [SPECIAL, OTHER]),
    "Qwen 3 Coder": (f"<tool_call>\n{XML}\n</tool_call>", [SPECIAL]),
    "Qwen 3 Coder, two": (
        f"<tool_call>\n{XML}\n</tool_call>\n<tool_call>\n{XML_TWO}\n</tool_call>",
        [SPECIAL, OTHER],
    ),
    "Qwen 3 Coder, never opened": (
        f"{XML}\n</tool_call>\n<tool_call>\n{XML_TWO}\n</tool_call>",
        [SPECIAL, OTHER],
    ),
    "Qwen 3 Coder, a text": (
        "<tool_call>\n<function=python>\n<parameter=code>\n1\n\nif a </function> b:\n  c\n"
        "</parameter>\n</function>\n</tool_call>",
        [("python", {"code": "1\n\nif a </function> b:\n  c"})],
    ),
    "Seed": (f"<seed:tool_call>\n{XML}\n</seed:tool_call>", [SPECIAL]),
    "Llama 3.1, Functionary": ('<function=special>{"arg1": 1}</function>', [SPECIAL]),
    "MiniCPM": (
        '<function name="python"><param name="code">print(1)</param></function>',
        [("python", {"code": "print(1)"})],
    ),
    "MiniCPM, no parameter": ('<function name="empty"></function>', [("empty", {})]),
    "Mistral": (f"[TOOL_CALLS][{ONE}, {TWO}]", [SPECIAL, OTHER]),
    "Mistral Nemo": (f'[TOOL_CALLS][{ONE[:-1]}, "id": "123456789"}}]', [SPECIAL]),
    "Ministral": (
        '[TOOL_CALLS]special[ARGS]{"arg1": 1}[TOOL_CALLS]other[ARGS]{"arg1": 1, "arg2": 2}',
        [SPECIAL, OTHER],
    ),
    "Mistral Small": (
        '[TOOL_CALLS]special[CALL_ID]000000001[ARGS]{"arg1": 1}'
        '[TOOL_CALLS]other[CALL_ID]000000002[ARGS]{"arg1": 1, "arg2": 2}',
        [SPECIAL, OTHER],
    ),
    "Llama 3": ('{"name": "special", "parameters": {"arg1": 1}}', [SPECIAL]),
    "Llama 3, typed": (
        '{"type": "function", "function": "special", "parameters": {}}',
        [("special", {})],
    ),
    "Llama 3, two": (f"{ONE}; {TWO}", [SPECIAL, OTHER]),
    "Llama 3.1, tagged": (f"<|python_tag|>{ONE}; {TWO}", [SPECIAL, OTHER]),
    "DeepSeek 3.1": (
        '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>special<｜tool▁sep｜>{"arg1": 1}<｜tool▁call▁end｜>'
        '<｜tool▁call▁begin｜>other<｜tool▁sep｜>{"arg1": 1, "arg2": 2}<｜tool▁call▁end｜>'
        "<｜tool▁calls▁end｜>",
        [SPECIAL, OTHER],
    ),
    "DeepSeek R1": (
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>special\n"
        '```json\n{"arg1": 1}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
        [SPECIAL],
    ),
    "DeepSeek 3.2": (
        "<｜DSML｜function_calls>\n"
        + DSML.format("get_time", "city", "true", "12")
        + DSML.format("special", "arg1", "false", "1")
        + "</｜DSML｜function_calls>",
        [("get_time", {"city": "12"}), SPECIAL],
    ),
    "DeepSeek 4": (
        f"<｜DSML｜tool_calls>\n{DSML.format('special', 'arg1', 'false', '1')}</｜DSML｜tool_calls>",
        [SPECIAL],
    ),
    "MiniMax": (
        '<minimax:tool_call>\n<invoke name="special">\n<parameter name="arg1">1</parameter>\n'
        "</invoke>\n</minimax:tool_call>",
        [SPECIAL],
    ),
    "Kimi": (
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.special:0"
        '<|tool_call_argument_begin|>{"arg1": 1}<|tool_call_end|><|tool_call_begin|>'
        'functions.other:1<|tool_call_argument_begin|>{"arg1": 1, "arg2": 2}<|tool_call_end|>'
        "<|tool_calls_section_end|>",
        [SPECIAL, OTHER],
    ),
    "GLM 4.6": (
        "<tool_call>special\n<arg_key>arg1</arg_key>\n<arg_value>1</arg_value>\n</tool_call>",
        [SPECIAL],
    ),
    "GLM 4.7, Spark": (
        "<tool_call>special<arg_key>arg1</arg_key><arg_value>1</arg_value></tool_call><tool_call>"
        "other<arg_key>arg1</arg_key><arg_value>1</arg_value><arg_key>arg2</arg_key><arg_value>2"
        "</arg_value></tool_call>",
        [SPECIAL, OTHER],
    ),
    "GLM, no argument": ("<tool_call>empty</tool_call>", [("empty", {})]),
    "gpt-oss, recipient in the role": (
        ' to=functions.special<|channel|>analysis<|message|>{"arg1": 1}',
        [SPECIAL],
    ),
    "gpt-oss, recipient in the channel": (
        '<|channel|>analysis to=functions.special<|message|>{"arg1": 1}',
        [SPECIAL],
    ),
    "gpt-oss, constrained": (
        ' to=functions.special<|channel|>analysis <|constrain|>json<|message|>{"arg1": 1}',
        [SPECIAL],
    ),
    "gpt-oss, commentary": (
        '<|channel|>commentary to=functions.special<|message|>{"arg1": 1}<|call|>',
        [SPECIAL],
    ),
    "Command R7B": (
        '<|START_ACTION|>[\n    {"tool_call_id": "0", "tool_name": "special", "parameters": '
        '{"arg1": 1}}\n]<|END_ACTION|>',
        [SPECIAL],
    ),
    "Command R+": (
        'Action:\n```json\n[{"tool_name": "special", "parameters": {"arg1": 1}}]\n```',
        [SPECIAL],
    ),
    "Nemotron": (f"<TOOLCALL>[{ONE}]</TOOLCALL>\n", [SPECIAL]),
    "Apriel": (f"<tool_calls>[{ONE}]</tool_calls>", [SPECIAL]),
    "Granite 3": (f"<|tool_call|>[{ONE}]", [SPECIAL]),
    "Phi 4": (f"<|tool_call|>[{ONE}]<|/tool_call|>", [SPECIAL]),
    "Apertus": ('<|tools_prefix|>[{"special": {"arg1": 1}}]<|tools_suffix|>', [SPECIAL]),
    "GigaChat 3": (f"<|message_sep|>\n\nfunction call<|role_sep|>\n{ONE}", [SPECIAL]),
    "GigaChat 3.1": (f"<|function_call|>{ONE}", [SPECIAL]),
    "FireFunction": (f" functools[{ONE}]", [SPECIAL]),
    "LFM2": (
        "<|tool_call_start|>[special(arg1=1), other(arg1=1, arg2=2)]<|tool_call_end|>",
        [SPECIAL, OTHER],
    ),
    "LFM2, values": (
        '<|tool_call_start|>[set(config={"on": true, "off": False, "n": [-1, null, "a\\nb"]})]'
        "<|tool_call_end|>",
        [("set", {"config": {"on": True, "off": False, "n": [-1, None, "a\nb"]}})],
    ),
    "Gemma 4": (
        '<|tool_call>call:get_time{city:<|"|>San "{Fran}", a:b<|"|>}<tool_call|>',
        [("get_time", {"city": 'San "{Fran}", a:b'})],
    ),
    "Gemma 4, no argument": ("<|tool_call>call:empty{}<tool_call|>", [("empty", {})]),
}


@pytest.mark.parametrize(("text", "expected"), CALLS.values(), ids=CALLS)
def test_a_call_is_read_in_every_notation(text: str, expected: list[tuple[str, object]]) -> None:
    shown, calls, reasoning = in_every_piece(text)
    assert [(name, json.loads(arguments)) for name, arguments in calls] == expected
    assert (shown.strip(), reasoning) == ("", "")


@pytest.mark.parametrize(("text", "expected"), CALLS.values(), ids=CALLS)
def test_text_around_a_call_is_kept(text: str, expected: list[tuple[str, object]]) -> None:
    if text.startswith(("{", " ")):  # these notations are only recognised as the whole answer
        return
    if not text.startswith("<|channel|>"):
        before, calls, _ = in_every_piece("Hello.\nWhat's up?" + text)
        assert (before.strip(), len(calls)) == ("Hello.\nWhat's up?", len(expected))
    closed = text if text.rstrip().endswith((">", "]", "```")) else text + "\n"
    after, calls, _ = read(f"{closed}\nIt is done.")
    assert (after.strip(), len(calls)) == ("It is done.", len(expected))


@pytest.mark.parametrize(
    ("text", "shown", "calls", "reasoning"),
    [
        (f"<think>so</think>\n\n<tool_call>{ONE}</tool_call>", "", ["special"], "so"),
        (
            f"<think><tool_call>{ONE}</tool_call></think>No.",
            "No.",
            [],
            f"<tool_call>{ONE}</tool_call>",
        ),
        (
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary "
            'to=functions.special <|constrain|>json<|message|>{"arg1": 1}<|call|>',
            "",
            ["special"],
            "Hm.",
        ),
        (
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant to=functions.special"
            '<|channel|>commentary<|message|>{"arg1": 1}<|end|><|start|>assistant<|channel|>final'
            "<|message|>Done.",
            "Done.",
            ["special"],
            "Hm.",
        ),
        ("<|channel|>final<|message|>Hello.", "Hello.", [], ""),
    ],
)
def test_reasoning_is_told_from_calls(
    text: str, shown: str, calls: list[str], reasoning: str
) -> None:
    text_read, calls_read, reasoning_read = in_every_piece(text)
    assert (text_read, [name for name, _ in calls_read], reasoning_read) == (
        shown,
        calls,
        reasoning,
    )


@pytest.mark.parametrize(
    "text",
    [
        "Use `<tool_call>` and `</tool_call>` around it.",
        "The tag <tool_call> opens a call, and </tool_call> ends it.",
        f"```xml\n<tool_call>\n{ONE}\n</tool_call>\n```\nThat is how.",
        f"~~~\n[TOOL_CALLS][{ONE}]\n~~~",
        f"Write `<tool_call>{ONE}</tool_call>` in one line.",
        'Such as <tool_call>{"name": "any", "arguments": {}}</tool_call>, which is an example.',
        '"<tool_call>" is a mark.',
        "[TOOL_CALLS] is a mark of Mistral's, [ARGS] another one.",
        "<function=NAME> begins a call.",
        "<|python_tag|> is a token",
        "<|python_tag|>[x for x in range(3)]",
        "<|python_tag|>print(1)",
        "functools is a module",
        "Use functools[0] here",
        "Action:\n```python\nprint(1)\n```",
        "to=functions. is a prefix",
        "Send it to=functions.special",
        "<｜tool▁calls▁begin｜> is a token of DeepSeek's",
        "<|tool_call_start|>[1, 2]<|tool_call_end|>",
        "<|tool_call_start|>[special(1)]<|tool_call_end|>",
        "<|tool_call>call: me<tool_call|>",
        '<invoke name="x"> is XML',
        "a < b <tool",
        "<tool_call>",
        "<tool_call>{",
        "<tool_call>[]</tool_call>",
        "<tool_call>3</tool_call>",
        '{"name": "Alice", "arguments": {}}',
        '{"name": "special"} is an object',
        f"{ONE} is what I would call.",
        '{"answer": 42}',
        "{1}",
        "{",
        "  ",
        "\n\nHi",
        "",
    ],
)
def test_text_that_mentions_a_mark_stays_text(text: str) -> None:
    assert in_every_piece(text) == (text, [], "")


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        (
            '<tool_call>\n{"name": "special", "arguments": {"arg1": </tool_call>',
            "special",
            '{"arg1":',
        ),
        ('<tool_call>{"name": "special", "arguments": {"arg1": "x', "special", '{"arg1": "x'),
        ('<tool_call>{"name": "special", "arguments": {"arg1": 1}', "special", '{"arg1": 1}'),
        (
            '<tool_call>{"name": "special", "arguments": {arg1: 1}}</tool_call>',
            "special",
            "{arg1: 1}}",
        ),
        ('<function=special>{"arg1": 1', "special", '>{"arg1": 1'),
        ('[TOOL_CALLS]special[ARGS]{"arg1": 1', "special", '[ARGS]{"arg1": 1'),
        ('[TOOL_CALLS][{"name": "special", "arguments": {"a', "special", '{"a'),
        ('<tool_call>{"name": "unknown", "arguments": {}}</tool_call>', "unknown", "{}"),
    ],
)
def test_a_broken_call_is_a_wrong_call(text: str, name: str, arguments: str) -> None:
    """The model reads what is wrong with it, and the user does not see half a call."""
    assert in_every_piece(text) == ("", [(name, arguments)], "")


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "string"}, "007", "007"),
        ({"type": "string"}, "null", "null"),
        ({"type": "integer"}, "7", 7),
        ({"type": "boolean"}, "true", True),
        ({"type": ["string", "null"]}, "null", None),
        ({"type": ["string", "null"]}, "7", "7"),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, "7", 7),
        ({"enum": ["1", "2"]}, "1", "1"),
        ({"const": 1}, "1", 1),
        ({"type": "array"}, '["a", 1]', ["a", 1]),
        ({"type": "object"}, "{broken", "{broken"),
        ({}, "7", 7),
        ({}, '"7"', '"7"'),
        ({"type": 3, "anyOf": 4, "enum": 5}, "x", "x"),
    ],
)
def test_a_value_without_a_type_gets_that_of_the_schema(
    schema: dict[str, object], text: str, value: object
) -> None:
    tool = Tool("f", "", {"type": "object", "properties": {"a": schema}})
    _, calls, _ = read(
        f"<function=f>\n<parameter=a>\n{text}\n</parameter>\n</function>", tools=(tool,)
    )
    assert json.loads(calls[0][1]) == {"a": value}


MARKS = st.sampled_from(sorted(CALL_TOKENS))
WORDS = st.text(alphabet='ab {}[]"\\\n`<>|=:,;1', max_size=12)


@settings(deadline=None)
@given(
    pieces=st.lists(st.one_of(MARKS, WORDS, st.sampled_from([ONE, "special", "{}"])), max_size=14)
)
def test_the_cuts_make_no_difference(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert read(text, *range(len(text))) == read(text)


@settings(deadline=None)
@given(pieces=st.lists(st.one_of(MARKS, WORDS), max_size=14))
def test_an_answer_without_calls_loses_no_character(pieces: list[str]) -> None:
    text = "".join(pieces)
    reader = CallReader((Tool("unheard_of", "", {}),))
    shown, calls = reader.add(text)
    rest, more = reader.finish()
    if not calls and not more:
        assert shown + rest == text


def test_many_marks_take_linear_time() -> None:
    reader, started = CallReader(TOOLS), time.process_time()
    for _ in range(10_000):
        reader.add('<tool_call>{"name": "')
    reader.finish()
    for _ in range(2000):
        reader.add("<function=special>\n<parameter=arg1></function>")
    reader.finish()
    assert time.process_time() - started < 10


def folded(*deltas: Delta, tools: tuple[Tool, ...] = TOOLS, most: int | None = None) -> Fold:
    """Return the fold of what a filter makes of some deltas."""
    content, fold = CallFilter(tools, most), Fold()
    for delta in deltas:
        if (kept := content.feed(delta)) is not None:
            fold.add(kept)
    if (rest := content.finish()) is not None:
        fold.add(rest)
    return fold


def test_a_call_in_the_text_ends_an_answer_as_a_call_does() -> None:
    answer = folded(Delta(f"Well.\n<tool_call>{ONE}"), Delta(finish_reason="stop")).completion()
    assert (answer.text, answer.finish_reason) == ("Well.\n", "tool_calls")
    assert [call.name for call in answer.tool_calls] == ["special"]


def test_a_call_that_came_as_text_and_as_a_call_counts_once() -> None:
    sent = Delta(
        tool_calls=(ToolCallPart(0, "a", "special", '{"arg1":'), ToolCallPart(0, "", "", "1}"))
    )
    text, end = Delta(f"<tool_call>{ONE}</tool_call>"), Delta(finish_reason="tool_calls")
    for deltas in ((sent, text, end), (text, sent, end)):
        assert [call.name for call in folded(*deltas).completion().tool_calls] == ["special"]


def test_different_calls_in_the_text_and_beside_it_all_count() -> None:
    sent = Delta(
        tool_calls=(ToolCallPart(0, "a", "other", "{}"), ToolCallPart(1, "b", "empty", "{}"))
    )
    text, end = Delta(f"<tool_call>{ONE}</tool_call>"), Delta(finish_reason="stop")
    assert [call.name for call in folded(sent, text, end).completion().tool_calls] == [
        "other",
        "empty",
        "special",
    ]
    assert [call.name for call in folded(text, sent, end).completion().tool_calls] == [
        "special",
        "other",
        "empty",
    ]


def test_calls_in_the_text_keep_the_limit() -> None:
    both = Delta(f"<tool_call>{ONE}</tool_call><tool_call>{TWO}</tool_call>", finish_reason="stop")
    assert [call.name for call in folded(both, most=1).completion().tool_calls] == ["special"]


def test_without_tools_nothing_is_a_call() -> None:
    text = f"<tool_call>{ONE}</tool_call>"
    answer = folded(Delta(text, finish_reason="stop"), tools=()).completion()
    assert (answer.text, answer.tool_calls, answer.finish_reason) == (text, (), "stop")


def test_the_logprobs_of_a_call_are_dropped_with_its_text() -> None:
    token = TokenLogprob("x", -1.0)
    answer = folded(
        Delta("Hi.\n", logprobs=(token,)),
        Delta("<tool_call>", logprobs=(token,)),
        Delta(f"{ONE}</tool_call>", logprobs=(token, token)),
        Delta(finish_reason="stop"),
    ).completion()
    assert (answer.text, answer.logprobs) == ("Hi.\n", (token,))


def test_a_text_that_continues_an_answer_does_not_begin_with_a_call() -> None:
    reader = CallReader(TOOLS, continues=True)
    assert reader.add(ONE) == (ONE, [])
