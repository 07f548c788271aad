"""Hedging on the real latency tails of API providers: a learned delay against static delays.

Every request of LLMPerf's measurements is replayed in the recorded order, under policies that call
the same server a second time if the first call is silent for too long. The turns run through the
scheduler (`vanta_tuning.replay`). The static delays are the p95 and the p90 of all requests, known
in advance and equal for all servers, as in a configuration. The learned delay is that of the
built-in policy `hedge`, which starts without data and has a hard cap on extra calls.

Invariant: the latency of the second call is drawn with a correlation to the first one, because
independent draws overstate the gain of a second call; the independent figure is only shown beside
it.

The data is LLMPerf's (github.com/ray-project/llmperf-leaderboard, Apache-2.0), in the file
`llmperf_latency.csv.gz` (see `benchmarks.report.data_file`).
"""

from __future__ import annotations

import dataclasses
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

from .report import Figure, Settings, data_file, missing_data

SUMMARY = "p99 cut by a learned hedge delay, on the real tails of API providers"

FILE = "llmperf_latency.csv.gz"
MAX_EXTRA_SHARE = 0.1
QUICK_SERVERS = 4
"""Servers that a quick run replays."""

MIN_REQUESTS = 100
LEARNED, P95, P90, OWN = "learned", "static p95", "static p90", "own p90"

Series = Mapping[str, Sequence[Play]]


@dataclasses.dataclass(slots=True)
class HedgeResult:
    """The cut of p99 by one policy per server, in percent, and its calls and turns."""

    cuts: list[float] = dataclasses.field(default_factory=list)
    calls: int = 0
    turns: int = 0

    @property
    def cut(self) -> float:
        """The mean cut over all servers, in percent."""
        return statistics.fmean(self.cuts)

    @property
    def extra(self) -> float:
        """Extra calls, in percent of all turns."""
        return 100 * (self.calls - self.turns) / self.turns


def run(settings: Settings) -> list[Figure]:
    """Replay the requests of each server under each policy, correlated and independent."""
    path = data_file(FILE)
    if path is None:
        name, note = "p99 cut, learned delay", missing_data(FILE)
        return [Figure(name=name, value=None, unit="%", goal=0, note=note)]
    series = {name: plays for name, plays in _answers(path) if len(plays) >= MIN_REQUESTS}
    if settings.quick:
        series = dict(list(series.items())[:QUICK_SERVERS])
    passes = settings.times(8, 2)
    correlated = _results(series, CORRELATION, passes, settings)
    independent = _results(series, 0.0, passes, settings)
    return list(_figures(correlated, independent, len(series)))


def _answers(path: Path) -> Iterator[tuple[str, list[Play]]]:
    """Yield the complete answers of each server, in the order of their measurement."""
    for name, plays in pools(read_table(path)).items():
        yield name, [play for play in plays if not play.error]


def _results(
    series: Series, correlation: float, passes: int, settings: Settings
) -> dict[str, HedgeResult]:
    all_ttft_s = sorted(play.ttft_s for plays in series.values() for play in plays)
    by_policy = {name: HedgeResult() for name in (LEARNED, P95, P90, OWN)}
    for done, (server, plays) in enumerate(series.items()):
        recordings = _recordings(server, plays, correlation, passes)
        alone = _p99(replay(recordings, LOCAL))
        own = sorted(play.ttft_s for play in plays)
        policies = {
            LEARNED: HEDGE,
            P95: _static(percentile(all_ttft_s, 0.95)),
            P90: _static(percentile(all_ttft_s, 0.9)),
            OWN: _static(percentile(own, 0.9)),
        }
        for name, policy in policies.items():
            results = replay(recordings, policy)
            by_policy[name].cuts.append(100 * (1 - _p99(results) / alone))
            by_policy[name].calls += sum(len(result.asked) for result in results)
            by_policy[name].turns += len(results)
        settings.progress(f"correlation {correlation:g}", done + 1, len(series))
    return by_policy


def _recordings(
    server: str, plays: Sequence[Play], correlation: float, passes: int
) -> list[Recording]:
    """Return each request as measured with a second call to the same server, `passes` times."""
    sketches = [
        Sketch(f"{turn}/{number}", {"local": Known(play.ttft_s, play.total_s)})
        for turn in range(passes)
        for number, play in enumerate(plays)
    ]
    both = {"local": Pool("local", plays), "api": Pool("api", plays)}
    seed = sum(server.encode())
    return fill(sketches, both, correlation=correlation, seed=seed).recordings


def _static(delay_s: float) -> Policy:
    """Return a policy with a fixed delay and without a cap on extra calls."""
    return dataclasses.replace(adapt(HEDGE, name="static", delay_s=delay_s), max_extra_share=None)


def _p99(results: Sequence[Result]) -> float:
    return percentile(sorted(result.first_content_s or 1e9 for result in results), 0.99)


def _figures(
    correlated: Mapping[str, HedgeResult], independent: Mapping[str, HedgeResult], servers: int
) -> Iterator[Figure]:
    learned, best = correlated[LEARNED], max((P95, P90), key=lambda name: correlated[name].cut)
    yield Figure(
        name="p99 cut, learned delay",
        value=learned.cut,
        unit="%",
        better="higher",
        goal=correlated[best].cut,
        peer=f"{best} of all requests, known beforehand",
        peer_value=correlated[best].cut,
        note=f"Mean of {servers} servers, {learned.turns} turns, first content; two calls with a "
        f"correlation of {CORRELATION:g}. Most servers have no tail that a second call could cut.",
    )
    yield Figure(
        name="extra calls, learned delay", value=learned.extra, unit="%", goal=100 * MAX_EXTRA_SHARE
    )
    for name in (P95, P90):
        yield Figure(
            name=f"p99 cut, {name}",
            value=correlated[name].cut,
            unit="%",
            better="higher",
            note=f"{correlated[name].extra:.1f} % extra calls; one delay for all servers.",
        )
    yield Figure(
        name="p99 cut, static p90 of each server's own requests",
        value=correlated[OWN].cut,
        unit="%",
        better="higher",
        note=f"{correlated[OWN].extra:.1f} % extra calls. In hindsight: the optimum of a "
        "learned delay without drift.",
    )
    yield Figure(
        name="p99 cut, learned delay, if the two calls were independent",
        value=independent[LEARNED].cut,
        unit="%",
        better="higher",
        peer=f"{best}, independent",
        peer_value=independent[best].cut,
        note=f"Overstates: {independent[LEARNED].cut - learned.cut:.1f} points come from the "
        "assumption, not from the policy.",
    )
