"""Which settings of a project's file count: by its trust, and by the rule of each key.

Invariant: the file of an untrusted project never names a server, a key, a file, a folder, a plugin
or a track, and never lifts a limit. A server that a trusted project names receives no key and no
private text that were configured for another one, see `vanta.config.key_binding`.
"""

from __future__ import annotations

import copy
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from vanta.config.key_binding import bind_to_servers
from vanta.config.keys import Key, advice, default_of, dotted, find
from vanta.config.layers import Merged, Setting
from vanta.config.project import ProjectFolder
from vanta.config.schema import Config
from vanta.config.trust_rules import KeyRule, rule_of
from vanta.config.trust_store import trusted_folders
from vanta.errors import ConfigError

TrustState = Literal["trusted", "changed", "untrusted"]

_DETECT = ("privacy", "detect")
_NAMED_IN_NOTE = 4
_UNKNOWN = "there is no such key"
_INVALID = "it is not a valid value of the key"
_MARKS = {_UNKNOWN: " (unknown key)", _INVALID: " (invalid value)"}
_MOST_MISTAKES = 20
_NO_KEY_BESIDE = "it names a server without a key. Name one beside it (api_key_env)."


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
    :param withheld: settings of the environment and of the call that do not count, since they name
        a key or call a track private, and the project names the server of that track.
    :param unreadable: why the `vanta.toml` of an untrusted project cannot be read, or "".
    :param detectors: the detectors that an untrusted project turned on. Their names are a
        stranger's word: those that do not exist do not count.
    """

    folder: Path
    state: TrustState
    files: Mapping[str, str] = field(default_factory=dict, repr=False)
    ignored: tuple[IgnoredSetting, ...] = ()
    keyless: frozenset[str] = frozenset()
    withheld: tuple[Setting, ...] = ()
    unreadable: str = ""
    detectors: frozenset[str] = frozenset()

    @property
    def is_trusted(self) -> bool:
        """Whether all keys and templates of the project count."""
        return self.state == "trusted"

    @property
    def command(self) -> str:
        """The command that trusts the folder as it is now."""
        return f"vanta trust {shlex.quote(str(self.folder))}"

    @property
    def mistakes(self) -> tuple[str, ...]:
        """What is wrong with an untrusted file, which otherwise ends no command, as sentences.

        The reason why it cannot be read, or its unknown keys and invalid values, at most 20.
        """
        if self.unreadable:
            return (self.unreadable,)
        items = [item for item in self.ignored if item.reason in _MARKS][:_MOST_MISTAKES]
        return tuple(f"{item}. {_advice(item)}".rstrip() for item in items)

    def note(self) -> str:
        """Return the sentences for a person if something does not count, otherwise ""."""
        where = repr(str(self.folder))
        if self.is_trusted:
            lines = [
                f"{table}: {where} names the server without a key, so the key that you use "
                "elsewhere is not sent to it. Name one beside it (api_key_env)."
                for table in sorted(self.keyless)
            ]
            if self.withheld:
                names = ", ".join(str(item.origin) for item in self.withheld)
                lines.append(
                    f"{where} names the server, so these do not count: {names}. Set the server's "
                    "URL (base_url) at the same place if they belong together."
                )
            if self.ignored:
                lines.append(f"{where} cannot lift your own limits: ignored: {self._names()}.")
            return " ".join(lines)
        if self.unreadable:
            return (
                f"the project folder {where} is not trusted: its file is ignored: {self.unreadable}"
            )
        if not self.ignored:
            return ""
        why = "has changed since you trusted it" if self.state == "changed" else "is not trusted"
        return (
            f"the project folder {where} {why}: ignored: {self._names()}. Read its files; to let "
            f"them count: {self.command}"
        )

    def _names(self) -> str:
        names = list(
            dict.fromkeys(
                _shown(item.setting.key) + _MARKS.get(item.reason, "") for item in self.ignored
            )
        )
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
    merged: Merged,
    project: ProjectFolder,
    user_file: Path,
    *,
    above: Sequence[Setting] = (),
    with_settings: bool = True,
) -> ProjectTrust:
    """Lay a project's file over the user's layers, as far as its trust and the rules allow.

    :param merged: vanta's default and the user's file.
    :param project: the project.
    :param user_file: the user's file; what it limits can only be tightened.
    :param above: the settings of the environment and of the call; the caller adds them later,
        without those that the result withholds.
    :param with_settings: False if another configuration was named: only the templates count.
    :raises ConfigError: if a file of the project cannot be read.
    :raises ConfigError: if the record of trusted folders is damaged.
    """
    try:
        layer = project.settings() if with_settings else []
    except ConfigError as error:
        return unreadable_project(project.path, error)
    trust = trust_in(project)
    detectors: frozenset[str] = frozenset()
    keyless: frozenset[str] = frozenset()
    withheld: tuple[Setting, ...] = ()
    if trust.is_trusted:
        settings, ignored = _of_trusted(merged, layer, str(user_file))
        bound = bind_to_servers(merged, settings, above)
        settings, keyless, withheld = bound.settings, bound.keyless, bound.withheld
        ignored += [IgnoredSetting(item, _NO_KEY_BESIDE) for item in bound.refused]
    else:
        settings, ignored = _of_untrusted(merged, layer, above)
        if project.has_templates:
            ignored.append(IgnoredSetting(project.templates_setting, "templates need trust"))
        detectors = _added_detectors(merged, settings)
    merged.add(settings)
    for item in ignored:
        merged.ignored.setdefault(item.setting.key, []).append(item.setting)
    for setting in withheld:
        merged.ignored.setdefault(setting.key, []).append(setting)
    return ProjectTrust(
        trust.folder,
        trust.state,
        trust.files,
        tuple(ignored),
        keyless,
        withheld,
        detectors=detectors,
    )


def unreadable_project(folder: Path, error: ConfigError) -> ProjectTrust:
    """Return the trust in a project whose `vanta.toml` cannot be read, and is ignored. Blocking.

    :param folder: the project's folder, links resolved.
    :param error: why the file cannot be read.
    :raises ConfigError: `error`, if a person has trusted the folder, as it was before: a mistake in
        a file that counts is not passed over.
    """
    if folder in trusted_folders():
        raise error
    return ProjectTrust(folder, "untrusted", unreadable=str(error))


def _added_detectors(merged: Merged, settings: Sequence[Setting]) -> frozenset[str]:
    """Return the detectors that a project adds to those of the user."""
    own = merged.value(_DETECT) or ()
    values = [item.value for item in settings if item.key == _DETECT]
    lists = [value for value in values if isinstance(value, list)]
    return frozenset(
        name for value in lists for name in value if isinstance(name, str) and name not in own
    )


def _of_untrusted(
    merged: Merged, layer: Sequence[Setting], above: Sequence[Setting]
) -> tuple[list[Setting], list[IgnoredSetting]]:
    accepted: list[Setting] = []
    ignored: list[IgnoredSetting] = []
    has_cap = _has_cap(merged, above)
    for setting in layer:
        rule = rule_of(setting.key)
        if reason := _needs_trust(merged, setting, rule, has_cap=has_cap):
            ignored.append(IgnoredSetting(setting, reason))
        elif rule is not None:
            value = merged.value(setting.key)
            value = default_of(setting.key) if value is None else value
            _tighten(setting, rule, value, accepted, ignored)
    return _without_invalid(merged, accepted, ignored, above)


def _needs_trust(merged: Merged, setting: Setting, rule: KeyRule | None, *, has_cap: bool) -> str:
    """Return why a setting does not count in an untrusted project, or ""."""
    if find(setting.key) is None:
        return _UNKNOWN
    if rule is None or rule.needs_trust:
        return f"it needs trust. {rule.reason if rule else 'The table needs trust.'}"
    if setting.key[0] == "tracks" and not _has_track(merged, setting.key[1]):
        return "it needs trust. It adds a track."
    value = setting.value
    if rule.least is None or not isinstance(value, int | float) or value < 0:
        return ""  # an invalid value is reported as one
    if setting.key[0] == "budget" and not has_cap:
        return "it needs trust. A first cap refuses models without a known price."
    small = value < rule.least
    return f"it needs trust below {rule.least:g}, where turns may fail." if small else ""


def _has_cap(merged: Merged, above: Sequence[Setting]) -> bool:
    """Return whether a layer of the user caps the spending."""
    budget = merged.value(("budget",))
    own = dict(budget) if isinstance(budget, dict) else {}
    own |= {item.key[1]: item.value for item in above if item.key[0] == "budget" and item.key[1:]}
    return any(name.endswith("_usd") and value is not None for name, value in own.items())


def _without_invalid(
    merged: Merged,
    accepted: list[Setting],
    ignored: list[IgnoredSetting],
    above: Sequence[Setting],
) -> tuple[list[Setting], list[IgnoredSetting]]:
    """Ignore values that the schema refuses: an untrusted file does not end a command."""
    effective = copy.deepcopy(merged)
    effective.add(accepted)
    effective.add(list(above))
    try:
        Config.model_validate(effective.tree)
    except ValidationError as error:
        places = {tuple(map(str, details["loc"])) for details in error.errors()}
    else:
        return accepted, ignored
    tables = {place[:length] for place in places for length in range(len(place) + 1)}
    valid: list[Setting] = []
    for setting in accepted:
        key = setting.key
        if key in tables or any(key[:length] in places for length in range(len(key))):
            ignored.append(IgnoredSetting(setting, _INVALID))
        else:
            valid.append(setting)
    return valid, ignored


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
        why = "it can only be tightened: the value above is stricter"
        ignored.append(IgnoredSetting(setting, why))
    else:
        accepted.append(Setting(setting.key, value, setting.origin))


def _has_track(merged: Merged, name: str) -> bool:
    return isinstance(merged.value(("tracks", name)), dict)


def _advice(item: IgnoredSetting) -> str:
    key = item.setting.key
    return advice(key) if item.reason == _UNKNOWN and dotted(key).isprintable() else ""


def _shown(key: Key) -> str:
    """Return a dotted key of a stranger's file, without characters that a terminal obeys."""
    name = dotted(key)
    return name if name.isprintable() and len(name) <= 100 else repr(name)[:100]
