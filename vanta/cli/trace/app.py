"""`vanta trace`: what happened in a turn, leg by leg.

Invariant: it reads the store and changes nothing; a trace has no word of what was said.
"""

from __future__ import annotations

import json as json_library
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vanta.cli import output, tables
from vanta.cli.ground import ground

if TYPE_CHECKING:
    from vanta.events import Trace

app = typer.Typer(help="See what happened in a turn, leg by leg.", no_args_is_help=True)

SessionOption = Annotated[
    str | None, typer.Option("--session", "-s", metavar="NAME", help="Of this conversation alone.")
]
UserOption = Annotated[
    str | None, typer.Option("--user", "-u", metavar="NAME", help="Of this user alone.")
]


@app.command("list")
def list_traces(
    session: SessionOption = None,
    user: UserOption = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="The last so many.")] = 20,
    json: output.JsonOption = False,
    config: output.ConfigOption = None,
) -> None:
    """List turns, the latest last.

    --json: a list of objects with id, user, session, private, status, track, cost_usd,
    finished_at (seconds since 1970) and trace.
    """
    records = _records(config, user=user, session=session, limit=limit)
    if json:
        output.print_json(records)
    elif records:
        _show_list(records)
    else:
        output.say("There is no turn yet. `vanta ask` makes one.")


@app.command()
def show(
    turn: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="The turn, or how its id begins; without: the last."),
    ] = None,
    json: output.JsonOption = False,
    config: output.ConfigOption = None,
) -> None:
    """Draw one turn as a timeline.

    --json: an object with id, user, session, private, status, track, cost_usd, finished_at and
    trace.
    """
    record = _one(config, turn or "")
    if json:
        output.print_json(record)
        return
    from vanta.cli.trace.memory import recall_line, shown_lines
    from vanta.drawing import timeline
    from vanta.events import Trace

    trace = Trace.from_dict(record["trace"])
    tables.line(_headline(record, trace))
    for track, why in trace.skipped.items():
        output.say(f"{track} took no part: {why}")
    for line in filter(None, (recall_line(trace), *shown_lines(trace))):
        output.say(line)
    output.stdout().print(timeline(trace))
    for leg in trace.legs:
        said = [leg.why, leg.verdict or "", str((leg.error or {}).get("message", ""))]
        output.say(f"{leg.leg} {leg.track}: " + output.harmless("; ".join(filter(None, said))))


@app.command()
def export(
    session: SessionOption = None,
    user: UserOption = None,
    config: output.ConfigOption = None,
) -> None:
    """Print all turns as JSON lines, which `vanta replay` reads.

    Each line is an object with id, user, session, private, status, track, cost_usd, finished_at
    and trace.
    """
    for record in _records(config, user=user, session=session):
        print(json_library.dumps(record, ensure_ascii=False, default=str))


def _records(source: str | None, **wanted: Any) -> list[dict[str, Any]]:
    import anyio

    from vanta.runtime import open_store

    store, _ledger = open_store(ground(source).config)

    async def find() -> list[dict[str, Any]]:
        try:
            return await store.records(**wanted)
        finally:
            await store.aclose()

    return anyio.run(find)


def _one(source: str | None, turn: str) -> dict[str, Any]:
    """The one record that is meant. Raises UsageError."""
    from vanta.errors import UsageError

    # Without an id the last turn is meant; with one, two that begin with it are one too many.
    records = _records(source, turn=turn, limit=2 if turn else 1)
    if not records:
        what = f"no turn's id begins with {turn!r}" if turn else "there is no turn yet"
        raise UsageError(f"{what}. `vanta trace list` lists them, `vanta ask` makes one.")
    if len(records) > 1:
        ids = ", ".join(record["id"] for record in records)
        raise UsageError(f"more than one turn's id begins with {turn!r}: {ids}... Give more of it.")
    return records[0]


def _show_list(records: list[dict[str, Any]]) -> None:
    tables.show(
        ("id", "when", "user/session", "policy", "status", "track", ">seconds", ">USD", ">legs"),
        [
            (
                record["id"][:12],
                time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record["finished_at"])),
                f"{record['user']}/{record['session']}"
                + (" (private)" if record["private"] else ""),
                record["trace"]["policy"],
                record["status"],
                record["track"] or "-",
                f"{record['trace']['duration_s']:.2f}",
                f"{record['cost_usd']:.6f}",
                str(len(record["trace"]["legs"])),
            )
            for record in records
        ],
    )


def _headline(record: Mapping[str, Any], trace: Trace) -> str:
    private = ", private" if trace.private else ""
    because = f" ({trace.private_because})" if trace.private_because else ""
    return (
        f"{record['id']}: {trace.status} by {record['track'] or 'nobody'} in "
        f"{trace.duration_s:.2f} s under {trace.policy}{private}{because}, "
        f"${record['cost_usd']:.6f}"
    )
