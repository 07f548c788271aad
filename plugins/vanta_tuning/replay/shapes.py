"""Formats of tables: the meaning of their columns.

Three public formats are recognised by their columns: the outcomes of RouteLLM's evaluation, the
measurements of LLMPerf's leaderboard, and Azure's traces of arrivals. Any other table has columns
named like the fields (`local.ttft_s`, `api.score`, `arrives_s`) or is mapped to them. A verifier's
word on the other track's answer has columns of its own: `api.verify_yes`, the probability of yes,
`api.verify_s`, and the tokens. Invariant: a value that does not fit is an error with its place,
never a guess.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from vanta import ErrorKind, UsageError
from vanta_tuning.replay.recordings import Play
from vanta_tuning.replay.sketches import Known, KnownWord, Pool, Sketch
from vanta_tuning.replay.tables import Cell, CsvTable, TableRow

TURN_FIELDS = ("id", "arrives_s", "text")
PLAY_FIELDS = (
    "ttft_s",
    "total_s",
    "input_tokens",
    "output_tokens",
    "error",
    "score",
    "mean_logprob",
)
WORD_FIELDS = {
    "verify_yes": "yes",
    "verify_s": "total_s",
    "verify_input_tokens": "input_tokens",
    "verify_output_tokens": "output_tokens",
    "verify_error": "error",
}
"""Columns of a verifier's word, with the fields of `KnownWord`."""

TRACKS = ("local", "api")

Mapped = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TableFormat:
    """A format: recognised by its columns, which `mapping` gives by field."""

    name: str
    mapping: Mapped

    def fits(self, table: CsvTable) -> bool:
        """Return whether the table has all its columns."""
        return set(self.mapping.values()) <= set(table.columns)


ROUTELLM = TableFormat(
    "routellm",
    {"local.score": "weak_correct", "api.score": "strong_correct", "text": "prompt"},
)
LLMPERF = TableFormat(
    "llmperf",
    {
        "provider": "provider",
        "model": "model",
        "error": "error_code",
        "ttft_s": "ttft_s",
        "total_s": "e2e_s",
        "input_tokens": "in_tokens",
        "output_tokens": "out_tokens",
    },
)
AZURE = TableFormat(
    "azure",
    {
        "arrives_s": "TIMESTAMP",
        "local.input_tokens": "ContextTokens",
        "local.output_tokens": "GeneratedTokens",
        "api.input_tokens": "ContextTokens",
        "api.output_tokens": "GeneratedTokens",
    },
)


def sketches(table: CsvTable, given: Mapped | None = None) -> list[Sketch]:
    """Return the turns of a table.

    :param table: the table.
    :param given: fields to columns; takes precedence over the column names.
    :raises UsageError: a column is missing or has a wrong value.
    """
    mapping = {**_own_mapping(table), **(given or {})}
    for field in mapping:
        _check_field(field)
    table.require(list(mapping.values()))
    if not any("." in field for field in mapping):
        raise UsageError(
            f"{table.path}: no column belongs to a track. Name columns like "
            f"'local.score', or map them: --map local.score=COLUMN. It has: "
            f"{', '.join(table.columns)}."
        )
    turns = [_sketch(row, mapping, number) for number, row in enumerate(table.rows)]
    return _from_zero(turns)


def pools(table: CsvTable) -> dict[str, list[Play]]:
    """Return the answers of a table of measurements, by `provider/model`.

    :raises UsageError: the table does not fit.
    """
    table.require(list(LLMPERF.mapping.values()))
    answers: dict[str, list[Play]] = {}
    for row in table.rows:
        cells = {field: row[column] for field, column in LLMPERF.mapping.items()}
        play = _measured(cells)
        if play:
            answers.setdefault(f"{cells['provider'].text}/{cells['model'].text}", []).append(play)
    return answers


def arrivals(table: CsvTable) -> list[float]:
    """Return the arrival times of a table, in seconds from the first.

    :raises UsageError: the table has none.
    """
    column = AZURE.mapping["arrives_s"] if AZURE.fits(table) else "arrives_s"
    table.require([column])
    moments = (_moment(row[column]) for row in table.rows)
    known = sorted(moment for moment in moments if moment is not None)
    return [moment - known[0] for moment in known]


def pool(plays: Mapping[str, Sequence[Play]], track: str, name: str) -> Pool:
    """Return the pool of `track` from the measurements of `name`.

    :raises UsageError: there are none of that name.
    """
    if name not in plays:
        raise UsageError(f"no measurements are named {name!r}. Known: {', '.join(sorted(plays))}.")
    return Pool(track, plays[name])


def _own_mapping(table: CsvTable) -> dict[str, str]:
    for shape in (ROUTELLM, AZURE):
        if shape.fits(table):
            return dict(shape.mapping)
    return {
        column: column for column in table.columns if column in TURN_FIELDS or _is_of_track(column)
    }


