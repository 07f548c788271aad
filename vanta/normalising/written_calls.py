"""Tools for a model without a format for calls: described in the system prompt, written as text.

The notation is that of Hermes and Qwen (`<tool_call>`), which most small models were trained on and
which `CallReader` reads. Invariant: without tools and calls, messages stay as they are.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vanta.messages import Message
from vanta.tool_contract import Tool

_RULES = """# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{signatures}
</tools>

For each function call, return a json object with function name and arguments within \
<tool_call></tool_call> XML tags:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call>"""


def signatures(tools: Sequence[Tool]) -> str:
    """Return tools as JSON, a line for each; no text in them can end the block that they stand in.

    :param tools: the tools.
    """
    return "\n".join(map(_signature, tools))


def written(messages: Sequence[Message], tools: Sequence[Tool], rules: str = "") -> list[Message]:
    """Return a conversation in which tools, calls and results are plain text.

    :param messages: the conversation, oldest first.
    :param tools: the tools that the answer may call.
    :param rules: what the system prompt says about them; "" for a text of vanta's own.
    """
    plain = [_plain(message) for message in messages]
    if not tools:
        return plain
    rules = rules or _RULES.format(signatures=signatures(tools))
    if plain and plain[0].role == "system":
        first = replace(plain[0], content=f"{plain[0].content}\n\n{rules}")
        return [first, *plain[1:]]
    return [Message("system", rules), *plain]


def call_schema(tools: Sequence[Tool]) -> dict[str, Any]:
    """Return the JSON Schema of one call: an object with the name of a tool and its arguments.

    :param tools: the tools that may be called, at least one.
    """
    branches = [
        {
            "type": "object",
            "properties": {"name": {"const": tool.name}, "arguments": _arguments(tool)},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for tool in tools
    ]
    return branches[0] if len(branches) == 1 else {"anyOf": branches}


def _arguments(tool: Tool) -> dict[str, Any]:
    """Return the schema of a tool's arguments; references would not survive the move."""
    schema = dict(tool.parameters)
    return {"type": "object"} if "$ref" in json.dumps(schema, default=dict) else schema


def _plain(message: Message) -> Message:
    if message.role == "tool":
        text = f"<tool_response>\n{message.content}\n</tool_response>"
        return Message("user", text, images=message.images)
    if not message.tool_calls:
        return message
    calls = [
        f'<tool_call>\n{{"name": {json.dumps(call.name)}, "arguments": {call.arguments or "{}"}}}'
        "\n</tool_call>"
        for call in message.tool_calls
    ]
    parts = [message.content, *calls] if message.content else calls
    return Message("assistant", "\n".join(parts))


def _signature(tool: Tool) -> str:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
    }
    text = json.dumps({"type": "function", "function": function}, ensure_ascii=False, default=dict)
    return text.replace("</", "<\\/")
