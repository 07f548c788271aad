"""The calls of a scripted answer under `tool_choice` and `parallel_tool_calls`."""

from __future__ import annotations

import json

import pytest

from vanta.engine import GenerationRequest, Tool
from vanta.errors import EngineError, ErrorKind
from vanta.messages import Completion, Fold, Message
from vanta.testing import CallTool, Fail, ScriptedEngine
from vanta.testing.steps import Step

pytestmark = pytest.mark.anyio
ADD = Tool(
    "add",
    "Adds.",
    {
        "type": "object",
        "properties": {
            "a": {"type": "integer"},
            "b": {"enum": [7, 8]},
            "c": {"const": "x"},
            "d": {"type": "string", "default": "y"},
            "e": {"type": "object", "properties": {"f": {"type": "array"}}, "required": ["f"]},
            "g": {},
        },
        "required": ["a", "b", "c", "d", "e"],
    },
)
SEND = Tool("send", "Sends.", {"type": "object"})


async def complete(*script: Step | str, choice: str, parallel: bool = True) -> Completion:
    request = GenerationRequest(
        (Message("user", "hi"),),
        tools=(SEND, ADD),
        tool_choice=choice,
        parallel_tool_calls=parallel,
    )
    fold = Fold()
    async with ScriptedEngine(*script).stream(request) as stream:
        async for delta in stream:
            fold.add(delta)
    return fold.completion()


@pytest.mark.parametrize(
    ("choice", "parallel", "names"),
    [
        ("auto", True, ["add", "send"]),
        ("auto", False, ["add"]),
        ("none", True, []),
        ("required", True, ["add", "send"]),
        ("required", False, ["add"]),
        ("send", True, ["send"]),
    ],
)
async def test_calls_that_the_request_does_not_allow_are_left_out(
    choice: str, parallel: bool, names: list[str]
) -> None:
    script = ("Well", CallTool("add"), CallTool("send"))
    answer = await complete(*script, choice=choice, parallel=parallel)
    assert [call.name for call in answer.tool_calls] == names
    assert answer.text == "Well"
    assert answer.finish_reason == ("tool_calls" if names else "stop")


async def test_a_required_call_has_the_simplest_valid_arguments() -> None:
    answer = await complete("Well", choice="add")
    (call,) = answer.tool_calls
    assert json.loads(call.arguments) == {"a": 0, "b": 7, "c": "x", "d": "y", "e": {"f": []}}
    assert (await complete(choice="required")).tool_calls[0].name == "send"


async def test_a_failure_of_the_script_stays_where_it_is() -> None:
    with pytest.raises(EngineError) as raised:
        await complete("Well", Fail(ErrorKind.NETWORK), choice="required")
    assert raised.value.kind is ErrorKind.NETWORK
