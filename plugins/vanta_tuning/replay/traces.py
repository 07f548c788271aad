"""vanta's own traces as recordings: the output of `vanta trace export`, one turn per line.

A live turn shows each track only as far as its policy let it run. Invariant: a finished leg is
taken as recorded. A stopped leg only says that it would have taken longer, and a track that did not
start says nothing (`sketches.fill` draws it from the track's other answers).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vanta import ErrorKind, UsageError
from vanta.files import parse_json
from vanta_tuning.replay.recordings import Play
from vanta_tuning.replay.sketches import Known, Pool, Sketch
from vanta_tuning.replay.tables import read_text

_WHOLE = frozenset({"won", "finished", "rejected", "amended"})
_FAILED = frozenset({"failed", "broken"})


def read_traces(path: Path) -> list[Sketch]:
    """Return the turns of a file of traces, one JSON object per line.

    :raises UsageError: the file cannot be read, is empty, or a line is not a trace.
    """
    sketches = []
    for line, text in enumerate(read_text(path).splitlines(), 1):
        if text.strip():
            sketches.append(_sketch(text, path, line))
    if not sketches:
        raise UsageError(f"{path} has no trace in it. `vanta trace export` writes some.")
    return sketches


def pools_of(sketches: Iterable[Sketch]) -> dict[str, Pool]:
    """Return the answers and failures of each track that ever answered."""
    plays: dict[str, list[Play]] = {}
    for sketch in sketches:
        for track, known in sketch.tracks.items():
            if known.ttft_s is not None and known.total_s is not None:
                plays.setdefault(track, []).append(_play(known, known.ttft_s, known.total_s))
    return {
        track: Pool(track, recorded)
        for track, recorded in plays.items()
        if any(not play.error for play in recorded)
    }


def _play(known: Known, ttft_s: float, total_s: float) -> Play:
    return Play(
        ttft_s=ttft_s,
        total_s=total_s,
        input_tokens=known.input_tokens or 0,
        output_tokens=known.output_tokens or 0,
        error=known.error,
        speaks=known.speaks,
        mean_logprob=known.mean_logprob,
        accepted=known.accepted,
    )


def _sketch(text: str, path: Path, line: int) -> Sketch:
    try:
        data = parse_json(text)
        trace = data.get("trace", data)
        return Sketch(str(trace["turn_id"]), _tracks(trace["legs"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path}, line {line}: not a trace of vanta ({type(error).__name__}: {error}). "
            "`vanta trace export` writes one turn per line."
        ) from error


def _tracks(legs: Sequence[Mapping[str, Any]]) -> dict[str, Known]:
    """Return the first whole attempt of each track.

    A leg that continues a broken one, and one that only verifies, do not count.
    """
    known: dict[str, Known] = {}
    for leg in sorted(legs, key=lambda leg: int(leg["leg"])):
        if leg["state"] != "verified":
            known.setdefault(str(leg["track"]), _known(leg))
        if leg["state"] == "broken":
            break
    return known


def _known(leg: Mapping[str, Any]) -> Known:
    """Return the known values of a leg; times from the leg's own start."""
    started_s = float(leg["started_s"])
    first_s = None if leg["first_content_s"] is None else float(leg["first_content_s"]) - started_s
    usage = leg["usage"] or {}
    values: dict[str, Any] = {"input_tokens": usage.get("input_tokens")}
    if leg["ended_s"] is None:
        return Known()
    lasted_s = float(leg["ended_s"]) - started_s
    stopped = leg["stop_asked_s"] is not None
    values["ttft_s"] = first_s
    if leg["state"] in _FAILED and not (stopped and first_s is None):
        values |= {"error": ErrorKind(leg["error"]["kind"]), "speaks": first_s is not None}
        values |= {"ttft_s": lasted_s if first_s is None else first_s, "total_s": lasted_s}
    elif stopped:
        stopped_s = float(leg["stop_asked_s"]) - started_s
        values["silent_s" if first_s is None else "running_s"] = stopped_s
    elif leg["state"] in _WHOLE:
        values |= {"ttft_s": lasted_s if first_s is None else first_s, "total_s": lasted_s}
        values |= {"output_tokens": usage.get("output_tokens"), **_judged(leg)}
    return Known(**values)


def _judged(leg: Mapping[str, Any]) -> dict[str, Any]:
    """Return the gate's verdict. A score of at most 0 is a mean logprob, not a probability."""
    score = leg.get("score")
    logprob = float(score) if score is not None and float(score) <= 0 else None
    return {"accepted": leg.get("accepted"), "mean_logprob": logprob}
