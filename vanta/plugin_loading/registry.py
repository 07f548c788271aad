"""Objects by name, each with the plugin that brought it.

Invariant: a name belongs to one plugin only; a second claim is an error that names both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from vanta.errors import PluginError, UnknownName
from vanta.plugin_loading.plugin import Plugin

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """What plugins brought of one sort.

    what: the sort, in a word, for messages ("engine"). advice: asked, when a name is unknown, for
    one more sentence on what the person could do.
    """

    def __init__(self, what: str, advice: Callable[[], str] = str) -> None:
        self.what = what
        self._advice = advice
        self._items: dict[str, tuple[T, Plugin]] = {}

    def add(self, name: str, item: T, plugin: Plugin) -> None:
        """Take in `item`. Raises PluginError, naming both plugins, if `name` is taken."""
        if name in self._items:
            raise PluginError(
                f"two plugins bring {_article(self.what)} named {name!r}: "
                f"{self._items[name][1]} and {plugin}. Turn one of them off: take it out of "
                "plugins.allow, or uninstall it."
            )
        self._items[name] = (item, plugin)

    def origin(self, name: str) -> str:
        """The name of the plugin that brought `name`; "vanta" for what vanta itself brings."""
        return self.plugin(name).name

    def plugin(self, name: str) -> Plugin:
        """The plugin that brought `name`. Raises UnknownName."""
        return self._find(name)[1]

    def refuse(self, names: Mapping[str, Any] | set[str] | frozenset[str]) -> None:
        """Raise PluginError if a plugin claims one of `names`, which vanta itself has."""
        for name in sorted(self._items.keys() & set(names)):
            raise PluginError(
                f"plugin {self._items[name][1]} brings {_article(self.what)} named {name!r}, "
                "which vanta itself has. Take the plugin out of plugins.allow."
            )

    def __getitem__(self, name: str) -> T:
        """The object called `name`. Raises UnknownName, which names the nearest one."""
        return self._find(name)[0]

    def get(self, name: str, default: Any = None) -> Any:
        """The object called `name`, else `default`."""
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
            raise UnknownName(self.what, name, self._items, hint=self._advice()) from None


def _article(what: str) -> str:
    return f"an {what}" if what[0] in "aeiou" else f"a {what}"
