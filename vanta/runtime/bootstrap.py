"""From a configuration to the parts of a runtime.

Invariant: `gather` does everything that blocks (files, plugin imports, the database) and starts
nothing that needs an event loop. A mistake in the configuration is an error here, before any turn.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vanta import plugin_loading, telemetry
from vanta.concurrency import require_address_space
from vanta.config import Config, Loaded, TrackConfig
from vanta.config import load as load_config
from vanta.engine import Engine, EngineContext, EngineFactory, Sampling
from vanta.errors import UnknownName, VantaError, describe, refused_resource
from vanta.events import Observer
from vanta.installation import templates_dir
from vanta.memory import Memory
from vanta.models import ModelStore, builtin_entries, builtin_sources
from vanta.money import (
    ApproveUnpriced,
    Caps,
    Ledger,
    UnpricedRule,
    listed_prices,
    price_of,
    this_process,
)
from vanta.plugin_loading import PluginSet
from vanta.prompts import Templates
from vanta.routing import CalibratedGate, Router
from vanta.runtime.memory_factory import open_memory
from vanta.runtime.turns.agency import NO_TOOLS, Agency, ProgramTools, open_agency
from vanta.scheduling.gate import Gate
from vanta.scheduling.policy import Policy
from vanta.storage import Store, sqlite_url
from vanta.track import Price, Track

_log = logging.getLogger("vanta")
_logged: set[str] = set()
_FIRST_CLAUSE = re.compile(r"[:;.] |\.$")


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a runtime that exist before its engines."""

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
    tools: Agency | None = None

    @property
    def config(self) -> Config:
        """The effective configuration."""
        return self.loaded.config


def gather(
    source: Any,
    extra_plugins: Iterable[object],
    overrides: Mapping[str, Any],
    approve_unpriced: ApproveUnpriced | None = None,
    program: ProgramTools = NO_TOOLS,
) -> Parts:
    """Read the configuration, load plugins, and open the store. Blocking.

    :param source: the configuration, as for `vanta.open`.
    :param extra_plugins: plugin objects to use beside the installed ones.
    :param overrides: configuration keys that take precedence over everything else.
    :param approve_unpriced: as for `vanta.open`.
    :param program: the program's own tools, and whom to ask.
    :raises UsageError: if the configuration or a fitted file has to change.
    :raises StoreError: if the database cannot be opened.
    """
    loaded = load_config(source, overrides=overrides)
    require_address_space()
    config = loaded.config
    plugins = plugin_loading.load(
        config.plugins.allow, strict=config.plugins.strict, extra=tuple(extra_plugins)
    )
    observers = plugins.observers(loaded.as_dict()) + telemetry.observers(enabled=config.telemetry)
    plugins.configure_toolsets(loaded.as_dict(redacted=False))
    gates = fitted_gates(config, plugins)
    policies = _policies(config, plugins, gates)
    if config.policy not in policies:
        raise UnknownName("policy", config.policy, policies, hint=plugins.advice())
    templates = prompt_templates(loaded, plugins)
    templates.get(f"system/{config.system}")
    models = model_store(config, plugins)
    router = fitted_router(config)
    store, ledger = open_store(config, approve_unpriced)
    memory, memory_off = _memory(config, plugins, models, store)
    try:
        tools = open_agency(config, plugins, store, ledger, program, memory)
    except BaseException:
        store.close()
        raise
    for track in config.tracks.values():
        models.recommended_sampling(track.model)  # read on this thread, kept for the event loop's
    return Parts(
        loaded=loaded,
        plugins=plugins,
        observers=observers,
        policies=policies,
        gates=gates,
        router=router,
        models=models,
        templates=templates,
        store=store,
        ledger=ledger,
        memory=memory,
        memory_off=memory_off,
        tools=tools,
    )


