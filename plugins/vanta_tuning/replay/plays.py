"""What was recorded: for each turn, how every track would have answered it.

Invariant: frozen, and complete: a `Recording` has a play for each track that a replay may ask, so
that nothing has to be made up while it runs. Times are seconds, tokens whole numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vanta.errors import ErrorKind


@dataclass(frozen=True, slots=True)
class Play:
    """One track's answer to one message.

    ttft_s: from its start to the first content (of a play that fails without any: to the error).
    total_s: to its end, or to the error. error: what it fails with, None for a whole answer.
    speaks: whether there is content before the error. score: how good the whole answer is, 0 to 1
    (right or wrong: 1 or 0), None if nobody knows. mean_logprob: of its tokens, for gates.
    accepted: what a gate said of it then, where that is all that was recorded.
    """

    ttft_s: float
    total_s: float
    input_tokens: int = 0
    output_tokens: int = 1
    error: ErrorKind | None = None
    speaks: bool = True
    score: float | None = None
    mean_logprob: float | None = None
    accepted: bool | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """One turn: how each track answers. arrives_s: when it is asked, from the first on; None for
    turns that are asked one after another. text: the message, where it was recorded."""

    id: str
    plays: Mapping[str, Play]
    arrives_s: float | None = None
    text: str = ""
