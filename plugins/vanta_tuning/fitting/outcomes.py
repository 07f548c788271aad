"""Read recorded outcomes: CSV, gzipped CSV or JSON lines.

For the router, a row has a prompt and whether each track got it right (columns by option, `prompt`,
`weak_correct` and `strong_correct` by default; without a column for the strong track, it counts as
always right). For the gate, a row is one finished answer of the local track:

    {"text": "...", "logprobs": [-0.1, -2.3], "finish_reason": "stop", "right": true}

`logprobs` are the natural-log probabilities of its tokens (empty or missing if the engine reports
none), `finish_reason` is optional, and so is `verifier_yes`, the probability, 0 to 1, with which a
verifier calls the answer right. Invariant: a row is read whole, or the file is refused with
the number of the line.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast, get_args

from vanta import Completion, FinishReason, TokenLogprob, UsageError
from vanta.files import open_file

_MOST_BYTES = 1 << 32

_TRUE = {"1", "1.0", "true", "yes", "right"}
_FALSE = {"0", "0.0", "false", "no", "wrong"}
_LONGEST_FIELD = 1 << 27


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """A prompt and how right each track was about it.

    :param prompt: the message.
    :param weak: correctness of the weak track, 0 to 1.
    :param strong: correctness of the strong track, 0 to 1.
    """

    prompt: str
    weak: float
    strong: float

    @property
    def gain(self) -> float:
        """The strong track's correctness minus the weak one's, -1 to 1."""
        return self.strong - self.weak


@dataclass(frozen=True, slots=True)
class JudgedAnswer:
    """A finished answer of the local track and whether it was right.

    :param answer: the answer.
    :param right: whether it was right.
    :param yes: a verifier's probability of yes, 0 to 1; None if no verifier judged it.
    """

    answer: Completion
    right: bool
    yes: float | None = None


def read_outcomes(
    path: Path,
    *,
    prompt: str = "prompt",
    weak: str = "weak_correct",
    strong: str | None = "strong_correct",
    where: Mapping[str, str] | None = None,
) -> list[OutcomeRow]:
    """Return the outcomes of a file.

    :param path: a `.csv`, `.csv.gz` or JSON lines file.
    :param prompt: the column of the prompt.
    :param weak: the column of the weak track's correctness.
    :param strong: the column of the strong track's; None counts it as always right.
    :param where: keep only rows with these values.
    :raises UsageError: names file, line and fault.
    """
    outcomes = []
    for line, row in _rows(path):
        if all(str(row.get(column)) == value for column, value in (where or {}).items()):
            at = _Row(path, line, row)
            text, local = at.text(prompt), at.share(weak)
            remote = 1.0 if strong is None else at.share(strong)
            outcomes.append(OutcomeRow(text, local, remote))
    return outcomes


def read_answers(path: Path) -> list[JudgedAnswer]:
    """Return the judged answers of a file of JSON lines.

    :raises UsageError: names file, line and fault.
    """
    return [_judged(_Row(path, line, row)) for line, row in _rows(path)]


@dataclass(frozen=True, slots=True)
class _Row:
    """One row and its place."""

    path: Path
    line: int
    values: Mapping[str, Any]

    def text(self, column: str) -> str:
        """Return a text."""
        value = self._get(column)
        if not isinstance(value, str):
            raise self.error(f"{column!r} must be text, not {value!r}")
        return value

    def share(self, column: str) -> float:
        """Return a correctness from 0 to 1; words like `true` and `no` count as 1 and 0."""
        value = self._get(column)
        word = str(value).strip().lower()
        if word in _TRUE or word in _FALSE:
            return float(word in _TRUE)
        try:
            number = float(word)
        except ValueError:
            number = math.nan
        if not 0 <= number <= 1:
            raise self.error(f"{column!r} must be between 0 and 1, not {value!r}")
        return number

    def error(self, what: str) -> UsageError:
        """Return the error for a fault in this row."""
        return UsageError(f"{self.path.name!r}, line {self.line}: {what}.")

    def _get(self, column: str) -> Any:
        if column not in self.values:
            known = ", ".join(map(repr, self.values))
            raise self.error(f"there is no {column!r}, only {known or 'nothing'}")
        return self.values[column]


def _judged(row: _Row) -> JudgedAnswer:
    right = row.values.get("right")
    if not isinstance(right, bool):
        raise row.error(f"'right' must be true or false, not {right!r}")
    logprobs = row.values.get("logprobs") or []
    if not isinstance(logprobs, list) or not all(map(_is_logprob, logprobs)):
        raise row.error("'logprobs' must be a list of numbers, none above 0")
    reason = row.values.get("finish_reason")
    if reason is not None and reason not in get_args(FinishReason):
        raise row.error(f"'finish_reason' must be one of {get_args(FinishReason)}, not {reason!r}")
    answer = Completion(
        text=row.text("text"),
        logprobs=tuple(TokenLogprob("", float(value)) for value in logprobs),
        finish_reason=cast("FinishReason | None", reason),
    )
    yes = None if row.values.get("verifier_yes") is None else row.share("verifier_yes")
    return JudgedAnswer(answer, right, yes)


def _is_logprob(value: object) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and -math.inf < cast("float", value) <= 1e-6


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        with _opened(path) as file:
            names = [suffix.lower() for suffix in path.suffixes]
            yield from _csv_rows(file) if ".csv" in names else _json_rows(path, file)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{str(path)!r} cannot be read: {error}. Check the file.") from error


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    with ExitStack() as stack:
        raw = stack.enter_context(open_file(path, _MOST_BYTES))
        if path.suffix.lower() == ".gz":
            raw = cast("BinaryIO", stack.enter_context(gzip.open(raw)))
        yield stack.enter_context(io.TextIOWrapper(raw, encoding="utf-8-sig", newline=""))


def _csv_rows(file: TextIO) -> Iterator[tuple[int, Mapping[str, Any]]]:
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.DictReader(file, strict=True)
    for row in reader:
        values = cast("dict[str, Any]", row)  # a short row has None, which the stubs do not know
        yield reader.line_num, {name: value for name, value in values.items() if value is not None}


def _json_rows(path: Path, file: TextIO) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path.name!r}, line {number} is not JSON: {error}.") from error
        if not isinstance(row, dict):
            raise UsageError(f"{path.name!r}, line {number} is not a JSON object.")
        yield number, row
