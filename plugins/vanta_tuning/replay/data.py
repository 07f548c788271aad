"""From files to recordings: the format of a file, the values to draw, and notes on both.

Invariant: everything that is modelled and not measured is a sentence in `Data.notes`, which every
output shows.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vanta import UsageError
from vanta_tuning.replay.recordings import Recording, with_signal, with_words
from vanta_tuning.replay.shapes import LLMPERF, TRACKS, arrivals, pool, pools, sketches
from vanta_tuning.replay.sketches import CORRELATION, Filled, Pool, Sketch, fill
from vanta_tuning.replay.tables import read_table
from vanta_tuning.replay.traces import pools_of, read_traces

SAMPLED_TURNS = 2000
"""The number of turns to draw for a file with measurements but no turns."""


@dataclass(frozen=True, slots=True)
class Source:
    """The data to replay.

    :param path: traces (JSON lines) or a table.
    :param columns: fields of a recording to columns of the table.
    :param latency: a table of measurements in LLMPerf's format to draw times from.
    :param pools: which measurements a track draws from, as track to `provider/model`.
    :param arrivals: a table whose arrival times the turns get.
    :param turns: the most turns to replay, chosen by `seed`; None for all.
    :param correlation: of the times of one turn's calls, 0 to 1.
    :param gate_auroc: model a gate's signal with this AUROC.
    :param verifier_auroc: model verifiers' words that are not recorded, with this AUROC.
    :param seed: for everything that is drawn.
    """

    path: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    latency: Path | None = None
    pools: Mapping[str, str] = field(default_factory=dict)
    arrivals: Path | None = None
    turns: int | None = None
    correlation: float = CORRELATION
    gate_auroc: float | None = None
    verifier_auroc: float | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Data:
    """Recordings and the notes that belong to every result of them."""

    recordings: Sequence[Recording]
    notes: Sequence[str]

    @property
    def tracks(self) -> tuple[str, ...]:
        """The recorded tracks, sorted."""
        return tuple(sorted({track for item in self.recordings for track in item.plays}))


def load(source: Source) -> Data:
    """Read, join and complete the data of `source`.

    :raises UsageError: a file cannot be read or does not fit.
    """
    turns, pools_by_track = _turns(source)
    turns = _chosen(turns, source)
    if source.arrivals:
        turns = _timed(turns, source.arrivals)
    filled = fill(turns, pools_by_track, correlation=source.correlation, seed=source.seed)
    recordings = filled.recordings
    if source.gate_auroc is not None:
        recordings = with_signal(recordings, source.gate_auroc, seed=source.seed)
    if source.verifier_auroc is not None:
        recordings = with_words(recordings, source.verifier_auroc, seed=source.seed)
    return Data(recordings, _notes(filled, source))


def _turns(source: Source) -> tuple[list[Sketch], dict[str, Pool]]:
    if _is_traces(source.path):
        turns = read_traces(source.path)
        return turns, {**pools_of(turns), **_pools(source)}
    table = read_table(source.path)
    if LLMPERF.fits(table) and not source.columns:
        measured = dataclasses.replace(source, latency=source.latency or source.path)
        return _blank(source.turns or SAMPLED_TURNS), _pools(measured)
    return sketches(table, source.columns), _pools(source)


def _is_traces(path: Path) -> bool:
    return path.name.removesuffix(".gz").endswith((".jsonl", ".json", ".ndjson"))


def _blank(turns: int) -> list[Sketch]:
    return [Sketch(str(number), {}) for number in range(turns)]


def _pools(source: Source) -> dict[str, Pool]:
    if source.latency is None:
        if source.pools:
            raise UsageError("--from names measurements, but none are given: add --latency FILE.")
        return {}
    measured = pools(read_table(source.latency))
    if not source.pools:
        raise UsageError(
            f"{source.latency} has measurements of {', '.join(sorted(measured))}. Say which track "
            f"is which: --from {TRACKS[0]}=NAME --from {TRACKS[1]}=NAME."
        )
    return {track: pool(measured, track, name) for track, name in source.pools.items()}


def _chosen(turns: list[Sketch], source: Source) -> list[Sketch]:
    if source.turns is None or source.turns >= len(turns):
        return turns
    rng = random.Random(f"{source.seed}/turns")  # noqa: S311 - a simulation, no secret
    return [turns[number] for number in sorted(rng.sample(range(len(turns)), source.turns))]


def _timed(turns: list[Sketch], path: Path) -> list[Sketch]:
    """Return the turns with the arrival times of another table."""
    times = arrivals(read_table(path))
    if len(times) < len(turns):
        raise UsageError(
            f"{path} has {len(times)} arrivals for {len(turns)} turns. Replay fewer: "
            f"--turns {len(times)}."
        )
    return [
        dataclasses.replace(turn, arrives_s=arrives_s)
        for turn, arrives_s in zip(turns, times[: len(turns)], strict=True)
    ]


def _notes(filled: Filled, source: Source) -> list[str]:
    notes = []
    if filled.drawn:
        share = filled.drawn / filled.plays
        notes.append(
            f"{share:.0%} of the answers' times were not recorded in their turn; they are drawn "
            f"from other answers of the same track, those of one turn with a correlation of "
            f"{source.correlation:g} (Gaussian copula; 0 would overstate what a second call gains)."
        )
    if source.gate_auroc is not None:
        notes.append(
            "The gate's signal was not recorded: it is modelled with an AUROC of "
            f"{source.gate_auroc:g}."
        )
    if filled.sized:
        notes.append(
            f"{filled.sized / filled.words:.0%} of the verifiers' words lack their time or tokens: "
            "a word then takes as long as the verifier's first content, and its prompt has the "
            "tokens of its own prompt and of the judged answer."
        )
    if source.verifier_auroc is not None:
        notes.append(
            "Verifiers' words that were not recorded are modelled with an AUROC of "
            f"{source.verifier_auroc:g}."
        )
    return notes
