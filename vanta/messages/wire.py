"""Messages as OpenAI's chat protocol writes them, in both directions.

https://platform.openai.com/docs/api-reference/chat/create. Invariant: `read_message` raises nothing
but UsageError, whatever it is given, and reads what `message_data` writes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, get_args

from vanta.errors import UsageError
from vanta.messages.message import Message, Role, ToolCall
from vanta.messages.parts import read_parts

_ROLES = {**{role: role for role in get_args(Role)}, "developer": "system"}


def read_message(value: Message | Mapping[str, Any]) -> Message:
    """Return a message.

    :param value: a `Message`, or a mapping with `role`, `content` and, as the protocol has them,
        `tool_calls` and `tool_call_id`. The role `developer` is read as `system`; other keys are
        ignored. The key `private` is vanta's own.
    :raises UsageError: if the value is of another shape; the message says what is wrong.
    """
    if isinstance(value, Message):
        _role(value.role)
        return value
    if not isinstance(value, Mapping):
        raise UsageError(f"a message is a vanta.Message or a mapping, not {type(value).__name__!r}")
    calls = value.get("tool_calls")
    if calls is not None and not isinstance(calls, list | tuple):
        raise UsageError("'tool_calls' is not a list")
    call_id = value.get("tool_call_id")
    if call_id is not None and not isinstance(call_id, str):
        raise UsageError(f"'tool_call_id' is not a text but {type(call_id).__name__!r}")
    content = read_parts(value.get("content") or "")
    return Message(
        _role(value.get("role")),
        content.text,
        tuple(_call(call, place) for place, call in enumerate(calls or ())),
        call_id,
        private=value.get("private") is True,
        images=content.images,
        image_places=content.places,
    )


def message_data(message: Message) -> dict[str, Any]:
    """Return a message as JSON-ready data, for a file or for another program.

    :param message: the message.
    """
    data: dict[str, Any] = {"role": message.role, "content": content_data(message)}
    if message.tool_calls:
        data["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        data["tool_call_id"] = message.tool_call_id
    if message.private:
        data["private"] = True
    return data


def content_data(message: Message) -> str | list[dict[str, Any]]:
    """Return the content of a message: a text, or, if it has images, a list of parts.

    :param message: the message.
    """
    if not message.images:
        return message.content
    return [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image_url", "image_url": {"url": part.url}}
        for part in message.parts
    ]


def _role(value: object) -> Role:
    if not isinstance(value, str) or value not in _ROLES:
        raise UsageError(f"the role {value!r} is not one of {', '.join(map(repr, _ROLES))}")
    role: Role = _ROLES[value]
    return role


def _call(value: object, place: int) -> ToolCall:
    function = value.get("function") if isinstance(value, Mapping) else None
    if isinstance(value, ToolCall):
        return value
    if not isinstance(value, Mapping) or not isinstance(function, Mapping):
        raise UsageError(f"tool_calls[{place}] is not an object with a 'function'")
    call_id, name = value.get("id"), function.get("name")
    if not isinstance(call_id, str) or not isinstance(name, str) or not name:
        raise UsageError(f"tool_calls[{place}] needs an 'id' and a 'function.name', both texts")
    return ToolCall(call_id, name, _arguments(function.get("arguments"), place))


def _arguments(value: object, place: int) -> str:
    """Return the JSON text of a call's arguments; some programs keep them as an object."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"the arguments of tool_calls[{place}] are not JSON: {error}") from None
