"""Expectations that judge the meaning of a reply: `similar_to`, `judge`, `python`.

`similar_to` compares by the cosine of two embeddings (1: same direction, 0: unrelated); a sensible
threshold depends on the embedder. `judge` asks a track for one token, yes or no, with the template
`judge/reply`; the logprobs give the probability of yes among the two (as in Kadavath et al.,
"Language Models (Mostly) Know What They Know", 2022). `python` calls the user's own function.

Invariant: a private reply reaches only private embedders and tracks, the cost of judging is added
to the script's, and the user's function never blocks the event loop.
"""

from __future__ import annotations

import importlib
import inspect
import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import anyio.to_thread
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from vanta import (
    AnswerBound,
    CheckedTurn,
    Completion,
    Expectation,
    Failure,
    GenerationRequest,
    Message,
    Sampling,
    ScriptError,
    TokenLogprob,
    Track,
    UnknownName,
    whole_answer,
)
from vanta_scripts.checks.values import Text, excerpt

TEMPLATE = "judge/reply"
_ALTERNATIVES = 20


class Likeness(BaseModel):
    """A text, the cosine (0 to 1) that the reply must reach, and the embedder that compares."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    text: Text
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.7
    embedder: Text | None = None


def _as_likeness(value: object) -> object:
    return {"text": value} if isinstance(value, str) else value


async def _is_similar(likeness: Likeness, seen: CheckedTurn) -> Failure | None:
    text = seen.reply.text
    expected = f"a reply that means {excerpt(likeness.text)}"
    if not text.strip():
        return Failure("similar_to", expected, excerpt(text))
    embedder = await seen.embedder(likeness.embedder)
    if seen.reply.trace.private and not embedder.private:
        actual = f"no comparison: the turn is private and embedder {embedder.name!r} is not"
        return Failure("similar_to", expected, actual)
    wanted_vector, reply_vector = await embedder.embed([likeness.text, text])
    cosine = float(wanted_vector @ reply_vector)
    if cosine >= likeness.threshold:
        return None
    expected += f" ({likeness.threshold:g} or more by {embedder.name!r})"
    return Failure("similar_to", expected, f"{cosine:.2f} for {excerpt(text)}")


class Judge(BaseModel):
    """A question, the track that answers it, and the probability of yes that is required."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    question: Text
    track: Text
    min_probability: Annotated[float, Field(gt=0, le=1)] = 0.5


async def _judge(judge: Judge, seen: CheckedTurn) -> Failure | None:
    expected = f"yes to {judge.question!r} from track {judge.track!r}"
    track = seen.tracks.get(judge.track)
    if track is None:
        raise UnknownName("track", judge.track, seen.tracks)
    if seen.reply.trace.private and not track.private:
        return Failure("judge", expected, "no verdict: the turn is private and the track is not")
    await track.load()
    if not track.engine.capabilities.logprobs:
        actual = f"no verdict: its engine {track.engine.name!r} does not return logprobs"
        return Failure("judge", expected, actual)
    answer = await _ask_judge(judge, seen, track)
    seen.spend(track.price.of(answer.usage))
    likely = probability_of_yes(answer.logprobs)
    if likely is None:
        return Failure("judge", expected, f"neither yes nor no, but {answer.text!r}")
    if likely >= judge.min_probability:
        return None
    wanted = f"{expected} with a probability of at least {judge.min_probability:g}"
    return Failure("judge", wanted, f"{likely:.2f}")


async def _ask_judge(judge: Judge, seen: CheckedTurn, track: Track) -> Completion:
    variables = {"said": seen.say, "reply": seen.reply.text, "question": judge.question}
    request = GenerationRequest(
        messages=(Message("user", seen.write(TEMPLATE, variables)),),
        sampling=Sampling(max_tokens=1, temperature=0.0, logprobs=_ALTERNATIVES),
    )
    async with track.engine.stream(request) as deltas:
        return await whole_answer(deltas, AnswerBound(1))


def probability_of_yes(logprobs: Sequence[TokenLogprob]) -> float | None:
    """Return P(yes) / (P(yes) + P(no)) at the first token with either, or None without one."""
    for token in logprobs:
        alternatives = dict((*token.top, (token.token, token.logprob)))
        yes, no = (_probability_mass(alternatives, word) for word in ("yes", "no"))
        if yes or no:
            return yes / (yes + no)
    return None


def _probability_mass(alternatives: dict[str, float], word: str) -> float:
    spellings = (value for token, value in alternatives.items() if token.strip().casefold() == word)
    return sum(map(math.exp, spellings))


def _valid_reference(text: str) -> str:
    module, _, name = text.partition(":")
    if not name.isidentifier() or not all(map(str.isidentifier, module.split("."))):
        raise ValueError(f"{text!r} is not a function reference. Write `module:function`")
    return text


async def _accepts(reference: str, seen: CheckedTurn) -> Failure | None:
    function = await anyio.to_thread.run_sync(_find, reference, seen.source)
    if inspect.iscoroutinefunction(function):
        verdict = await function(seen)
    else:
        verdict = await anyio.to_thread.run_sync(partial(function, seen))
    if verdict is None or verdict is True:
        return None
    shown = verdict if isinstance(verdict, str) else f"{verdict!r} for {excerpt(seen.reply.text)}"
    return Failure("python", f"a reply that {reference} accepts", shown)


def _find(reference: str, source: str) -> Callable[[CheckedTurn], Any]:
    """Import a function; the script's folder is the last place to look for its module."""
    module, _, name = reference.partition(":")
    folder = str(Path(source).resolve().parent)
    if folder not in sys.path and Path(source).is_file():
        sys.path.append(folder)
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ScriptError(
            f"{reference!r} cannot be imported: {error}. Modules are searched on Python's path "
            f"and in {folder!r}."
        ) from error
    if not callable(function):
        raise ScriptError(f"{reference!r} is not a function. Name a callable.")
    return function  # type: ignore[no-any-return]


MODEL_EXPECTATIONS = (
    Expectation(
        "similar_to",
        "a text with about the same meaning as the reply",
        Annotated[Likeness, BeforeValidator(_as_likeness, json_schema_input_type=Text | Likeness)],
        _is_similar,
    ),
    Expectation("judge", "a question about the reply that a track answers", Judge, _judge),
)
CODE_EXPECTATIONS = (
    Expectation(
        "python",
        "a function of your own that accepts the reply: `module:function`",
        Annotated[str, AfterValidator(_valid_reference)],
        _accepts,
    ),
)
