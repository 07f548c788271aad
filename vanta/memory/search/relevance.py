"""How likely an item is evidence for a question, whatever else the store holds.

A score orders the candidates of one recall, relative to the best of them: in a store in which
nothing fits, the best looks as good as elsewhere. Relevance has a fixed scale, 0 to 1, so that a
track can be shown nothing. It is a logistic function of evidence that does not depend on other
items: the share of the question's words in the item and around it, and how far its cosine lies
above those of unrelated texts, in their standard deviations, so that the scale of an embedder does
not matter.

The weights are fitted on five conversations of LoCoMo, with the questions of each asked in the
others' stores, too (`benchmarks/memory/relevance.py`). Three are set by hand. The fitted weight of
the share is divided between the share by weight and by number, because a word that all items of a
store have weighs nothing. An assistant's own words count less: a model's output proves nothing,
and LoCoMo has no assistant. They count as far as they go beyond the message that they answer:
"The user asked where Anna lives" has the words of a question about Anna, and no answer. An item of
a time that the question mentions counts more.

Beside an item that is evidence with near certainty, a much less likely one is not shown: a small
model answers from the wrong note (`is_outshone`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vanta.memory.items import MemoryItem
from vanta.memory.search.candidates import RecallCandidate, ReplyEcho
from vanta.memory.search.lexical import QUESTION_MARKS

MIN_RELEVANCE = 0.5
"""The default of `memory.min_relevance`."""

HYBRID_RELEVANCE: Mapping[str, float] = {
    "constant": -2.6,
    "share": 4.2,
    "count": 3.0,
    "share around": 6.0,
    "is question": -1.0,
    "meaning": 0.54,
    "meaning around": 0.46,
}
"""Weights with vectors."""

LEXICAL_RELEVANCE: Mapping[str, float] = {
    "constant": -2.1,
    "share": 5.5,
    "count": 4.5,
    "share around": 6.0,
    "is question": -0.9,
}
"""Weights without vectors."""

OWN_WORDS = -1.5
"""Added in log-odds for an assistant's message, unless the question is about its words."""

SAID_THEN = 2.5
"""Added in log-odds for an item of a past time that the question mentions; set by hand, too."""

CERTAIN, BESIDE_CERTAIN = 7.0, 5.0
"""Log-odds of an item with all words of the question, or nearly all and their meaning; and the
least that another item needs beside it. What only surrounds such an item has less, and so has an
item with half of the words. A gap below any best item, however unlikely that is, would cost
evidence: one of 4 hides 5 to 6 of 84 percent in conversations of LoCoMo."""

_ASKS_ASSISTANT = re.compile(
    r"\b(?:did|had) (?:you|we)\b|\bhave we\b"
    r"|\byou(?:'ve| have| just)? (?:said|told|recommended|suggested|mentioned|wrote|gave|explained)"
    r"|\byour (?:answer|reply|advice|suggestions?|recommendations?|list|summary|plan|ideas?)\b",
    re.IGNORECASE,
)
_ASKS_ABOUT_USER = re.compile(
    r"\b(?:know|remember|recall|learned|learnt) (?:of |about |from )?(?:me|myself|us)\b"
    r"|\b(?:tell me|talk) about (?:me|myself|us)\b|\bwho am i\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a question asks for beyond its words. The patterns are English.

    assistant: the assistant's own words. user: all that is known about the user. times: past times,
    from and until, in seconds since the epoch.
    """

    assistant: bool = False
    user: bool = False
    times: Sequence[tuple[float, float]] = ()

    @classmethod
    def of(cls, question: str, times: Sequence[tuple[float, float]], now: float) -> Wanted:
        """times: those that the question mentions; now: seconds since the epoch."""
        return cls(
            bool(_ASKS_ASSISTANT.search(question)),
            bool(_ASKS_ABOUT_USER.search(question)),
            [span for span in times if span[1] <= now],
        )

    def selects(self, item: MemoryItem) -> bool:
        """Return whether an item is wanted whatever its words: it is of a time that the question
        mentions, or the question is about the user and these are not the assistant's words."""
        return self.is_of_time(item) or (self.user and item.role != "assistant")

    def is_of_time(self, item: MemoryItem) -> bool:
        """Return whether an item is of a time that the question mentions."""
        return any(since <= item.said_at < until for since, until in self.times)


def relevance(candidate: RecallCandidate, wanted: Wanted) -> float:
    """Return how likely a candidate is evidence for a question, 0 to 1."""
    if candidate.repeats:
        return 0.0
    item, values = candidate.item, evidence(candidate)
    own_words = item.role == "assistant" and not wanted.assistant
    if own_words and candidate.echo is not None:
        values = _beyond(values, candidate.echo)
    weights = HYBRID_RELEVANCE if "meaning" in values else LEXICAL_RELEVANCE
    odds = weights["constant"]
    for name, value in values.items():
        odds += weights[name] * value
    if wanted.is_of_time(item):
        odds += SAID_THEN
    if own_words:
        odds += OWN_WORDS
    elif wanted.user:
        odds = max(odds, 0.0)
    return 1 / (1 + math.exp(-max(-700.0, min(700.0, odds))))


def is_outshone(value: float, best: float) -> bool:
    """Return whether an item is too unlikely to be shown beside the best one of a recall."""
    return _log_odds(best) >= CERTAIN and _log_odds(value) < BESIDE_CERTAIN


def _log_odds(value: float) -> float:
    return math.log(value / (1 - value)) if 0 < value < 1 else math.copysign(700.0, value - 0.5)


def _beyond(values: Mapping[str, float], echo: ReplyEcho) -> dict[str, float]:
    """Return the evidence of a reply without what the message that it answers has as well."""
    own = {**values, "share around": 0.0}
    own["share"] = max(0.0, values["share"] - echo.share)
    own["count"] = max(0.0, values["count"] - echo.count)
    if "meaning" in values:
        kinship = max(0.0, echo.kinship or 0.0)
        own["meaning"] = min(values["meaning"], max(0.0, values["meaning"] - kinship))
        own["meaning around"] = 0.0
    return own


def evidence(candidate: RecallCandidate) -> dict[str, float]:
    """Return the evidence of a candidate, by name: its own, and what its neighbours add to it."""
    kinship, beside = candidate.kinship, candidate.kinship_beside
    values = {
        "share": candidate.share,
        "count": candidate.count,
        "share around": max(0.0, candidate.around - candidate.share),
        "is question": float(candidate.item.text.rstrip().endswith(QUESTION_MARKS)),
    }
    if kinship is not None:
        values["meaning"] = kinship
        values["meaning around"] = 0.0 if beside is None else max(0.0, beside - kinship)
    return values
