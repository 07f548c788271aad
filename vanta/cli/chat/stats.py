"""`/stats`: the turns of a chat and the work of its engines, as tables.

Invariant: a figure has its unit, columns stand below each other in any script, and figures of an
engine that are zero or unknown are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from vanta.cli.turns import format_money, format_seconds

if TYPE_CHECKING:
    from vanta.engine import Engine
    from vanta.trace import Reply

_HEADINGS = ("track", ">replies", ">first text", ">whole reply", ">tokens in", ">out", ">cost")
_GAP = "  "


def describe_stats(replies: Sequence[Reply], engines: Mapping[str, Engine]) -> str:
    """Return the tables.

    :param replies: the replies of the chat, at least one.
    :param engines: the engine of each track, by the track's name.
    """
    tracks = dict.fromkeys(reply.track for reply in replies)
    rows = [_row(track, [item for item in replies if item.track == track]) for track in tracks]
    if len(rows) > 1:
        rows.append(_row("all", replies))
    lines = [*table(_HEADINGS, rows), "times are means; the cost includes losing legs"]
    for name, engine in engines.items():
        figures = [row for item in engine.stats().items() if (row := _figure(*item))]
        if figures:
            lines += ["", f"engine of {name} ({engine.model})", *table(("", ">"), figures)]
    return "\n".join(lines)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table.

    :param headings: one for each column; `>` before it aligns the column to the right. If all are
        empty, there is no line of headings.
    :param rows: the cells of each row.
    """
    from rich.cells import cell_len

    names = [heading.lstrip(">") for heading in headings]
    cells = [names, *rows] if any(names) else list(rows)
    widths = [max(cell_len(row[column]) for row in cells) for column in range(len(headings))]
    lines = []
    for row in cells:
        parts = []
        for heading, cell, width in zip(headings, row, widths, strict=True):
            space = " " * (width - cell_len(cell))
            parts.append(space + cell if heading.startswith(">") else cell + space)
        lines.append(_GAP.join(parts).rstrip())
    return lines


def _row(name: str, replies: Sequence[Reply]) -> tuple[str, ...]:
    usages = [reply.usage for reply in replies if reply.usage]
    about = "" if all(usage.exact for usage in usages) else "~"
    return (
        name,
        str(len(replies)),
        _mean([reply.timings.first_content_s for reply in replies]),
        _mean([reply.timings.duration_s for reply in replies]),
        f"{about}{sum(usage.input_tokens for usage in usages):,}",
        f"{about}{sum(usage.output_tokens for usage in usages):,}",
        format_money(sum(reply.cost_usd for reply in replies)),
    )


def _mean(times_s: Sequence[float | None]) -> str:
    known = [time_s for time_s in times_s if time_s is not None]
    return format_seconds(sum(known) / len(known)) if known else "-"


def _figure(key: str, value: object) -> tuple[str, str] | None:
    """Return an engine's figure in words; None for other values, and for zero."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value:
        return None
    name = key.replace("_", " ")
    if key.endswith("_per_s"):
        return f"{name.removesuffix(' per s')} per second", f"{value:,.1f}"
    if key.endswith("_s"):
        return name.removesuffix(" s"), format_seconds(value)
    if key.endswith("_bytes"):
        return name.removesuffix(" bytes"), f"{value / 1e6:,.1f} MB"
    return name, f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
