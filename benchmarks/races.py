"""The races of one trap and what the moments that were noted come to, in milliseconds.

*Ideal* is the moment at which the earliest first token was really sent, by the servers' own record
(where a contestant cut that server off before: when it would have been), plus what the plain
client takes from there to having the text, at the median of the same run. Invariant: no race is
left out; one without an answer takes infinitely long.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from .contestants import Sample
from .report import median
from .servers import Served
from .traps import WORDS, Trap

PLAIN = "plain"
_NOTHING = Served(None, None)


@dataclass(slots=True)
class Races:
    """samples: by contestant, in order. served: what the servers recorded, by the race's tag.

    litellm: its version, or why it took no part.
    """

    trap: Trap
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    served: dict[str, Served] = field(default_factory=dict)
    litellm: str = ""

    def over_ideal(self, who: str) -> list[float]:
        """How long after the ideal moment each race had its first content."""
        latency_ms = self.latency_ms
        return [after - latency_ms for after in self._after_first_token(who)]

    def over_plain(self, who: str) -> list[float]:
        """From the question to first content, over the plain client's median."""
        plain = median(self.from_ask(PLAIN)) or 0.0
        return [each - plain for each in self.from_ask(who)]

    def from_ask(self, who: str) -> list[float]:
        """From the question to first content."""
        return [_ms(s.asked_at, s.first_content_at) for s in self.samples[who]]

    def closed_after(self, who: str) -> list[float]:
        """From the commit to the moment at which the slow server saw its connection closed."""
        return [
            _ms(sample.committed_at, slow.client_gone_at)
            for sample in self.samples[who]
            if (slow := self._served(sample).slow) and not slow.complete
        ]

    def right(self, who: str) -> int:
        """How many races ended with the whole answer of the fast server."""
        answer = "".join(WORDS).format("fast")
        return sum(sample.text == answer for sample in self.samples[who])

    def failures(self, who: str) -> list[str]:
        """What was said in the races that came to no answer."""
        return [sample.failure for sample in self.samples[who] if sample.failure]

    @property
    def latency_ms(self) -> float:
        """From the first token sent to the plain client having it, at the median."""
        return median(self._after_first_token(PLAIN)) or 0.0

    def _after_first_token(self, who: str) -> list[float]:
        return [_ms(self._earliest(s), s.first_content_at) for s in self.samples[who]]

    def _earliest(self, sample: Sample) -> float | None:
        """When the earliest first token was sent, or would have been."""
        slow, fast = self._served(sample)
        sent = [one.first_token_at for one in (slow, fast) if one and one.first_token_at]
        if fast and fast.first_token_at is None:
            sent.append(fast.started_at + self.trap.first_token_s)
        return min(sent, default=None)

    def _served(self, sample: Sample) -> Served:
        return self.served.get(sample.tag, _NOTHING)


def _ms(begin: float | None, end: float | None) -> float:
    """Milliseconds between two moments; infinitely many where one never came."""
    return math.inf if begin is None or end is None else 1000 * (end - begin)