def _memory(
    config: Config, plugins: PluginSet, models: ModelStore, store: Store
) -> tuple[Memory | None, str]:
    """Return the memory, or None and the reason. Recall by words alone is logged once."""
    try:
        memory, why = open_memory(config, plugins, models, store)
    except BaseException:
        store.close()
        raise
    if memory and memory.why_lexical:
        _log_once(f"memory finds words, not meaning: {memory.why_lexical}", logging.INFO)
    return memory, why


def open_store(
    config: Config, approve_unpriced: ApproveUnpriced | None = None
) -> tuple[Store, Ledger]:
    """Open the transcripts and the ledger, which share one database. Blocking.

    :param config: the effective configuration.
    :param approve_unpriced: as for `vanta.open`.
    :raises StoreError: if the database cannot be opened or is of a newer version.
    """
    # Both are cached; reading them here keeps the event loop from reading files later.
    listed_prices()
    this_process()
    store = Store.open(config.store_url or sqlite_url(config.data_dir))
    try:
        unpriced = UnpricedRule(config.budget.unpriced, approve_unpriced)
        return store, Ledger.open(store, caps_of(config), unpriced=unpriced)
    except BaseException:
        store.close()
        raise


def fitted_router(config: Config) -> Router:
    """Return the router that `vanta route fit` saved; without one, a router by length.

    :param config: its data directory has the file. Blocking.
    :raises UsageError: if the file is broken.
    """
    path = config.data_dir / "router.json"
    if not path.is_file():
        return Router.unfitted()
    router = Router.load(path)
    router.check()
    return router


def fitted_gates(config: Config, plugins: PluginSet) -> dict[str, Gate]:
    """Return all gates by name: built-in ones, those of plugins, and the calibrated one.

    :raises UsageError: if the file that `vanta gate fit` saved is broken.
    :raises PluginError: if a plugin claims the name of the calibrated gate.
    """
    plugins.gates.refuse({CalibratedGate.name})
    path = config.data_dir / "gate.json"
    return {**plugins.gates, CalibratedGate.name: CalibratedGate(path if path.is_file() else None)}


