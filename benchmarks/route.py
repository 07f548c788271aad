"""The router on recorded outcomes of a weak and a strong model: how well it ranks, and how fast.

For each seed, rows are dealt out: some hundred are fitted on, of the others a few (MMLU only) set
the thresholds without a look at their outcomes, and all figures are taken on the rest, which
nothing has seen. Rows that share a prompt are dealt out together. The router, prompt length alone,
random order and the oracle rank the same rows. Invariant: no row that is scored is ever fitted on.

The data is RouteLLM's (github.com/lm-sys/RouteLLM, Apache-2.0): `routellm_outcomes.csv.gz` in
VANTA_BENCH_DATA, or in `../shared/data` beside the checkout.
"""

from __future__ import annotations

import math
import os
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vanta.routing import Router, ShareKeeper
from vanta_tuning.fitting import OutcomeRow, apgr, fit_router, read_outcomes

from .report import Figure, percentile
from .settings import Settings

SUMMARY = "APGR, share of calls and cost of the router, on outcomes that it has not seen"

FILE = "routellm_outcomes.csv.gz"
SHARE = 0.3
SHARE_GOAL_POINTS = 2.0
DECISION_GOAL_US = 100.0


@dataclass(frozen=True, slots=True)
class Suite:
    """One set of prompts. labels: rows to fit on; unlabelled: more that set thresholds only."""

    name: str
    labels: int
    unlabelled: int
    goal: float


SUITES = (Suite("mmlu", 1500, 3000, 0.68), Suite("gsm8k", 660, 0, 0.65))


@dataclass(slots=True)
class Runs:
    """What the seeds came to: APGR by who ranks, shares of calls, microseconds a decision."""

    apgr: dict[str, list[float]] = field(default_factory=dict)
    shares: list[float] = field(default_factory=list)
    kept: list[float] = field(default_factory=list)
    held_out: int = 0
    decisions_us: list[float] = field(default_factory=list)

    def mean(self, who: str) -> float:
        """The mean APGR over the seeds."""
        return statistics.fmean(self.apgr[who])


def run(settings: Settings) -> Iterator[Figure]:
    """Fit and score, seed by seed."""
    seeds = settings.times(5, 2)
    path = _data()
    for suite in SUITES:
        if path is None:
            yield from _missing(suite)
            continue
        rows = read_outcomes(path, where={"bench": suite.name})
        runs = Runs()
        for seed in range(seeds):
            _measure(runs, suite, rows, seed)
            settings.progress(suite.name, seed + 1, seeds)
        yield from _figures(suite, runs)


def _measure(runs: Runs, suite: Suite, rows: Sequence[OutcomeRow], seed: int) -> None:
    fitting, unlabelled, scored = _deal(rows, suite, seed)
    router = fit_router(fitting).router
    if unlabelled:
        router = router.calibrated(row.prompt for row in unlabelled)
    scores = [router.difficulty(row.prompt) for row in scored]
    gains = [row.gain for row in scored]
    chance = random.Random(seed)  # noqa: S311 - the baseline of choosing at random
    rivals = {
        "router": scores,
        "length": [float(len(row.prompt)) for row in scored],
        "random": [chance.random() for _ in scored],
        "oracle": gains,
    }
    for who, values in rivals.items():
        runs.apgr.setdefault(who, []).append(apgr(values, gains) or math.nan)
    threshold = router.threshold(SHARE)
    runs.shares.append(sum(score > threshold for score in scores) / len(scores))
    keeper = ShareKeeper(router, SHARE)
    runs.kept.append(sum(keeper.is_hard(row.prompt) for row in scored) / len(scored))
    runs.held_out = len(scored)
    runs.decisions_us += _timed(router, scored[:500])


def _deal(
    rows: Sequence[OutcomeRow], suite: Suite, seed: int
) -> tuple[list[OutcomeRow], list[OutcomeRow], list[OutcomeRow]]:
    """Rows to fit on, rows for thresholds, rows to score; no prompt is in two of them."""
    twins: dict[str, list[OutcomeRow]] = {}
    for row in rows:
        twins.setdefault(row.prompt, []).append(row)
    prompts = list(twins)
    random.Random(seed).shuffle(prompts)  # noqa: S311 - an order of rows
    dealt: tuple[list[OutcomeRow], ...] = ([], [], [])
    for prompt in prompts:
        place = 0 if len(dealt[0]) < suite.labels else 1 if len(dealt[1]) < suite.unlabelled else 2
        dealt[place].extend(twins[prompt])
    return dealt[0], dealt[1], dealt[2]


def _timed(router: Router, rows: Sequence[OutcomeRow]) -> Iterator[float]:
    for row in rows:
        begun = time.perf_counter_ns()
        router.difficulty(row.prompt)
        yield (time.perf_counter_ns() - begun) / 1000


def _figures(suite: Suite, runs: Runs) -> Iterator[Figure]:
    each = ", ".join(f"{value:.3f}" for value in runs.apgr["router"])
    yield Figure(
        name=f"{suite.name}: APGR",
        value=runs.mean("router"),
        unit="",
        better="higher",
        goal=suite.goal,
        peer="prompt length alone",
        peer_value=runs.mean("length"),
        note=f"{suite.labels} labels, mean of {len(runs.shares)} seeds ({each}), "
        f"{runs.held_out} rows held out of each.",
    )
    for who, told in (("random", "0.5 is expected"), ("oracle", "knows both outcomes")):
        yield Figure(
            name=f"{suite.name}: APGR of {'a random order' if who == 'random' else 'the oracle'}",
            value=runs.mean(who),
            unit="",
            better="higher",
            note=told,
        )
    yield _share(suite, "", runs.shares, runs.held_out)
    yield _share(suite, " by thresholds that follow the traffic", runs.kept, runs.held_out)
    yield Figure(
        name=f"{suite.name}: a decision, median",
        value=percentile(runs.decisions_us, 0.5),
        unit="us",
        goal=DECISION_GOAL_US,
        note=f"p99 {percentile(runs.decisions_us, 0.99):.0f} us, each text for the first time but "
        "one; wall-clock, so a busy machine shows in it",
    )


def _share(suite: Suite, how: str, shares: Sequence[float], rows: int) -> Figure:
    off = [abs(share - SHARE) * 100 for share in shares]
    each = ", ".join(f"{share:.1%}" for share in shares)
    chance = 100 * math.sqrt(SHARE * (1 - SHARE) / rows)
    return Figure(
        name=f"{suite.name}: off a share of {SHARE:.0%}{how}, mean of seeds",
        value=statistics.fmean(off),
        unit="points",
        goal=SHARE_GOAL_POINTS,
        note=f"{each}; worst {max(off):.1f}. With {rows} rows, chance alone moves a fixed "
        f"threshold's share by {chance:.1f} points (one standard deviation).",
    )


def _data() -> Path | None:
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    path = Path(os.environ.get("VANTA_BENCH_DATA", beside)) / FILE
    return path if path.is_file() else None


def _missing(suite: Suite) -> Iterator[Figure]:
    note = f"{FILE} is not there: name its folder in VANTA_BENCH_DATA"
    yield Figure(
        name=f"{suite.name}: APGR", value=None, unit="", better="higher", goal=suite.goal, note=note
    )
