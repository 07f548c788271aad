"""The model's own chat template: from messages to the text of a prompt.

A template comes with the file, so it is code of a stranger: it runs in a sandbox (see `sandbox`)
and sees nothing but the messages. The environment is otherwise the one that Hugging Face renders
chat templates in (transformers, `utils/chat_template_utils.py`), so that it means the same here.
Invariant: nothing but `TemplateFault` comes out of a template that is broken or refuses.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vanta.engine import Tool
from vanta.messages import Message, ToolCall
from vanta_llamacpp.prompt.meter import TemplateFault
from vanta_llamacpp.prompt.sandbox import Arguments, compiled, faults, time_limit, written_out

LONGEST = 256 * 1024
LONGEST_S = 2.0


class ChatTemplate:
    """One compiled template. `bos` and `eos` are the texts of the model's start and end token."""

    def __init__(self, source: str, *, bos: str = "", eos: str = "") -> None:
        if len(source) > LONGEST:
            raise TemplateFault(f"it has {len(source)} characters; {LONGEST} are allowed")
        self._template = compiled(source)
        self.knows_tools = "tools" in source
        self._tokens = {"bos_token": bos, "eos_token": eos}

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Tool] = (),
        clean: Callable[[str], str] = str,
        answer: bool = True,
    ) -> str:
        """The prompt. clean: applied to all that people, models and tools wrote, before the
        template sees it. answer: end with the opening of the assistant's message."""
        with faults():
            seen = {
                "messages": [_as_dict(message, clean) for message in messages],
                "add_generation_prompt": answer,
                "tools": [_tool(tool, clean) for tool in tools] or None,
                "documents": None,
                **self._tokens,
            }
            with time_limit(LONGEST_S):
                return written_out(self._template.generate(seen))


def _as_dict(message: Message, clean: Callable[[str], str]) -> dict[str, Any]:
    found: dict[str, Any] = {"role": message.role, "content": clean(message.content)}
    if message.tool_calls:
        found["tool_calls"] = [
            {
                "id": clean(call.id),
                "type": "function",
                "function": {"name": clean(call.name), "arguments": _arguments(call, clean)},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        found["tool_call_id"] = clean(message.tool_call_id)
    return found


def _arguments(call: ToolCall, clean: Callable[[str], str]) -> Arguments | str:
    """A mapping, as templates for Hugging Face expect; the model's text where it is none."""
    text = clean(call.arguments)
    try:
        found = _cleaned(json.loads(call.arguments or "{}"), clean)
    except (ValueError, RecursionError):
        return text
    return Arguments(found, text) if isinstance(found, dict) else text


def _cleaned(value: Any, clean: Callable[[str], str]) -> Any:
    """`value` with every text in it cleaned, those of keys as well."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {_cleaned(key, clean): _cleaned(inner, clean) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cleaned(inner, clean) for inner in value]
    return value


def _tool(tool: Tool, clean: Callable[[str], str]) -> dict[str, Any]:
    """As OpenAI's interface describes a tool, which templates follow."""
    function = {
        "name": clean(tool.name),
        "description": clean(tool.description),
        "parameters": _cleaned(tool.parameters, clean),
    }
    return {"type": "function", "function": function}
