"""`vanta gate fit`: learn from recorded answers how likely an answer is right."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vanta.cli import JsonOption, print_json, print_line, print_table
from vanta_tuning.commands import curves

if TYPE_CHECKING:
    from vanta_tuning.fitting import EscalationLimit, FittedGate

app = typer.Typer(help="Fit the gate that judges finished answers.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Fit the gate that judges finished answers."""


@app.command("fit")
def fit_command(
    outcomes: Annotated[Path, typer.Argument(help="Judged answers as JSON lines.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The model file to write.")],
    json: JsonOption = False,
) -> None:
    """Fit the calibrated gate, so that its threshold is a probability of being right.

    Each line of OUTCOMES is one finished answer of the local track:
    {"text": "...", "logprobs": [-0.1, -2.3], "finish_reason": "stop", "right": true}.
    With "verifier_yes", the probability of yes of the verifier (`score` of its leg in the trace),
    the gate also learns what the verifier's word means. --json: an object with out, rows, curve
    (isotonic, Platt or base rate), auroc, ece, brier, reliability: bins with low, high, rows,
    predicted and actual, all of answers left out of the fit, limits: objects with limit (a
    min_probability), escalated (share of answers below it) and right (share of the others that is
    right), and verifier (null, or an object with rows, auroc, auroc_of_gate, ece, brier and limits,
    whose limit is a verify_limit).
    """
    from vanta_tuning.fitting import fit_gate, read_answers

    fitted = fit_gate(read_answers(outcomes))
    fitted.model.save(out)
    if json:
        print_json(_report(fitted, out))
    else:
        _show(fitted, out)


def _report(fitted: FittedGate, out: Path) -> dict[str, Any]:
    verifier = fitted.verifier
    return {
        "out": str(out),
        "rows": fitted.rows,
        "curve": fitted.curve,
        "auroc": fitted.auroc,
        "ece": fitted.reliability.ece,
        "brier": fitted.reliability.brier,
        "reliability": [dataclasses.asdict(item) for item in fitted.reliability.bins],
        "limits": [dataclasses.asdict(item) for item in fitted.limits],
        "verifier": verifier
        and {
            "rows": verifier.rows,
            "auroc": verifier.auroc,
            "auroc_of_gate": verifier.auroc_of_gate,
            "ece": verifier.reliability.ece,
            "brier": verifier.reliability.brier,
            "limits": [dataclasses.asdict(item) for item in verifier.limits],
        },
    }


def _show(fitted: FittedGate, out: Path) -> None:
    print_line(
        f"wrote {out}: {fitted.rows} answers, {fitted.curve} curve; a right answer is judged above "
        f"a wrong one with {fitted.auroc:.1%}"
    )
    curves.show(fitted.reliability, "was right")
    _show_limits("min_probability", fitted.limits)
    verifier = fitted.verifier
    if verifier is None:
        return
    print_line(
        f"the verifier's word on {verifier.rows} answers: a right answer is judged above a wrong "
        f"one with {verifier.auroc:.1%}, by the gate alone with {verifier.auroc_of_gate:.1%}"
    )
    _show_limits("verify_limit", verifier.limits)


def _show_limits(key: str, limits: Sequence[EscalationLimit]) -> None:
    print_line("")
    print_table(
        (f">{key}", ">escalated", ">right of the others"),
        [
            (
                f"{item.limit:.3f}",
                f"{item.escalated:.1%}",
                "-" if item.right is None else f"{item.right:.1%}",
            )
            for item in limits
        ],
    )
