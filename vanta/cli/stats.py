"""`vanta stats`: how well tracks, models, engines and policies answered, from the stored turns.

Invariant: it reads the store and changes nothing, and shows no text and no name of a conversation.
Quantiles are those of the numbers themselves, interpolated between neighbours; a leg that never
spoke has no first text, and is left out of those.
"""

from __future__ import annotations

import csv
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Annotated, Any

import typer

from vanta.cli import output
from vanta.cli.options import ConfigOption, JsonOption
from vanta.cli.setup import load_setup

app = typer.Typer()

_UNITS_S = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_BAD = ("failed", "broken")


class Grouping(StrEnum):
    """What the rows stand for."""

    TRACK = "track"
    MODEL = "model"
    ENGINE = "engine"
    POLICY = "policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsRow:
    """The figures of one group: of its legs, or of its turns if it is a policy.

    :param name: the track, model, engine or policy.
    :param attempts: how many legs or turns there were.
    :param won: how many of them served a turn.
    :param failed: how many failed or broke off.
    :param first_content_p50_s: half of them spoke within this many seconds; None if none spoke.
    :param first_content_p95_s: 95 % of them spoke within this many seconds.
    :param duration_p50_s: half of them ended within this many seconds.
    :param duration_p95_s: 95 % of them ended within this many seconds.
    :param input_tokens: the tokens of their prompts.
    :param output_tokens: the tokens that they produced, delivered or not.
    :param cost_usd: what they cost.
    """

    name: str
    attempts: int
    won: int
    failed: int
    first_content_p50_s: float | None
    first_content_p95_s: float | None
    duration_p50_s: float | None
    duration_p95_s: float | None
    input_tokens: int
    output_tokens: int
    cost_usd: float


@dataclass(slots=True)
class _Group:
    attempts: int = 0
    won: int = 0
    failed: int = 0
    first_s: list[float] = field(default_factory=list)
    duration_s: list[float] = field(default_factory=list)
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0

    def add_tokens(self, leg: Mapping[str, Any]) -> None:
        """Add the tokens and the cost of a leg."""
        usage = leg.get("usage") or {}
        self.input_tokens += usage.get("input_tokens", 0)
        self.output_tokens += usage.get("output_tokens", 0)
        self.cost_usd += leg.get("cost_usd", 0.0)

    def row(self, name: str) -> StatsRow:
        """Return the figures."""
        first, whole = sorted(self.first_s), sorted(self.duration_s)
        return StatsRow(
            name=name,
            attempts=self.attempts,
            won=self.won,
            failed=self.failed,
            first_content_p50_s=_quantile(first, 0.5),
            first_content_p95_s=_quantile(first, 0.95),
            duration_p50_s=_quantile(whole, 0.5),
            duration_p95_s=_quantile(whole, 0.95),
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cost_usd=self.cost_usd,
        )


