"""Calibration: an estimate of one model's tokens that learns from what its server counted.

Each prompt whose tokens a server told is a sample. The weights of `vanta.context.text_features`'s
counts are fitted to the samples by least squares of the relative error, none below 0, drawn
towards the
usual ones (ridge regression). The reserve covers the largest shortfall among the samples, also by
what was said of them before they were seen; it grows with a power of the length, the one that
makes it least, since the parts of a long prompt make up for each other. Below `TRUSTED` samples it
is the estimate of `vanta.context.estimate`, times the highest ratio by which that fell short.
Invariant: no count is above the byte bound, which no byte-level tokenizer passes.

Safe in any thread. Numbers are kept, and no text.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from vanta.context.estimate import PER_CALL, PER_MESSAGE, PER_REPLY, estimate_text, estimate_tokens
from vanta.context.text_features import FEATURES, features
from vanta.engine import TokenCount
from vanta.messages import Message

TRUSTED = 32
"""Samples from which on the fit is used."""

KEPT = 512
"""Samples that the reserve is taken from, the latest."""

MARGIN = 0.015
"""A share that the reserve has beyond the largest shortfall; more while samples are few."""

PULL = 0.01
"""How strongly weights are drawn to the usual ones: about as much as one sample does."""

SHORTEST = 64
"""Tokens that a prompt has to have to be a sample: short ones say little, in relation."""

LONG = 256
"""Tokens from which on a prompt could fill a window; the reserve is for those, if there are any."""

POWERS = (0.5, 0.75, 1.0)
SWEEPS = 40
REMEMBERED = 4096
_FORMAT = (float(PER_MESSAGE - 1), float(PER_REPLY), float(PER_MESSAGE - 1))
_USUAL = (*(feature.usual for feature in FEATURES), *_FORMAT)
"""The usual weights: of the features, of a message, of a prompt, and of a prompt without a system
prompt, into which some chat templates put one of their own."""

_NO_FORMAT = (0,) * len(_FORMAT)


@dataclass(frozen=True, slots=True)
class Reserve:
    """Tokens beyond an estimate of n: `factor` times n to the `power`, and the share `margin` of n.
    usual: the first of these, as a share, on average."""

    factor: float = 0.0
    power: float = 1.0
    margin: float = 0.0
    usual: float = 0.0

    def of(self, tokens: float) -> float:
        """The reserve of an estimate."""
        return float(self.factor * tokens**self.power + self.margin * tokens)

    @property
    def of_a_part(self) -> float:
        """What the estimate of a part is multiplied by: its share of the whole's reserve."""
        return 1.0 + self.usual + self.margin


