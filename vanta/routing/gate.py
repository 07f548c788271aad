"""The calibrated gate: a threshold on it is a probability of being right.

`vanta gate fit` fits its model on recorded outcomes. Invariant: the gate never raises for an
answer. Likelier tokens never make an answer less likely to be right, nor does the lack of a refusal
or of a cut: these weights have one sign. Without a model the gate judges as the `signals` gate
does, and every verdict says so.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vanta.messages import Completion
from vanta.routing import model_files
from vanta.routing.logistic import Platt, Steps, logit, sigmoid
from vanta.routing.signals import Signals, signals
from vanta.scheduling.gate import SignalsGate, Verdict
from vanta.scheduling.policy import GateRule

KIND = "gate"
VERSION = 1
SIGNALS = (
    "mean logprob",
    "10 % quantile",
    "median",
    "least likely token",
    "refusal",
    "cut off",
    "no logprobs",
    "length",
)
SIGNS = (1, 1, 1, 1, -1, -1, 0, 0)
"""The sign of each signal's weight: at least 0, at most 0, either."""

_ENOUGH_TOKENS = 16
_MOST_LOG_ODDS = 6.0
"""More certain probabilities, below 0.25 % or above 99.75 %, count as this."""

_FAR = 0.5
"""An unfinished answer is given up below this share of the required probability."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A logistic model over standardised signals and a calibration curve over its log-odds.

    :param weights: one for each of `SIGNALS`.
    :param intercept: the log-odds of an answer with mean signals.
    :param means: the mean of each signal.
    :param spreads: the standard deviation of each signal.
    :param curve: from log-odds to the share of right answers.
    """

    weights: tuple[float, ...]
    intercept: float
    means: tuple[float, ...]
    spreads: tuple[float, ...]
    curve: Platt | Steps

    def logit(self, found: Signals) -> float:
        """Return the log-odds before calibration."""
        values = zip(vector(found, self.means), self.means, self.spreads, self.weights, strict=True)
        return self.intercept + sum((x - mean) / spread * w for x, mean, spread, w in values)

    def probability(self, found: Signals) -> float:
        """Return P(right)."""
        return self.curve(self.logit(found))


@dataclass(frozen=True, slots=True)
class VerifierModel:
    """P(right) of an answer from the gate's P(right) and a verifier's P(yes).

    A model asked whether an answer is right is ordered well and calibrated badly, often close to
    certain; and what the gate saw still counts. A logistic model over both log-odds answers both.

    :param gate: the weight of the gate's log-odds, at least 0.
    :param yes: the weight of the verifier's log-odds, at least 0.
    :param intercept: the log-odds where both are 0.
    """

    gate: float
    yes: float
    intercept: float

    def probability(self, right: float, yes: float) -> float:
        """Return P(right).

        :param right: the gate's P(right).
        :param yes: the verifier's P(yes).
        """
        first, second = verified_vector(right, yes)
        return sigmoid(self.intercept + self.gate * first + self.yes * second)


@dataclass(frozen=True, slots=True)
class GateModel:
    """The fitted gate.

    :param whole: judges finished answers.
    :param part: judges unfinished ones; fitted on the beginnings of the same answers.
    :param about: the data it was fitted on and its figures there.
    :param verifier: judges answers that a verifier saw; None if no word of one was recorded.
    """

    whole: Judgement
    part: Judgement
    about: Mapping[str, Any] = field(default_factory=dict)
    verifier: VerifierModel | None = None

    @classmethod
    def load(cls, path: Path) -> GateModel:
        """Read a model file.

        :raises UsageError: the file is missing or broken.
        """
        data = model_files.read(path, KIND, VERSION)
        try:
            about = data.get("about")
            if not isinstance(about, dict):
                raise ValueError("it has no 'about'")  # noqa: TRY004 - one error for broken files
            whole, part = _judgement(data.get("whole")), _judgement(data.get("part"))
            return cls(whole, part, about, _verifier(data.get("verifier")))
        except ValueError as error:
            raise model_files.broken(path, KIND, error) from error

    def save(self, path: Path) -> None:
        """Write the model file.

        :raises UsageError: it cannot be written.
        """
        data = {"about": dict(self.about), "whole": _data(self.whole), "part": _data(self.part)}
        if self.verifier:
            data["verifier"] = dataclasses.asdict(self.verifier)
        model_files.write(path, KIND, VERSION, data)


