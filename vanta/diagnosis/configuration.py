"""Find the parts of a configuration that fit the schema and still cannot work: unknown names.

Invariant: a check only reads; it opens no engine, no store and no socket.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from vanta.check import DiagnosisContext, Finding
from vanta.errors import ConfigError, UnknownName, UsageError, did_you_mean
from vanta.routing import CalibratedGate
from vanta.scheduling import BUILTIN, Policy

if TYPE_CHECKING:
    from vanta.config import Loaded
    from vanta.plugin_loading import PluginSet


def configuration_problems(loaded: Loaded, plugins: PluginSet | None = None) -> tuple[str, ...]:
    """Return the problems of a configuration that the schema cannot find.

    :param loaded: the configuration.
    :param plugins: the installed plugins; None skips engines, their options and gates.
    :returns: one sentence for each problem, beginning with its source; () if there is none.
    """
    policies = dict(plugins.policies) if plugins else {policy.name: policy for policy in BUILTIN}
    variants, problems = _variants(loaded, policies)
    policies.update(variants)
    problems += _policy_problems(loaded, policies, complete=plugins is not None)
    if plugins is not None:
        problems += [*_gate_problems(loaded, policies, plugins), *_engine_problems(loaded, plugins)]
    return tuple(dict.fromkeys(problems))


async def project(context: DiagnosisContext) -> Finding:
    """Report the trust in the project of the working directory, and what does not count."""
    trust = context.project
    if trust is None:
        return Finding("project", True, "the working directory has no configuration of its own")
    where = repr(str(trust.folder))
    if trust.is_trusted:
        note = trust.note()
        return Finding("project", None if note else True, note or f"{where} is trusted")
    if trust.unreadable:
        return Finding("project", None, trust.note(), "Fix the file, or work in another folder.")
    if not trust.ignored:
        return Finding("project", True, f"{where} is not trusted; all its settings are harmless")
    state = "has changed since it was trusted" if trust.state == "changed" else "is not trusted"
    ignored = "; ".join(map(str, trust.ignored))
    return Finding("project", None, f"{where} {state}. Ignored: {ignored}", trust.command)


def _variants(
    loaded: Loaded, policies: Mapping[str, Policy]
) -> tuple[dict[str, Policy], list[str]]:
    variants, problems = {}, []
    for name, variant in loaded.config.policies.items():
        try:
            variants[name] = variant.to_policy(name, policies)
        except UsageError as error:
            problems.append(f"{_origin(loaded, f'policies.{name}')}: {error}")
    return variants, problems


def _policy_problems(
    loaded: Loaded, policies: Mapping[str, Policy], *, complete: bool
) -> Iterator[str]:
    """Yield problems of the configured policy; without all plugins it may not be known here."""
    config, origin = loaded.config, _origin(loaded, "policy")
    policy = policies.get(config.policy)
    if policy is None:
        if complete or not config.plugins.allow:
            advice = did_you_mean(config.policy, policies)
            yield f"{origin}: no policy is named {config.policy!r}. {advice}"
        return
    for track in policy.tracks:
        if track not in config.tracks:
            advice = did_you_mean(track, config.tracks)
            yield f"{origin}: policy {policy.name!r} needs a track {track!r}. {advice}"
    if not any(track in config.tracks and config.tracks[track].enabled for track in policy.tracks):
        yield (
            f"{origin}: policy {policy.name!r} has no enabled track. "
            f"Enable one of {', '.join(map(repr, policy.tracks))}."
        )


def _gate_problems(
    loaded: Loaded, policies: Mapping[str, Policy], plugins: PluginSet
) -> Iterator[str]:
    gates = {*plugins.gates, CalibratedGate.name}
    for policy in policies.values():
        if policy.gate and policy.gate.use not in gates:
            yield (
                f"{_origin(loaded, f'policies.{policy.name}.gate.use')}: no gate is named "
                f"{policy.gate.use!r}. {did_you_mean(policy.gate.use, gates)}"
            )


def _engine_problems(loaded: Loaded, plugins: PluginSet) -> Iterator[str]:
    for name, track in loaded.config.tracks.items():
        if not track.enabled:
            continue
        try:
            loaded.options(name, plugins.engines[track.engine].options)
        except UnknownName as error:
            yield f"{_origin(loaded, f'tracks.{name}.engine')}: {error}"
        except ConfigError as error:
            yield from str(error).splitlines()


def _origin(loaded: Loaded, key: str) -> str:
    """Return the source of `key`, or of the first key below it."""
    origins = (at for known, at in loaded.origins.items() if (known + ".").startswith(key + "."))
    return str(next(origins, "vanta's default"))
