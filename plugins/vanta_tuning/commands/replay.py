"""`vanta replay`: try policies on recorded turns.

Invariant: everything that is modelled and not measured is noted beside the figures, in `--json` as
`notes`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vanta.cli import (
    ConfigOption,
    JsonOption,
    Setup,
    load_setup,
    print_json,
    print_status,
    print_table,
    status_cell,
)
from vanta.files import write_private

if TYPE_CHECKING:
    from vanta import Policy, Price
    from vanta_tuning.replay.data import Data
    from vanta_tuning.replay.stage import Rules
    from vanta_tuning.replay.summary import Percentiles, Summary

app = typer.Typer()

DataArgument = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="Traces (`vanta trace export`, JSON lines) or a table (CSV, also gzipped).",
    ),
]
PoliciesOption = Annotated[
    list[str] | None,
    typer.Option("--policy", "-p", metavar="NAME", help="Repeatable; default: all that fit."),
]
MapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="FIELD=COLUMN",
        help="The field of a column: local.ttft_s, api.score, arrives_s... Repeatable.",
    ),
]
LatencyOption = Annotated[
    Path | None,
    typer.Option("--latency", metavar="FILE", help="Measurements to draw missing times from."),
]
FromOption = Annotated[
    list[str] | None,
    typer.Option(
        "--from",
        metavar="TRACK=PROVIDER/MODEL",
        help="The measurements that a track draws from. Repeatable.",
    ),
]
ArrivalsOption = Annotated[
    Path | None,
    typer.Option("--arrivals", metavar="FILE", help="A table whose arrival times the turns get."),
]
TurnsOption = Annotated[
    int | None,
    typer.Option("--turns", min=1, help="At most this many turns, chosen by the seed."),
]
CorrelationOption = Annotated[
    float | None,
    typer.Option(
        "--correlation",
        min=0.0,
        max=1.0,
        help="Of the drawn times of one turn's calls; 0.57 was measured.",
    ),
]
GateOption = Annotated[
    float | None,
    typer.Option("--gate-auroc", min=0.5, max=0.999, help="Model a gate's signal with this AUROC."),
]
VerifierOption = Annotated[
    float | None,
    typer.Option(
        "--verifier-auroc",
        min=0.5,
        max=0.999,
        help="Model verifiers' words that are not recorded, with this AUROC.",
    ),
]
PriceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--price",
        metavar="TRACK=IN/OUT",
        help="USD per million input and output tokens; default: as configured. Repeatable.",
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", help="The same seed, the same numbers.")]


@app.command()
def replay(
    data: DataArgument,
    policy: PoliciesOption = None,
    columns: MapOption = None,
    latency: LatencyOption = None,
    drawn_from: FromOption = None,
    arrivals: ArrivalsOption = None,
    turns: TurnsOption = None,
    correlation: CorrelationOption = None,
    gate_auroc: GateOption = None,
    verifier_auroc: VerifierOption = None,
    price: PriceOption = None,
    seed: SeedOption = 0,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.svg", help="Draw cost against gain.")
    ] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Try policies on recorded turns, on a virtual clock.

    The turns run through the scheduler of live ones; only the engines are recordings. Tables of
    RouteLLM's outcomes, of LLMPerf's measurements and of Azure's arrivals are recognised by their
    columns. A policy with a verifier needs the verifier's words: they are in the traces of turns
    that ran under it, or in the columns api.verify_yes (0 to 1) and api.verify_s. --json: an object
    with notes, turns, turns_per_s and policies: objects with policy, turns, accuracy (0 to 1; null:
    not recorded), failed, first_content_s and whole_s (p50, p95, p99 in seconds; null: too many
    turns failed), cost_usd (per turn), calls, served, asked (shares of the turns, by track) and
    best (on the Pareto frontier).
    """
    here = load_setup(config)
    source = source_of(
        data,
        columns,
        latency,
        drawn_from,
        arrivals,
        turns,
        correlation,
        gate_auroc,
        verifier_auroc,
        seed,
    )
    from vanta_tuning.replay.data import load

    recorded = load(source)
    policies = choose(here, policy, recorded)
    recorded = with_notes(recorded, policies)
    rules = rules_of(here, price)
    summaries, left_out, turns_per_s = run(
        recorded, policies, rules, seed, all_needed=bool(policy) or len(policies) == 1
    )
    recorded = dataclasses.replace(recorded, notes=[*recorded.notes, *left_out])
    if plot:
        draw(plot, summaries, recorded.notes)
    show = _print_json if json else _print_table
    show(summaries, recorded, turns_per_s)


