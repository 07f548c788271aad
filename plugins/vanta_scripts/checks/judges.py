"""The expectation `judge`: a question about the reply, put to a named track.

The template `judge/reply` puts it. The track answers with one token, yes or no; its logprobs give
the probability of yes among the two (as in Kadavath et al., "Language Models (Mostly) Know What
They Know", 2022). Invariant: a private turn is judged by private tracks only, and what judging
costs is on the script's bill.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from vanta.engine import GenerationRequest, Sampling
from vanta.errors import UnknownName
from vanta.expectations import Expectation, Failure, Seen
from vanta.messages import Completion, Fold, Message, TokenLogprob
from vanta.track import Track
from vanta_scripts.checks.values import Text

_RIVALS = 20
TEMPLATE = "judge/reply"


class Judge(BaseModel):
    """What is asked, whom, and how sure of yes it has to be."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    question: Text
    track: Text
    min_probability: Annotated[float, Field(gt=0, le=1)] = 0.5


async def _judge(judge: Judge, seen: Seen) -> Failure | None:
    expected = f"yes to {judge.question!r} from track {judge.track!r}"
    track = seen.tracks.get(judge.track)
    if track is None:
        raise UnknownName("track", judge.track, seen.tracks)
    if seen.reply.trace.private and not track.private:
        return Failure("judge", expected, "nothing asked: the turn is private, that track is not")
    await track.engine.load()
    if not track.engine.capabilities.logprobs:
        return Failure("judge", expected, f"its engine {track.engine.name!r} gives no logprobs")
    answer = await _answer(judge, seen, track)
    seen.spend(track.price.of(answer.usage))
    likely = _probability(answer.logprobs)
    if likely is None:
        return Failure("judge", expected, f"neither yes nor no, but {answer.text!r}")
    if likely >= judge.min_probability:
        return None
    wanted = f"{expected} with a probability of {judge.min_probability:g}"
    return Failure("judge", wanted, f"{likely:.2f}")


async def _answer(judge: Judge, seen: Seen, track: Track) -> Completion:
    told = {"said": seen.say, "reply": seen.reply.text, "question": judge.question}
    request = GenerationRequest(
        messages=(Message("user", seen.write(TEMPLATE, told)),),
        sampling=Sampling(max_tokens=1, temperature=0.0, logprobs=_RIVALS),
    )
    folded = Fold()
    async with track.engine.stream(request) as deltas:
        async for delta in deltas:
            folded.add(delta)
    return folded.completion()


def _probability(logprobs: Sequence[TokenLogprob]) -> float | None:
    """Of yes among yes and no, at the first token where either was likely; None if none was."""
    for token in logprobs:
        rivals = dict((*token.top, (token.token, token.logprob)))
        yes, no = (_mass(rivals, word) for word in ("yes", "no"))
        if yes or no:
            return yes / (yes + no)
    return None


def _mass(rivals: dict[str, float], word: str) -> float:
    spelled = (value for token, value in rivals.items() if token.strip().casefold() == word)
    return sum(map(math.exp, spelled))


EXPECTATIONS = (Expectation("judge", "a question about the reply, put to a track", Judge, _judge),)
