"""The router: how hard is a message, from its text alone, before anything is generated.

Two logistic models over hashed features (`vanta.routing.features`) estimate whether the weak and
whether the strong track get it right; what the strong one gains is their difference, made a
probability. Invariant: `difficulty` depends on the text and the model file alone, needs no network,
no library and no random number, and takes at most some hundred microseconds for any text.

No fitted model is shipped: what is easy is the tracks' affair and shows in their outcomes only.
`Router.unfitted()` is the labelled stand-in until then: longer is harder.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vanta.errors import UsageError
from vanta.routing import features, files
from vanta.routing.calibration import Platt
from vanta.routing.linear import Linear, sigmoid
from vanta.routing.quantiles import quantile, quantiles

KIND = "router"
VERSION = 1
QUANTILES = 200

_TYPICAL_CHARS = 200
_SPREAD = 1.2
"""Of the logarithm of a message's length, where nothing was measured: a guess, and labelled so."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one feature did: `push` is in difficulty, above 0 towards the strong track."""

    feature: str
    push: float


@dataclass(frozen=True, slots=True)
class Model:
    """A fitted router's numbers.

    weak, strong: P(this track is right), of the same features. needed: P(the strong track is
    needed), from its expected gain. difficulties: quantiles of the difficulty of messages like
    those that it was fitted on, but that it had not seen. about: what it was fitted on and how it
    did.
    """

    weak: Linear
    strong: Linear
    needed: Platt
    difficulties: tuple[float, ...]
    about: Mapping[str, Any] = field(default_factory=dict)

    def gain(self, found: Set[int]) -> float:
        """How much more often the strong track is right, -1 to 1."""
        known = self.weak.known(found)
        return sigmoid(self.strong.logit(known)) - sigmoid(self.weak.logit(known))

    def difficulty(self, found: Set[int]) -> float:
        """The probability that the strong track is needed."""
        return self.needed(self.gain(found))

    def push(self, found: Set[int], one: int) -> float:
        """How much the difficulty would be less without one of the known features."""
        known = self.weak.known(found)
        root = math.sqrt(len(known) or 1)
        weak = self.weak.logit(known) - self.weak.weights[one] / root
        strong = self.strong.logit(known) - self.strong.weights[one] / root
        return self.difficulty(found) - self.needed(sigmoid(strong) - sigmoid(weak))


class Router:
    """Says how hard messages are. Make one with `load`, `unfitted` or from a fitted `Model`."""

    def __init__(self, model: Model | None = None, *, path: Path | None = None) -> None:
        self._model = model
        self._path = path

    @classmethod
    def load(cls, path: str | Path) -> Router:
        """The router in a model file. The file is read at the first question: what is wrong with
        it raises UsageError there, or at once from `check`."""
        return cls(path=Path(path))

    @classmethod
    def unfitted(cls) -> Router:
        """The stand-in for when nothing was fitted: the longer, the harder."""
        return cls()

    @property
    def fitted(self) -> bool:
        """Whether outcomes are behind it; if not, its probabilities are a guess by length."""
        return self._model is not None or self._path is not None

    @property
    def about(self) -> Mapping[str, Any]:
        """What it was fitted on and how it did there; empty if unfitted."""
        model = self.check()
        return model.about if model else {}

    def check(self) -> Model | None:
        """The model, read if need be; None if unfitted. Raises UsageError for a broken file."""
        if self._model is None and self._path is not None:
            self._model = read_model(self._path)
        return self._model

    def difficulty(self, text: str) -> float:
        """The probability that the stronger track is needed, 0 to 1."""
        model = self._model or self.check()
        return model.difficulty(features.features(text)) if model else _by_length(text)

    def threshold(self, share: float) -> float:
        """The difficulty above which a `share` (0 to 1) of messages lies: those go to the stronger
        track. 0 lets none pass, 1 all but exact ties. Raises UsageError for another share."""
        if not 0 <= share <= 1:
            raise UsageError(f"a share of {share!r} is impossible: name one from 0 to 1.")
        if share in (0, 1):
            return 1.0 - share
        model = self.check()
        return quantile(model.difficulties if model else _GUESSED, 1 - share)

    def is_hard(self, text: str, share: float) -> bool:
        """Whether `text` is among the hardest `share` of messages."""
        return self.difficulty(text) > self.threshold(share)

    def explain(self, text: str) -> list[Contribution]:
        """What pushed the difficulty up or down, the strongest first.

        A push is how much the difficulty would have been other without this feature, all others
        as they are; pushes do not add up to the difficulty, since probabilities are no sums.
        """
        model = self.check()
        if model is None:
            return [Contribution(f"{len(text)} characters", _by_length(text) - _by_length(_MIDDLE))]
        names = features.named(text)
        pushes = [
            Contribution(names[one], model.push(names.keys(), one))
            for one in model.weak.known(names.keys())
        ]
        return sorted(pushes, key=lambda one: (-abs(one.push), one.feature))

    def calibrated(self, prompts: Iterable[str]) -> Router:
        """The same router with thresholds for messages like `prompts`, whose outcomes nobody needs
        to know. Raises UsageError if it is unfitted or there are none."""
        model = self.check()
        told = sorted(map(self.difficulty, prompts))
        if model is None or not told:
            raise UsageError("thresholds need a fitted router and some prompts.")
        return Router(dataclasses.replace(model, difficulties=quantiles(told, QUANTILES)))

    def save(self, path: Path) -> None:
        """Write the model file. Raises UsageError if there is nothing to write or no place."""
        model = self.check()
        if model is None:
            raise UsageError("an unfitted router has nothing to save: fit it first.")
        files.write(path, KIND, VERSION, _as_data(model))


