"""Which settings of a project's file count: by its trust, and by the rule of each key.

Invariant: the file of an untrusted project never names a server, a key, a file, a folder, a plugin
or a track, and never lifts a limit. A server that a trusted project names receives no key and no
private text that were configured for another one.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vanta.config.keys import Key, default_of, dotted, find
from vanta.config.layers import Merged, Setting
from vanta.config.project import ProjectFolder
from vanta.config.trust_rules import KeyRule, rule_of
from vanta.config.trust_store import trusted_folders
from vanta.text import server_origin

TrustState = Literal["trusted", "changed", "untrusted"]

_NAMES_SERVER = re.compile(r"(^|_)(url|uri|host|server|endpoint|base|address)$", re.IGNORECASE)
_NAMES_SECRET = re.compile(r"key|token|secret|credential|password|auth|cert", re.IGNORECASE)
_NAMES_KEY = re.compile(
    r"(^|[_-])(api)?(key|token|secret|credentials?|password)([_-](env|file))?$", re.IGNORECASE
)
_NAMED_IN_NOTE = 4


@dataclass(frozen=True, slots=True)
class IgnoredSetting:
    """A setting of a project's file that does not count.

    :param setting: the setting.
    :param reason: why, as half a sentence.
    """

    setting: Setting
    reason: str

    def __str__(self) -> str:
        return f"{self.setting.origin}: {_shown(self.setting.key)}: {self.reason}"


@dataclass(frozen=True, slots=True)
class ProjectTrust:
    """The trust in the project of the working directory.

    :param folder: the project's folder, links resolved.
    :param state: trusted, changed since it was trusted, or untrusted.
    :param files: in a trusted project the SHA-256 of each file that counts, by its path.
    :param ignored: the settings of its file that do not count.
    :param keyless: tables (`tracks.api`) whose server the project named without naming a key: no
        key of the environment is sent to it.
    """

    folder: Path
    state: TrustState
    files: Mapping[str, str] = field(default_factory=dict, repr=False)
    ignored: tuple[IgnoredSetting, ...] = ()
    keyless: frozenset[str] = frozenset()

    @property
    def is_trusted(self) -> bool:
        """Whether all keys and templates of the project count."""
        return self.state == "trusted"

    @property
    def command(self) -> str:
        """The command that trusts the folder as it is now."""
        return f"vanta trust {shlex.quote(str(self.folder))}"

    def note(self) -> str:
        """Return the sentences for a person if something does not count, otherwise ""."""
        where = repr(str(self.folder))
        if self.is_trusted:
            lines = [
                f"{table}: {where} names the server without a key, so the key that you use "
                "elsewhere is not sent to it. Name one beside it (api_key_env)."
                for table in sorted(self.keyless)
            ]
            if self.ignored:
                lines.append(f"{where} cannot lift your own limits: ignored: {self._names()}.")
            return " ".join(lines)
        if not self.ignored:
            return ""
        why = "has changed since you trusted it" if self.state == "changed" else "is not trusted"
        return (
            f"the project folder {where} {why}: ignored: {self._names()}. Read its files; to let "
            f"them count: {self.command}"
        )

    def _names(self) -> str:
        names = list(dict.fromkeys(_shown(item.setting.key) for item in self.ignored))
        more = len(names) - _NAMED_IN_NOTE
        rest = [f"and {more} more"] if more > 0 else []
        return ", ".join([*names[:_NAMED_IN_NOTE], *rest])


def trust_in(project: ProjectFolder) -> ProjectTrust:
    """Return whether a person has trusted a project as it is now. Blocking.

    :param project: the project.
    :raises ConfigError: if a file of the project cannot be read.
    :raises ConfigError: if the record of trusted folders is damaged.
    """
    entry = trusted_folders().get(project.path)
    if entry is None:
        return ProjectTrust(project.path, "untrusted")
    files = project.digests()
    if files != dict(entry.files):
        return ProjectTrust(project.path, "changed")
    return ProjectTrust(project.path, "trusted", files)


def add_project(
    merged: Merged, project: ProjectFolder, user_file: Path, *, with_settings: bool = True
) -> ProjectTrust:
    """Lay a project's file over the user's layers, as far as its trust and the rules allow.

    :param merged: vanta's default and the user's file.
    :param project: the project.
    :param user_file: the user's file; what it limits can only be tightened.
    :param with_settings: False if another configuration was named: only the templates count.
    :raises ConfigError: if a file of the project cannot be read.
    :raises ConfigError: if the record of trusted folders is damaged.
    """
    layer = project.settings() if with_settings else []
    trust = trust_in(project)
    keyless: frozenset[str] = frozenset()
    if trust.is_trusted:
        settings, ignored = _of_trusted(merged, layer, str(user_file))
        keyless = _bind_to_servers(merged, settings, ignored)
    else:
        settings, ignored = _of_untrusted(merged, layer)
        if project.has_templates:
            ignored.append(IgnoredSetting(project.templates_setting, "templates need trust"))
    merged.add(settings)
    for item in ignored:
        merged.ignored.setdefault(item.setting.key, []).append(item.setting)
    return ProjectTrust(trust.folder, trust.state, trust.files, tuple(ignored), keyless)


def _of_untrusted(
    merged: Merged, layer: Sequence[Setting]
) -> tuple[list[Setting], list[IgnoredSetting]]:
    accepted: list[Setting] = []
    ignored: list[IgnoredSetting] = []
    for setting in layer:
        rule = rule_of(setting.key)
        if find(setting.key) is None:
            accepted.append(setting)  # a mistake in a name is reported by the validation
        elif rule is None or rule.needs_trust:
            reason = rule.reason if rule else "The table needs trust."
            ignored.append(IgnoredSetting(setting, f"it needs trust. {reason}"))
        elif setting.key[0] == "tracks" and not _has_track(merged, setting.key[1]):
            ignored.append(IgnoredSetting(setting, "it needs trust. It adds a track."))
        elif _silences_private_track(merged, setting):
            why = "it needs trust. It would disable a private track."
            ignored.append(IgnoredSetting(setting, why))
        else:
            above = merged.value(setting.key)
            above = default_of(setting.key) if above is None else above
            _tighten(setting, rule, above, accepted, ignored)
    return accepted, ignored


def _of_trusted(
    merged: Merged, layer: Sequence[Setting], user_file: str
) -> tuple[list[Setting], list[IgnoredSetting]]:
    accepted: list[Setting] = []
    ignored: list[IgnoredSetting] = []
    for setting in layer:
        rule = rule_of(setting.key)
        own = [
            item.value
            for item in merged.history.get(setting.key, ())
            if item.origin.where == user_file
        ]
        if rule is None or rule.merge is None or not own:
            accepted.append(setting)
        else:
            _tighten(setting, rule, own[-1], accepted, ignored)
    return accepted, ignored


def _tighten(
    setting: Setting,
    rule: KeyRule,
    above: Any,
    accepted: list[Setting],
    ignored: list[IgnoredSetting],
) -> None:
    """Accept what is stricter than the value above, and ignore what would allow more."""
    value = rule.merge(above, setting.value) if rule.merge else setting.value
    if value == above and setting.value != above:
        why = f"it {rule.effect} only: the value above is stricter"
        ignored.append(IgnoredSetting(setting, why))
    else:
        accepted.append(Setting(setting.key, value, setting.origin))


def _has_track(merged: Merged, name: str) -> bool:
    return isinstance(merged.value(("tracks", name)), dict)


def _silences_private_track(merged: Merged, setting: Setting) -> bool:
    """Return whether turns of a private track would have to go to another one."""
    key = setting.key
    is_private = merged.value((*key[:2], "private")) is True
    return key[0] == "tracks" and key[2:] == ("enabled",) and is_private


def _bind_to_servers(
    merged: Merged, settings: list[Setting], ignored: list[IgnoredSetting]
) -> frozenset[str]:
    """Take inherited keys and privacy from tables whose server the project changes.

    Returns the tracks for which it names no key. An embedder without a key is ignored.
    """
    keyless = set()
    for table in dict.fromkeys(filter(None, map(_options_table, settings))):
        mine = [item for item in settings if item.key[: len(table)] == table]
        server = next((item for item in mine if _redirects(merged, item)), None)
        if server is None:
            continue
        names_key = any(_NAMES_KEY.search(item.key[-1]) for item in mine)
        if table[0] != "tracks" and not names_key:
            why = "it names a server without a key. Name one beside it (api_key_env)."
            ignored.extend(IgnoredSetting(item, why) for item in mine)
            settings[:] = [item for item in settings if item not in mine]
            continue
        merged.drop(table, _NAMES_SECRET)  # what the project names itself is laid over it later
        if table[0] != "tracks":
            continue
        if not names_key:
            keyless.add(dotted(table[:2]))
        private = (*table[:2], "private")
        if not any(item.key == private for item in settings):
            settings.append(Setting(private, False, server.origin))
    return frozenset(keyless)


def _options_table(setting: Setting) -> Key | None:
    key = setting.key
    if key[0] == "tracks" and key[2:3] == ("options",) and len(key) > 3:
        return key[:3]
    return key[:2] if key[:2] == ("memory", "embedder_options") and len(key) > 2 else None


def _redirects(merged: Merged, setting: Setting) -> bool:
    value = setting.value
    if not isinstance(value, str):
        return False
    if not (_NAMES_SERVER.search(setting.key[-1]) or "://" in value):
        return False
    return server_origin(value) != server_origin(str(merged.value(setting.key) or ""))


def _shown(key: Key) -> str:
    """Return a dotted key of a stranger's file, without characters that a terminal obeys."""
    name = dotted(key)
    return name if name.isprintable() and len(name) <= 100 else repr(name)[:100]
