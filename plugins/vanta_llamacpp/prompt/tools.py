"""Tools for a model whose chat template does not support them: described in the system message.

The words and the format are those of Hermes and Qwen (`<tool_call>`), which most small models were
trained on. Invariant: without tools and calls the messages stay as they are.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

from vanta import Message, Tool

_PREAMBLE = """# Tools

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


def explained(messages: Sequence[Message], tools: Sequence[Tool]) -> list[Message]:
    """Return `messages` with tools, calls and results as plain text."""
    plain = [_plain(message) for message in messages]
    if not tools:
        return plain
    preamble = _PREAMBLE.format(signatures="\n".join(map(_signature, tools)))
    if plain and plain[0].role == "system":
        first = dataclasses.replace(plain[0], content=f"{plain[0].content}\n\n{preamble}")
        return [first, *plain[1:]]
    return [Message("system", preamble), *plain]


def _plain(message: Message) -> Message:
    if message.role == "tool":
        return Message("user", f"<tool_response>\n{message.content}\n</tool_response>")
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
    return json.dumps({"type": "function", "function": function}, ensure_ascii=False)
