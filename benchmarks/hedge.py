"""Hedging on the real tails of API providers: a delay learned online against static ones.

Every request of LLMPerf's measurements is asked again in the recorded order, under policies that
ask the same server once more when the first call is silent for too long; the turns run through the
scheduler (`vanta_tuning.replay`). Static delays are the p95 and the p90 of all requests, known
beforehand and one for all servers, as a configuration has it; the learned one is the built-in
policy `hedge` as it ships, which knows nothing beforehand and has a hard cap on extra calls.
Invariant: the second
call's time is drawn tied to the first one's, since independent draws overstate what a second call
gains; the independent figure is shown beside it, never instead.

The data is LLMPerf's (github.com/ray-project/llmperf-leaderboard, Apache-2.0):
`llmperf_latency.csv.gz` in the folder VANTA_BENCH_DATA, or in `../shared/data` beside the checkout.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from vanta.scheduling import HEDGE, LOCAL, Policy, adapt
from vanta_tuning.replay.recordings import Play, Recording
from vanta_tuning.replay.shapes import pools
from vanta_tuning.replay.sketches import CORRELATION, Known, Pool, Sketch, fill
from vanta_tuning.replay.stage import Result, replay
from vanta_tuning.replay.summary import percentile
from vanta_tuning.replay.tables import read_table

from .report import Figure
from .settings import Settings

SUMMARY = "the cut of p99 by a learned hedge delay, on the real tails of API providers"

FILE = "llmperf_latency.csv.gz"
MAX_EXTRA = 0.1
LEAST_REQUESTS = 100
LEARNED, P95, P90, OWN = "learned", "static p95", "static p90", "own p90"

Series = Mapping[str, Sequence[Play]]


@dataclasses.dataclass(slots=True)
class Outcomes:
    """What one policy did: the cut of each server's p99, in percent, and its extra calls."""

    cuts: list[float] = dataclasses.field(default_factory=list)
    calls: int = 0
    turns: int = 0

    @property
    def cut(self) -> float:
        """The mean over the servers."""
        return statistics.fmean(self.cuts)

    @property
    def extra(self) -> float:
        """Extra calls, in percent of all turns."""
        return 100 * (self.calls - self.turns) / self.turns


def run(settings: Settings) -> list[Figure]:
    """Replay each server's requests under each policy, correlated and independent."""
    path = _data()
    if path is None:
        note = f"{FILE} is not there: name its folder in VANTA_BENCH_DATA"
        return [Figure(name="p99 cut, learned delay", value=None, unit="%", goal=0, note=note)]
    series = {name: plays for name, plays in _answers(path) if len(plays) >= LEAST_REQUESTS}
    passes = settings.times(8, 2)
    tied = _outcomes(series, CORRELATION, passes, settings)
    free = _outcomes(series, 0.0, passes, settings)
    return list(_figures(tied, free, len(series)))


def _answers(path: Path) -> Iterator[tuple[str, list[Play]]]:
    """Each server's whole answers, in the order in which they were measured."""
    for name, plays in pools(read_table(path)).items():
        yield name, [play for play in plays if not play.error]


def _outcomes(
    series: Series, correlation: float, passes: int, settings: Settings
) -> dict[str, Outcomes]:
    everything = sorted(play.ttft_s for plays in series.values() for play in plays)
    found = {name: Outcomes() for name in (LEARNED, P95, P90, OWN)}
    for done, (server, plays) in enumerate(series.items()):
        recordings = _recordings(server, plays, correlation, passes)
        alone = _p99(replay(recordings, LOCAL))
        own = sorted(play.ttft_s for play in plays)
        policies = {
            LEARNED: HEDGE,
            P95: _static(percentile(everything, 0.95)),
            P90: _static(percentile(everything, 0.9)),
            OWN: _static(percentile(own, 0.9)),
        }
        for name, policy in policies.items():
            results = replay(recordings, policy)
            found[name].cuts.append(100 * (1 - _p99(results) / alone))
            found[name].calls += sum(len(result.asked) for result in results)
            found[name].turns += len(results)
        settings.progress(f"correlation {correlation:g}", done + 1, len(series))
    return found


def _recordings(
    server: str, plays: Sequence[Play], correlation: float, passes: int
) -> list[Recording]:
    """Each request as it was, and a second call to the same server, `passes` times over."""
    sketches = [
        Sketch(f"{turn}/{number}", {"local": Known(play.ttft_s, play.total_s)})
        for turn in range(passes)
        for number, play in enumerate(plays)
    ]
    both = {"local": Pool("local", plays), "api": Pool("api", plays)}
    seed = sum(server.encode())
    return fill(sketches, both, correlation=correlation, seed=seed).recordings


def _static(delay_s: float) -> Policy:
    """A fixed delay, and no cap but what the delay itself makes."""
    return dataclasses.replace(adapt(HEDGE, name="static", delay_s=delay_s), max_extra_share=None)


def _p99(results: Sequence[Result]) -> float:
    return percentile(sorted(result.first_content_s or 1e9 for result in results), 0.99)


def _figures(
    tied: Mapping[str, Outcomes], free: Mapping[str, Outcomes], servers: int
) -> Iterator[Figure]:
    learned, best = tied[LEARNED], max((P95, P90), key=lambda name: tied[name].cut)
    yield Figure(
        name="p99 cut, learned delay",
        value=learned.cut,
        unit="%",
        better="higher",
        goal=tied[best].cut,
        peer=f"{best} of all requests, known beforehand",
        peer_value=tied[best].cut,
        note=f"Mean of {servers} servers, {learned.turns} turns, first content; two calls with a "
        f"correlation of {CORRELATION:g}. Most servers have no tail that a second call could cut.",
    )
    yield Figure(
        name="extra calls, learned delay", value=learned.extra, unit="%", goal=100 * MAX_EXTRA
    )
    for name in (P95, P90):
        yield Figure(
            name=f"p99 cut, {name}",
            value=tied[name].cut,
            unit="%",
            better="higher",
            note=f"{tied[name].extra:.1f} % extra calls; one delay for all servers.",
        )
    yield Figure(
        name="p99 cut, static p90 of each server's own requests",
        value=tied[OWN].cut,
        unit="%",
        better="higher",
        note=f"{tied[OWN].extra:.1f} % extra calls. In hindsight: what a learned delay can hope "
        "for where nothing drifts.",
    )
    yield Figure(
        name="p99 cut, learned delay, if the two calls were independent",
        value=free[LEARNED].cut,
        unit="%",
        better="higher",
        peer=f"{best}, independent",
        peer_value=free[best].cut,
        note=f"Overstates: {free[LEARNED].cut - learned.cut:.1f} points are the assumption's, not "
        "the policy's.",
    )


def _data() -> Path | None:
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    path = Path(os.environ.get("VANTA_BENCH_DATA", beside)) / FILE
    return path if path.is_file() else None
