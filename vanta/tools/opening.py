"""From `[tools]` of the configuration to the toolsets of a runtime.

Invariant: opening blocks on nothing and connects to nothing. A mistake in the configuration (an
unknown name, a wrong option) is an error; a toolset that cannot be used is off with its reason, and
the others work.
"""

from __future__ import annotations

import contextlib
import importlib.util
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from vanta.errors import ConfigError, describe, did_you_mean
from vanta.tool_contract import Toolset, ToolsetContext, ToolsetFactory
from vanta.tools.registry import TOOLSET_NAME

Hint = Callable[[ToolsetFactory], str]


def open_toolsets(
    use: Iterable[str],
    factories: Mapping[str, ToolsetFactory],
    options: Mapping[str, Mapping[str, Any]],
    *,
    data_dir: Path,
    project: Path,
    hint: Hint,
    memory: Callable[[], Any] = lambda: None,
    now: Callable[[], float] = time.time,
) -> tuple[dict[str, Toolset], dict[str, str]]:
    """Build the toolsets that the configuration names.

    :param use: names of toolsets, `tools.use`.
    :param factories: the factories of the plugins that are on, by name.
    :param options: the options of each toolset, `tools.options`.
    :param data_dir: the folder under which each toolset has its own.
    :param project: the folder that the program was started in.
    :param hint: returns the pip command that installs the library which a factory requires.
    :param memory: returns the runtime's `Memory`, None if it is off.
    :param now: returns the present in seconds since the epoch.
    :returns: the toolsets by name, and why each other one is off, by name.
    :raises UnknownName: if no plugin provides a toolset of that name.
    :raises ConfigError: if options do not fit, or belong to no toolset.
    """
    if stray := next((name for name in options if name not in factories), None):
        raise ConfigError(
            f"tools.options.{stray} belongs to no toolset. {did_you_mean(stray, factories)}"
        )
    toolsets: dict[str, Toolset] = {}
    off: dict[str, str] = {}
    for name in dict.fromkeys(use):
        factory = factories[name]
        validated = toolset_options(factory, options.get(name, {}))
        context = ToolsetContext(data_dir / "tools" / name, project, memory, now)
        made = _made(factory, validated, context, hint)
        if isinstance(made, Toolset):
            toolsets[name] = made
        else:
            off[name] = made
    return toolsets, off


def toolset_options(factory: ToolsetFactory, values: Mapping[str, Any]) -> BaseModel:
    """Validate the options of one toolset.

    :param factory: the factory of the toolset.
    :param values: `tools.options.NAME`.
    :raises ConfigError: for options that do not fit; the message lists all of them.
    """
    try:
        return factory.options.model_validate(dict(values))
    except ValidationError as error:
        table = f"tools.options.{factory.name}"
        problems = "; ".join(
            f"{table}.{'.'.join(map(str, item['loc']))}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False)
        )
        known = ", ".join(factory.options.model_fields) or "none"
        raise ConfigError(
            f"the options of toolset {factory.name!r} do not fit: {problems}. Its options: {known}."
        ) from None


def why_off(factory: ToolsetFactory, options: BaseModel, hint: Hint) -> str | None:
    """Return why a toolset cannot be used with its options, or None.

    :param factory: the factory of the toolset.
    :param options: its validated options.
    :param hint: returns the pip command that installs a missing library.
    """
    with contextlib.suppress(ImportError, ValueError):
        if factory.requires and not importlib.util.find_spec(factory.requires):
            return (
                f"toolset {factory.name!r} needs the library {factory.requires!r}. "
                f"Install it: {hint(factory)}."
            )
    return factory.off(options)


def _made(
    factory: ToolsetFactory, options: BaseModel, context: ToolsetContext, hint: Hint
) -> Toolset | str:
    """Return the toolset, or why it is off."""
    if not TOOLSET_NAME.fullmatch(factory.name):
        return "its name must begin with a letter and have at most 32 letters, digits, '_' and '-'"
    try:
        if why := why_off(factory, options, hint):
            return why
        toolset = factory.create(options, context)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - one plugin must not close the others
        return f"toolset {factory.name!r} could not be built: {describe(error)}"
    if not isinstance(toolset, Toolset):
        return f"its plugin made {type(toolset).__name__!r} instead of a vanta.Toolset"
    return toolset
