"""Random prompts of every kind of content with every counter: none exceeds its budget.

The benchmark plays many more of them; here are some hundred, and what it finds out if it should.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from vanta.cli.bench import load_benchmarks
from vanta.engine import TokenCount
from vanta.messages import Message

BENCHMARKS = load_benchmarks()
budgets: Any = importlib.import_module(f"{BENCHMARKS.__name__}.memory.budgets")
counters: Any = importlib.import_module(f"{BENCHMARKS.__name__}.memory.counters")
SETTINGS = BENCHMARKS.Settings()
RANKS = counters.Ranks()


def play(engine: Any, true: Any, count: int = 150) -> Any:
    return anyio.run(budgets.play, budgets.CounterUnderTest(engine, true), count, SETTINGS)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


@pytest.fixture(scope="module")
def model(smollm2_path: object) -> Any:
    """Load the real tokenizer of the small model."""
    return anyio.run(_counts_of_the_model)


async def _counts_of_the_model() -> Any:
    async with budgets.opened_model() as engine:
        true = budgets.of_engine(engine)
        tally = await budgets.play(budgets.CounterUnderTest(engine, true), 60, SETTINGS)
        learner = budgets.CounterUnderTest(counters.Learner(), true)
        learnt = await budgets.play(learner, 60, SETTINGS, lessons=128)
    return tally, learnt


def test_the_tokenizer_of_llama_cpp_fills_the_budget_and_never_exceeds_it(model: Any) -> None:
    tally, _ = model
    assert (tally.assemblies, tally.over) == (60, 0)
    assert mean(tally.fills) > 95.0


def test_the_estimate_learns_a_tokenizer_that_it_never_sees(model: Any) -> None:
    _, tally = model
    assert (tally.assemblies, tally.over) == (60, 0)
    assert mean(tally.fills) > 85.0


def test_tiktoken_with_ranks_from_a_file_never_exceeds_the_budget() -> None:
    tally = play(RANKS, RANKS.true)
    assert (tally.assemblies, tally.over) == (150, 0)
    assert mean(tally.fills) > 95.0


def test_the_byte_bound_is_safe_for_any_tokenizer_but_wasteful() -> None:
    tally = play(counters.Bytes(), RANKS.true)
    assert (tally.assemblies, tally.over) == (150, 0)
    assert mean(tally.fills) < 90.0


class Low(counters.Bytes):  # type: ignore[misc]
    """Counts 10 % too low."""

    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        return TokenCount(await RANKS.true(messages) * 9 // 10, exact=True)


def test_a_wrong_counter_is_detected() -> None:
    assert play(Low(), RANKS.true, 60).over > 0
