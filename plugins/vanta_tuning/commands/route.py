"""`vanta route`: fit the router on recorded outcomes, and explain why a message is hard."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vanta.cli import JsonOption, print_json, print_line, print_status, print_table
from vanta_tuning.commands import curves

if TYPE_CHECKING:
    from vanta.routing import Router
    from vanta_tuning.fitting import Fitted

app = typer.Typer(help="Fit the router and ask it why.", no_args_is_help=True)

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)

ModelOption = Annotated[
    Path | None,
    typer.Option("--model", "-m", help="A fitted router; without one, a guess by length."),
]


@app.command("fit")
def fit_command(
    data: Annotated[Path, typer.Argument(help="Outcomes: CSV, CSV.gz or JSON lines.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The model file to write.")],
    prompt: Annotated[str, typer.Option(help="The column with the prompt.")] = "prompt",
    weak: Annotated[
        str, typer.Option(help="The column that says whether the weak track was right.")
    ] = "weak_correct",
    strong: Annotated[
        str, typer.Option(help='The same for the strong track; "" counts it as always right.')
    ] = "strong_correct",
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=VALUE", help="Only rows with this value. Repeatable."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Fit a router, write its model file, and measure it on prompts it has not seen.

    --json: an object with out, rows, cost, apgr (0.5 is random; null if both tracks are equally
    good), by_length (the same for the prompt's length alone), thresholds (share to difficulty),
    ece, brier and reliability: bins with low, high, rows, predicted and actual.
    """
    from vanta_tuning.fitting import fit_router, read_outcomes

    outcomes = read_outcomes(
        data, prompt=prompt, weak=weak, strong=strong or None, where=_conditions(where or [])
    )
    print_status(f"fitting on {len(outcomes)} outcomes")
    fitted = fit_router(outcomes)
    fitted.router.save(out)
    if json:
        print_json(_report(fitted, out))
        return
    _show(fitted, out)


@app.command("explain")
def explain_command(
    text: Annotated[str, typer.Argument(help="The message.")],
    model: ModelOption = None,
    share: Annotated[
        float, typer.Option(min=0, max=1, help="The share of messages for the strong track.")
    ] = 0.3,
    top: Annotated[int, typer.Option(min=1, help="How many features to show.")] = 12,
    json: JsonOption = False,
) -> None:
    """Print how hard a message is for the local track, and why.

    --json: an object with fitted (false: a guess by length), difficulty, threshold, share, hard
    and pushes: objects with feature and push (the difficulty that this feature adds or removes).
    """
    from vanta.routing import Router

    router = Router.load(model) if model else Router.unfitted()
    difficulty, threshold = router.difficulty(text), router.threshold(share)
    pushes = router.explain(text)[:top]
    if json:
        print_json(
            {
                "fitted": router.fitted,
                "difficulty": difficulty,
                "threshold": threshold,
                "share": share,
                "hard": difficulty > threshold,
                "pushes": [dataclasses.asdict(push) for push in pushes],
            }
        )
        return
    print_line(_sentence(router, difficulty, threshold, share))
    print_table(
        (">difficulty", "because of"), [(f"{item.push:+.3f}", item.feature) for item in pushes]
    )


def _sentence(router: Router, difficulty: float, threshold: float, share: float) -> str:
    verdict = "hard" if difficulty > threshold else "easy"
    sentence = (
        f"{verdict}: the strong track is needed with {difficulty:.1%}; "
        f"the hardest {share:.0%} lie above {threshold:.1%}"
    )
    if router.fitted:
        return sentence
    return f"{sentence}\nNot fitted: a guess by length alone. Fit one with `vanta route fit`."


def _conditions(where: list[str]) -> dict[str, str]:
    from vanta import UsageError

    pairs = [text.partition("=") for text in where]
    for column, sign, value in pairs:
        if not column or not sign:
            raise UsageError(f"--where {column + sign + value!r} is not of the form COLUMN=VALUE.")
    return {column: value for column, _, value in pairs}


def _report(fitted: Fitted, out: Path) -> dict[str, Any]:
    return {
        "out": str(out),
        "rows": fitted.rows,
        "cost": fitted.cost,
        "apgr": fitted.apgr,
        "by_length": fitted.by_length,
        "thresholds": {f"{share:g}": fitted.router.threshold(share) for share in SHARES},
        "ece": fitted.reliability.ece,
        "brier": fitted.reliability.brier,
        "reliability": [dataclasses.asdict(item) for item in fitted.reliability.bins],
    }


def _show(fitted: Fitted, out: Path) -> None:
    print_line(f"wrote {out}: fitted on {fitted.rows} outcomes, measured on rows left out")
    print_table(
        ("", ">APGR"),
        [
            ("this router", _shown(fitted.apgr)),
            ("by length alone", _shown(fitted.by_length)),
            ("random", "0.500"),
        ],
    )
    print_line("")
    print_table(
        (">to the strong track", ">difficulty above"),
        [(f"{share:.0%}", f"{fitted.router.threshold(share):.3f}") for share in SHARES],
    )
    print_line("")
    curves.show(fitted.reliability, "the strong track was needed")


def _shown(apgr: float | None) -> str:
    return "no gap" if apgr is None else f"{apgr:.3f}"
