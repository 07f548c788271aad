"""`vanta engines list`: each engine, whether its library is here, and the tracks that use it.

Invariant: engines are made and closed again; only `--check` asks them how they are, and only
`--load` loads their models before, which proves how many layers really are on a GPU.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vanta.cli import output, tables
from vanta.cli.ground import Ground, ground

if TYPE_CHECKING:
    from vanta.engine import EngineFactory
    from vanta.track import Track

app = typer.Typer(help="List engines and what they can do.", no_args_is_help=True)

_CHECK_TIMEOUT_S = 15.0
_LOAD_TIMEOUT_S = 300.0


@app.callback()
def group() -> None:
    """List engines and what they can do."""


@app.command("list")
def list_engines(
    check: Annotated[
        bool, typer.Option("--check", help="Ask the engine of every track how it is.")
    ] = False,
    load: Annotated[
        bool, typer.Option("--load", help="Load the model of every track, then check.")
    ] = False,
    json: output.JsonOption = False,
    config: output.ConfigOption = None,
) -> None:
    """List the engines, their libraries, and the tracks that use them.

    With --check it ends in 1 if an engine in use could not answer. --load loads the local models
    first, so that the check tells what became of them: how many layers are on a GPU. --json: a list
    of objects with name, summary, plugin, requires, present, extra and tracks: objects with track,
    model, on, reason (why it is off), capabilities (null while it is off) and health (null without
    --check or --load, else ok and detail).
    """
    import anyio

    here = ground(config)
    found = anyio.run(_listed, here, check or load, load)
    if json:
        output.print_json(found)
    else:
        _show(found)
    health = [track["health"] for engine in found for track in engine["tracks"]]
    if any(each is not None and not each["ok"] for each in health):
        raise typer.Exit(output.ExitCode.FAILED)


async def _listed(here: Ground, check: bool, load: bool) -> list[dict[str, Any]]:
    tracks, off = here.tracks()
    try:
        health = await _health(tracks, load=load) if check else {}
    finally:
        for track in tracks.values():
            await track.engine.aclose()
    return [
        {
            **_about(factory, here),
            "tracks": [
                _track(name, here, tracks.get(name), off.get(name, ""), health.get(name))
                for name, told in here.config.tracks.items()
                if told.engine == factory.name
            ],
        }
        for factory in here.plugins.engines.values()
    ]


def _about(factory: EngineFactory, here: Ground) -> dict[str, Any]:
    return {
        "name": factory.name,
        "summary": factory.summary,
        "plugin": here.plugins.engines.origin(factory.name),
        "requires": factory.requires,
        "present": _present(factory.requires),
        "extra": factory.extra,
    }


def _track(
    name: str, here: Ground, track: Track | None, reason: str, health: dict[str, Any] | None
) -> dict[str, Any]:
    return {
        "track": name,
        "model": here.config.tracks[name].model,
        "on": track is not None,
        "reason": reason,
        "capabilities": dataclasses.asdict(track.engine.capabilities) if track else None,
        "health": health,
    }


async def _health(tracks: Mapping[str, Track], *, load: bool) -> dict[str, dict[str, Any]]:
    """What each track's engine says of itself, all asked at once."""
    import anyio

    from vanta.errors import EngineError

    told: dict[str, dict[str, Any]] = {}
    timeout_s = _LOAD_TIMEOUT_S if load else _CHECK_TIMEOUT_S

    async def ask(name: str, track: Track) -> None:
        told[name] = {"ok": False, "detail": f"no answer within {timeout_s:g} s"}
        with anyio.move_on_after(timeout_s):
            if load:
                with contextlib.suppress(EngineError):  # its health tells why
                    await track.engine.load()
            health = await track.engine.health(force=True)
            told[name] = {"ok": health.ok, "detail": health.detail}

    async with anyio.create_task_group() as group:
        for name, track in tracks.items():
            group.start_soon(ask, name, track)
    return told


def _present(library: str | None) -> bool | None:
    """Whether a library can be found, without importing it; None where none is needed."""
    if library is None:
        return None
    try:
        return importlib.util.find_spec(library) is not None
    except (ImportError, ValueError):
        return False


def _show(found: list[dict[str, Any]]) -> None:
    for engine in found:
        library = {True: "", False: f", needs {engine['requires']!r}", None: ""}[engine["present"]]
        tables.line(f"{engine['name']}  {engine['summary']} (plugin {engine['plugin']}{library})")
        rows = [_row(track) for track in engine["tracks"]]
        tables.show(("", "", "", ""), rows or [("  no track uses it", "", "", "")])


def _row(track: dict[str, Any]) -> tuple[Any, ...]:
    can = ", ".join(name for name, holds in (track["capabilities"] or {}).items() if holds)
    health = track["health"]
    said = f"{'well' if health['ok'] else 'unwell'}: {health['detail']}" if health else ""
    return (
        f"  {track['track']}",
        tables.mark(track["on"], ("on", "off", "")),
        track["model"],
        track["reason"] or "\n".join(filter(None, (said, f"can: {can}" if can else ""))),
    )
