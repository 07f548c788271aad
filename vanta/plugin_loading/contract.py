"""What each hook has to return, and how what it returned is checked.

Invariant: there is one `Sort` for every hook of `vanta.hookspecs`, and nothing of a wrong type
passes: a plugin that returns something else is told so by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

from vanta import hookspecs

Named = tuple[str, Any]

HOOKS: Mapping[str, FunctionType] = {
    name: hook
    for name, hook in vars(hookspecs).items()
    if isinstance(hook, FunctionType) and hasattr(hook, "vanta_spec")
}


class Mismatch(Exception):  # noqa: N818 - never leaves this package
    """A hook returned what it should not; the message is the reason that a person reads."""


@dataclass(frozen=True, slots=True)
class Sort:
    """One sort of object that a hook brings.

    what: the sort in a word. named: turns one returned object into its name and itself; raises
    Mismatch for an object of a wrong type.
    """

    hook: str
    what: str
    named: Callable[[Any], Named]

    def check(self, returned: Any) -> tuple[Named, ...]:
        """All that a hook returned, each with its name; raises Mismatch."""
        if inspect.iscoroutine(returned):
            returned.close()
            raise Mismatch(f"{self.hook} is async; hooks are plain functions that return objects")
        if isinstance(returned, str | bytes) or not isinstance(returned, Iterable):
            raise Mismatch(f"{self.hook} returned {returned!r}; it must return an iterable")
        items = returned.items() if isinstance(returned, Mapping) else returned
        return tuple(self._named(item) for item in items)

    def _named(self, item: Any) -> Named:
        try:
            return self.named(item)
        except Mismatch as wrong:
            raise Mismatch(f"{self.hook} returned {item!r}: {wrong}") from None


def by_attribute(attribute: str) -> Callable[[Any], Named]:
    """Objects that carry their name themselves, as text."""

    def named(item: Any) -> Named:
        name = getattr(item, attribute, None)
        if not isinstance(name, str) or not name:
            raise Mismatch(f"it has no {attribute!r} that is a text")
        return name, item

    return named


def _engine(item: Any) -> Named:
    from vanta.engine import EngineFactory

    if not isinstance(item, EngineFactory):
        raise Mismatch("it is no vanta.engine.EngineFactory")
    return item.name, item


def _embedder(item: Any) -> Named:
    from vanta.memory.embedder import EmbedderFactory

    if not isinstance(item, EmbedderFactory):
        raise Mismatch("it is no vanta.memory.embedder.EmbedderFactory")
    return item.name, item


def _vector_index(item: Any) -> Named:
    from vanta.memory.index import IndexFactory

    if not isinstance(item, IndexFactory):
        raise Mismatch("it is no vanta.memory.index.IndexFactory")
    return item.name, item


def _policy(item: Any) -> Named:
    from vanta.scheduling.policy import Policy

    if not isinstance(item, Policy):
        raise Mismatch("it is no vanta.scheduling.policy.Policy")
    return item.name, item


def _folder(item: Any) -> Named:
    if not isinstance(item, Path) or not item.is_absolute():
        raise Mismatch("it is no absolute pathlib.Path")
    if not item.is_dir():
        raise Mismatch("there is no such folder")
    return str(item), item


def _observer(item: Any) -> Named:
    if not callable(item):
        raise Mismatch("it cannot be called with an event")
    return repr(item), item


def _command(item: Any) -> Named:
    if not (isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)):
        raise Mismatch("it must be a mapping from command names to typer.Typer")
    return item


SORTS: Mapping[str, Sort] = {
    sort.hook: sort
    for sort in (
        Sort("vanta_engines", "engine", _engine),
        Sort("vanta_models", "model", by_attribute("id")),
        Sort("vanta_model_sources", "model source", by_attribute("scheme")),
        Sort("vanta_embedders", "embedder", _embedder),
        Sort("vanta_vector_indexes", "vector index", _vector_index),
        Sort("vanta_policies", "policy", _policy),
        Sort("vanta_gates", "gate", by_attribute("name")),
        Sort("vanta_detectors", "detector", by_attribute("name")),
        Sort("vanta_templates", "template folder", _folder),
        Sort("vanta_observers", "observer", _observer),
        Sort("vanta_checks", "check", by_attribute("name")),
        Sort("vanta_companions", "companion", by_attribute("name")),
        Sort("vanta_expectations", "expectation", by_attribute("name")),
        Sort("vanta_commands", "command", _command),
    )
}
