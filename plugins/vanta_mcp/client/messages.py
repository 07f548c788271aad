"""What comes from a server, before the SDK sees it.

Invariant: a message has a bound. Schemas of results are left out: the SDK would check results with
them, and a pattern of a stranger may take for ever. Arguments are checked by vanta, which refuses
such patterns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp.shared.message import SessionMessage

MAX_MESSAGE_BYTES = 8_000_000
"""The greatest size of one message, such as the result of a call."""


def read_message(line: bytes) -> SessionMessage | Exception | None:
    """Return the message of a line, the error if it is not one, None for an empty line.

    :param line: the bytes between two line breaks.
    """
    if not line.strip():
        return None
    from mcp.shared.message import SessionMessage
    from mcp_types import jsonrpc_message_adapter

    try:
        message = jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError as error:
        return error
    return SessionMessage(without_result_schemas(message))


def without_result_schemas(message: Any) -> Any:
    """Return a message; in a list of tools the schemas of their results are left out.

    :param message: a message of JSON-RPC.
    """
    result = getattr(message, "result", None)
    tools = result.get("tools") if isinstance(result, dict) else None
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict):
            tool.pop("outputSchema", None)
    return message