def source_of(
    data: Path,
    columns: Sequence[str] | None,
    latency: Path | None,
    drawn_from: Sequence[str] | None,
    arrivals: Path | None,
    turns: int | None,
    correlation: float | None,
    gate_auroc: float | None,
    verifier_auroc: float | None,
    seed: int,
) -> Any:
    """Return the data that the options name, a `vanta_tuning.replay.data.Source`."""
    from vanta_tuning.replay.data import Source
    from vanta_tuning.replay.sketches import CORRELATION

    return Source(
        data,
        columns=_pairs(columns, "--map FIELD=COLUMN"),
        latency=latency,
        pools=_pairs(drawn_from, "--from TRACK=PROVIDER/MODEL"),
        arrivals=arrivals,
        turns=turns,
        correlation=CORRELATION if correlation is None else correlation,
        gate_auroc=gate_auroc,
        verifier_auroc=verifier_auroc,
        seed=seed,
    )


def rules_of(here: Setup, prices: Sequence[str] | None) -> Rules:
    """Return prices, limits and gates as configured; `prices` take precedence."""
    from vanta import Price
    from vanta.money import price_of
    from vanta.routing import PolicyRouting
    from vanta.runtime import fitted_gates, fitted_router
    from vanta_tuning.replay.stage import Rules

    known = {name: price_of(track) or Price() for name, track in here.config.tracks.items()}
    given = _pairs(prices, "--price TRACK=IN/OUT")
    return Rules(
        prices={**known, **{track: _price(text) for track, text in given.items()}},
        deadline_s=here.config.deadline_s,
        stall_timeout_s=here.config.stall_timeout_s,
        retries=here.config.retries,
        is_hard=PolicyRouting(fitted_router(here.config)).is_hard,
        gates=fitted_gates(here.config, here.plugins),
    )


def choose(here: Setup, names: Sequence[str] | None, recorded: Data) -> list[Policy]:
    """Return the named policies, or all that the recorded tracks and texts suffice for.

    :raises UnknownName: a policy does not exist.
    :raises UsageError: no policy fits the recording.
    """
    from vanta import UnknownName, UsageError

    known = here.policies()
    for name in names or ():
        if name not in known:
            raise UnknownName("policy", name, known)
    if names:
        return [known[name] for name in dict.fromkeys(names)]
    has_text = any(recording.text for recording in recorded.recordings)
    able = [
        policy
        for policy in known.values()
        if set(policy.tracks) <= set(recorded.tracks) and (has_text or not policy.routes)
    ]
    if not able:
        raise UsageError(
            f"no policy fits the tracks {', '.join(map(repr, recorded.tracks))} alone. Name the "
            "tracks `local` and `api`, or add a policy to the configuration."
        )
    return able


def with_notes(recorded: Data, policies: Sequence[Policy]) -> Data:
    """Return `recorded` with the notes that belong to a replay of `policies`."""
    has_text = any(recording.text for recording in recorded.recordings)
    if has_text or not any(policy.routes for policy in policies):
        return recorded
    note = "No text was recorded: to `route` and `speculate` every message looks the same."
    return dataclasses.replace(recorded, notes=[*recorded.notes, note])


