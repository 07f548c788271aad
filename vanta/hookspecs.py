"""The whole plugin contract, on one page.

A plugin is a module, or any object, that an entry point in the group ``vanta`` names. It implements
any of the hooks below, each marked with ``@vanta.hookimpl``, and imports only names that ``vanta``
and the fronts of its packages export. Hooks are plain functions that *return objects*: vanta keeps
each object together with its plugin, so that two plugins that claim one name are an error that
names both. A hook is called once, when a runtime opens; it must be quick, do no I/O, and import
heavy libraries only inside the objects that it returns. Those objects may be asynchronous.

A hook may omit parameters that it does not need, as always in pluggy. A hook that raises isolates
its plugin: the plugin is listed with the reason, and all others work.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from vanta.errors import PluginError

if TYPE_CHECKING:
    import typer

    from vanta.check import Check
    from vanta.companion import Companion
    from vanta.engine import EngineFactory
    from vanta.events import Observer
    from vanta.expectations import Expectation
    from vanta.memory import EmbedderFactory, IndexFactory
    from vanta.models import ModelEntry, ModelSource
    from vanta.privacy import Detector
    from vanta.scheduling.gate import Gate
    from vanta.scheduling.policy import Policy
    from vanta.tool_contract import ToolsetFactory

hookspec = pluggy.HookspecMarker("vanta")
hookimpl = pluggy.HookimplMarker("vanta")

# Generation


@hookspec
def vanta_engines() -> Iterable[EngineFactory]:  # type: ignore[empty-body]
    """Provide engines: adapters to something that generates text.

    An engine is selected by name, as in ``tracks.api.engine = "openai"``. The factory's ``options``
    model validates ``tracks.NAME.options``; ``create`` is called once for each track that uses it.

    :returns: one :class:`vanta.EngineFactory` for each engine.

    Errors: two engines with one name are a :class:`vanta.PluginError` naming both plugins.
    """


@hookspec
def vanta_models() -> Iterable[ModelEntry]:  # type: ignore[empty-body]
    """Provide entries for the model registry.

    They extend those of ``configs/models.toml``; ``vanta models list`` shows both.

    :returns: one :class:`vanta.models.ModelEntry` for each model.

    Errors: two entries with one id are a :class:`vanta.PluginError` naming both plugins.
    """


@hookspec
def vanta_model_sources() -> Iterable[ModelSource]:  # type: ignore[empty-body]
    """Provide sources of model files, each for one scheme of ``source`` (``file:``, ``wheel:``).

    :returns: one :class:`vanta.models.ModelSource` for each scheme.

    Errors: two sources for one scheme are a :class:`vanta.PluginError` naming both plugins.
    """


# Tools


@hookspec
def vanta_toolsets() -> Iterable[ToolsetFactory]:  # type: ignore[empty-body]
    """Provide toolsets: named groups of tools that a model may call.

    A toolset is off until ``tools.use`` names it. The factory's ``options`` model validates
    ``tools.options.NAME``; ``create`` is called once for each runtime.

    :returns: one :class:`vanta.ToolsetFactory` for each toolset.

    Errors: two toolsets with one name are a :class:`vanta.PluginError` naming both plugins.
    """


@hookspec
def vanta_configured_toolsets(config: Mapping[str, Any]) -> Iterable[ToolsetFactory]:  # type: ignore[empty-body]
    """Provide toolsets that the configuration describes, such as one for each MCP server.

    They are on: ``tools.use`` need not name them.

    :param config: the effective configuration as JSON-ready data, with the names of the environment
        variables that hold secrets.
    :returns: one :class:`vanta.ToolsetFactory` for each toolset.

    Errors: two toolsets with one name are a :class:`vanta.PluginError` naming both plugins.
    """


# Memory


@hookspec
def vanta_embedders() -> Iterable[EmbedderFactory]:  # type: ignore[empty-body]
    """Provide embedders, which turn texts into vectors for semantic recall.

    An embedder is selected by name, as in ``memory.embedder = "minilm"``; ``auto`` selects the
    available one with the highest rank. The factory's ``options`` model validates
    ``memory.embedder_options``; ``create`` is called once for each runtime.

    :returns: one :class:`vanta.memory.EmbedderFactory` for each embedder.

    Errors: two embedders with one name are a :class:`vanta.PluginError` naming both plugins.
    """


@hookspec
def vanta_vector_indexes() -> Iterable[IndexFactory]:  # type: ignore[empty-body]
    """Provide vector indexes, which find nearest neighbours among the vectors of memory's store.

    An index is selected by name, as in ``memory.index = "chroma"``; ``auto`` selects the available
    one with the highest rank. The factory's ``options`` model validates ``memory.index_options``.

    :returns: one :class:`vanta.memory.IndexFactory` for each index.

    Errors: two indexes with one name are a :class:`vanta.PluginError` naming both plugins.
    """


# Decisions


@hookspec
def vanta_policies() -> Iterable[Policy]:  # type: ignore[empty-body]
    """Provide policies: data that says when each track starts and what commits a turn.

    A policy is selected by name, as in ``policy = "race"``, and can be varied under
    ``[policies.NAME]`` like a built-in one.

    :returns: one :class:`vanta.Policy` for each policy.

    Errors: two policies with one name are a :class:`vanta.PluginError` naming both plugins.
    """


@hookspec
def vanta_gates() -> Iterable[Gate]:  # type: ignore[empty-body]
    """Provide gates, which accept or reject a finished answer.

    A policy with a gate names it in ``gate.use``; the built-in one is ``signals``.

    :returns: one :class:`vanta.Gate` for each gate.

    Errors: two gates with one name are a :class:`vanta.PluginError` naming both plugins.
    """


@hookspec
def vanta_detectors() -> Iterable[Detector]:  # type: ignore[empty-body]
    """Provide detectors, which make a turn private because of its message.

    A detector is off until ``privacy.detect`` names it.

    :returns: one :class:`vanta.Detector` for each detector.

    Errors: two detectors with one name are a :class:`vanta.PluginError` naming both plugins.
    """


# Prompts


@hookspec
def vanta_templates() -> Iterable[Path]:  # type: ignore[empty-body]
    """Provide folders of prompt templates, searched after the user's and before vanta's own.

    :returns: absolute folders; ``FOLDER/system/pirate.j2`` is the template ``system/pirate``.

    Errors: a folder that does not exist isolates the plugin.
    """


# Observation


@hookspec
def vanta_observers(config: Mapping[str, Any]) -> Iterable[Observer]:  # type: ignore[empty-body]
    """Provide observers of every event of every turn: recorders, metrics, traces.

    An observer cannot break a turn: its exceptions are logged and the turn continues.

    :param config: the effective configuration as JSON-ready data, without secrets.
    :returns: one :class:`vanta.Observer` for each: a callable that takes an event and must not
        block.
    """


@hookspec
def vanta_checks() -> Iterable[Check]:  # type: ignore[empty-body]
    """Provide checks for ``vanta doctor``: what works, what is missing, and how to fix it.

    :returns: one :class:`vanta.Check` for each check.
    """


# Background work


@hookspec
def vanta_companions() -> Iterable[Companion]:  # type: ignore[empty-body]
    """Provide companions, which work in the background while a runtime is open.

    A companion is off until ``companions`` names it. It starts when the runtime opens and is
    cancelled when it closes; an exception is logged once and ends that companion alone.

    :returns: one :class:`vanta.Companion` for each companion.

    Errors: two companions with one name are a :class:`vanta.PluginError` naming both plugins.
    """


# Scripts and commands


@dataclass(frozen=True, slots=True)
class Command:
    """A lazily imported command, or a group of commands.

    :param help: one line for `vanta --help`; the first line of the command's own help.
    :param target: where its `typer.Typer` is, as ``"package.module:attribute"``.
    """

    help: str
    target: str

    def load(self) -> typer.Typer:
        """Import the target and return it.

        :raises PluginError: if the target cannot be imported or is not a `typer.Typer`.
        """
        import typer

        module, _, attribute = self.target.partition(":")
        try:
            app = getattr(importlib.import_module(module), attribute)
        except Exception as error:
            raise PluginError(
                f"the command at {self.target!r} cannot be imported: {type(error).__name__}: "
                f"{error}. Ask the author of its plugin, or take the plugin out of plugins.allow."
            ) from error
        if not isinstance(app, typer.Typer):
            raise PluginError(f"the command at {self.target!r} is not a typer.Typer: {app!r}.")
        return app


@hookspec
def vanta_expectations() -> Iterable[Expectation]:  # type: ignore[empty-body]
    """Provide expectations for scripts: new keys under a turn's ``expect``.

    :returns: one :class:`vanta.Expectation` for each key.

    Errors: two expectations with one key are a :class:`vanta.PluginError` naming both.
    """


@hookspec
def vanta_commands() -> Mapping[str, typer.Typer | Command]:  # type: ignore[empty-body]
    """Provide commands for the command line.

    A :class:`vanta.cli.Command` names the module of its ``typer.Typer``, which is imported when the
    command runs; ``vanta --help`` then costs no import.

    :returns: command name to :class:`typer.Typer` or :class:`vanta.cli.Command`; ``vanta NAME``
        runs it.

    Errors: a name of another plugin's or vanta's own command is a :class:`vanta.PluginError` naming
    both.
    """
