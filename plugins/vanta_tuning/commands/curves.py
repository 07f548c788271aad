"""A reliability curve for people: a table and a drawing. Invariant: both show the same bins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vanta.cli import print_line, print_table

if TYPE_CHECKING:
    from vanta_tuning.fitting import Bin, Reliability

_ROWS, _COLUMNS = 11, 41


def show(curve: Reliability, what: str) -> None:
    """Print how often `what` came true, for each range of predicted probabilities."""
    print_line(f"expected calibration error {curve.ece:.3f}, Brier score {curve.brier:.3f}")
    print_table(
        (">predicted", f">{what}", ">rows"),
        [(f"{item.predicted:.1%}", f"{item.actual:.1%}", str(item.rows)) for item in curve.bins],
    )
    for line in drawn(curve.bins):
        print_line(line)


def drawn(bins: tuple[Bin, ...]) -> list[str]:
    """Return the curve as lines of text: `o` for a bin, `.` for a perfect curve."""
    canvas = [[" "] * _COLUMNS for _ in range(_ROWS)]
    for column in range(_COLUMNS):
        _put(canvas, column / (_COLUMNS - 1), column / (_COLUMNS - 1), ".")
    for item in bins:
        _put(canvas, item.predicted, item.actual, "o")
    labels = {0: "100%", _ROWS // 2: " 50%", _ROWS - 1: "  0%"}
    lines = [f"{labels.get(i, '    ')} |{''.join(row)}" for i, row in enumerate(canvas)]
    return [*(line.rstrip() for line in lines), f"     +{'-' * _COLUMNS}", _FOOT]


_FOOT = "      0%" + "50%".center(_COLUMNS - 7) + "100%  predicted"


def _put(canvas: list[list[str]], across: float, up: float, mark: str) -> None:
    row = round((1 - up) * (_ROWS - 1))
    canvas[row][round(across * (_COLUMNS - 1))] = mark