def model_store(config: Config, plugins: PluginSet) -> ModelStore:
    """Return the model registry, plugins' entries included, and the files on disk.

    :param config: its data directory has the files.
    :param plugins: the plugins that are on.
    :raises PluginError: if a plugin claims a built-in model or scheme.
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
    """Return the prompt templates. Blocking.

    The folders of the user, the project, the plugins and vanta itself are searched in this order;
    the project's only if it is trusted. A template that hides another one is logged.

    :param loaded: the configuration, with the folder of its project.
    :param plugins: the plugins that are on.
    """
    folders = template_folders(loaded)
    trust = loaded.trust
    if trust and not trust.is_trusted:
        folders.pop("project", None)
    digests = {trust.folder: trust.files} if trust and trust.is_trusted else {}
    templates = Templates(
        [*folders.values(), *plugins.template_dirs, templates_dir()], trusted=digests
    )
    templates.preload()
    for name, (path, *hidden) in templates.files.items():
        if hidden:
            others = ", ".join(map(str, hidden))
            _log_once(f"template {name!r} of {path} hides {others}", logging.INFO)
    return templates


def template_folders(loaded: Loaded) -> dict[str, Path]:
    """Return the folders for the user's own templates, in order of precedence.

    :param loaded: the configuration, with the folder of its project.
    :returns: folders by their kind, `user` or `project`; they need not exist.
    """
    folders = {"user": loaded.config.data_dir / "templates"}
    if loaded.project:
        folders["project"] = loaded.project / ".vanta" / "templates"
    return folders


class TrackParts(Protocol):
    """The parts that tracks are made from; `Parts` has them, and so has a listing of tracks."""

    @property
    def loaded(self) -> Loaded: ...
    @property
    def config(self) -> Config: ...
    @property
    def plugins(self) -> PluginSet: ...
    @property
    def models(self) -> ModelStore: ...


def make_tracks(parts: TrackParts, *, warn: bool = True) -> tuple[dict[str, Track], dict[str, str]]:
    """Make the configured tracks.

    :param parts: the configuration, the plugins and the models.
    :param warn: log why a track is off, once per process; False for callers that show the reasons.
    :returns: the tracks by name, and why each other one is off, by name.
    :raises ConfigError: if the options of a track do not fit its engine.
    :raises UnknownName: if no plugin provides an engine of that name.
    """
    tracks: dict[str, Track] = {}
    off: dict[str, str] = {}
    for name, config in parts.config.tracks.items():
        track = _make_track(name, config, parts) if config.enabled else "it is not enabled"
        if isinstance(track, Track):
            tracks[name] = track
        else:
            off[name] = track
            if config.enabled and warn:
                short = f"track {name!r} is off: {_FIRST_CLAUSE.split(track)[0]}."
                daily = {"short": short, "data_dir": parts.config.data_dir}
                _log_once(f"track {name!r} is off: {track}", daily=daily)
    return tracks, off


def _make_track(name: str, config: TrackConfig, parts: TrackParts) -> Track | str:
    """Return the track, or why it is off."""
    factory = _factory(config.engine, parts.plugins)
    if isinstance(factory, str):
        return factory
    options = parts.loaded.options(name, factory.options)
    try:
        why = factory.off(options) or _library_missing(factory, parts.plugins)
        if why:
            return why
        engine = _engine(name, config, factory, options, parts)
    except VantaError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - one plugin must not close the others
        advice = refused_resource(error) or "Reinstall its plugin, or report this to it."
        return f"engine {factory.name!r} could not be built: {describe(error)}. {advice}"
    return Track(
        name=name,
        engine=engine,
        window=config.window,
        reply_reserve=config.reply_reserve,
        private=config.private,
        price=_price(name, config, parts.config),
        sampling=_sampling(config, factory, parts.models),
    )


def caps_of(config: Config) -> Caps:
    """Return the spending caps of a configuration.

    :param config: the effective configuration.
    """
    return Caps(**config.budget.model_dump(exclude={"unpriced"}))


def _price(name: str, track: TrackConfig, config: Config) -> Price:
    """Return the track's price; under a cap, an unknown one is logged once."""
    price = price_of(track)
    if price is None and caps_of(config):
        means = {"refuse": "it is refused", "ask": "a person is asked", "free": "it is free"}
        _log_once(
            f"track {name!r}: the price of model {track.model!r} is not known, so under a cap "
            f"{means[config.budget.unpriced]}. Set input_usd_per_mtok and output_usd_per_mtok "
            f"under [tracks.{name}]."
        )
    return price or Price(known=False)


def _engine(
    name: str, config: TrackConfig, factory: EngineFactory, options: Any, parts: TrackParts
) -> Engine:
    trust = parts.loaded.trust
    context = EngineContext(
        name,
        config.model,
        config.window,
        parts.models.find,
        private=config.private,
        keyless=trust is not None and f"tracks.{name}" in trust.keyless,
    )
    return factory.create(options, context)


def _sampling(config: TrackConfig, factory: EngineFactory, models: ModelStore) -> Sampling:
    """Return the configured sampling, over the model's own if the engine loads its file."""
    configured = config.sampling.to_sampling()
    if not factory.loads_models:
        return configured
    return models.recommended_sampling(config.model).under(configured)


def _factory(engine: str, plugins: PluginSet) -> EngineFactory | str:
    """Return the engine's factory, or that a failed plugin may be the reason for its absence."""
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


def _log_once(
    message: str, level: int = logging.WARNING, daily: Mapping[str, object] | None = None
) -> None:
    """Log a message once per process.

    daily: its short form and the data directory, with which the command line shows it once a day.
    """
    if message not in _logged:
        _logged.add(message)
        _log.log(level, "%s", message, extra=daily)