class CalibratedGate:
    """Accept an answer that is right with at least `rule.min_probability`.

    The rule's limits on mean logprobs belong to the other gate. Margins are in log-odds.

    :param model: a fitted model, or the path of its file; None if there is none.
    :raises UsageError: the file is missing or broken.
    """

    name = "calibrated"

    def __init__(self, model: GateModel | Path | None = None) -> None:
        self._model = GateModel.load(model) if isinstance(model, Path) else model
        self._plain = SignalsGate()

    @property
    def fitted(self) -> bool:
        """Whether its probabilities come from outcomes."""
        return self._model is not None

    def probability(self, found: Signals) -> float | None:
        """Return P(a finished answer with these signals is right), None without a model."""
        return self._model.whole.probability(found) if self._model else None

    def doubt(self, found: Signals) -> float | None:
        """Return P(an answer that begins like this ends wrong), None without a model."""
        return 1 - self._model.part.probability(found) if self._model else None

    async def judge(self, answer: Completion, rule: GateRule) -> Verdict:
        """Accept or reject a finished answer, without I/O."""
        right = self.probability(found := signals(answer))
        if right is None:
            plain = await self._plain.judge(answer, rule)
            why = f"{plain.why} (the calibrated gate is not fitted: `vanta gate fit`)"
            return Verdict(plain.accepted, plain.score, why, plain.margin)
        if answer.tool_calls:
            return Verdict(True, right, "calls a tool")
        if found.chars < rule.min_chars:
            return Verdict(
                False, right, f"{found.chars} characters, at least {rule.min_chars} needed"
            )
        if rule.refusals and found.refusal:
            return Verdict(False, right, "declines to answer")
        margin = logit(right) - logit(rule.min_probability)
        if right < rule.min_probability:
            why = f"right with {right:.0%}, {rule.min_probability:.0%} needed"
            return Verdict(False, right, why, margin)
        return Verdict(True, right, f"right with {right:.0%}", margin)

    def verified(self, verdict: Verdict, yes: float) -> float | None:
        """Return P(an answer is right to which a verifier says yes with probability `yes`).

        :param verdict: this gate's verdict on the answer.
        :param yes: the verifier's P(yes), 0 to 1.
        :returns: None without a model that was fitted with a verifier's words.
        """
        if self._model is None or self._model.verifier is None or verdict.score is None:
            return None
        return self._model.verifier.probability(verdict.score, yes)

    def give_up(self, answer: Completion, rule: GateRule) -> str | None:
        """Return why an unfinished answer is certain enough to be rejected, None if it is not."""
        if self._model is None:
            return self._plain.give_up(answer, rule)
        found = signals(answer)
        doubt = self.doubt(found)
        if doubt is None or found.tokens < _ENOUGH_TOKENS:
            return None
        if 1 - doubt < rule.min_probability * _FAR:
            return f"right with {1 - doubt:.0%} after {found.tokens} tokens"
        return None


def vector(found: Signals, typical: tuple[float, ...] | None = None) -> list[float]:
    """Return the signals as numbers in the order of `SIGNALS`.

    :param typical: the values that stand in for missing logprobs; 0 without them.
    """
    if found.mean is None or found.low is None or found.middle is None or found.least is None:
        logprobs = list(typical[:4]) if typical else [0.0] * 4
    else:
        logprobs = [found.mean, found.low, found.middle, found.least]
    return [
        *logprobs,
        float(found.refusal),
        float(found.cut_off),
        float(found.mean is None),
        math.log1p(found.tokens or found.chars / 4),
    ]


def verified_vector(right: float, yes: float) -> tuple[float, float]:
    """Return the log-odds of the gate's P(right) and of a verifier's P(yes), both bounded.

    Without logprobs a verifier's yes is 1 or 0, which is not a certainty.
    """
    return _bounded(logit(right)), _bounded(logit(yes))


def _bounded(log_odds: float) -> float:
    return min(max(log_odds, -_MOST_LOG_ODDS), _MOST_LOG_ODDS)


def _verifier(data: object) -> VerifierModel | None:
    if data is None:
        return None
    if not isinstance(data, dict):
        raise ValueError("its 'verifier' is not an object")  # noqa: TRY004 - one error for all
    number = model_files.number
    gate, yes = number(data.get("gate"), 0), number(data.get("yes"), 0)
    return VerifierModel(gate, yes, number(data.get("intercept")))


def _data(judgement: Judgement) -> dict[str, Any]:
    curve = judgement.curve
    points: dict[str, Any]
    if isinstance(curve, Platt):
        points = {"slope": curve.slope, "offset": curve.offset}
    else:
        points = {"scores": curve.scores, "probabilities": curve.probabilities}
    return {
        "signals": SIGNALS,
        "weights": judgement.weights,
        "intercept": judgement.intercept,
        "means": judgement.means,
        "spreads": judgement.spreads,
        "curve": points,
    }


def _judgement(data: object) -> Judgement:
    if not isinstance(data, dict) or data.get("signals") != list(SIGNALS):
        raise ValueError(f"it does not judge by {', '.join(SIGNALS)}")
    numbers = model_files.numbers
    weights, means = numbers(data.get("weights")), numbers(data.get("means"))
    spreads = numbers(data.get("spreads"), 1e-9)
    if not len(weights) == len(means) == len(spreads) == len(SIGNALS):
        raise ValueError(f"it does not have {len(SIGNALS)} weights, means and spreads")
    if any(weight * sign < 0 for weight, sign in zip(weights, SIGNS, strict=True)):
        raise ValueError("a weight has the wrong sign")
    intercept = model_files.number(data.get("intercept"))
    return Judgement(weights, intercept, means, spreads, _curve(data.get("curve")))


def _curve(data: object) -> Platt | Steps:
    if not isinstance(data, dict):
        raise ValueError("it has no 'curve'")  # noqa: TRY004 - one error for broken files
    if "slope" in data:
        slope, offset = model_files.number(data["slope"], 0), data.get("offset")
        return Platt(slope, model_files.number(offset))
    scores = model_files.numbers(data.get("scores"))
    chances = model_files.numbers(data.get("probabilities"), 0, 1)
    if not scores or len(scores) != len(chances):
        raise ValueError("its curve does not have as many probabilities as scores")
    if list(chances) != sorted(chances) or list(scores) != sorted(set(scores)):
        raise ValueError("its curve falls")
    return Steps(scores, chances)
