"""`vanta engines`, `vanta plugins` and `vanta policies`: what is installed, and what it can do.

Invariant: engines are created and closed again. Only `engines list --check` asks for their health,
and only `--load` loads their models first, which proves how many layers are on a GPU.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vanta.cli import output
from vanta.cli.options import ConfigOption, JsonOption
from vanta.cli.setup import Setup, load_setup

if TYPE_CHECKING:
    from vanta.engine import Engine, EngineFactory
    from vanta.scheduling import LegPlan, Policy
    from vanta.track import Track

engines = typer.Typer(help="List engines and their capabilities.", no_args_is_help=True)
plugins = typer.Typer(help="List plugins and what they provide.", no_args_is_help=True)
policies = typer.Typer(help="List and explain policies.", no_args_is_help=True)

_CHECK_TIMEOUT_S = 15.0
_LOAD_TIMEOUT_S = 300.0


@engines.callback()
def _engines_group() -> None:
    """List engines and their capabilities."""


@plugins.callback()
def _plugins_group() -> None:
    """List plugins and what they provide."""


@policies.callback()
def _policies_group() -> None:
    """List and explain policies."""


@engines.command("list")
def list_engines(
    check: Annotated[
        bool, typer.Option("--check", help="Check the health of every track's engine.")
    ] = False,
    load: Annotated[
        bool, typer.Option("--load", help="Load the model of every track, then check.")
    ] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """List the engines, their libraries, and the tracks that use them.

    With --check the exit code is 1 if an engine in use is not healthy. --load loads the local
    models first, so the check reports how many layers are on a GPU. --json: a list of objects with
    name, summary, plugin, requires, present, extra and tracks: objects with track, model, on,
    reason (why it is off), capabilities and writes_calls (whether calls of tools are written as the
    template `tools/use` says; both null while it is off) and health (null without --check or
    --load, else ok and detail).
    """
    import anyio

    setup = load_setup(config)
    listed = anyio.run(_list_engines, setup, check or load, load)
    if json:
        output.print_json(listed)
    else:
        _show_engines(listed)
    health = [track["health"] for engine in listed for track in engine["tracks"]]
    if any(state is not None and not state["ok"] for state in health):
        raise typer.Exit(output.ExitCode.FAILED)


@plugins.command("list")
def list_plugins(json: JsonOption = False, config: ConfigOption = None) -> None:
    """List every installed plugin, on or off.

    --json: a list of objects with name, module, distribution, version, builtin, status (on, off,
    failed), reason, hooks and brings.
    """
    listed = load_setup(config, strict=False).plugins.describe()
    if json:
        output.print_json(listed)
        return
    output.print_table(
        ("plugin", "status", "from", "provides, or why it is not on"),
        [
            (
                plugin["name"],
                output.status_cell(_is_on(plugin), ("on", "failed", "off")),
                f"{plugin['distribution']} {plugin['version']}".strip() or plugin["module"],
                plugin["reason"] or _provided(plugin["brings"]),
            )
            for plugin in listed
        ],
    )


@policies.command("list")
def list_policies(json: JsonOption = False, config: ConfigOption = None) -> None:
    """List the policies: vanta's own, those of plugins, and the variants of the configuration.

    --json: a list of objects with name, summary, legs, gate, takeover, last_resort, plugin (null
    for a variant of the configuration) and default.
    """
    setup = load_setup(config)
    known = setup.policies()
    if json:
        output.print_json([_policy_data(policy, setup) for policy in known.values()])
        return
    output.print_table(
        ("policy", "what it does", "legs"),
        [
            (
                f"{name} (default)" if name == setup.config.policy else name,
                policy.summary,
                ", ".join(map(_leg_summary, policy.legs)),
            )
            for name, policy in known.items()
        ],
    )


@policies.command("explain")
def explain_policy(
    name: Annotated[str, typer.Argument(help="The policy.")],
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Draw a policy as a timeline, with its rules in sentences.

    --json: the object of `list`, and rules: a list of sentences.
    """
    from vanta.drawing.plan import draw, explain
    from vanta.errors import UnknownName

    setup = load_setup(config)
    known = setup.policies()
    if name not in known:
        raise UnknownName("policy", name, known, hint=setup.plugins.advice())
    policy = known[name]
    if json:
        output.print_json({**_policy_data(policy, setup), "rules": explain(policy)})
        return
    for line in (f"{name}: {policy.summary}", "", *draw(policy), "", *explain(policy)):
        output.print_line(line)


async def _list_engines(setup: Setup, check: bool, load: bool) -> list[dict[str, Any]]:
    tracks, off = setup.tracks()
    try:
        health = await _health(tracks, load=load) if check else {}
    finally:
        for track in tracks.values():
            await track.close()
    return [
        {
            **_engine_data(factory, setup),
            "tracks": [
                _track_data(name, setup, tracks.get(name), off.get(name, ""), health.get(name))
                for name, track_config in setup.config.tracks.items()
                if track_config.engine == factory.name
            ],
        }
        for factory in setup.plugins.engines.values()
    ]


