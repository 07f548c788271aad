"""Opens memory: from its configuration and the plugins to its parts.

Invariant: memory never prevents a runtime from opening. A missing part is logged once, and memory
works without it. Only a mistake in the configuration (an unknown name, a wrong option) is an error.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from vanta.errors import ConfigError, EmbedderError, StoreError
from vanta.memory import (
    Embedder,
    EmbedderContext,
    EmbedderFactory,
    IndexContext,
    IndexFactory,
    Memory,
    VectorIndex,
)

if TYPE_CHECKING:
    from vanta.check import PluginCatalog
    from vanta.config import Config
    from vanta.models import ModelStore
    from vanta.storage import Store

AUTO, NONE = "auto", "none"
FACTORY = TypeVar("FACTORY", EmbedderFactory, IndexFactory)
_log = logging.getLogger("vanta.memory")


def open_memory(
    config: Config, plugins: PluginCatalog, models: ModelStore, store: Store
) -> tuple[Memory | None, str]:
    """Open the memory of a runtime. Blocking.

    :param config: the configuration.
    :param plugins: provides embedders and vector indexes.
    :param models: finds the model of an embedder.
    :param store: the database.
    :returns: the memory, not running yet, and ""; or None and the reason.
    :raises UnknownName: the configured embedder or index does not exist.
    :raises ConfigError: an option of the embedder or index is wrong.
    """
    if not config.memory.enabled:
        return None, "memory.enabled is false"
    if not store.is_sqlite:
        return None, "memory needs SQLite, and store_url names another database"
    index_folder = config.data_dir / "memory" / "index"
    embedder, why = _create_embedder(config, plugins, models)
    index = _create_index(config, plugins, index_folder) if embedder else None
    try:
        memory = Memory.open(
            store, embedder, index=index, index_folder=index_folder, why_lexical=why
        )
    except StoreError as error:
        _log.warning("memory is off: %s", error)
        return None, str(error)
    return memory, ""


def embedder_for(
    config: Config, plugins: PluginCatalog, models: ModelStore
) -> tuple[EmbedderFactory | None, str]:
    """Return the embedder that a configuration selects, or None and the reason. Blocking.

    :raises UnknownName: the configured embedder does not exist.
    :raises ConfigError: an option of the embedder is wrong.
    """
    settings, context = config.memory, _context(config, models)

    def off(factory: EmbedderFactory) -> str | None:
        return _missing(factory, plugins) or factory.off(
            _options(factory, settings.embedder_options), context
        )

    return _choose("embedder", settings.embedder, plugins.embedders, off)


def index_for(config: Config, plugins: PluginCatalog) -> tuple[IndexFactory | None, str]:
    """Return the index that a configuration selects, or None and the reason. Blocking.

    :raises UnknownName: the configured index does not exist.
    :raises ConfigError: an option of the index is wrong.
    """
    settings = config.memory

    def off(factory: IndexFactory) -> str | None:
        return _missing(factory, plugins) or factory.off(_options(factory, settings.index_options))

    return _choose("vector index", settings.index, plugins.vector_indexes, off)


def embedder_named(
    name: str, config: Config, plugins: PluginCatalog, models: ModelStore
) -> Embedder:
    """Create an embedder beside memory's own; blocking. Its configured options apply if the
    configuration selects it, too.

    :raises UnknownName: the embedder does not exist.
    :raises EmbedderError: the embedder cannot be used.
    """
    factory, settings = plugins.embedders[name], config.memory
    configured = name == settings.embedder
    options = _options(factory, settings.embedder_options if configured else {})
    model = settings.embedder_model if configured else ""
    context = _context(config, models, model)
    why = _missing(factory, plugins) or factory.off(options, context)
    if why:
        raise EmbedderError(f"the embedder {name!r} cannot be used: {why}")
    return factory.create(options, context)


def _context(config: Config, models: ModelStore, model: str | None = None) -> EmbedderContext:
    folder = config.data_dir / "memory" / "embedders"
    return EmbedderContext(
        config.memory.embedder_model if model is None else model, folder, models.find
    )


def _create_embedder(
    config: Config, plugins: PluginCatalog, models: ModelStore
) -> tuple[Embedder | None, str]:
    factory, why = embedder_for(config, plugins, models)
    if factory is None:
        _log_missing(config.memory.embedder, "embedder", why)
        return None, why
    options = _options(factory, config.memory.embedder_options)
    return factory.create(options, _context(config, models)), ""


def _create_index(config: Config, plugins: PluginCatalog, folder: Path) -> VectorIndex | None:
    factory, why = index_for(config, plugins)
    if factory is None:
        _log_missing(config.memory.index, "index", why)
        return None
    return factory.create(_options(factory, config.memory.index_options), IndexContext(folder))


def _log_missing(configured: str, kind: str, why: str) -> None:
    """Log that a part is missing if the configuration names it."""
    if configured not in {AUTO, NONE}:
        _log.warning("memory works without the %s %r: %s", kind, configured, why)


def _choose(
    kind: str, configured: str, known: Mapping[str, FACTORY], off: Callable[[FACTORY], str | None]
) -> tuple[FACTORY | None, str]:
    """Return the configured factory, or the best available one; None and the reason if there is
    none."""
    if configured == NONE:
        return None, f"the configuration says to use no {kind}"
    if configured != AUTO:
        why = off(known[configured])
        return (None, why) if why else (known[configured], "")
    reasons = []
    for factory in sorted(known.values(), key=lambda factory: -factory.rank):
        if factory.rank <= 0:
            continue
        why = off(factory)
        if not why:
            return factory, ""
        reasons.append(f"{factory.name}: {why}")
    return None, "; ".join(reasons) or f"no plugin provides any {kind}"


def _missing(factory: EmbedderFactory | IndexFactory, plugins: PluginCatalog) -> str | None:
    if factory.requires is None or importlib.util.find_spec(factory.requires):
        return None
    return (
        f"{factory.name!r} needs the library {factory.requires!r}. "
        f"Install it: {plugins.library_hint(factory)}."
    )


def _options(factory: EmbedderFactory | IndexFactory, values: Mapping[str, Any]) -> BaseModel:
    """Return the validated options of one part. Raises ConfigError."""
    part = "embedder" if isinstance(factory, EmbedderFactory) else "index"
    try:
        return factory.options.model_validate(dict(values))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()
        )
        known = ", ".join(factory.options.model_fields) or "none"
        raise ConfigError(
            f"memory.{part}_options do not fit the {part} {factory.name!r}: {problems}. Its "
            f"options: {known}. To select another {part}, set memory.{part}."
        ) from None
