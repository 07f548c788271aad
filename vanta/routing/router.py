"""The router: how hard a message is, from its text alone, before anything is generated.

Two logistic models over hashed features (`vanta.routing.features`) estimate P(right) of the weak
and of the strong track; the calibrated difference is the difficulty. Invariant: `difficulty`
depends on the text and the model file alone, needs no network, library or random number, and takes
at most some hundred microseconds for any text. A `ShareKeeper` keeps the share of hard messages on
any traffic: after n decisions their number is within 1 / RATE + 2 of n times the share.

No fitted model is shipped, because difficulty depends on the tracks. `Router.unfitted()` is the
labelled stand-in: longer is harder.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from statistics import NormalDist
from typing import Any

from vanta.errors import UsageError
from vanta.routing import model_files
from vanta.routing.features import VERSION as FEATURES_VERSION
from vanta.routing.features import features, named
from vanta.routing.logistic import Linear, Platt, sigmoid
from vanta.routing.signals import quantile, quantiles
from vanta.scheduling.policy import Policy

KIND = "router"
VERSION = 1
QUANTILES = 200

RATE = 0.02
"""How far one decision moves the level: 2,500 decisions end within about 2 points of the share."""

_TYPICAL_CHARS = 200
_SPREAD = 1.2
"""The standard deviation of the log length of messages: a guess, used without a fitted model."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """The effect of one feature.

    :param feature: its name, for people.
    :param push: its change of the difficulty; above 0 towards the strong track.
    """

    feature: str
    push: float


@dataclass(frozen=True, slots=True)
class RouterModel:
    """The numbers of a fitted router.

    :param weak: P(the weak track is right).
    :param strong: P(the strong track is right), over the same features.
    :param needed: P(the strong track is needed), from its expected gain.
    :param difficulties: quantiles of the difficulty of unseen messages like the fitted ones.
    :param about: the data it was fitted on and its figures there.
    """

    weak: Linear
    strong: Linear
    needed: Platt
    difficulties: tuple[float, ...]
    about: Mapping[str, Any] = field(default_factory=dict)

    def gain(self, found: Set[int]) -> float:
        """Return how much more often the strong track is right, -1 to 1."""
        known = self.weak.known(found)
        return sigmoid(self.strong.logit(known)) - sigmoid(self.weak.logit(known))

    def difficulty(self, found: Set[int]) -> float:
        """Return the probability that the strong track is needed."""
        return self.needed(self.gain(found))

    def push(self, found: Set[int], feature: int) -> float:
        """Return how much one of the known features adds to the difficulty."""
        known = self.weak.known(found)
        root = math.sqrt(len(known) or 1)
        weak = self.weak.logit(known) - self.weak.weights[feature] / root
        strong = self.strong.logit(known) - self.strong.weights[feature] / root
        return self.difficulty(found) - self.needed(sigmoid(strong) - sigmoid(weak))


class Router:
    """Estimate how hard messages are. Create one with `load`, `unfitted` or from a fitted model.

    :param model: the fitted numbers, None for the stand-in by length.
    :param path: the model file to read when it is first needed.
    """

    def __init__(self, model: RouterModel | None = None, *, path: Path | None = None) -> None:
        self._model = model
        self._path = path

    @classmethod
    def load(cls, path: str | Path) -> Router:
        """Return the router of a model file, which is read when it is first needed.

        A broken file raises UsageError then, or at once from `check`.
        """
        return cls(path=Path(path))

    @classmethod
    def unfitted(cls) -> Router:
        """Return the stand-in without a fitted model: the longer, the harder."""
        return cls()

    @property
    def fitted(self) -> bool:
        """Whether its probabilities come from outcomes; otherwise they are a guess by length."""
        return self._model is not None or self._path is not None

    @property
    def about(self) -> Mapping[str, Any]:
        """The data it was fitted on and its figures there; empty if unfitted."""
        model = self.check()
        return model.about if model else {}

    def check(self) -> RouterModel | None:
        """Return the model, None if unfitted.

        :raises UsageError: the file is broken.
        """
        if self._model is None and self._path is not None:
            self._model = read_model(self._path)
        return self._model

    def difficulty(self, text: str) -> float:
        """Return the probability that the strong track is needed, 0 to 1."""
        model = self._model or self.check()
        return model.difficulty(features(text)) if model else _by_length(text)

    def threshold(self, share: float) -> float:
        """Return the difficulty above which a share of messages lies.

        :param share: 0 to 1, the share for the strong track; 0 lets none pass, 1 all but ties.
        :raises UsageError: the share is out of range.
        """
        _check_share(share)
        if share in (0, 1):
            return 1.0 - share
        model = self.check()
        return quantile(model.difficulties if model else _GUESSED, 1 - share)

    def is_hard(self, text: str, share: float) -> bool:
        """Return whether `text` is among the hardest `share` of messages."""
        return self.difficulty(text) > self.threshold(share)

    def explain(self, text: str) -> list[Contribution]:
        """Return what pushes the difficulty up or down, the strongest first.

        A push is the change of the difficulty if this feature alone were missing. Pushes do not
        add up to the difficulty, since probabilities are not sums.
        """
        model = self.check()
        if model is None:
            return [Contribution(f"{len(text)} characters", _by_length(text) - _by_length(_MIDDLE))]
        names = named(text)
        pushes = [
            Contribution(names[feature], model.push(names.keys(), feature))
            for feature in model.weak.known(names.keys())
        ]
        return sorted(pushes, key=lambda push: (-abs(push.push), push.feature))

    def calibrated(self, prompts: Iterable[str]) -> Router:
        """Return the same router with thresholds for messages like `prompts`.

        :param prompts: messages; their outcomes are not needed.
        :raises UsageError: the router is unfitted or there are no prompts.
        """
        model = self.check()
        difficulties = sorted(map(self.difficulty, prompts))
        if model is None or not difficulties:
            raise UsageError("thresholds need a fitted router and some prompts.")
        return Router(dataclasses.replace(model, difficulties=quantiles(difficulties, QUANTILES)))

    def save(self, path: Path) -> None:
        """Write the model file.

        :raises UsageError: the router is unfitted, or the file cannot be written.
        """
        model = self.check()
        if model is None:
            raise UsageError("an unfitted router has nothing to save: fit it first.")
        model_files.write(path, KIND, VERSION, _as_data(model))


class ShareKeeper:
    """Keep a share of calls on traffic that differs from what the router was fitted on.

    The level is the share that the router is asked for; it integrates the difference between the
    wanted and the actual share, so an error of the thresholds cannot last. Deterministic; for one
    event loop.

    :param router: any router.
    :param share: 0 to 1, the share for the strong track.
    :raises UsageError: the share is out of range.
    """

    def __init__(self, router: Router, share: float) -> None:
        _check_share(share)
        self._router = router
        self._share = share
        self.level = share

    def is_hard(self, text: str) -> bool:
        """Return whether `text` goes to the strong track. Counts as a decision."""
        level = min(max(self.level, 0.0), 1.0)
        hard = self._router.difficulty(text) > self._router.threshold(level)
        self.level += RATE * (self._share - hard)
        return hard


class PolicyRouting:
    """The router's decisions, with one `ShareKeeper` for each policy."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._keepers: dict[str, ShareKeeper] = {}

    def is_hard(self, text: str, policy: Policy) -> bool | None:
        """Return whether a message is hard, None if the policy does not route. Counts."""
        if not policy.routes:
            return None
        if policy.name not in self._keepers:
            self._keepers[policy.name] = ShareKeeper(self._router, policy.route_share)
        return self._keepers[policy.name].is_hard(text)


