"""From what a server sends to what vanta knows: tools, results, resources and prompts.

Invariant: everything is a stranger's text. An effect is believed only of a server that the user
trusts; a name that models cannot call is replaced by one that they can.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from vanta import Image, Tool, ToolResult, UsageError
from vanta_mcp.settings import Server

if TYPE_CHECKING:
    import mcp_types as types

_NOT_LEGAL = re.compile(r"[^A-Za-z0-9_-]")
_MOST_NAME = 64
_MOST_DESCRIPTION = 20_000

MOST_IMAGES = 16
"""Images of a result that a model is shown; for more of them there is a line of text."""


def tool_names(tools: Iterable[types.Tool]) -> dict[str, types.Tool]:
    """Return the tools of a server by the names that models call them by.

    A name that several tools would have is given to none of them but the first: the others get a
    mark made from their own names.

    :param tools: the tools.
    """
    named: dict[str, types.Tool] = {}
    for tool in tools:
        name = _NOT_LEGAL.sub("_", tool.name)[:_MOST_NAME] or "_"
        if name in named or name != tool.name:
            mark = hashlib.sha256(tool.name.encode("utf-8", "replace")).hexdigest()[:6]
            name = name if name not in named else f"{name[:57]}_{mark}"
        named.setdefault(name, tool)
    return named


def vanta_tool(name: str, tool: types.Tool, server: Server) -> Tool:
    """Return a tool of a server as vanta offers it.

    :param name: the name that models call it by.
    :param tool: the tool as the server describes it.
    :param server: the server.
    """
    hints = tool.annotations if server.config.trust else None
    title = f"{tool.title}. " if tool.title and not tool.description else ""
    return Tool(
        name=name,
        description=(tool.description or title or tool.name)[:_MOST_DESCRIPTION],
        parameters=tool.input_schema,
        effect=server.config.effects.get(tool.name) or _declared_effect(hints),
        private=server.config.private,
        untrusted=hints is None or hints.open_world_hint is not False,
        timeout_s=server.config.timeout_s,
    )


def _declared_effect(
    hints: types.ToolAnnotations | None,
) -> Literal["read", "idempotent", "write"]:
    if hints is None:
        return "write"
    if hints.read_only_hint:
        return "read"
    return "idempotent" if hints.idempotent_hint else "write"


def result_of_call(result: types.CallToolResult, server: Server) -> ToolResult:
    """Return the result of a call.

    :param result: what the server sent.
    :param server: the server.
    """
    images: list[Image] = []
    texts: list[str] = []
    for block in result.content:
        image = _image(block) if len(images) < MOST_IMAGES else None
        if image is None:
            texts.append(block_text(block))
        else:
            images.append(image)
    text = "\n".join(texts)
    data = result.structured_content
    if not text.strip() and data is not None:
        text = json.dumps(data, ensure_ascii=False)
    return ToolResult(
        text or ("" if images else "The call returned nothing."),
        data=data,
        is_error=bool(result.is_error),
        source=f"MCP server {server.name}",
        private=server.config.private,
        images=tuple(images),
    )


def _image(block: Any) -> Image | None:
    """Return the image of a block, None for any other block and for what is not an image."""
    if block.type != "image":
        return None
    try:
        return Image.from_url(f"data:image/png;base64,{block.data}")
    except UsageError:
        return None


def block_text(block: Any) -> str:
    """Return a block of content as text; of an image or a sound, what it is.

    :param block: text, an image, a sound, a link to a resource, or a resource.
    """
    if block.type == "text":
        return str(block.text)
    if block.type == "resource":
        return contents_text([block.resource])
    if block.type == "resource_link":
        return f"[resource {block.uri}: {block.name}]"
    return f"[{block.type} of type {block.mime_type}, {len(block.data) * 3 // 4} bytes, not shown]"


def contents_text(contents: Sequence[Any]) -> str:
    """Return what a resource holds as text; of bytes, their type and size.

    :param contents: the contents of the resource.
    """
    parts = []
    for item in contents:
        blob = getattr(item, "blob", None)
        if blob is None:
            parts.append(str(item.text))
        else:
            kind = item.mime_type or "an unknown type"
            parts.append(f"[{item.uri}: {len(blob) * 3 // 4} bytes of {kind}, not shown]")
    return "\n".join(parts)


def prompt_text(messages: Sequence[Any]) -> str:
    """Return the messages of a prompt as text, each with its role.

    :param messages: the messages.
    """
    return "\n\n".join(f"{item.role}: {block_text(item.content)}" for item in messages)


def described(items: Iterable[Any], keys: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return resources or prompts as JSON-ready data.

    :param items: what the server lists.
    :param keys: the key of each value, and the attribute that holds it.
    """
    return [{key: getattr(item, name, None) for key, name in keys.items()} for item in items]
