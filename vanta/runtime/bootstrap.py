"""Opening: from a configuration to the parts of a runtime.

Invariant: `gather` does all that blocks (files, plugin imports, the database) and starts nothing
that needs an event loop; what a person has to change is an error here, before any turn.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vanta import plugin_loading, telemetry
from vanta.config import Config, Loaded, TrackConfig
from vanta.config import load as load_config
from vanta.engine import Engine, EngineContext, EngineFactory
from vanta.errors import StoreError, UnknownName
from vanta.events import Observer
from vanta.memory import Memory
from vanta.models import ModelStore, builtin_entries, builtin_sources
from vanta.money import Caps, Ledger, listed_prices, price_of, this_process
from vanta.plugin_loading import PluginSet
from vanta.prompts import Templates
from vanta.resources import templates_dir
from vanta.routing import CalibratedGate, Router
from vanta.runtime.memory_factory import open_memory
from vanta.scheduling.gate import Gate
from vanta.scheduling.policy import Policy
from vanta.storage import Store, sqlite_url
from vanta.track import Price, Track

_log = logging.getLogger("vanta")
_said: set[str] = set()


@dataclass(frozen=True, slots=True)
class Parts:
    """What a runtime is made of, before its engines."""

    loaded: Loaded
    plugins: PluginSet
    observers: tuple[Observer, ...]
    policies: Mapping[str, Policy]
    gates: Mapping[str, Gate]
    router: Router
    models: ModelStore
    templates: Templates
    store: Store
    ledger: Ledger
    memory: Memory | None
    memory_off: str

    @property
    def config(self) -> Config:
        """The effective configuration."""
        return self.loaded.config


def gather(source: Any, extra_plugins: Iterable[object], overrides: Mapping[str, Any]) -> Parts:
    """Read the configuration, load plugins, open the store. Blocking.

    Raises ConfigError, PluginError, UnknownName or StoreError.
    """
    loaded = load_config(source, overrides=overrides)
    config = loaded.config
    plugins = plugin_loading.load(
        config.plugins.allow, strict=config.plugins.strict, extra=tuple(extra_plugins)
    )
    observers = plugins.observers(loaded.as_dict()) + telemetry.observers(enabled=config.telemetry)
    gates = fitted_gates(config, plugins)
    policies = _policies(config, plugins, gates)
    if config.policy not in policies:
        raise UnknownName("policy", config.policy, policies, hint=plugins.advice())
    templates = prompt_templates(loaded, plugins)
    templates.get(f"system/{config.system}")
    models = model_store(config, plugins)
    store, ledger = open_store(config)
    memory, memory_off = _memory(config, plugins, models, store)
    return Parts(
        loaded=loaded,
        plugins=plugins,
        observers=observers,
        policies=policies,
        gates=gates,
        router=fitted_router(config),
        models=models,
        templates=templates,
        store=store,
        ledger=ledger,
        memory=memory,
        memory_off=memory_off,
    )


def _memory(
    config: Config, plugins: PluginSet, models: ModelStore, store: Store
) -> tuple[Memory | None, str]:
    """The memory, else why there is none; said once where meaning takes no part in it."""
    try:
        memory, why = open_memory(config, plugins, models, store)
    except BaseException:
        store.close()
        raise
    if memory and memory.why_lexical:
        _say_once(f"memory finds words, not meaning: {memory.why_lexical}", logging.INFO)
    return memory, why


def open_store(config: Config) -> tuple[Store, Ledger]:
    """The transcripts and the money, in one database. Blocking. Raises StoreError."""
    # Both are kept once read; read here, they are not read on the event loop.
    listed_prices()
    this_process()
    store = Store.open(config.store_url or sqlite_url(config.data_dir))
    try:
        return store, Ledger.open(store, caps_of(config))
    except StoreError:
        store.close()
        raise


def fitted_router(config: Config) -> Router:
    """The router that `vanta route fit` wrote into the data directory, else a guess by length.

    Raises UsageError for a broken file.
    """
    path = config.data_dir / "router.json"
    if not path.is_file():
        return Router.unfitted()
    router = Router.load(path)
    router.check()
    return router


def fitted_gates(config: Config, plugins: PluginSet) -> dict[str, Gate]:
    """All gates: vanta's own, those of plugins, and the one that `vanta gate fit` calibrated.

    Raises UsageError for a broken file, PluginError for a plugin that claims the name.
    """
    plugins.gates.refuse({CalibratedGate.name})
    path = config.data_dir / "gate.json"
    return {**plugins.gates, CalibratedGate.name: CalibratedGate(path if path.is_file() else None)}


def model_store(config: Config, plugins: PluginSet) -> ModelStore:
    """The model files of a data directory, with what plugins add to the registry.

    Raises PluginError if a plugin claims a model or a scheme that vanta itself has.
    """
    entries, sources = builtin_entries(), builtin_sources()
    plugins.models.refuse(
        {name for entry in entries.values() for name in (entry.id, *entry.aliases)}
    )
    plugins.sources.refuse(sources)
    return ModelStore(
        config.data_dir / "models", {**entries, **plugins.models}, {**sources, **plugins.sources}
    )


def prompt_templates(loaded: Loaded, plugins: PluginSet) -> Templates:
    """The prompt templates: the user's, the project's, the plugins', vanta's own, searched in this
    order. One that hides another is logged."""
    folders = template_folders(loaded)
    templates = Templates([*folders.values(), *plugins.template_dirs, templates_dir()])
    templates.preload()
    for name, (path, *hidden) in templates.files.items():
        if hidden:
            others = ", ".join(map(str, hidden))
            _say_once(f"template {name!r} of {path} hides {others}", logging.INFO)
    return templates


def template_folders(loaded: Loaded) -> dict[str, Path]:
    """The folders for templates of one's own, the first before the others; they need not exist."""
    folders = {"user": loaded.config.data_dir / "templates"}
    if loaded.project:
        folders["project"] = loaded.project / ".vanta" / "templates"
    return folders


