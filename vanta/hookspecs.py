"""The whole plugin contract, on one page.

A plugin is a module (or any object) that an entry point in the group ``vanta`` names. It implements
any of the hooks below, each marked with ``@vanta.hookimpl``; it uses nothing of vanta but public
names. Hooks are plain functions that *return objects*: vanta keeps what they return together with
the plugin that returned it, so that two plugins that claim one name are an error that names both.
What is asynchronous lives in the returned objects. A hook is called once, when a runtime opens; it
must be quick, do no I/O, and import heavy libraries only inside the objects that it returns.

A hook may leave out parameters that it does not need, as everywhere in pluggy. A hook that raises
isolates its plugin: the plugin is listed with the reason, and everything else works.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import typer

    from vanta.diagnosis import Check
    from vanta.engine import EngineFactory
    from vanta.expectations import Expectation
    from vanta.memory.embedder import EmbedderFactory
    from vanta.memory.index import IndexFactory
    from vanta.models import ModelEntry, ModelSource
    from vanta.privacy import Detector
    from vanta.runtime.background import Companion
    from vanta.runtime.runtime import Observer
    from vanta.scheduling.gate import Gate
    from vanta.scheduling.policy import Policy

hookspec = pluggy.HookspecMarker("vanta")
hookimpl = pluggy.HookimplMarker("vanta")

# What answers


@hookspec
def vanta_engines() -> Iterable[EngineFactory]:  # type: ignore[empty-body]
    """Bring engines: adapters to something that generates text.

    Each is used by its name, as in ``tracks.api.engine = "openai"``. The factory's ``options``
    model checks ``tracks.NAME.options``; ``create`` is called once for every track that uses it.

    :returns: one :class:`vanta.engine.EngineFactory` for each engine.

    Errors: two engines with one name are a :class:`vanta.errors.PluginError` naming both plugins.
    """


@hookspec
def vanta_models() -> Iterable[ModelEntry]:  # type: ignore[empty-body]
    """Bring entries for the model registry.

    They are added to those of ``configs/models.toml`` and listed by ``vanta models list``.

    :returns: one :class:`vanta.models.ModelEntry` for each model.

    Errors: two entries with one id are a :class:`vanta.errors.PluginError` naming both plugins.
    """


@hookspec
def vanta_model_sources() -> Iterable[ModelSource]:  # type: ignore[empty-body]
    """Bring ways to get a model's file, each for one scheme of a ``source`` (``file:``...).

    :returns: one :class:`vanta.models.ModelSource` for each scheme.

    Errors: two sources for one scheme are a :class:`vanta.errors.PluginError` naming both plugins.
    """


# What remembers


@hookspec
def vanta_embedders() -> Iterable[EmbedderFactory]:  # type: ignore[empty-body]
    """Bring embedders: they turn texts into vectors, so that memory finds what is meant.

    Each is used by its name, as in ``memory.embedder = "minilm"``; ``auto`` takes the one with the
    highest rank that is not off. The factory's ``options`` model checks
    ``memory.embedder_options``; ``create`` is called once for a runtime.

    :returns: one :class:`vanta.memory.embedder.EmbedderFactory` for each embedder.

    Errors: two embedders with one name are a :class:`vanta.errors.PluginError` naming both plugins.
    """


@hookspec
def vanta_vector_indexes() -> Iterable[IndexFactory]:  # type: ignore[empty-body]
    """Bring vector indexes: nearest neighbours among the vectors that memory's store owns.

    Each is used by its name, as in ``memory.index = "chroma"``; ``auto`` takes the one with the
    highest rank that is not off. The factory's ``options`` model checks ``memory.index_options``.

    :returns: one :class:`vanta.memory.index.IndexFactory` for each index.

    Errors: two indexes with one name are a :class:`vanta.errors.PluginError` naming both plugins.
    """


# What decides


@hookspec
def vanta_policies() -> Iterable[Policy]:  # type: ignore[empty-body]
    """Bring policies: when each track starts and what commits a turn, as data.

    Each is used by its name, as in ``policy = "race"``, and can be varied under
    ``[policies.NAME]`` like a built-in one.

    :returns: one :class:`vanta.scheduling.policy.Policy` for each.

    Errors: two policies with one name are a :class:`vanta.errors.PluginError` naming both plugins.
    """


@hookspec
def vanta_gates() -> Iterable[Gate]:  # type: ignore[empty-body]
    """Bring gates: judges of a finished answer.

    A policy with a gate names it in ``gate.use``; the built-in one is ``signals``.

    :returns: one :class:`vanta.scheduling.gate.Gate` for each.

    Errors: two gates with one name are a :class:`vanta.errors.PluginError` naming both plugins.
    """


@hookspec
def vanta_detectors() -> Iterable[Detector]:  # type: ignore[empty-body]
    """Bring detectors: they make a turn private by what its message says.

    Each is off until ``privacy.detect`` names it.

    :returns: one :class:`vanta.privacy.Detector` for each.

    Errors: two detectors with one name are a :class:`vanta.errors.PluginError` naming both plugins.
    """


# What shapes


@hookspec
def vanta_templates() -> Iterable[Path]:  # type: ignore[empty-body]
    """Bring prompt templates: folders that are searched after the user's and before vanta's own.

    :returns: absolute folders; ``FOLDER/system/pirate.j2`` is the template ``system/pirate``.

    Errors: a folder that does not exist isolates the plugin.
    """


# What watches


@hookspec
def vanta_observers(config: Mapping[str, Any]) -> Iterable[Observer]:  # type: ignore[empty-body]
    """Watch every event of every turn: recorders, metrics, traces.

    An observer can break nothing: what it raises is logged and the turn goes on.

    :param config: the effective configuration as JSON-ready data, without secrets.
    :returns: one callable for each observer; it takes an event and must not block.
    """


@hookspec
def vanta_checks() -> Iterable[Check]:  # type: ignore[empty-body]
    """Bring checks for ``vanta doctor``: what works here, what is missing, how to mend it.

    :returns: one :class:`vanta.diagnosis.Check` for each.
    """


# What works in the background


@hookspec
def vanta_companions() -> Iterable[Companion]:  # type: ignore[empty-body]
    """Bring companions: work in the background, for as long as a runtime is open.

    Each is off until ``companions`` names it. It is begun when the runtime opens and cancelled when
    it closes; what it raises is logged once and ends it alone.

    :returns: one :class:`vanta.runtime.background.Companion` for each.

    Errors: two companions with one name are a :class:`vanta.errors.PluginError` naming both
    plugins.
    """


# What people type


@hookspec
def vanta_expectations() -> Iterable[Expectation]:  # type: ignore[empty-body]
    """Bring expectations for scripts: new keys under a turn's ``expect``.

    :returns: one :class:`vanta.expectations.Expectation` for each key.

    Errors: two expectations with one key are a :class:`vanta.errors.PluginError` naming both.
    """


@hookspec
def vanta_commands() -> Mapping[str, typer.Typer]:  # type: ignore[empty-body]
    """Bring commands for the command line.

    :returns: command name to :class:`typer.Typer`; ``vanta NAME`` runs it.

    Errors: a name that another plugin or vanta itself has is a
    :class:`vanta.errors.PluginError` naming both.
    """
