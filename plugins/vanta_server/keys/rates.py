"""How often a key may ask: requests and tokens per minute, as token buckets.

A bucket holds one minute's worth and refills evenly. A request takes its share before it runs; its
tokens are known at its end only, so they are taken then, and the next request waits until the
bucket is above zero again. Method: the token bucket of RFC 2697, whose level may be negative here.
Invariant: over any time, a key runs no more requests than its rate allows plus one bucket. The
buckets are those of this process, and full when it starts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from vanta_server.errors import ApiError
from vanta_server.keys.key_store import ServerKey

_MINUTE_S = 60.0


@dataclass(slots=True)
class Bucket:
    """What is left of one rate.

    :param per_minute: the rate, and what the bucket holds.
    :param clock: returns seconds.
    """

    per_minute: int
    clock: Callable[[], float]
    _level: float = field(init=False)
    _at: float = field(init=False)

    def __post_init__(self) -> None:
        self._level, self._at = float(self.per_minute), self.clock()

    @property
    def level(self) -> float:
        """What is left now; negative after a large answer."""
        now = self.clock()
        refilled = self._level + (now - self._at) * self.per_minute / _MINUTE_S
        self._level, self._at = min(refilled, float(self.per_minute)), now
        return self._level

    def take(self, amount: float) -> None:
        """Take an amount, also if less is left."""
        self._level = self.level - amount

    def wait_s(self, amount: float) -> float:
        """Return the seconds until an amount is there."""
        return max(0.0, amount - self.level) * _MINUTE_S / self.per_minute


class Rates:
    """The buckets of all keys.

    :param clock: returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[tuple[str, str], Bucket] = {}

    def admit(self, key: ServerKey) -> None:
        """Take a request's share.

        :param key: the key of the request.
        :raises ApiError: 429, with the time to wait, if there is none.
        """
        requests, tokens = self._of(key, "requests"), self._of(key, "tokens")
        for name, bucket in (("requests", requests), ("tokens", tokens)):
            if bucket is not None and bucket.level < 1:
                raise ApiError(
                    429,
                    f"this key may use {bucket.per_minute} {name} per minute, and has used them. "
                    "Try again later; 'vanta keys list' shows its limits.",
                    "rate_limit_error",
                    "rate_limit_exceeded",
                    retry_after_s=bucket.wait_s(1),
                )
        if requests is not None:
            requests.take(1)

    def spend(self, key: ServerKey, tokens: int) -> None:
        """Take the tokens of an answer.

        :param key: the key that asked for it.
        :param tokens: the tokens of its prompt and its text.
        """
        bucket = self._of(key, "tokens")
        if bucket is not None:
            bucket.take(tokens)

    def headers(self, key: ServerKey) -> Mapping[str, str]:
        """Return the headers in which OpenAI's clients read what is left.

        :param key: the key of the request.
        """
        headers: dict[str, str] = {}
        for name in ("requests", "tokens"):
            bucket = self._of(key, name)
            if bucket is not None:
                full_s = bucket.wait_s(bucket.per_minute)
                headers[f"x-ratelimit-limit-{name}"] = f"{bucket.per_minute}"
                headers[f"x-ratelimit-remaining-{name}"] = f"{max(0, math.floor(bucket.level))}"
                headers[f"x-ratelimit-reset-{name}"] = f"{full_s:.3f}s"
        return headers

    def _of(self, key: ServerKey, name: str) -> Bucket | None:
        limit = key.requests_per_minute if name == "requests" else key.tokens_per_minute
        if limit is None:
            return None
        bucket = self._buckets.get((key.id, name))
        if bucket is None:
            bucket = self._buckets[key.id, name] = Bucket(limit, self._clock)
        return bucket
