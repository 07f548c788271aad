"""`vanta trace`: what happened in a turn, leg by leg.

Invariant: it reads the store and changes nothing. A trace has no text of the conversation, so the
part of memory in a turn is shown as ids, scores and tokens.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vanta.cli import output
from vanta.cli.options import ConfigOption, JsonOption
from vanta.cli.setup import load_setup
from vanta.text import decoded

if TYPE_CHECKING:
    from vanta.trace import ContextTrace, MemoryTrace, ToolTrace, Trace

app = typer.Typer(help="See what happened in a turn, leg by leg.", no_args_is_help=True)

SessionOption = Annotated[
    str | None,
    typer.Option(
        "--session", "-s", metavar="NAME", help="Only turns of this conversation.", parser=decoded
    ),
]
UserOption = Annotated[
    str | None,
    typer.Option("--user", "-u", metavar="NAME", help="Only turns of this user.", parser=decoded),
]
LISTED_MEMORIES = 8
"""The number of memories that are listed for a track, best first."""

LISTED_TOOLS = 12
"""The number of tools that are listed for a track, best first."""


@app.command("list")
def list_traces(
    session: SessionOption = None,
    user: UserOption = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="The last N turns.")] = 20,
    json: JsonOption = False,
    config: ConfigOption = None,
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
        output.print_status("No turn is stored yet. `vanta ask` makes one.")


@app.command()
def show(
    turn: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="The turn, or the start of its id; the last if none."),
    ] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Draw one turn as a timeline.

    --json: an object with id, user, session, private, status, track, cost_usd, finished_at and
    trace.
    """
    record = _one_record(config, turn or "")
    if json:
        output.print_json(record)
        return
    from vanta.drawing import timeline
    from vanta.trace import Trace

    trace = Trace.from_dict(record["trace"])
    output.print_line(_headline(record, trace))
    for track, why in trace.skipped.items():
        output.print_status(f"{track} was skipped: {why}")
    lines = (describe_recall(trace), *describe_memories(trace), *describe_tools(trace))
    for line in filter(None, lines):
        output.print_status(line)
    output.stdout().print(timeline(trace))
    for leg in trace.legs:
        parts = [leg.why, leg.verdict or "", str((leg.error or {}).get("message", ""))]
        reasons = output.printable("; ".join(filter(None, parts)))
        output.print_status(f"{leg.leg} {leg.track}: {reasons}")


@app.command()
def export(
    session: SessionOption = None,
    user: UserOption = None,
    config: ConfigOption = None,
) -> None:
    """Print all turns as JSON lines for `vanta replay`.

    Each line is an object with id, user, session, private, status, track, cost_usd, finished_at
    and trace.
    """
    for record in _records(config, user=user, session=session):
        output.print_json_line(record)


def describe_recall(trace: Trace) -> str:
    """Return the result of a turn's recall in one line, "" if the turn had none."""
    from vanta.cli.turns import format_seconds

    recall = trace.recall
    if recall is None:
        return ""
    line = f"recall: {len(recall.found)} found in {format_seconds(recall.took_s)}"
    parts = {"embedder": recall.embedder, "index": recall.index}
    by = [f"{part} {name}" for part, name in parts.items() if name]
    line += f", by {', '.join(by)}" if by else ", by words alone"
    return f"{line}; {recall.skipped}" if recall.skipped else line


def describe_memories(trace: Trace, *, listed: bool = True) -> Iterable[str]:
    """Yield one line for each track with a prompt: the memories in it, and its size.

    :param listed: whether to list the ids, scores and tokens of the best memories.
    """
    if trace.recall is None:
        return
    for track, report in trace.context.items():
        memories = report.memories
        summary = ", with the summary of the conversation" if report.summary else ""
        if not memories and not summary:
            yield f"{track} was shown no memory{_prompt_size(report)}"
            continue
        count = "1 memory" if len(memories) == 1 else f"{len(memories)} memories"
        line = f"{track} was shown {count}, {report.memory_tokens} tokens{summary}"
        best = sorted(memories, key=lambda memory: -memory.score)
        items = [_memory_item(memory) for memory in best[:LISTED_MEMORIES] if listed]
        if len(best) > LISTED_MEMORIES and listed:
            items.append(f"and {len(best) - LISTED_MEMORIES} more")
        yield f"{line}{_prompt_size(report)}" + (f": {', '.join(items)}" if items else "")


def describe_tools(trace: Trace) -> Iterable[str]:
    """Yield one line for each track that was shown tools: how many, their tokens, the best ones."""
    for track, report in trace.context.items():
        tools = report.tools
        if tools is None:
            continue
        of = "" if tools.room is None else f" of {tools.room}"
        if len(tools.shown) == tools.offered and not tools.finder:
            count = "1 tool" if tools.offered == 1 else f"all {tools.offered} tools"
            yield f"{track} was shown {count}, {tools.tokens}{of} tokens"
            continue
        items = [_tool_item(tool) for tool in tools.shown[:LISTED_TOOLS]]
        if len(tools.shown) > LISTED_TOOLS:
            items.append(f"and {len(tools.shown) - LISTED_TOOLS} more")
        finder = " and find_tools" if tools.finder else ""
        line = f"{track} was shown {len(tools.shown)} of {tools.offered} tools{finder}"
        note = f" (by words alone: {tools.note})" if tools.note else ""
        best = f": {', '.join(items)}" if items else ""
        yield f"{line}, {tools.tokens}{of} tokens{note}{best}"


def _tool_item(tool: ToolTrace) -> str:
    score = "" if tool.score is None else f"score {tool.score:.2f}, "
    return f"{tool.name} ({score}{tool.tokens} tokens, {tool.detail})"


def _memory_item(memory: MemoryTrace) -> str:
    return f"#{memory.id} (score {memory.score:.2f}, {memory.tokens} tokens)"


def _prompt_size(report: ContextTrace) -> str:
    if not report.tokens or not report.budget:
        return ""
    about = "" if report.exact else "about "
    size = f"prompt: {about}{report.tokens} of {report.budget} tokens"
    if report.dropped_exchanges:
        size += f", {report.dropped_exchanges} earlier exchanges left out"
    return f" ({size})"


def _records(source: str | None, **wanted: Any) -> list[dict[str, Any]]:
    import anyio

    from vanta.runtime import open_store

    store, _ledger = open_store(load_setup(source).config)

    async def find() -> list[dict[str, Any]]:
        try:
            return await store.records(**wanted)
        finally:
            await store.aclose()

    return anyio.run(find)


def _one_record(source: str | None, turn: str) -> dict[str, Any]:
    """Return the only record whose id begins with `turn`, or the last record for "".

    :raises UsageError: if there is none, or more than one.
    """
    from vanta.errors import UsageError

    # Two records suffice to see that an id is ambiguous.
    records = _records(source, turn=turn, limit=2 if turn else 1)
    if not records:
        problem = f"no turn's id begins with {turn!r}" if turn else "no turn is stored yet"
        raise UsageError(f"{problem}. `vanta trace list` lists them, `vanta ask` makes one.")
    if len(records) > 1:
        ids = ", ".join(record["id"] for record in records)
        raise UsageError(
            f"more than one turn's id begins with {turn!r}: {ids}... Give more characters of it."
        )
    return records[0]


def _show_list(records: list[dict[str, Any]]) -> None:
    output.print_table(
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
        f"{record['id']}: {trace.status} by {record['track'] or 'no track'} in "
        f"{trace.duration_s:.2f} s under {trace.policy}{private}{because}, "
        f"${record['cost_usd']:.6f}"
    )