class TrackParts(Protocol):
    """What tracks are made of; `Parts` has it, and so has whoever only wants to list them."""

    @property
    def loaded(self) -> Loaded: ...
    @property
    def config(self) -> Config: ...
    @property
    def plugins(self) -> PluginSet: ...
    @property
    def models(self) -> ModelStore: ...


def make_tracks(parts: TrackParts, *, warn: bool = True) -> tuple[dict[str, Track], dict[str, str]]:
    """The tracks of the configuration, and those that are off with the reason.

    warn: log why a track is off, once a process; no for callers that show the reasons themselves.
    Raises ConfigError for options that do not fit, UnknownName for an engine that nothing brings.
    """
    tracks: dict[str, Track] = {}
    off: dict[str, str] = {}
    for name, config in parts.config.tracks.items():
        made = _make_track(name, config, parts) if config.enabled else "it is not enabled"
        if isinstance(made, Track):
            tracks[name] = made
        else:
            off[name] = made
            if config.enabled and warn:
                _say_once(f"track {name!r} is off: {made}")
    return tracks, off


def _make_track(name: str, config: TrackConfig, parts: TrackParts) -> Track | str:
    """The track, or why it is off."""
    factory = _factory(config.engine, parts.plugins)
    if isinstance(factory, str):
        return factory
    options = parts.loaded.options(name, factory.options)
    why = factory.off(options) or _library_missing(factory, parts.plugins)
    if why:
        return why
    return Track(
        name=name,
        engine=_engine(name, config, factory, options, parts.models),
        window=config.window,
        reply_reserve=config.reply_reserve,
        private=config.private,
        price=_price(name, config, capped=bool(caps_of(parts.loaded.config))),
        sampling=config.sampling.to_sampling(),
    )


def caps_of(config: Config) -> Caps:
    """The caps of a configuration."""
    return Caps(**dict(config.budget))


def _price(name: str, config: TrackConfig, *, capped: bool) -> Price:
    """The track's price; where nobody knows it, none, which is said once under a cap."""
    price = price_of(config)
    if price is None and capped:
        _say_once(
            f"track {name!r}: the price of model {config.model!r} is not known, so it counts as "
            f"free. Set input_usd_per_mtok and output_usd_per_mtok under [tracks.{name}]."
        )
    return price or Price()


def _engine(
    name: str, config: TrackConfig, factory: EngineFactory, options: Any, models: ModelStore
) -> Engine:
    context = EngineContext(name, config.model, config.window, models.find)
    return factory.create(options, context)


def _factory(engine: str, plugins: PluginSet) -> EngineFactory | str:
    """The engine's factory, or that it may be missing because a plugin failed."""
    try:
        return plugins.engines[engine]
    except UnknownName as error:
        if any(plugin.status == "failed" for plugin in plugins.plugins):
            return str(error)
        raise


def _library_missing(factory: EngineFactory, plugins: PluginSet) -> str | None:
    with contextlib.suppress(ImportError, ValueError):
        if factory.requires is None or importlib.util.find_spec(factory.requires):
            return None
    return (
        f"engine {factory.name!r} needs the library {factory.requires!r}. "
        f"Install it: {plugins.library_hint(factory)}."
    )


def _policies(config: Config, plugins: PluginSet, gates: Mapping[str, Gate]) -> dict[str, Policy]:
    variants = {
        name: variant.to_policy(name, plugins.policies) for name, variant in config.policies.items()
    }
    policies = {**plugins.policies, **variants}
    for policy in policies.values():
        if policy.gate and policy.gate.use not in gates:
            raise UnknownName("gate", policy.gate.use, gates, hint=plugins.advice())
    return policies


def _say_once(message: str, level: int = logging.WARNING) -> None:
    if message not in _said:
        _said.add(message)
        _log.log(level, "%s", message)