def _engine_data(factory: EngineFactory, setup: Setup) -> dict[str, Any]:
    return {
        "name": factory.name,
        "summary": factory.summary,
        "plugin": setup.plugins.engines.origin(factory.name),
        "requires": factory.requires,
        "present": _is_present(factory.requires),
        "extra": factory.extra,
    }


def _track_data(
    name: str, setup: Setup, track: Track | None, reason: str, health: dict[str, Any] | None
) -> dict[str, Any]:
    return {
        "track": name,
        "model": setup.config.tracks[name].model,
        "on": track is not None,
        "reason": reason,
        "capabilities": dataclasses.asdict(track.engine.capabilities) if track else None,
        "writes_calls": _writes_calls(track.engine) if track else None,
        "health": health,
    }


def _writes_calls(engine: Engine) -> bool:
    """Return whether a model writes calls as the template `tools/use` says."""
    return engine.writes_calls or not engine.capabilities.tools


async def _health(tracks: Mapping[str, Track], *, load: bool) -> dict[str, dict[str, Any]]:
    """Return the health that each track's engine reports; all are checked at the same time."""
    import anyio

    from vanta.errors import EngineError

    states: dict[str, dict[str, Any]] = {}
    timeout_s = _LOAD_TIMEOUT_S if load else _CHECK_TIMEOUT_S

    async def check(name: str, track: Track) -> None:
        states[name] = {"ok": False, "detail": f"no answer within {timeout_s:g} s"}
        with anyio.move_on_after(timeout_s):
            if load:
                with contextlib.suppress(EngineError):  # its health gives the reason
                    await track.load()
            health = await track.health(force=True)
            states[name] = {"ok": health.ok, "detail": health.detail}

    async with anyio.create_task_group() as group:
        for name, track in tracks.items():
            group.start_soon(check, name, track)
    return states


def _is_present(library: str | None) -> bool | None:
    """Return whether a library can be found, without importing it; None if none is needed."""
    if library is None:
        return None
    try:
        return importlib.util.find_spec(library) is not None
    except (ImportError, ValueError):
        return False


def _show_engines(listed: list[dict[str, Any]]) -> None:
    for engine in listed:
        library = f", needs {engine['requires']!r}" if engine["present"] is False else ""
        output.print_line(
            f"{engine['name']}  {engine['summary']} (plugin {engine['plugin']}{library})"
        )
        rows = [_track_row(track) for track in engine["tracks"]]
        output.print_table(("", "", "", ""), rows or [("  no track uses it", "", "", "")])


def _track_row(track: dict[str, Any]) -> tuple[Any, ...]:
    can = ", ".join(name for name, holds in (track["capabilities"] or {}).items() if holds)
    health = track["health"]
    calls = "calls tools as the template 'tools/use' says" if track["writes_calls"] else ""
    state = f"{'healthy' if health['ok'] else 'not healthy'}: {health['detail']}" if health else ""
    return (
        f"  {track['track']}",
        output.status_cell(track["on"], ("on", "off", "")),
        track["model"],
        track["reason"] or "\n".join(filter(None, (state, f"can: {can}" if can else "", calls))),
    )


def _is_on(plugin: dict[str, Any]) -> bool | None:
    return {"on": True, "failed": False}.get(plugin["status"])


def _provided(brings: dict[str, list[str]]) -> str:
    """Return `engines: openai; policies: ...`, named after the hooks."""
    return "; ".join(
        f"{hook.removeprefix('vanta_').replace('_', ' ')}: {', '.join(names)}"
        for hook, names in brings.items()
        if names
    )


def _policy_data(policy: Policy, setup: Setup) -> dict[str, Any]:
    variant = policy.name in setup.config.policies
    return {
        **dataclasses.asdict(policy),
        "plugin": None if variant else setup.plugins.policies.origin(policy.name),
        "default": policy.name == setup.config.policy,
    }


def _leg_summary(leg: LegPlan) -> str:
    """Return a leg in a few words: `api after 0.5 s or as learned`."""
    start = leg.start_after_s
    learned = " or as learned" if leg.delay_quantile is not None else ""
    words = (
        "if needed" if start is None else f"after {start:g} s{learned}" if start else "",
        "" if leg.when == "always" else f"for {leg.when} messages",
        "held back" if leg.hold_s is None else f"held for {leg.hold_s:g} s" if leg.hold_s else "",
        "judged" if leg.commit_on == "verdict" else "",
        "amends" if leg.amends else "",
    )
    return " ".join([leg.track, ", ".join(filter(None, words))]).strip()
