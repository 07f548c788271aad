"""Bind keys and privacy to the server that they were configured for.

A trusted project may name another server for a track, a toolset or the embedder. Invariant: such a
server receives no key and no private text because of a setting that does not stand in the same
layer as its URL, whether that setting comes from the user's file, the environment or the call. A
layer above that names the server itself replaces the project's, and binds nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vanta.config.keys import Key, dotted
from vanta.config.layers import Merged, Setting
from vanta.text import server_origin

_NAMES_SERVER = re.compile(r"(^|_)(url|uri|host|server|endpoint|base|address)$", re.IGNORECASE)
_NAMES_SECRET = re.compile(r"key|token|secret|credential|password|auth|cert", re.IGNORECASE)
_NAMES_KEY = re.compile(
    r"(^|[_-])(api)?(key|token|secret|credentials?|password)([_-](env|file))?$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class BoundSettings:
    """A project's settings after keys were bound to servers.

    :param settings: the settings that count.
    :param refused: the settings of an embedder or a toolset whose server is named without a key.
    :param keyless: tables (`tracks.api`) whose server is named without a key.
    :param withheld: settings of the layers above that do not count for the project's server.
    """

    settings: list[Setting]
    refused: tuple[Setting, ...]
    keyless: frozenset[str]
    withheld: tuple[Setting, ...]


def bind_to_servers(
    merged: Merged, settings: Sequence[Setting], above: Sequence[Setting]
) -> BoundSettings:
    """Take keys and privacy of other layers from the tables whose server a project changes.

    :param merged: the layers below the project; inherited keys are removed from them.
    :param settings: the project's settings.
    :param above: the settings of the layers above the project.
    """
    bound = list(settings)
    refused: list[Setting] = []
    keyless: set[str] = set()
    withheld: list[Setting] = []
    for table, mine in _by_table(settings).items():
        server = _new_server(merged, mine, settings, above)
        if server is None:
            continue
        is_track = table[0] == "tracks"
        names_key = any(_NAMES_KEY.search(item.key[-1]) for item in mine)
        if not is_track and not names_key:
            refused += mine
            continue
        merged.drop(table, _NAMES_SECRET)  # what the project names itself is laid over it later
        withheld += [item for item in above if _belongs_elsewhere(item, table)]
        if is_track and not names_key:
            keyless.add(dotted(table[:2]))
        private = (*table[:2], "private")
        if is_track and not any(item.key == private for item in settings):
            bound.append(Setting(private, False, server.origin))
    bound = [item for item in bound if item not in refused] if refused else bound
    return BoundSettings(bound, tuple(refused), frozenset(keyless), tuple(withheld))


def _by_table(settings: Sequence[Setting]) -> dict[Key, list[Setting]]:
    """Return the settings of each table of options."""
    tables: dict[Key, list[Setting]] = {}
    for setting in settings:
        table = _options_table(setting.key)
        if table is not None:
            tables.setdefault(table, []).append(setting)
    return tables


def _options_table(key: Key) -> Key | None:
    if key[0] == "tracks" and key[2:3] == ("options",) and len(key) > 3:
        return key[:3]
    if key[:2] == ("tools", "options") and len(key) > 3:
        return key[:3]
    return key[:2] if key[:2] == ("memory", "embedder_options") and len(key) > 2 else None


def _new_server(
    merged: Merged, mine: Sequence[Setting], settings: Sequence[Setting], above: Sequence[Setting]
) -> Setting | None:
    """Return the setting by which a project changes the server of a table, or None.

    None also if a layer above sets the same key, or replaces the engine and thereby its options.
    """
    changes = [item for item in mine if _redirects(merged, item)]
    if not changes:
        return None
    engine = (*changes[0].key[:2], "engine")
    engines = [merged.value(engine), *(item.value for item in settings if item.key == engine)]
    restarts = [item for item in above if item.key == engine and item.value != engines[-1]]
    if engine[0] == "tracks" and restarts:
        return None
    replaced = {item.key for item in above}
    return next((item for item in changes if item.key not in replaced), None)


def _redirects(merged: Merged, setting: Setting) -> bool:
    value = setting.value
    if not isinstance(value, str):
        return False
    if not (_NAMES_SERVER.search(setting.key[-1]) or "://" in value):
        return False
    return server_origin(value) != server_origin(str(merged.value(setting.key) or ""))


def _belongs_elsewhere(setting: Setting, table: Key) -> bool:
    """Return whether a setting of another layer names a secret, or makes the server private."""
    key = setting.key
    if table[0] == "tracks" and key == (*table[:2], "private"):
        return setting.value is not False
    names = key[len(table) :] if key[: len(table)] == table else ()
    return any(_NAMES_SECRET.search(name) for name in names)
