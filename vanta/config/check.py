"""Finds what fits the schema and still cannot work: names that nothing answers to.

Invariant: a check reads; it opens no engine, no store and no socket.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from vanta.errors import ConfigError, UnknownName, UsageError, did_you_mean
from vanta.scheduling.policy import BUILTIN, Policy

if TYPE_CHECKING:
    from vanta.config.load import Loaded
    from vanta.plugin_loading import PluginSet


def check(loaded: Loaded, plugins: PluginSet | None) -> tuple[str, ...]:
    """Every problem, as a sentence that begins with its source."""
    known = dict(plugins.policies) if plugins else {policy.name: policy for policy in BUILTIN}
    variants, found = _variants(loaded, known)
    known.update(variants)
    found += [*_policy(loaded, known, sure=plugins is not None)]
    if plugins is not None:
        found += [*_gates(loaded, known, plugins), *_engines(loaded, plugins)]
    return tuple(dict.fromkeys(found))


def _variants(loaded: Loaded, known: Mapping[str, Policy]) -> tuple[dict[str, Policy], list[str]]:
    variants, problems = {}, []
    for name, variant in loaded.config.policies.items():
        try:
            variants[name] = variant.to_policy(name, known)
        except UsageError as problem:
            problems.append(f"{_at(loaded, f'policies.{name}')}: {problem}")
    return variants, problems


def _policy(loaded: Loaded, known: dict[str, Policy], *, sure: bool) -> Iterator[str]:
    config = loaded.config
    policy = known.get(config.policy)
    if policy is None:
        if sure or not config.plugins.allow:
            yield (
                f"{_at(loaded, 'policy')}: no policy is named {config.policy!r}. "
                f"{did_you_mean(config.policy, known)}"
            )
        return
    for track in policy.tracks:
        if track not in config.tracks:
            yield (
                f"{_at(loaded, 'policy')}: policy {policy.name!r} needs a track {track!r}. "
                f"{did_you_mean(track, config.tracks)}"
            )
    if not any(track in config.tracks and config.tracks[track].enabled for track in policy.tracks):
        yield (
            f"{_at(loaded, 'policy')}: policy {policy.name!r} has no track that is enabled. "
            f"Enable one of {', '.join(policy.tracks)}."
        )


def _gates(loaded: Loaded, known: Mapping[str, Policy], plugins: PluginSet) -> Iterator[str]:
    for policy in known.values():
        if policy.gate and policy.gate.use not in plugins.gates:
            yield (
                f"{_at(loaded, f'policies.{policy.name}.gate.use')}: no gate is named "
                f"{policy.gate.use!r}. {did_you_mean(policy.gate.use, plugins.gates)}"
            )


def _engines(loaded: Loaded, plugins: PluginSet) -> Iterator[str]:
    for name, track in loaded.config.tracks.items():
        if not track.enabled:
            continue
        try:
            loaded.options(name, plugins.engines[track.engine].options)
        except UnknownName as problem:
            yield f"{_at(loaded, f'tracks.{name}.engine')}: {problem}"
        except ConfigError as problem:
            yield from str(problem).splitlines()


def _at(loaded: Loaded, key: str) -> str:
    near = (at for known, at in loaded.origins.items() if (known + ".").startswith(key + "."))
    return str(next(near, "vanta's default"))
