"""Opening memory: from its configuration to its parts.

Invariant: memory is never why a runtime does not open: what is not there is said once, and memory
does without it. Only what a person wrote down and that cannot be (an unknown name, a wrong option)
is an error.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from vanta.errors import ConfigError, EmbedderError, StoreError
from vanta.memory.embedder import Embedder, EmbedderContext, EmbedderFactory
from vanta.memory.index import IndexContext, IndexFactory, VectorIndex
from vanta.memory.memory import Memory
from vanta.memory.search.semantic import Dense
from vanta.memory.store import tables

if TYPE_CHECKING:
    from vanta.config import Config
    from vanta.models import ModelStore
    from vanta.plugin_loading import PluginSet
    from vanta.plugin_loading.registry import Registry
    from vanta.storage import Store

AUTO, NONE = "auto", "none"
FACTORY = TypeVar("FACTORY", EmbedderFactory, IndexFactory)
_log = logging.getLogger("vanta.memory")


def open_memory(
    config: Config, plugins: PluginSet, models: ModelStore, store: Store
) -> tuple[Memory | None, str]:
    """The memory of a runtime, not yet running; None, and why, where there is none. Blocking.

    Raises UnknownName, ConfigError.
    """
    if not config.memory.enabled:
        return None, "memory.enabled is false"
    if not store.is_sqlite:
        return None, "memory lives in SQLite, and store_url is of another database"
    try:
        store.transact_now(tables.create)
    except StoreError as error:
        _log.warning("memory is off: %s", error)
        return None, str(error)
    folder = config.data_dir / "memory"
    embedder, why = _embedder(config, plugins, models)
    index = _index(config, plugins, folder / "index") if embedder else None
    dense = Dense(store, embedder, index) if embedder else None
    memory = Memory(store, dense, index=index, index_folder=folder / "index", why_lexical=why)
    return memory, ""


def embedder_for(
    config: Config, plugins: PluginSet, models: ModelStore
) -> tuple[EmbedderFactory | None, str]:
    """Which embedder a configuration comes to, or why none. Blocking. Raises as `open_memory`."""
    asked, context = config.memory, _context(config, models)

    def off(factory: EmbedderFactory) -> str | None:
        return _missing(factory, plugins) or factory.off(
            _options(factory, asked.embedder_options), context
        )

    return _choose(asked.embedder, plugins.embedders, off)


def index_for(config: Config, plugins: PluginSet) -> tuple[IndexFactory | None, str]:
    """Which index a configuration comes to, or why none. Blocking. Raises as `open_memory`."""
    asked = config.memory

    def off(factory: IndexFactory) -> str | None:
        return _missing(factory, plugins) or factory.off(_options(factory, asked.index_options))

    return _choose(asked.index, plugins.vector_indexes, off)


def _context(config: Config, models: ModelStore) -> EmbedderContext:
    folder = config.data_dir / "memory" / "embedders"
    return EmbedderContext(config.memory.embedder_model, folder, models.find)


def _embedder(
    config: Config, plugins: PluginSet, models: ModelStore
) -> tuple[Embedder | None, str]:
    """The embedder, or why there is none."""
    factory, why = embedder_for(config, plugins, models)
    if factory is None:
        return None, _said(config.memory.embedder, "embedder", why)
    options = _options(factory, config.memory.embedder_options)
    return factory.create(options, _context(config, models)), ""


def embedder_named(name: str, config: Config, plugins: PluginSet, models: ModelStore) -> Embedder:
    """A new embedder of that name, beside memory's own; with the options of the configuration where
    that names it, too. Blocking. Raises UnknownName, EmbedderError where it cannot be used."""
    factory, asked = plugins.embedders[name], config.memory
    configured = name == asked.embedder
    options = _options(factory, asked.embedder_options if configured else {})
    folder = config.data_dir / "memory" / "embedders"
    context = EmbedderContext(asked.embedder_model if configured else "", folder, models.find)
    why = _missing(factory, plugins) or factory.off(options, context)
    if why:
        raise EmbedderError(f"the embedder {name!r} cannot be used: {why}")
    return factory.create(options, context)


def _index(config: Config, plugins: PluginSet, folder: Path) -> VectorIndex | None:
    factory, why = index_for(config, plugins)
    if factory is None:
        _said(config.memory.index, "index", why)
        return None
    return factory.create(_options(factory, config.memory.index_options), IndexContext(folder))


def _said(asked: str, what: str, why: str) -> str:
    """`why`, logged where what a person named is not there."""
    if asked not in {AUTO, NONE}:
        _log.warning("memory does without the %s %r: %s", what, asked, why)
    return why


def _choose(
    asked: str, known: Registry[FACTORY], off: Callable[[FACTORY], str | None]
) -> tuple[FACTORY | None, str]:
    """The one that was asked for, or the best that can be used; else why there is none."""
    if asked == NONE:
        return None, f"no {known.kind} is wanted"
    if asked != AUTO:
        why = off(known[asked])
        return (None, why) if why else (known[asked], "")
    reasons = []
    for factory in sorted(known.values(), key=lambda one: -one.rank):
        if factory.rank <= 0:
            continue
        why = off(factory)
        if not why:
            return factory, ""
        reasons.append(f"{factory.name}: {why}")
    return None, "; ".join(reasons) or f"no plugin brings any {known.kind}"


def _missing(factory: EmbedderFactory | IndexFactory, plugins: PluginSet) -> str | None:
    if factory.requires is None or importlib.util.find_spec(factory.requires):
        return None
    return (
        f"{factory.name!r} needs the library {factory.requires!r}. "
        f"Install it: {plugins.library_hint(factory)}."
    )


def _options(factory: EmbedderFactory | IndexFactory, given: Mapping[str, Any]) -> BaseModel:
    """The options of one part, checked. Raises ConfigError."""
    part = "embedder" if isinstance(factory, EmbedderFactory) else "index"
    try:
        return factory.options.model_validate(dict(given))
    except ValidationError as error:
        told = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()
        )
        known = ", ".join(factory.options.model_fields) or "none"
        raise ConfigError(
            f"memory.{part}_options do not fit {part} {factory.name!r}: {told}. Its options: "
            f"{known}. To choose another one, set memory.{part}."
        ) from None
