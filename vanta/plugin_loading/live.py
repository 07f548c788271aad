"""One plugin that runs: its module imported, its hooks checked and called.

Invariant: every failure that the plugin causes comes out as `Isolated`, with a reason that a
person can act on; after that the plugin brings nothing.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import pluggy

from vanta import hookspecs
from vanta.errors import did_you_mean
from vanta.plugin_loading.contract import HOOKS, SORTS, Mismatch, Named
from vanta.plugin_loading.plugin import Plugin


class Isolated(Exception):  # noqa: N818 - never leaves this package
    """The plugin failed; `cause` is what it raised, None if it only broke the contract."""

    def __init__(self, reason: str, cause: BaseException | None = None) -> None:
        super().__init__(reason)
        self.cause = cause


class LivePlugin:
    """A plugin and what it brought. `brought`: hook -> its objects with their names."""

    def __init__(self, plugin: Plugin) -> None:
        self.plugin = plugin
        self.brought: dict[str, tuple[Named, ...]] = {}
        self._manager: pluggy.PluginManager | None = None

    def turn_on(self, fetch: Callable[[], Any]) -> None:
        """Import it and call every hook that needs no argument. Raises Isolated."""
        module = self._guarded("importing it", fetch)
        # A manager of its own: pluggy would let one plugin's exception end the call for all.
        self._manager = pluggy.PluginManager(hookspecs.hookspec.project_name)
        self._manager.add_hookspecs(hookspecs)
        hooks = self._register(module)
        for hook in hooks:
            if not _parameters(hook):
                self.call(hook)
        self.plugin = self.plugin.turned_on(hooks)

    def call(self, hook: str, **arguments: Any) -> tuple[Named, ...]:
        """What the plugin brings by `hook`, called with `arguments`. Raises Isolated."""
        if self._manager is None:
            return ()
        caller = getattr(self._manager.hook, hook)
        results = self._guarded(hook, lambda: caller(**arguments))
        brought = self._guarded(hook, lambda: [SORTS[hook].check(one) for one in results])
        self.brought[hook] = tuple(named for several in brought for named in several)
        return self.brought[hook]

    def _register(self, module: Any) -> tuple[str, ...]:
        assert self._manager is not None  # noqa: S101 - set by turn_on
        try:
            self._manager.register(module, self.plugin.name)
        except pluggy.PluginValidationError:
            self._isolate(_what_does_not_fit(module), None)
        except Exception as error:  # noqa: BLE001 - whatever a strange object does is its own failure
            self._isolate(f"it cannot be registered: {_in_words(error)}", error)
        hooks = tuple(sorted(self._guarded("reading it", lambda: _implemented(module))))
        if not hooks:
            self._isolate("it implements no hook: mark its functions with @vanta.hookimpl", None)
        if strange := [hook for hook in hooks if hook not in HOOKS]:
            self._isolate(f"no hook is named {strange[0]!r}. {_near(strange[0])}", None)
        return hooks

    def _guarded(self, what: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Mismatch as error:
            self._isolate(str(error), None)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - its failure must stay its own
            self._isolate(f"{what} failed: {_in_words(error)}", error)

    def _isolate(self, reason: str, cause: BaseException | None) -> None:
        self.plugin = self.plugin.failed(reason)
        self.brought = {}
        self._manager = None
        raise Isolated(reason, cause)


def _implemented(module: Any) -> Mapping[str, Callable[..., Any]]:
    """The hook implementations of a plugin: hook name -> function."""
    manager = pluggy.PluginManager(hookspecs.hookspec.project_name)
    found = {}
    for attribute in dir(module):
        options = manager.parse_hookimpl_opts(module, attribute)
        if options is not None:
            found[options.get("specname") or attribute] = getattr(module, attribute)
    return found


def _what_does_not_fit(module: Any) -> str:
    """Why pluggy turned a plugin down, in our words: a parameter that its hook does not have."""
    for hook, function in _implemented(module).items():
        if hook in HOOKS:
            known = _parameters(hook)
            for parameter in inspect.signature(function).parameters:
                if parameter not in known:
                    advice = did_you_mean(parameter, known) if known else "It takes none."
                    return f"{hook} has no parameter {parameter!r}. {advice}"
    return "it does not fit the hooks of vanta.hookspecs"


def _parameters(hook: str) -> tuple[str, ...]:
    return tuple(inspect.signature(HOOKS[hook]).parameters)


def _near(hook: str) -> str:
    return did_you_mean(hook, HOOKS)


def _in_words(error: BaseException) -> str:
    """An exception with the place that raised it, which is where its author has to look."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"