def read_model(path: Path) -> RouterModel:
    """Return the model of a file; raise UsageError if it does not fit."""
    data = model_files.read(path, KIND, VERSION)
    try:
        return _from_data(data)
    except ValueError as error:
        raise model_files.broken(path, KIND, error) from error


def _from_data(data: Mapping[str, Any]) -> RouterModel:
    if data.get("features") != FEATURES_VERSION:
        raise ValueError(f"it was fitted on features of version {data.get('features')!r}")
    calibration = _table(data, "calibration")
    difficulties = model_files.numbers(data.get("difficulties"), 0, 1)
    if len(difficulties) < 2 or list(difficulties) != sorted(difficulties):
        raise ValueError("its difficulties are not an ascending list")
    keys = model_files.unpack_keys(data.get("hashes"))
    slope = model_files.number(calibration.get("slope"), 0)
    return RouterModel(
        weak=_linear(keys, _table(data, "weak")),
        strong=_linear(keys, _table(data, "strong")),
        needed=Platt(slope, model_files.number(calibration.get("offset"))),
        difficulties=difficulties,
        about=_table(data, "about"),
    )


def _as_data(model: RouterModel) -> dict[str, Any]:
    keys = sorted(model.weak.weights)
    return {
        "features": FEATURES_VERSION,
        "about": dict(model.about),
        "calibration": {"slope": model.needed.slope, "offset": model.needed.offset},
        "difficulties": [round(value, 12) for value in model.difficulties],
        "hashes": model_files.pack_keys(keys),
        "weak": _linear_data(model.weak, keys),
        "strong": _linear_data(model.strong, keys),
    }


def _linear_data(linear: Linear, keys: Sequence[int]) -> dict[str, Any]:
    weights = model_files.pack_weights([linear.weights[key] for key in keys])
    return {"intercept": linear.intercept, **weights}


def _linear(keys: Sequence[int], data: Mapping[str, Any]) -> Linear:
    weights = model_files.unpack_weights(data)
    if len(weights) != len(keys):
        raise ValueError(f"{len(keys)} features have {len(weights)} weights")
    intercept = model_files.number(data.get("intercept"))
    return Linear(dict(zip(keys, weights, strict=True)), intercept)


def _table(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    table = data.get(name)
    if not isinstance(table, dict):
        raise ValueError(f"it has no {name!r}")  # noqa: TRY004 - one error for broken files
    return table


def _check_share(share: float) -> None:
    if not 0 <= share <= 1:
        raise UsageError(f"a share must be between 0 and 1, not {share!r}.")


def _by_length(text: str) -> float:
    return sigmoid((math.log((1 + len(text)) / _TYPICAL_CHARS)) / _SPREAD - 1)


def _guesses() -> Sequence[float]:
    """Return the difficulties of texts whose lengths are log-normal around the typical one."""
    middle = NormalDist(math.log(_TYPICAL_CHARS), _SPREAD)
    lengths = [math.exp(middle.inv_cdf((i + 0.5) / QUANTILES)) for i in range(QUANTILES)]
    return [sigmoid(math.log((1 + length) / _TYPICAL_CHARS) / _SPREAD - 1) for length in lengths]


_MIDDLE = " " * _TYPICAL_CHARS
_GUESSED = _guesses()
