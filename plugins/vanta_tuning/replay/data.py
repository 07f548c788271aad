"""From files to recordings: which shape a file has, what is drawn, and what has to be said of it.

Invariant: everything that is modelled and not measured is a sentence in `Data.notes`, which every
output shows.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vanta.errors import UsageError
from vanta_tuning.replay.plays import Recording
from vanta_tuning.replay.shapes import LLMPERF, TRACKS, arrivals, pool, pools, sketches
from vanta_tuning.replay.signals import with_signal
from vanta_tuning.replay.sketches import CORRELATION, Filled, Pool, Sketch, fill
from vanta_tuning.replay.tables import read_table
from vanta_tuning.replay.traces import pools_of, read_traces

SAMPLED_TURNS = 2000
"""Turns that are drawn where a file has measurements and no turns."""


@dataclass(frozen=True, slots=True)
class Source:
    """What to replay.

    path: traces (JSON lines) or a table. columns: fields to columns of the table. latency: a table
    of measurements in LLMPerf's shape, drawn from as `pools` says (track to `provider/model`).
    arrivals: a table whose times of arrival the turns get. turns: no more than so many, chosen by
    `seed`. correlation: of the times of one turn's calls. gate_auroc: a gate's signal is modelled,
    telling right from wrong so well.
    """

    path: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    latency: Path | None = None
    pools: Mapping[str, str] = field(default_factory=dict)
    arrivals: Path | None = None
    turns: int | None = None
    correlation: float = CORRELATION
    gate_auroc: float | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Data:
    """Recordings, and what has to be said of them."""

    recordings: Sequence[Recording]
    notes: Sequence[str]

    @property
    def tracks(self) -> tuple[str, ...]:
        """The tracks that are recorded."""
        return tuple(sorted({track for one in self.recordings for track in one.plays}))


def load(source: Source) -> Data:
    """Read, join and complete what `source` names. Raises UsageError."""
    turns, drawn_from = _turns(source)
    turns = _chosen(turns, source)
    if source.arrivals:
        turns = _timed(turns, source.arrivals)
    filled = fill(turns, drawn_from, correlation=source.correlation, seed=source.seed)
    recordings = filled.recordings
    if source.gate_auroc is not None:
        recordings = with_signal(recordings, source.gate_auroc, seed=source.seed)
    return Data(recordings, _notes(filled, source))


def _turns(source: Source) -> tuple[list[Sketch], dict[str, Pool]]:
    if _is_traces(source.path):
        turns = read_traces(source.path)
        return turns, {**pools_of(turns), **_pools(source)}
    table = read_table(source.path)
    if LLMPERF.fits(table) and not source.columns:
        at_hand = dataclasses.replace(source, latency=source.latency or source.path)
        return _blank(source.turns or SAMPLED_TURNS), _pools(at_hand)
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
    """The turns with the arrivals of another table, from its first on."""
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
            "What the gate looks at was not recorded: it is modelled with an AUROC of "
            f"{source.gate_auroc:g}."
        )
    return notes
