"""The ranking and the speed of the router, on recorded outcomes of a weak and a strong model.

For each seed the rows are split: several hundred fit the router, further rows (MMLU only) calibrate
the thresholds without their outcomes, and the remaining, unseen rows are scored. A second router is
fitted on few rows, and its thresholds are scored as they are. Rows with the same prompt stay
together. The router, prompt length alone, random order and the oracle rank the same
rows. Invariant: no scored row is ever used for fitting.

The data is RouteLLM's (github.com/lm-sys/RouteLLM, Apache-2.0), in the file
`routellm_outcomes.csv.gz` (see `benchmarks.report.data_file`).
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from vanta.routing import Router, ShareKeeper
from vanta_tuning.fitting import OutcomeRow, apgr, fit_router, read_outcomes

from .report import Figure, Settings, data_file, missing_data, percentile

SUMMARY = "APGR, share of calls and speed of the router, on unseen outcomes"

FILE = "routellm_outcomes.csv.gz"
SHARE = 0.3
SHARE_GOAL_POINTS = 2.0
QUICK_EVERY = 4
"""A quick run takes one of so many rows."""

FEW = 200
FEW_GOAL_POINTS = 4.0
DECISION_GOAL_US = 100.0


@dataclass(frozen=True, slots=True)
class RouteSuite:
    """A set of prompts, with the number of rows to fit on and of rows that only calibrate."""

    name: str
    labels: int
    unlabelled: int
    goal: float

    def part(self, every: int) -> RouteSuite:
        """Return the suite for one of `every` rows; its goals stay those of all rows."""
        labels, unlabelled = self.labels // every, self.unlabelled // every
        return replace(self, labels=labels, unlabelled=unlabelled)


SUITES = (RouteSuite("mmlu", 1500, 3000, 0.68), RouteSuite("gsm8k", 660, 0, 0.65))


@dataclass(slots=True)
class SeedResults:
    """APGR by ranking, shares of calls, Brier scores, and microseconds per decision of all seeds.

    `shares` and `kept` are those of the router, `few` those of the one with few labels. `brier` is
    that of its difficulties, `base_brier` that of the share of labelled rows that need the strong
    track.
    """

    apgr: dict[str, list[float]] = field(default_factory=dict)
    shares: list[float] = field(default_factory=list)
    kept: list[float] = field(default_factory=list)
    few: list[float] = field(default_factory=list)
    brier: list[float] = field(default_factory=list)
    base_brier: list[float] = field(default_factory=list)
    held_out: int = 0
    decisions_us: list[float] = field(default_factory=list)

    def mean(self, ranking: str) -> float:
        """Return the mean APGR of a ranking over the seeds."""
        return statistics.fmean(self.apgr[ranking])


def run(settings: Settings) -> Iterator[Figure]:
    """Fit and score the router for each seed."""
    seeds = settings.times(5, 2)
    path = data_file(FILE)
    for suite in SUITES:
        if path is None:
            yield from _missing(suite)
            continue
        rows = read_outcomes(path, where={"bench": suite.name})
        part = suite
        if settings.quick:
            rows = rows[::QUICK_EVERY]
            part = suite.part(QUICK_EVERY)
        results = SeedResults()
        for seed in range(seeds):
            _measure(results, part, rows, seed)
            settings.progress(suite.name, seed + 1, seeds)
        yield from _figures(part, results)


def _measure(
    results: SeedResults, suite: RouteSuite, rows: Sequence[OutcomeRow], seed: int
) -> None:
    fitted, unlabelled, scored = split(rows, suite, seed)
    router = fit_router(fitted).router
    if unlabelled:
        router = router.calibrated(row.prompt for row in unlabelled)
    scores = [router.difficulty(row.prompt) for row in scored]
    gains = [row.gain for row in scored]
    rng = random.Random(seed)  # noqa: S311 - the random baseline
    rankings = {
        "router": scores,
        "length": [float(len(row.prompt)) for row in scored],
        "random": [rng.random() for _ in scored],
        "oracle": gains,
    }
    for ranking, values in rankings.items():
        results.apgr.setdefault(ranking, []).append(apgr(values, gains) or math.nan)
    threshold = router.threshold(SHARE)
    results.shares.append(sum(score > threshold for score in scores) / len(scores))
    keeper = ShareKeeper(router, SHARE)
    results.kept.append(sum(keeper.is_hard(row.prompt) for row in scored) / len(scored))
    results.few.append(_few_share(fitted, scored))
    _calibration(results, fitted, scores, gains)
    results.held_out = len(scored)
    results.decisions_us += _timed(router, scored[:500])


def _few_share(fitted: Sequence[OutcomeRow], scored: Sequence[OutcomeRow]) -> float:
    """Return the share of calls of a router with few labels, by its own thresholds."""
    router = fit_router(fitted[:FEW]).router
    return statistics.fmean(router.is_hard(row.prompt, SHARE) for row in scored)


def _calibration(
    results: SeedResults,
    fitted: Sequence[OutcomeRow],
    scores: Sequence[float],
    gains: Sequence[float],
) -> None:
    rate = statistics.fmean(row.gain > 0 for row in fitted)
    needed = [gain > 0 for gain in gains]
    results.brier.append(
        statistics.fmean((score - need) ** 2 for score, need in zip(scores, needed, strict=True))
    )
    results.base_brier.append(statistics.fmean((rate - need) ** 2 for need in needed))


def split(
    rows: Sequence[OutcomeRow], suite: RouteSuite, seed: int
) -> tuple[list[OutcomeRow], list[OutcomeRow], list[OutcomeRow]]:
    """Return rows to fit on, to calibrate and to score; no prompt is in two of them."""
    by_prompt: dict[str, list[OutcomeRow]] = {}
    for row in rows:
        by_prompt.setdefault(row.prompt, []).append(row)
    prompts = list(by_prompt)
    random.Random(seed).shuffle(prompts)  # noqa: S311 - an order of rows
    parts: tuple[list[OutcomeRow], ...] = ([], [], [])
    for prompt in prompts:
        index = 0 if len(parts[0]) < suite.labels else 1 if len(parts[1]) < suite.unlabelled else 2
        parts[index].extend(by_prompt[prompt])
    return parts[0], parts[1], parts[2]


def _timed(router: Router, rows: Sequence[OutcomeRow]) -> Iterator[float]:
    for row in rows:
        begun = time.perf_counter_ns()
        router.difficulty(row.prompt)
        yield (time.perf_counter_ns() - begun) / 1000


def _figures(suite: RouteSuite, results: SeedResults) -> Iterator[Figure]:
    by_seed = ", ".join(f"{value:.3f}" for value in results.apgr["router"])
    yield Figure(
        name=f"{suite.name}: APGR",
        value=results.mean("router"),
        unit="",
        better="higher",
        goal=suite.goal,
        peer="prompt length alone",
        peer_value=results.mean("length"),
        note=f"{suite.labels} labels, mean of {len(results.shares)} seeds ({by_seed}), "
        f"{results.held_out} rows held out of each.",
    )
    references = (
        ("random", "a random order", "0.5 is expected"),
        ("oracle", "the oracle", "knows both outcomes"),
    )
    for ranking, title, note in references:
        yield Figure(
            name=f"{suite.name}: APGR of {title}",
            value=results.mean(ranking),
            unit="",
            better="higher",
            note=note,
        )
    yield _share(suite, "", results.shares, results.held_out)
    yield _share(suite, " by thresholds that follow the traffic", results.kept, results.held_out)
    yield _share(suite, f" with {FEW} labels", results.few, FEW, FEW_GOAL_POINTS)
    base = statistics.fmean(results.base_brier)
    yield Figure(
        name=f"{suite.name}: Brier score of the difficulty",
        value=statistics.fmean(results.brier),
        unit="",
        goal=round(base + 0.001, 4),
        peer="the base rate alone",
        peer_value=base,
        note="0 is perfect; the goal is the base rate's score, with 0.001 for chance",
    )
    yield Figure(
        name=f"{suite.name}: a decision, median",
        value=percentile(results.decisions_us, 0.5),
        unit="us",
        goal=DECISION_GOAL_US,
        note=f"p99 {percentile(results.decisions_us, 0.99):.0f} us, each text for the second time; "
        "wall-clock time, which includes the load of the machine",
    )


def _share(
    suite: RouteSuite,
    suffix: str,
    shares: Sequence[float],
    rows: int,
    goal: float = SHARE_GOAL_POINTS,
) -> Figure:
    errors = [abs(share - SHARE) * 100 for share in shares]
    by_seed = ", ".join(f"{share:.1%}" for share in shares)
    deviation = 100 * math.sqrt(SHARE * (1 - SHARE) / rows)
    return Figure(
        name=f"{suite.name}: off a share of {SHARE:.0%}{suffix}, mean of seeds",
        value=statistics.fmean(errors),
        unit="points",
        goal=goal,
        note=f"{by_seed}; worst {max(errors):.1f}. With {rows} rows, chance alone moves a fixed "
        f"threshold's share by {deviation:.1f} points (one standard deviation).",
    )


def _missing(suite: RouteSuite) -> Iterator[Figure]:
    note = missing_data(FILE)
    yield Figure(
        name=f"{suite.name}: APGR", value=None, unit="", better="higher", goal=suite.goal, note=note
    )
