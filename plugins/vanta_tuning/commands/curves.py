"""A reliability curve for people: a table and a drawing. Invariant: both show the same bins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vanta.cli import print_line, print_table

if TYPE_CHECKING:
    from vanta.routing.calibration import Bin, Reliability

_ROWS, _COLUMNS = 11, 41


def show(held: Reliability, what: str) -> None:
    """Print how often `what` came true, for each range of what was told."""
    print_line(f"expected calibration error {held.ece:.3f}, Brier score {held.brier:.3f}")
    print_table(
        (">told", f">{what}", ">rows"),
        [(f"{one.told:.1%}", f"{one.true:.1%}", str(one.rows)) for one in held.bins],
    )
    for line in drawn(held.bins):
        print_line(line)


def drawn(bins: tuple[Bin, ...]) -> list[str]:
    """The curve as lines of text: `o` where a bin lies, `.` where what is told comes true."""
    canvas = [[" "] * _COLUMNS for _ in range(_ROWS)]
    for column in range(_COLUMNS):
        _put(canvas, column / (_COLUMNS - 1), column / (_COLUMNS - 1), ".")
    for one in bins:
        _put(canvas, one.told, one.true, "o")
    labels = {0: "100%", _ROWS // 2: " 50%", _ROWS - 1: "  0%"}
    lines = [f"{labels.get(i, '    ')} |{''.join(row)}" for i, row in enumerate(canvas)]
    return [*(line.rstrip() for line in lines), f"     +{'-' * _COLUMNS}", _FOOT]


_FOOT = "      0%" + "50%".center(_COLUMNS - 7) + "100%  told"


def _put(canvas: list[list[str]], across: float, up: float, mark: str) -> None:
    row = round((1 - up) * (_ROWS - 1))
    canvas[row][round(across * (_COLUMNS - 1))] = mark
