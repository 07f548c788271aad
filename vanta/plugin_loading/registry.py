"""The contracts of loaded plugins: one plugin's record, and objects by name with their plugin.

Invariant: a name belongs to one plugin only, and a second claim is an error that names both. The
`reason` of a plugin says why its `status` is not "on".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from vanta.errors import PluginError, UnknownName
from vanta.installation import DISTRIBUTION

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plugin:
    """One plugin, as `vanta plugins list` shows it.

    :param name: the name of its entry point.
    :param module: the target of its entry point.
    :param distribution: its installed distribution, "" for a plugin that was passed in code.
    :param version: the version of the distribution, or "".
    :param builtin: whether it ships with vanta.
    :param status: "on", "off" (not allowed) or "failed" (isolated).
    :param reason: why it is off or failed, "" if it is on.
    :param hooks: the hooks that it implements; () unless it is on.
    """

    name: str
    module: str
    distribution: str = ""
    version: str = ""
    builtin: bool = False
    status: Literal["on", "off", "failed"] = "off"
    reason: str = ""
    hooks: tuple[str, ...] = ()

    def __str__(self) -> str:
        source = f"{self.distribution} {self.version}" if self.distribution else "passed in code"
        return f"{self.name!r} ({source}, {self.module})"

    def failed(self, reason: str) -> Plugin:
        """Return a copy that is isolated.

        :param reason: the failure, in words.
        """
        return dataclasses.replace(self, status="failed", reason=reason)

    def turned_on(self, hooks: tuple[str, ...]) -> Plugin:
        """Return a copy that is on.

        :param hooks: the hooks that it implements.
        """
        return dataclasses.replace(self, status="on", reason="", hooks=hooks)


CORE = Plugin("vanta", "vanta", distribution=DISTRIBUTION, builtin=True, status="on")


class Registry(Mapping[str, T], Generic[T]):
    """Objects of one kind by name, each with the plugin that contributed it.

    :param kind: the kind in a word, for messages ("engine").
    :param advice: called when a name is unknown; returns a further sentence for the message.
    """

    def __init__(self, kind: str, advice: Callable[[], str] = str) -> None:
        self.kind = kind
        self._advice = advice
        self._items: dict[str, tuple[T, Plugin]] = {}

    def add(self, name: str, item: T, plugin: Plugin) -> None:
        """Add an object.

        :param name: its name.
        :param item: the object.
        :param plugin: the plugin that contributed it.
        :raises PluginError: if `name` is taken; the message names both plugins.
        """
        if name in self._items:
            raise PluginError(
                f"two plugins contribute {_article(self.kind)} named {name!r}: "
                f"{self._items[name][1]} and {plugin}. Turn one of them off: remove it from "
                "plugins.allow, or uninstall it."
            )
        self._items[name] = (item, plugin)

    def origin(self, name: str) -> str:
        """Return the name of the plugin that contributed an object.

        :param name: the object's name.
        :returns: the plugin's name; "vanta" for vanta's own objects.
        :raises UnknownName: if the registry does not have the name.
        """
        return self.plugin(name).name

    def plugin(self, name: str) -> Plugin:
        """Return the plugin that contributed an object.

        :param name: the object's name.
        :raises UnknownName: if the registry does not have the name.
        """
        return self._find(name)[1]

    def refuse(self, names: Mapping[str, Any] | set[str] | frozenset[str]) -> None:
        """Refuse names that belong to vanta itself.

        :param names: the names that no plugin may use.
        :raises PluginError: if a plugin uses one of them.
        """
        for name in sorted(self._items.keys() & set(names)):
            raise PluginError(
                f"plugin {self._items[name][1]} contributes {_article(self.kind)} named {name!r}, "
                "which is a name of vanta itself. Remove the plugin from plugins.allow."
            )

    def __getitem__(self, name: str) -> T:
        """Return the object named `name`. Raises UnknownName, which names the nearest one."""
        return self._find(name)[0]

    def get(self, name: str, default: Any = None) -> Any:
        """Return the object named `name`, or `default`."""
        return self._items[name][0] if name in self._items else default

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def _find(self, name: str) -> tuple[T, Plugin]:
        try:
            return self._items[name]
        except KeyError:
            raise UnknownName(self.kind, name, self._items, hint=self._advice()) from None


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
