"""Call the hooks of one plugin, check what they return, and isolate the plugin if it fails.

Invariant: there is one `HookContract` for every hook of `vanta.hookspecs`, and no object of a wrong
type passes it. Every failure of a plugin becomes `Isolated`, with a reason that a person can act
on; an isolated plugin contributes nothing.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

import pluggy

from vanta import hookspecs
from vanta.errors import did_you_mean
from vanta.plugin_loading.registry import Plugin

Named = tuple[str, Any]

HOOKS: Mapping[str, FunctionType] = {
    name: hook
    for name, hook in vars(hookspecs).items()
    if isinstance(hook, FunctionType) and hasattr(hook, "vanta_spec")
}


class Mismatch(Exception):  # noqa: N818 - never leaves this package
    """A hook returned an object that breaks its contract; the message is the reason."""


class Isolated(Exception):  # noqa: N818 - never leaves this package
    """The plugin failed; `cause` is its exception, or None if it only broke a contract."""

    def __init__(self, reason: str, cause: BaseException | None = None) -> None:
        super().__init__(reason)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class HookContract:
    """The type of the objects that one hook returns.

    kind: the type in a word, for messages. named: returns the name of one object and the object;
    raises Mismatch for an object of a wrong type.
    """

    hook: str
    kind: str
    named: Callable[[Any], Named]

    def check(self, returned: Any) -> tuple[Named, ...]:
        """Return all objects of a hook's result with their names. Raises Mismatch."""
        if inspect.iscoroutine(returned):
            returned.close()
            raise Mismatch(f"{self.hook} is async; a hook must be a plain function")
        if isinstance(returned, str | bytes) or not isinstance(returned, Iterable):
            raise Mismatch(f"{self.hook} returned {returned!r}; it must return an iterable")
        items = returned.items() if isinstance(returned, Mapping) else returned
        return tuple(self._named(item) for item in items)

    def _named(self, item: Any) -> Named:
        try:
            return self.named(item)
        except Mismatch as mismatch:
            raise Mismatch(f"{self.hook} returned {item!r}: {mismatch}") from None


class LivePlugin:
    """A plugin and its contributions: hook -> the returned objects with their names."""

    def __init__(self, plugin: Plugin) -> None:
        self.plugin = plugin
        self.contributions: dict[str, tuple[Named, ...]] = {}
        self._manager: pluggy.PluginManager | None = None

    def turn_on(self, fetch: Callable[[], Any]) -> None:
        """Import the plugin and call every hook without parameters. Raises Isolated."""
        module = self._guarded("importing it", fetch)
        # Each plugin has its own manager: in a shared one, an exception would end the call for all.
        self._manager = pluggy.PluginManager(hookspecs.hookspec.project_name)
        self._manager.add_hookspecs(hookspecs)
        hooks = self._register(module)
        for hook in hooks:
            if not _parameters(hook):
                self.call(hook)
        self.plugin = self.plugin.turned_on(hooks)

    def call(self, hook: str, **arguments: Any) -> tuple[Named, ...]:
        """Call `hook` and return the plugin's objects with their names. Raises Isolated."""
        if self._manager is None:
            return ()
        caller = getattr(self._manager.hook, hook)
        results = self._guarded(hook, lambda: caller(**arguments))
        contract = CONTRACTS[hook]
        checked = self._guarded(hook, lambda: [contract.check(result) for result in results])
        self.contributions[hook] = tuple(named for objects in checked for named in objects)
        return self.contributions[hook]

    def _register(self, module: Any) -> tuple[str, ...]:
        assert self._manager is not None  # noqa: S101 - set by turn_on
        try:
            self._manager.register(module, self.plugin.name)
        except pluggy.PluginValidationError:
            self._isolate(_unknown_parameter(module), None)
        except Exception as error:  # noqa: BLE001 - any failure of the object is the plugin's own
            self._isolate(f"it cannot be registered: {_in_words(error)}", error)
        hooks = tuple(sorted(self._guarded("reading it", lambda: _implemented(module))))
        if not hooks:
            self._isolate("it implements no hook: mark its functions with @vanta.hookimpl", None)
        if unknown := [hook for hook in hooks if hook not in HOOKS]:
            advice = did_you_mean(unknown[0], HOOKS)
            self._isolate(f"no hook is named {unknown[0]!r}. {advice}", None)
        return hooks

    def _guarded(self, action: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Mismatch as error:
            self._isolate(str(error), None)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the failure stays the plugin's own
            self._isolate(f"{action} failed: {_in_words(error)}", error)

    def _isolate(self, reason: str, cause: BaseException | None) -> None:
        self.plugin = self.plugin.failed(reason)
        self.contributions = {}
        self._manager = None
        raise Isolated(reason, cause)


def _by_attribute(attribute: str) -> Callable[[Any], Named]:
    """Return the check for objects that have their name in an attribute."""

    def named(item: Any) -> Named:
        name = getattr(item, attribute, None)
        if not isinstance(name, str) or not name:
            raise Mismatch(f"it has no attribute {attribute!r} with a text")
        return name, item

    return named


def _engine(item: Any) -> Named:
    from vanta.engine import EngineFactory

    if not isinstance(item, EngineFactory):
        raise Mismatch("it is not a vanta.EngineFactory")
    return item.name, item


def _embedder(item: Any) -> Named:
    from vanta.memory import EmbedderFactory

    if not isinstance(item, EmbedderFactory):
        raise Mismatch("it is not a vanta.memory.EmbedderFactory")
    return item.name, item


def _vector_index(item: Any) -> Named:
    from vanta.memory import IndexFactory

    if not isinstance(item, IndexFactory):
        raise Mismatch("it is not a vanta.memory.IndexFactory")
    return item.name, item


def _policy(item: Any) -> Named:
    from vanta.scheduling.policy import Policy

    if not isinstance(item, Policy):
        raise Mismatch("it is not a vanta.Policy")
    return item.name, item


def _toolset(item: Any) -> Named:
    from vanta.tool_contract import ToolsetFactory

    if not isinstance(item, ToolsetFactory):
        raise Mismatch("it is not a vanta.ToolsetFactory")
    given: tuple[Any, Any] = (item.name, item.options)
    if not isinstance(given[0], str) or not isinstance(given[1], type):
        raise Mismatch("its name is not a text, or its options are not a pydantic model")
    return item.name, item


def _folder(item: Any) -> Named:
    if not isinstance(item, Path) or not item.is_absolute():
        raise Mismatch("it is not an absolute pathlib.Path")
    if not item.is_dir():
        raise Mismatch("there is no such folder")
    return str(item), item


def _observer(item: Any) -> Named:
    if not callable(item):
        raise Mismatch("it cannot be called with an event")
    return repr(item), item


def _command(item: Any) -> Named:
    if not (isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)):
        raise Mismatch(
            "it must be a mapping from command names to typer.Typer or vanta.cli.Command"
        )
    return item


