"""The `.mcp.json` in which a project names its MCP servers for every program that knows them.

Invariant: what the file names are settings like those of `vanta.toml`, under the same trust.
Servers and keys that vanta does not know are left out, since they belong to other programs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vanta.config.keys import Key
from vanta.config.layers import Origin, Setting
from vanta.errors import ConfigError
from vanta.files import parse_json
from vanta.text import is_key_shaped

SHARED_FILE = Path(".mcp.json")

_SERVERS: Key = ("mcp", "servers")
_REFERENCE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}")
_SECRET_NAME = re.compile(
    r"(^|[_-])(key|token|secret|password|passwd|authorization)$", re.IGNORECASE
)
_SCHEME = re.compile(r"^\s*(bearer|basic|token)\b", re.IGNORECASE)
_SHARED_KEYS = ("command", "args", "cwd", "env", "url", "headers")
_MOST_SERVERS = 100


def literal_secret(key: Key, value: Any) -> bool:
    """Return whether a setting of a server holds a secret itself instead of `${NAME}`.

    :param key: the key of the setting.
    :param value: its value.
    """
    if key[:2] != _SERVERS or not isinstance(value, str):
        return False
    rest = _REFERENCE.sub("", value)
    if is_key_shaped(rest.strip()):
        return True
    in_table = len(key) == 5 and key[3] in {"env", "headers"}
    return in_table and bool(_SECRET_NAME.search(key[4]) and _SCHEME.sub("", rest).strip())


def shared_settings(content: bytes) -> list[Setting]:
    """Return the settings of a `.mcp.json`. Servers that are no such table are left out.

    :param content: the bytes of the file.
    :raises ConfigError: if it is not JSON of that shape, or has too many servers.
    """
    try:
        data = parse_json(content.decode("utf-8-sig"))
    except ValueError as error:
        raise ConfigError(f"{SHARED_FILE}: this is not valid JSON: {error}. Fix it.") from None
    servers = data.get("mcpServers", {}) if isinstance(data, dict) else None
    if not isinstance(servers, dict) or len(servers) > _MOST_SERVERS:
        raise ConfigError(
            f"{SHARED_FILE}: it must have a table 'mcpServers' with at most {_MOST_SERVERS} "
            "servers. Fix it."
        )
    origin = Origin("file", str(SHARED_FILE))
    return [
        Setting((*_SERVERS, toolset_name(name), *key), value, origin)
        for name, server in servers.items()
        if isinstance(server, dict) and _has_address(server)
        for key, value in _shared(server)
    ]


def toolset_name(name: str) -> str:
    """Return the nearest name that a toolset can have.

    :param name: the name of a server in a `.mcp.json`, which may have any characters.
    """
    legal = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:28]
    return legal if legal[:1].isalpha() else f"mcp_{legal}"


def _has_address(server: Mapping[str, Any]) -> bool:
    given = [server.get(key) for key in ("command", "url")]
    return sum(isinstance(value, str) and bool(value) for value in given) == 1


def _shared(server: Mapping[str, Any]) -> Iterator[tuple[Key, Any]]:
    """Yield the settings of one server that vanta knows; others belong to other programs."""
    for name in _SHARED_KEYS:
        value = server.get(name)
        if isinstance(value, dict):
            yield from (((name, key), str(item)) for key, item in value.items())
        elif name == "args" and isinstance(value, list):
            yield (name,), [str(item) for item in value]
        elif isinstance(value, str) and value:
            yield (name,), value
    if server.get("disabled") is True:
        yield ("enabled",), False
