"""Finds plugins, decides which are on, imports those and calls their hooks.

Invariant: whatever a plugin does while it is imported or while its hooks run stays its own
failure, unless `strict` asks for an error; a plugin that is not allowed is not imported.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from vanta.errors import PluginError, did_you_mean
from vanta.plugin_loading.contract import HOOKS
from vanta.plugin_loading.live import Isolated, LivePlugin
from vanta.plugin_loading.plugin import CORE, Plugin
from vanta.plugin_loading.plugin_set import PluginSet

GROUP = "vanta"
_log = logging.getLogger("vanta.plugins")


@dataclass(frozen=True, slots=True)
class _Candidate:
    plugin: Plugin
    fetch: Callable[[], Any]
    allowed: bool


def load(
    allow: Iterable[str] = (),
    strict: bool = False,
    extra: Sequence[object] = (),
    entry_points: Iterable[metadata.EntryPoint] | None = None,
) -> PluginSet:
    """Load every plugin that is allowed, in a fixed order: vanta's own, strangers', `extra`.

    allow: names of third-party plugins to turn on; vanta's own are on. strict: a plugin that fails
    is an error instead of being isolated. extra: plugin objects, always on, called by their `name`
    or the name of their module or class. entry_points: instead of those that are installed.
    Raises PluginError for two plugins, or two objects, with one name; under `strict` for any
    plugin that fails.
    """
    allowed = frozenset(allow)
    if entry_points is None:
        entry_points = metadata.entry_points(group=GROUP)
    candidates = [*_installed(entry_points, allowed), *map(_handed_over, extra)]
    _refuse_twins(candidates)
    live = [_bring_up(candidate, strict=strict) for candidate in candidates]
    missing = [_missing(name, candidates) for name in sorted(allowed)]
    live += [LivePlugin(plugin) for plugin in missing if plugin is not None]
    if strict:
        _refuse_failures(live)
    return PluginSet(live, strict=strict)


def _installed(points: Iterable[metadata.EntryPoint], allowed: frozenset[str]) -> list[_Candidate]:
    found = [_candidate(point, allowed) for point in points]
    return sorted(found, key=lambda one: (not one.plugin.builtin, str(one.plugin)))


def _candidate(point: metadata.EntryPoint, allowed: frozenset[str]) -> _Candidate:
    distribution = point.dist.name if point.dist else ""
    plugin = Plugin(
        name=point.name,
        module=point.value,
        distribution=distribution,
        version=point.dist.version if point.dist else "",
        builtin=re.sub(r"[-_.]+", "-", distribution).lower() == CORE.distribution,
        reason=f"not vanta's own: add {point.name!r} to plugins.allow to turn it on",
    )
    return _Candidate(plugin, point.load, plugin.builtin or point.name in allowed)


def _handed_over(plugin: object) -> _Candidate:
    own = getattr(plugin, "name", None) or getattr(plugin, "__name__", None)
    kind = plugin if isinstance(plugin, type) else type(plugin)
    module = getattr(plugin, "__name__", f"{kind.__module__}.{kind.__qualname__}")
    name = own if isinstance(own, str) else kind.__name__
    return _Candidate(Plugin(name, module), lambda: plugin, allowed=True)


def _refuse_twins(candidates: Sequence[_Candidate]) -> None:
    names = Counter(candidate.plugin.name for candidate in candidates)
    names[CORE.name] += 1
    for name in sorted(name for name, times in names.items() if times > 1):
        twins = [str(one.plugin) for one in candidates if one.plugin.name == name]
        if name == CORE.name:
            twins.append("vanta itself")
        raise PluginError(
            f"{len(twins)} plugins are named {name!r}: {' and '.join(twins)}. Uninstall one of "
            "them, or give an object that is passed in code a `name` of its own."
        )


def _bring_up(candidate: _Candidate, *, strict: bool) -> LivePlugin:
    if not candidate.allowed:
        return LivePlugin(candidate.plugin)
    live = LivePlugin(candidate.plugin)
    try:
        live.turn_on(candidate.fetch)
    except Isolated as failure:
        if strict:
            raise PluginError(f"plugin {candidate.plugin} failed: {failure}.") from failure.cause
        _log.warning("plugin %s is off: %s", candidate.plugin, failure)
    return live


def _missing(name: str, candidates: Sequence[_Candidate]) -> Plugin | None:
    known = [candidate.plugin.name for candidate in candidates]
    if name in known:
        return None
    advice = did_you_mean(name, known)
    reason = f"named in plugins.allow, but nothing that is installed brings it. {advice}"
    return Plugin(name, module="").failed(reason)


def _refuse_failures(live: Iterable[LivePlugin]) -> None:
    for one in live:
        if one.plugin.status == "failed":
            raise PluginError(f"plugin {one.plugin.name!r} failed: {one.plugin.reason}")


__all__ = ["GROUP", "HOOKS", "load"]