CONTRACTS: Mapping[str, HookContract] = {
    contract.hook: contract
    for contract in (
        HookContract("vanta_engines", "engine", _engine),
        HookContract("vanta_models", "model", _by_attribute("id")),
        HookContract("vanta_model_sources", "model source", _by_attribute("scheme")),
        HookContract("vanta_toolsets", "toolset", _toolset),
        HookContract("vanta_configured_toolsets", "toolset", _toolset),
        HookContract("vanta_embedders", "embedder", _embedder),
        HookContract("vanta_vector_indexes", "vector index", _vector_index),
        HookContract("vanta_policies", "policy", _policy),
        HookContract("vanta_gates", "gate", _by_attribute("name")),
        HookContract("vanta_detectors", "detector", _by_attribute("name")),
        HookContract("vanta_templates", "template folder", _folder),
        HookContract("vanta_observers", "observer", _observer),
        HookContract("vanta_checks", "check", _by_attribute("name")),
        HookContract("vanta_companions", "companion", _by_attribute("name")),
        HookContract("vanta_expectations", "expectation", _by_attribute("name")),
        HookContract("vanta_commands", "command", _command),
    )
}


def _implemented(module: Any) -> Mapping[str, Callable[..., Any]]:
    """Return the hook implementations of a plugin: hook name -> function."""
    manager = pluggy.PluginManager(hookspecs.hookspec.project_name)
    functions = {}
    for attribute in dir(module):
        options = manager.parse_hookimpl_opts(module, attribute)
        if options is not None:
            functions[options.get("specname") or attribute] = getattr(module, attribute)
    return functions


def _unknown_parameter(module: Any) -> str:
    """Return the reason why pluggy rejected a plugin: a parameter that its hook does not have."""
    for hook, function in _implemented(module).items():
        if hook in HOOKS:
            known = _parameters(hook)
            for parameter in inspect.signature(function).parameters:
                if parameter not in known:
                    advice = did_you_mean(parameter, known) if known else "It has no parameters."
                    return f"{hook} has no parameter {parameter!r}. {advice}"
    return "it does not fit the hooks of vanta.hookspecs"


def _parameters(hook: str) -> tuple[str, ...]:
    return tuple(inspect.signature(HOOKS[hook]).parameters)


def _in_words(error: BaseException) -> str:
    """Return an exception with the file and line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"
