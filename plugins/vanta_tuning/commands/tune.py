"""`vanta tune`: search a policy and its knobs for limits on cost and time, on recorded turns.

Invariant: the reported figures are measured on turns that had no part in the choice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vanta.cli import (
    ConfigOption,
    ExitCode,
    JsonOption,
    load_setup,
    print_json,
    print_status,
    printable,
)
from vanta_tuning.commands.replay import (
    ArrivalsOption,
    CorrelationOption,
    DataArgument,
    FromOption,
    GateOption,
    LatencyOption,
    MapOption,
    PoliciesOption,
    PriceOption,
    SeedOption,
    TurnsOption,
    VerifierOption,
    choose,
    rules_of,
    show_summaries,
    source_of,
    with_notes,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vanta_tuning.replay.tuning import Tuned, TuningLimits

app = typer.Typer()


@app.command()
def tune(
    data: DataArgument,
    max_cost: Annotated[
        float | None, typer.Option("--max-cost", min=0.0, metavar="USD", help="Mean of a turn.")
    ] = None,
    max_p95: Annotated[
        float | None,
        typer.Option("--max-p95", min=0.0, metavar="SECONDS", help="Of first content."),
    ] = None,
    min_accuracy: Annotated[
        float | None, typer.Option("--min-accuracy", min=0.0, max=1.0, help="0 to 1.")
    ] = None,
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
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Find the policy and its knobs for limits on cost and time.

    Replays every policy with many values of its delay, hold or gate on half of the turns, and the
    best one on the other half. Exits with 1 if no candidate keeps the limits. --json: an object
    with keeps (whether the limits are kept), config (what to paste), base, knobs, notes, tried,
    and chosen_by and held_out: objects as those of `vanta replay --json`.
    """
    here = load_setup(config)
    files = (data, columns, latency, drawn_from, arrivals)
    source = source_of(*files, turns, correlation, gate_auroc, verifier_auroc, seed)
    from vanta_tuning.replay.data import load
    from vanta_tuning.replay.tuning import TuningLimits
    from vanta_tuning.replay.tuning import tune as search

    recorded = load(source)
    limits = TuningLimits(max_cost, max_p95, min_accuracy)
    policies = choose(here, policy, recorded)
    recorded = with_notes(recorded, policies)
    tuned = search(recorded.recordings, policies, limits, rules_of(here, price), seed=seed)
    notes = _notes(tuned, recorded.notes)
    if json:
        _print_json(tuned, notes)
    else:
        _print_text(tuned, notes, limits)
    if tuned.best is None:
        raise typer.Exit(ExitCode.FAILED)


def _notes(tuned: Tuned, notes: Sequence[str]) -> list[str]:
    """Return the notes of the data, and one on candidates that could not be replayed."""
    if not tuned.left_out:
        return list(notes)
    left_out = (
        f"{tuned.left_out} candidates were left out: they ask a verifier for words that are not "
        "recorded. Record more, or model them: --verifier-auroc 0.8."
    )
    return [*notes, left_out]


def _print_json(tuned: Tuned, notes: Sequence[str]) -> None:
    print_json(
        {
            "keeps": tuned.best is not None,
            "config": tuned.nearest.snippet,
            "base": tuned.nearest.base,
            "knobs": dict(tuned.nearest.knobs),
            "notes": list(notes),
            "tried": len(tuned.tried),
            "chosen_by": tuned.nearest.chosen_by.to_dict(),
            "held_out": tuned.held_out.to_dict(),
        }
    )


def _print_text(tuned: Tuned, notes: Sequence[str], limits: TuningLimits) -> None:
    if tuned.best is None:
        print_status("No candidate keeps these limits. This comes nearest:", style="yellow")
    print(printable(tuned.nearest.snippet))
    show_summaries([tuned.held_out])
    print_status(
        f"on {tuned.held_out.turns:,} turns that had no part in the choice among "
        f"{len(tuned.tried)} candidates"
    )
    if tuned.best is not None and limits.excess(tuned.held_out) > 0:
        print_status("There it exceeds a limit that it kept where it was chosen: leave some room.")
    for note in notes:
        print_status(note)