class Calibration:
    """One model's."""

    def __init__(self) -> None:
        self._weights = list(_USUAL)
        size = len(_USUAL)
        self._products = [[0.0] * size for _ in range(size)]
        self._sums = [0.0] * size
        self._recent: deque[tuple[list[float], int]] = deque(maxlen=KEPT)
        self._unforeseen: list[tuple[float, int]] = []
        self._samples = 0
        self._fits = 0
        self._factor = 1.0
        self._reserve = Reserve()
        self._seen: OrderedDict[bytes, tuple[int, ...]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def samples(self) -> int:
        """Prompts that it has learnt from."""
        return self._samples

    @property
    def name(self) -> str:
        """The state that counts come from; it changes seldom, and the counts with it."""
        if self._fits:
            return f"estimate, fitted {self._fits}"
        return "estimate" if self._factor == 1.0 else f"estimate x{self._factor:.2f}"

    def count(self, messages: Sequence[Message]) -> TokenCount:
        """The tokens of a prompt, on the high side."""
        with self._lock:
            found = self._with_reserve(self._said(messages, self._of(messages)))
        return TokenCount(math.ceil(min(found, byte_bound(messages))), exact=False)

    def count_text(self, text: str) -> int:
        """The tokens of a piece of a message, on the high side."""
        if not text:
            return 0
        with self._lock:
            if self._fits:
                found = self._dot((*self._features(text), *_NO_FORMAT)) * self._reserve.of_a_part
            else:
                found = estimate_text(text) * self._factor
        return math.ceil(min(found, len(text.encode("utf-8", "replace")) + 1))

    def learn(self, messages: Sequence[Message], tokens: int) -> None:
        """Take in that a server counted `tokens` in the prompt `messages`."""
        if tokens < SHORTEST:
            return
        with self._lock:
            sample = self._of(messages)
            said = self._said(messages, sample)
            short = tokens > math.ceil(self._with_reserve(said))
            self._add(sample, tokens)
            self._samples += 1
            self._recent.append((sample, tokens))
            self._unforeseen.append((said, tokens))
            if self._samples >= TRUSTED and (self._is_due() or short):
                self._fit()
            elif short:
                self._factor = math.ceil(tokens / said * 100) / 100

    def _said(self, messages: Sequence[Message], sample: Sequence[float]) -> float:
        """The estimate before any reserve."""
        if self._fits:
            return max(1.0, self._dot(sample))
        return float(estimate_tokens(messages).value)

    def _with_reserve(self, said: float) -> float:
        return said + self._reserve.of(said) if self._fits else said * self._factor

    def _is_due(self) -> bool:
        """At 32, 64, 128... samples, and at every 256th."""
        return self._samples % 256 == 0 or self._samples & (self._samples - 1) == 0

    def _add(self, sample: Sequence[float], tokens: int) -> None:
        scaled = [value / tokens for value in sample]
        for row, value in zip(self._products, scaled, strict=True):
            if value:
                for column, other in enumerate(scaled):
                    row[column] += value * other
        for column, value in enumerate(scaled):
            self._sums[column] += value

    def _fit(self) -> None:
        """Coordinate descent on the normal equations, from the weights as they are."""
        weights = self._weights
        for _ in range(SWEEPS):
            for one, row in enumerate(self._products):
                pull = PULL / _USUAL[one] ** 2
                others = (
                    sum(a * w for a, w in zip(row, weights, strict=True))
                    - row[one] * (weights[one])
                )
                best = (self._sums[one] - others + pull * _USUAL[one]) / (row[one] + pull)
                weights[one] = max(0.0, best)
        fitted = [(max(1.0, self._dot(sample)), tokens) for sample, tokens in self._recent]
        # What the last weights said of samples that they were not fitted to is the honest measure,
        # but that of the first fit, whose weights were anybody's.
        honest = self._unforeseen if self._fits else []
        self._reserve = reserve_for([*fitted, *honest], MARGIN + 2.0 / self._samples)
        self._unforeseen = []
        self._fits += 1

    def _of(self, messages: Sequence[Message]) -> list[float]:
        """The counts of a prompt: of all its texts, and of its format."""
        total = [0.0] * len(FEATURES)
        extra = 0.0
        for message in messages:
            extra += PER_CALL / PER_MESSAGE * len(message.tool_calls)
            for text in _texts_of(message):
                for column, value in enumerate(self._features(text)):
                    total[column] += value
        bare = not messages or messages[0].role != "system"
        return [*total, len(messages) + extra, 1.0, float(bare)]

    def _features(self, text: str) -> tuple[int, ...]:
        key = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()
        found = self._seen.get(key)
        if found is None:
            found = self._seen[key] = features(text)
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        return found

    def _dot(self, sample: Sequence[float]) -> float:
        return sum(a * w for a, w in zip(sample, self._weights, strict=True))


def reserve_for(seen: Sequence[tuple[float, int]], margin: float) -> Reserve:
    """The least reserve that covers every (estimate, true tokens) seen, and `margin` beyond."""
    long = [(said, tokens) for said, tokens in seen if tokens >= LONG]
    seen = long if len(long) >= TRUSTED // 2 else seen
    best, least = Reserve(), math.inf
    for power in POWERS:
        factor = max(0.0, *((tokens - said) / said**power for said, tokens in seen))
        mean = sum(factor * said ** (power - 1.0) for said, _ in seen) / len(seen)
        if mean < least:
            best, least = Reserve(factor, power, margin, mean), mean
    return best


def byte_bound(messages: Sequence[Message]) -> int:
    """Tokens that a prompt cannot pass with any byte-level tokenizer: a byte is never more than a
    token. With what chat formats put around messages and calls."""
    length = sum(len(t.encode("utf-8", "replace")) + 1 for m in messages for t in _texts_of(m))
    calls = sum(len(message.tool_calls) for message in messages)
    return length + PER_MESSAGE * len(messages) + PER_CALL * calls + PER_REPLY


def _plain(messages: Sequence[Message]) -> float:
    return float(estimate_tokens(messages).value)


def _texts_of(message: Message) -> list[str]:
    calls = [part for call in message.tool_calls for part in (call.id, call.name, call.arguments)]
    return [text for text in (message.content, *calls, message.tool_call_id) if text]