def _is_of_track(field: str) -> bool:
    track, _, name = field.rpartition(".")
    return bool(track) and (name in PLAY_FIELDS or name in WORD_FIELDS)


def _check_field(field: str) -> None:
    if field in TURN_FIELDS or _is_of_track(field):
        return
    raise UsageError(
        f"no field is named {field!r}. Fields: {', '.join(TURN_FIELDS)}, and of each track "
        f"TRACK.{', TRACK.'.join([*PLAY_FIELDS, *WORD_FIELDS])}."
    )


def _sketch(row: TableRow, mapping: Mapped, number: int) -> Sketch:
    tracks: dict[str, dict[str, Any]] = {}
    words: dict[str, dict[str, Any]] = {}
    turn: dict[str, Any] = {"id": str(number), "arrives_s": None, "text": ""}
    for field, column in mapping.items():
        track, _, name = field.rpartition(".")
        if track and name in WORD_FIELDS:
            words.setdefault(track, {})[WORD_FIELDS[name]] = _value(name, row[column])
        elif track:
            tracks.setdefault(track, {})[name] = _value(name, row[column])
        else:
            turn[name] = _moment(row[column]) if name == "arrives_s" else row[column].text
    known = {track: _known(values, row) for track, values in tracks.items()}
    return Sketch(turn["id"], known, turn["arrives_s"], turn["text"], _words(words))


def _words(words: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str], KnownWord]:
    """Return the words of a row; a row may have none, since the gate was sure of its answer."""
    known = {(track, ""): KnownWord(**values) for track, values in words.items()}
    return {pair: word for pair, word in known.items() if word.yes is not None or word.error}


def _known(values: dict[str, Any], row: TableRow) -> Known:
    failed, ttft_s, total_s = values.get("error"), values.get("ttft_s"), values.get("total_s")
    if failed and total_s is None:
        total_s = ttft_s
    if failed and ttft_s is None:
        return Known(**{**values, "ttft_s": total_s, "total_s": total_s, "speaks": False})
    if ttft_s is not None and total_s is not None and total_s < ttft_s:
        raise UsageError(
            f"{row.path}, line {row.line}: the answer ends ({total_s:g} s) before it begins "
            f"({ttft_s:g} s). Fix the row or leave it out."
        )
    return Known(**{**values, "total_s": total_s})


def _value(name: str, cell: Cell) -> Any:
    if name.endswith("error"):
        return _error(cell)
    if name == "mean_logprob":
        return cell.number()
    value = cell.amount()
    if value is None:
        return None
    if name in ("score", "verify_yes") and value > 1:
        cell.refuse("a score of 0 to 1" if name == "score" else "a probability of 0 to 1")
    return round(value) if name.endswith("_tokens") else value


def _error(cell: Cell) -> ErrorKind | None:
    """Return the kind of an error from its name or HTTP status; None for 0 and an empty cell."""
    text = cell.text.strip().lower()
    if text in ("", "0", "none", "false"):
        return None
    if text in set(ErrorKind):
        return ErrorKind(text)
    known = {"429": ErrorKind.RATE_LIMITED, "408": ErrorKind.TIMEOUT, "503": ErrorKind.OVERLOADED}
    return known.get(text, ErrorKind.SERVER)


def _measured(cells: Mapping[str, Cell]) -> Play | None:
    """Return one measurement, None without any time."""
    error = _error(cells["error"])
    ttft_s, total_s = cells["ttft_s"].amount(), cells["total_s"].amount()
    ends_s = total_s if total_s is not None else ttft_s
    if ends_s is None and error is None:
        return None
    tokens = cells["input_tokens"].amount(), cells["output_tokens"].amount()
    return Play(
        ttft_s=(ends_s or 0.0) if error or ttft_s is None else ttft_s,
        total_s=max(ends_s or 0.0, ttft_s or 0.0),
        input_tokens=round(tokens[0] or 0),
        output_tokens=round(tokens[1] or 0),
        error=error,
        speaks=error is None,
    )


def _moment(cell: Cell) -> float | None:
    """Return an arrival time: seconds, or a date and time in ISO 8601."""
    text = cell.text.strip()
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        pass
    whole, dot, fraction = text.partition(".")
    try:
        # Azure writes seven decimals; datetime reads six.
        moment = datetime.fromisoformat(whole + dot + fraction[:6])
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except ValueError:
        cell.refuse("seconds, or a date and time like 2023-11-16 18:15:46")


def _from_zero(turns: list[Sketch]) -> list[Sketch]:
    """Return the turns in the order of their arrival, the first at 0 s."""
    times = [turn.arrives_s for turn in turns if turn.arrives_s is not None]
    if not times:
        return turns
    start = min(times)
    late = max(times)
    return sorted(
        (
            dataclasses.replace(
                turn, arrives_s=(late if turn.arrives_s is None else turn.arrives_s) - start
            )
            for turn in turns
        ),
        key=lambda turn: turn.arrives_s or 0.0,
    )
