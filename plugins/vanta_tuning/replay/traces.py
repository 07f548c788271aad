"""vanta's own traces as recordings: the output of `vanta trace export`, one turn per line.

A live turn shows each track only as far as its policy let it run. Invariant: a finished leg is
taken as recorded. A stopped leg only says that it would have taken longer, and a track that did not
start says nothing (`sketches.fill` draws it from the track's other answers). A leg that verified is
a word on the answer of another leg, which its reason names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vanta import ErrorKind, UsageError
from vanta.files import parse_json
from vanta_tuning.replay.recordings import Play
from vanta_tuning.replay.sketches import Known, KnownWord, Pool, Sketch
from vanta_tuning.replay.tables import read_text

_WHOLE = frozenset({"won", "finished", "rejected", "amended"})
_FAILED = frozenset({"failed", "broken"})
_VERIFIES = re.compile(r"verifies leg (\d+)")


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
        probability=known.probability,
        accepted=known.accepted,
    )


def _sketch(text: str, path: Path, line: int) -> Sketch:
    try:
        data = parse_json(text)
        trace = data.get("trace", data)
        legs = sorted(trace["legs"], key=lambda leg: int(leg["leg"]))
        return Sketch(str(trace["turn_id"]), _tracks(legs), words=_words(legs))
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
    overruled = [judged["leg"] for _, judged in _verified(legs) if _score_is_a_word(judged)]
    for leg in legs:
        if leg["state"] != "verified":
            scored = {**leg, "score": None} if leg["leg"] in overruled else leg
            known.setdefault(str(leg["track"]), _known(scored))
        if leg["state"] == "broken":
            break
    return known


def _words(legs: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], KnownWord]:
    """Return the verifiers' words, by verifier and judged track."""
    words: dict[tuple[str, str], KnownWord] = {}
    for verifier, judged in _verified(legs):
        if verifier["ended_s"] is None or verifier.get("stop_asked_s") is not None:
            continue
        usage, error = verifier["usage"] or {}, verifier["error"]
        yes = judged["score"] if _score_is_a_word(judged) else verifier.get("score")
        word = KnownWord(
            yes=None if error or yes is None else float(yes),
            total_s=float(verifier["ended_s"]) - float(verifier["started_s"]),
            input_tokens=usage.get("input_tokens"),
            output_tokens=usage.get("output_tokens"),
            error=ErrorKind(error["kind"]) if error else None,
        )
        words.setdefault((str(verifier["track"]), str(judged["track"])), word)
    return words


def _verified(
    legs: Sequence[Mapping[str, Any]],
) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Return each leg that verified, with the leg that it judged."""
    numbered = {int(leg["leg"]): leg for leg in legs}
    named = [(leg, _VERIFIES.search(leg.get("why") or "")) for leg in legs]
    return [
        (leg, numbered[int(match[1])])
        for leg, match in named
        if leg["state"] == "verified" and match and int(match[1]) in numbered
    ]


def _score_is_a_word(judged: Mapping[str, Any]) -> bool:
    """Return whether a judged leg has the probability of yes as its score, as in old traces."""
    return (judged.get("verdict") or "").endswith(f"probability {judged.get('score') or 0:.2f}")


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
    """Return the gate's verdict. A score of at most 0 is a mean logprob, above 0 a probability."""
    score = leg.get("score")
    number = None if score is None else float(score)
    return {
        "accepted": leg.get("accepted"),
        "mean_logprob": number if number is not None and number <= 0 else None,
        "probability": number if number is not None and 0 < number <= 1 else None,
    }
