"""What processes have learnt is listed for others, expires, and is forgotten on request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from vanta.learning import LEARNT_S, Expiring, Learnt
from vanta.storage import Store, sqlite_url
from vanta.storage.learnt_board import CHECK_S, LearntBoard

pytestmark = pytest.mark.anyio

WINDOW = Learnt("api", "window", "its window is 4096 tokens", 600.0)
ROLES = Learnt("api", "roles", "the system prompt is put into the first user message", 60.0)
WAIT = Learnt("local", "wait", "its server requested a wait", 30.0)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def boards(folder: Path, clock: Clock) -> AsyncIterator[tuple[LearntBoard, LearntBoard]]:
    """Two processes' boards on one database."""
    stores = [Store.open(sqlite_url(folder)) for _ in range(2)]
    try:
        yield LearntBoard(stores[0], clock), LearntBoard(stores[1], clock)
    finally:
        for store in stores:
            await store.aclose()


async def test_another_process_reads_what_one_has_learnt(tmp_path: Path) -> None:
    clock = Clock()
    async with boards(tmp_path, clock) as (mine, other):
        assert await other.read() == []
        assert await mine.publish([WINDOW, WAIT]) == frozenset()
        clock.now += 10
        assert [(fact.what, fact.left_s) for fact in await other.read()] == [
            ("window", 590.0),
            ("wait", 20.0),
        ]


async def test_facts_are_gone_once_their_time_is_over_or_the_process_forgets(
    tmp_path: Path,
) -> None:
    clock = Clock()
    async with boards(tmp_path, clock) as (mine, other):
        await mine.publish([WINDOW, ROLES])
        clock.now += 100
        assert [fact.what for fact in await other.read()] == ["window"]
        assert await mine.publish([]) == frozenset()
        assert await other.read() == []


async def test_a_removed_fact_is_named_to_its_process_once(tmp_path: Path) -> None:
    clock = Clock()
    async with boards(tmp_path, clock) as (mine, other):
        await mine.publish([WINDOW, WAIT])
        assert await other.forget("api") == 1
        assert await mine.publish([WINDOW, WAIT]) == frozenset(), "not looked at so soon"
        clock.now += CHECK_S
        assert await mine.publish([WINDOW, WAIT]) == {("api", "window")}
        assert [fact.what for fact in await other.read()] == ["wait"]
        clock.now += CHECK_S
        assert await mine.publish([WAIT]) == frozenset()
        assert await other.forget() == 1


async def test_a_process_that_learns_it_again_lists_it_again(tmp_path: Path) -> None:
    clock = Clock()
    async with boards(tmp_path, clock) as (mine, other):
        await mine.publish([WINDOW])
        await other.forget()
        clock.now += CHECK_S
        await mine.publish([WINDOW])
        clock.now += CHECK_S
        assert await mine.publish([WINDOW]) == frozenset()
        assert [fact.what for fact in await other.read()] == ["window"]


async def test_without_facts_the_database_is_left_alone(tmp_path: Path) -> None:
    async with boards(tmp_path, Clock()) as (mine, other):
        await mine.publish([])
        assert await other.read() == []
        assert await other.forget() == 0


def test_an_expiring_value_is_gone_after_its_time() -> None:
    clock = Clock()
    learnt: Expiring[int] = Expiring(clock=clock)
    assert (learnt.value, learnt.left_s) == (None, 0.0)
    learnt.set(7)
    clock.now += LEARNT_S - 1
    assert (learnt.value, learnt.left_s) == (7, 1.0)
    clock.now += 1
    assert (learnt.value, learnt.left_s) == (None, 0.0)
    learnt.set(8)
    learnt.forget()
    assert learnt.value is None
