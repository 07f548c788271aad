"""Outcomes of made-up worlds in which the truth is known."""

from __future__ import annotations

import math
import random

from vanta.messages import Completion, TokenLogprob
from vanta.routing.logistic import sigmoid
from vanta_tuning.fitting import JudgedAnswer, OutcomeRow

HARD = ("prove", "integral", "theorem", "derive", "lemma")
EASY = ("hello", "weather", "capital", "colour", "greet")
FILLER = ("please", "the", "of", "what", "is", "a", "me", "tell", "now", "for", "and", "to")


def prompts(count: int, seed: int = 0) -> list[tuple[str, bool]]:
    """Messages, and whether they are hard: by their words, not by their length."""
    chance = random.Random(seed)  # noqa: S311 - a seed, no secret
    made = []
    for _ in range(count):
        hard = chance.random() < 0.4
        words = [chance.choice(FILLER) for _ in range(chance.randint(4, 30))]
        words.insert(chance.randint(0, len(words)), chance.choice(HARD if hard else EASY))
        made.append((" ".join(words), hard))
    return made


def outcomes(count: int, seed: int = 0) -> list[OutcomeRow]:
    """The weak track gets 90 % of the easy and 20 % of the hard ones, the strong one 90 %."""
    chance = random.Random(seed + 1)  # noqa: S311 - a seed, no secret
    return [
        OutcomeRow(
            text,
            weak=float(chance.random() < (0.2 if hard else 0.9)),
            strong=float(chance.random() < 0.9),
        )
        for text, hard in prompts(count, seed)
    ]


def truth(mean: float) -> float:
    """P(right) of an answer whose tokens have this mean logprob."""
    return sigmoid(3.0 + 4.0 * mean)


def answers(count: int, seed: int = 0) -> list[JudgedAnswer]:
    """Answers of thirty tokens, right as often as `truth` says."""
    chance = random.Random(seed)  # noqa: S311 - a seed, no secret
    made = []
    for _ in range(count):
        scale = chance.uniform(0.1, 1.6)
        tokens = [-chance.expovariate(1 / scale) for _ in range(30)]
        right = chance.random() < truth(math.fsum(tokens) / len(tokens))
        made.append(JudgedAnswer(answer(tokens), right))
    return made


def answer(tokens: list[float], text: str = "The answer is four.") -> Completion:
    """A finished answer with these logprobs."""
    logprobs = tuple(TokenLogprob("x", value) for value in tokens)
    return Completion(text=text, logprobs=logprobs, finish_reason="stop")