def read_model(path: Path) -> Model:
    """The model in a file. Raises UsageError."""
    data = files.read(path, KIND, VERSION)
    try:
        if data.get("features") != features.VERSION:
            raise ValueError(f"it was fitted on features of version {data.get('features')!r}")
        calibration = _table(data, "calibration")
        difficulties = files.numbers(data.get("difficulties"), 0, 1)
        if len(difficulties) < 2 or list(difficulties) != sorted(difficulties):
            raise ValueError("its difficulties are no ascending list")
        keys = files.unpack_keys(data.get("hashes"))
        return Model(
            weak=_linear(keys, _table(data, "weak")),
            strong=_linear(keys, _table(data, "strong")),
            needed=Platt(
                files.number(calibration.get("slope"), 0), files.number(calibration.get("offset"))
            ),
            difficulties=difficulties,
            about=_table(data, "about"),
        )
    except ValueError as error:
        raise files.broken(path, KIND, error) from error


def _as_data(model: Model) -> dict[str, Any]:
    keys = sorted(model.weak.weights)
    return {
        "features": features.VERSION,
        "about": dict(model.about),
        "calibration": {"slope": model.needed.slope, "offset": model.needed.offset},
        "difficulties": [round(value, 6) for value in model.difficulties],
        "hashes": files.pack_keys(keys),
        "weak": _linear_data(model.weak, keys),
        "strong": _linear_data(model.strong, keys),
    }


def _linear_data(linear: Linear, keys: Sequence[int]) -> dict[str, Any]:
    weights = files.pack_weights([linear.weights[key] for key in keys])
    return {"intercept": linear.intercept, **weights}


def _linear(keys: Sequence[int], data: Mapping[str, Any]) -> Linear:
    weights = files.unpack_weights(data)
    if len(weights) != len(keys):
        raise ValueError(f"{len(keys)} features have {len(weights)} weights")
    return Linear(dict(zip(keys, weights, strict=True)), files.number(data.get("intercept")))


def _table(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = data.get(name)
    if not isinstance(found, dict):
        raise ValueError(f"it has no {name!r}")  # noqa: TRY004 - one error for broken files
    return found


def _by_length(text: str) -> float:
    return sigmoid((math.log((1 + len(text)) / _TYPICAL_CHARS)) / _SPREAD - 1)


_MIDDLE = " " * _TYPICAL_CHARS


def _guesses() -> Sequence[float]:
    """The difficulties of texts whose lengths are log-normal around the typical one."""
    from statistics import NormalDist

    middle = NormalDist(math.log(_TYPICAL_CHARS), _SPREAD)
    lengths = [math.exp(middle.inv_cdf((i + 0.5) / QUANTILES)) for i in range(QUANTILES)]
    return [sigmoid(math.log((1 + length) / _TYPICAL_CHARS) / _SPREAD - 1) for length in lengths]


_GUESSED = _guesses()