@app.command()
def stats(
    since: Annotated[
        str,
        typer.Option(metavar="TIME", help="How far back: 30m, 12h, 7d, 4w, or all."),
    ] = "7d",
    by: Annotated[Grouping, typer.Option(help="What the rows stand for.")] = Grouping.TRACK,
    csv_rows: Annotated[bool, typer.Option("--csv", help="Print the rows as CSV.")] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show how well each track answered: wins, failures, times, tokens and cost.

    --json: an object with since (seconds since 1970), turns, answered, takeovers, tool_calls (by
    state), first_content_p50_s, first_content_p95_s, cost_usd, by, and rows (name, attempts, won,
    failed, the quantiles 50 and 95 of first_content and duration in seconds, tokens, cost_usd).
    """
    began = _began(since)
    records = _records(config, began)
    rows = list(stats_rows(records, by))
    if csv_rows:
        writer = csv.writer(sys.stdout)
        writer.writerow([each.name for each in fields(StatsRow)])
        writer.writerows(asdict(row).values() for row in rows)
    elif json:
        summary = {"since": began, **summarise(records), "by": by.value}
        output.print_json({**summary, "rows": [asdict(row) for row in rows]})
    elif records:
        _show(records, rows, by)
    else:
        output.print_status(f"No turn is stored since {since}. `vanta ask` makes one.")


def stats_rows(records: Iterable[Mapping[str, Any]], by: Grouping) -> Iterator[StatsRow]:
    """Yield the figures of each group, those with the most attempts first.

    :param records: records of turns, as the store has them.
    :param by: what a row stands for.
    """
    groups: dict[str, _Group] = {}
    for record in records:
        trace = record["trace"]
        if by is Grouping.POLICY:
            _add_turn(groups.setdefault(trace["policy"], _Group()), record)
            continue
        for leg in trace["legs"]:
            _add_leg(groups.setdefault(leg[by.value], _Group()), leg)
    for name, group in sorted(groups.items(), key=lambda item: -item[1].attempts):
        yield group.row(name)


def summarise(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures of all turns together, as JSON-ready data.

    :param records: records of turns, as the store has them.
    """
    legs = [leg for record in records for leg in record["trace"]["legs"]]
    first = sorted(value for record in records if (value := _first_s(record)) is not None)
    states: dict[str, int] = {}
    for record in records:
        for call in record["trace"].get("calls", ()):
            states[call["state"]] = states.get(call["state"], 0) + 1
    return {
        "turns": len(records),
        "answered": sum(record["status"] == "answered" for record in records),
        "takeovers": sum(leg["state"] == "broken" for leg in legs),
        "tool_calls": states,
        "first_content_p50_s": _quantile(first, 0.5),
        "first_content_p95_s": _quantile(first, 0.95),
        "cost_usd": sum(record["cost_usd"] for record in records),
    }


def _add_turn(group: _Group, record: Mapping[str, Any]) -> None:
    trace = record["trace"]
    group.attempts += 1
    group.won += record["status"] == "answered"
    group.failed += record["status"] == "failed"
    group.duration_s.append(trace["duration_s"])
    first = _first_s(record)
    if first is not None:
        group.first_s.append(first)
    for leg in trace["legs"]:
        group.add_tokens(leg)


def _add_leg(group: _Group, leg: Mapping[str, Any]) -> None:
    group.attempts += 1
    group.won += leg["state"] == "won"
    group.failed += leg["state"] in _BAD
    group.add_tokens(leg)
    if leg["ended_s"] is not None:
        group.duration_s.append(leg["ended_s"] - leg["started_s"])
    if leg["first_content_s"] is not None:
        group.first_s.append(leg["first_content_s"] - leg["started_s"])


def _first_s(record: Mapping[str, Any]) -> float | None:
    """Return when the user of a turn could read the first text, in seconds since it began."""
    committed = [leg["committed_s"] for leg in record["trace"]["legs"]]
    return min((at_s for at_s in committed if at_s is not None), default=None)


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    from vanta.routing import quantile

    return quantile(ordered, share) if ordered else None


def _began(since: str) -> float:
    """Return the moment from which turns count, in seconds since 1970."""
    if since == "all":
        return 0.0
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([mhdw])", since)
    if found is None:
        raise typer.BadParameter(
            f"{since!r} is not a time. Give a number with its unit, as 30m, 12h, 7d or 4w, or all.",
            param_hint="'--since'",
        )
    return time.time() - float(found[1]) * _UNITS_S[found[2]]


def _records(source: str | None, since: float) -> list[dict[str, Any]]:
    import anyio

    from vanta.runtime import open_store

    store, _ledger = open_store(load_setup(source).config)

    async def find() -> list[dict[str, Any]]:
        try:
            return await store.records(since=since)
        finally:
            await store.aclose()

    return anyio.run(find)


def _show(records: Sequence[Mapping[str, Any]], rows: Iterable[StatsRow], by: Grouping) -> None:
    from vanta.cli.turns import format_money, format_seconds

    whole = summarise(records)
    first = f"{format_seconds(whole['first_content_p50_s'])} to first text"
    share = whole["answered"] / whole["turns"]
    parts = [f"{whole['turns']:,} turns", f"{share:.1%} answered", first]
    counts = {"takeover": whole["takeovers"], "tool call": sum(whole["tool_calls"].values())}
    parts += [f"{count:,} {name}{'s' * (count > 1)}" for name, count in counts.items() if count]
    output.print_line(" · ".join([*parts, format_money(whole["cost_usd"])]))
    unit = "turns" if by is Grouping.POLICY else "legs"
    won = "answered" if by is Grouping.POLICY else "won"
    headings = (by.value, f">{unit}", f">{won}", ">failed", ">first text p50", ">p95", ">whole p50")
    output.print_table(
        (*headings, ">p95", ">tokens in", ">out", ">cost"),
        [
            (
                row.name,
                f"{row.attempts:,}",
                f"{row.won:,}",
                f"{row.failed:,}",
                *map(format_seconds, (row.first_content_p50_s, row.first_content_p95_s)),
                *map(format_seconds, (row.duration_p50_s, row.duration_p95_s)),
                f"{row.input_tokens:,}",
                f"{row.output_tokens:,}",
                format_money(row.cost_usd),
            )
            for row in rows
        ],
    )
