"""`vanta gate fit`: learn from recorded answers how likely an answer is right."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from vanta.cli import JsonOption, print_json, print_line
from vanta_tuning.commands import curves

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
    --json: an object with out, rows, curve (isotonic or Platt), auroc, ece, brier and reliability:
    bins with low, high, rows, predicted and actual, all of answers left out of the fit.
    """
    from vanta_tuning.fitting import fit_gate, read_answers

    fitted = fit_gate(read_answers(outcomes))
    fitted.model.save(out)
    if json:
        print_json(
            {
                "out": str(out),
                "rows": fitted.rows,
                "curve": fitted.curve,
                "auroc": fitted.auroc,
                "ece": fitted.reliability.ece,
                "brier": fitted.reliability.brier,
                "reliability": [dataclasses.asdict(item) for item in fitted.reliability.bins],
            }
        )
        return
    print_line(
        f"wrote {out}: {fitted.rows} answers, {fitted.curve} curve; a right answer is judged above "
        f"a wrong one with {fitted.auroc:.1%}"
    )
    curves.show(fitted.reliability, "was right")
