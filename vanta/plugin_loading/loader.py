"""Find plugins, decide which of them are on, import those and call their hooks.

Invariant: a failure of a plugin while it is imported or its hooks run affects no other plugin,
unless `strict` turns it into an error; a plugin that is not allowed is not imported.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from vanta.errors import PluginError, did_you_mean
from vanta.installation import is_own
from vanta.plugin_loading.hooks import Isolated, LivePlugin
from vanta.plugin_loading.plugin_set import PluginSet
from vanta.plugin_loading.registry import CORE, Plugin

GROUP = "vanta"
_log = logging.getLogger("vanta.plugins")


@dataclass(frozen=True, slots=True)
class _FoundPlugin:
    plugin: Plugin
    fetch: Callable[[], Any]
    allowed: bool


def load(
    allow: Iterable[str] = (),
    strict: bool = False,
    extra: Sequence[object] = (),
    entry_points: Iterable[metadata.EntryPoint] | None = None,
) -> PluginSet:
    """Load all allowed plugins, in a fixed order: vanta's own, third-party ones, `extra`.

    :param allow: the names of third-party plugins to turn on; vanta's own are always on.
    :param strict: whether a failing plugin is an error instead of being isolated.
    :param extra: plugin objects, always on, named by their `name`, module or class.
    :param entry_points: the entry points to use; None reads the installed ones.
    :returns: the plugins and their contributions.
    :raises PluginError: if two plugins or two objects have one name; if `strict` is true, for any
        failing plugin.
    """
    allowed = frozenset(allow)
    if entry_points is None:
        entry_points = metadata.entry_points(group=GROUP)
    candidates = [*_installed(entry_points, allowed), *map(_passed_in_code, extra)]
    _refuse_duplicates(candidates)
    live = [_bring_up(candidate, strict=strict) for candidate in candidates]
    missing = [_missing(name, candidates) for name in sorted(allowed)]
    live += [LivePlugin(plugin) for plugin in missing if plugin is not None]
    if strict:
        _refuse_failures(live)
    return PluginSet(live, strict=strict)


def _installed(
    points: Iterable[metadata.EntryPoint], allowed: frozenset[str]
) -> list[_FoundPlugin]:
    candidates = [_candidate(point, allowed) for point in points]
    return sorted(candidates, key=lambda item: (not item.plugin.builtin, str(item.plugin)))


def _candidate(point: metadata.EntryPoint, allowed: frozenset[str]) -> _FoundPlugin:
    distribution = point.dist.name if point.dist else ""
    plugin = Plugin(
        name=point.name,
        module=point.value,
        distribution=distribution,
        version=point.dist.version if point.dist else "",
        builtin=is_own(distribution),
        reason=f"it is a third-party plugin: add {point.name!r} to plugins.allow to turn it on",
    )
    return _FoundPlugin(plugin, point.load, plugin.builtin or point.name in allowed)


def _passed_in_code(plugin: object) -> _FoundPlugin:
    own = getattr(plugin, "name", None) or getattr(plugin, "__name__", None)
    kind = plugin if isinstance(plugin, type) else type(plugin)
    module = getattr(plugin, "__name__", f"{kind.__module__}.{kind.__qualname__}")
    name = own if isinstance(own, str) else kind.__name__
    return _FoundPlugin(Plugin(name, module), lambda: plugin, allowed=True)


def _refuse_duplicates(candidates: Sequence[_FoundPlugin]) -> None:
    names = Counter(candidate.plugin.name for candidate in candidates)
    names[CORE.name] += 1
    for name in sorted(name for name, times in names.items() if times > 1):
        owners = [str(item.plugin) for item in candidates if item.plugin.name == name]
        if name == CORE.name:
            owners.append("vanta itself")
        raise PluginError(
            f"{len(owners)} plugins are named {name!r}: {' and '.join(owners)}. Uninstall one of "
            "them, or set another `name` on an object that is passed in code."
        )


def _bring_up(candidate: _FoundPlugin, *, strict: bool) -> LivePlugin:
    if not candidate.allowed:
        return LivePlugin(candidate.plugin)
    live = LivePlugin(candidate.plugin)
    try:
        live.turn_on(candidate.fetch)
    except Isolated as failure:
        if strict:
            raise PluginError(f"plugin {candidate.plugin} failed: {failure}") from failure.cause
        _log.warning("plugin %s is off: %s", candidate.plugin, failure)
    return live


def _missing(name: str, candidates: Sequence[_FoundPlugin]) -> Plugin | None:
    known = [candidate.plugin.name for candidate in candidates]
    if name in known:
        return None
    advice = did_you_mean(name, known)
    reason = f"plugins.allow names it, but no installed distribution provides it. {advice}"
    return Plugin(name, module="").failed(reason)


def _refuse_failures(live: Iterable[LivePlugin]) -> None:
    for item in live:
        if item.plugin.status == "failed":
            raise PluginError(f"plugin {item.plugin.name!r} failed: {item.plugin.reason}")