def run(
    recorded: Data, policies: Sequence[Policy], rules: Rules, seed: int, *, all_needed: bool
) -> tuple[list[Summary], list[str], float]:
    """Replay under each policy; return the summaries, notes on policies left out, and turns/s.

    :raises UnrecordedWordError: a verifier's word is missing, and all policies are needed.
    """
    import time

    from vanta_tuning.replay.stage import UnrecordedWordError
    from vanta_tuning.replay.stage import replay as play
    from vanta_tuning.replay.summary import summarise

    started = time.perf_counter()
    summaries, notes = [], []
    for policy in policies:
        try:
            results = play(recorded.recordings, policy, rules, seed=seed)
        except UnrecordedWordError as error:
            if all_needed:
                raise
            notes.append(f"Left out: {error}")
            continue
        summaries.append(summarise(policy.name, results))
    turns = len(recorded.recordings) * len(summaries)
    return summaries, notes, turns / (time.perf_counter() - started)


def draw(path: Path, summaries: Sequence[Summary], notes: Sequence[str]) -> None:
    """Write the Pareto plot; raise UsageError if the file cannot be written."""
    from vanta import UsageError
    from vanta_tuning.replay.plot import plot

    note = "Times and the gate's signal: see the notes of the replay." if notes else ""
    try:
        write_private(path, plot(summaries, note=note))
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be written: {error.strerror}.") from error


def show_summaries(summaries: Sequence[Summary]) -> None:
    """Print a table of policies."""
    from vanta_tuning.replay.summary import frontier

    best = {item.policy for item in frontier(summaries)}
    print_table(
        (
            "policy",
            ">accuracy",
            ">first content, s: p50 p95 p99",
            ">whole, s: p50 p95 p99",
            ">USD/1000",
            ">failed",
            "served by (asked)",
            "best",
        ),
        [
            (
                item.policy,
                "-" if item.accuracy is None else f"{item.accuracy:.1%}",
                _times(item.first_content_s),
                _times(item.whole_s),
                f"{item.cost_usd * 1000:.3f}",
                f"{item.failed:.1%}",
                _shares(item),
                status_cell(item.policy in best or None, ("yes", "no", "")),
            )
            for item in summaries
        ],
    )


def _print_table(summaries: Sequence[Summary], recorded: Data, turns_per_s: float) -> None:
    show_summaries(summaries)
    for note in recorded.notes:
        print_status(note)
    print_status(
        f"{len(recorded.recordings):,} turns per policy, {turns_per_s:,.0f} turns per second"
    )


def _print_json(summaries: Sequence[Summary], recorded: Data, turns_per_s: float) -> None:
    from vanta_tuning.replay.summary import frontier

    best = {item.policy for item in frontier(summaries)}
    print_json(
        {
            "notes": list(recorded.notes),
            "turns": len(recorded.recordings),
            "turns_per_s": round(turns_per_s),
            "policies": [{**item.to_dict(), "best": item.policy in best} for item in summaries],
        }
    )


def _times(percentiles: Percentiles) -> str:
    known = (percentiles.p50, percentiles.p95, percentiles.p99)
    return " ".join("never" if value is None else f"{value:.2f}" for value in known)


def _shares(summary: Summary) -> str:
    return ", ".join(
        f"{track} {summary.served[track]:.0%} ({summary.asked[track]:.0%})"
        for track in sorted(summary.asked, key=lambda track: -summary.served[track])
    )


def _pairs(texts: Sequence[str] | None, form: str) -> Mapping[str, str]:
    pairs = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise typer.BadParameter(f"{text!r} is not of the form {form}.")
        pairs[name] = value
    return pairs


def _price(text: str) -> Price:
    from vanta import Price

    read, slash, written = text.partition("/")
    try:
        price = Price(float(read), float(written if slash else read))
    except ValueError:
        price = Price(-1.0)
    if not (0 <= price.input_usd_per_mtok < 1e9 and 0 <= price.output_usd_per_mtok < 1e9):
        raise typer.BadParameter(f"--price {text!r}: give two amounts in USD, as in api=0.5/1.5.")
    return price
