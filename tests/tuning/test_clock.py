"""The clock jumps from timer to timer, exactly, and waits for nothing else."""

from __future__ import annotations

import time

import anyio
import pytest

from vanta_tuning.replay import virtual_clock


def test_a_day_passes_in_no_time() -> None:
    async def sleep() -> float:
        await anyio.sleep(86_400)
        return anyio.current_time()

    began = time.monotonic()
    assert virtual_clock.run(sleep) == pytest.approx(86_400)
    assert time.monotonic() - began < 60


def test_timers_go_off_in_order_and_at_their_time() -> None:
    async def race() -> list[tuple[str, float]]:
        seen: list[tuple[str, float]] = []

        async def wait(name: str, seconds: float) -> None:
            await anyio.sleep(seconds)
            seen.append((name, anyio.current_time()))

        async with anyio.create_task_group() as tasks:
            for name, seconds in (("c", 3.0), ("a", 0.5), ("b", 0.75)):
                tasks.start_soon(wait, name, seconds)
        return seen

    seen = virtual_clock.run(race)
    assert [name for name, _ in seen] == ["a", "b", "c"]
    assert [at for _, at in seen] == pytest.approx([0.5, 0.75, 3.0])


def test_who_waits_for_a_time_that_rounding_puts_a_hair_ahead_gets_there() -> None:
    async def creep() -> float:
        await anyio.sleep(0.1)
        goal = anyio.current_time() + 1e-17
        while anyio.current_time() <= goal:
            with anyio.move_on_after(goal - anyio.current_time()):
                await anyio.Event().wait()
        return anyio.current_time()

    assert virtual_clock.run(creep) == pytest.approx(0.1)


def test_waiting_for_what_no_timer_brings_is_an_error() -> None:
    async def forever() -> None:
        await anyio.Event().wait()

    with pytest.raises(RuntimeError, match="waits for something without a timer"):
        virtual_clock.run(forever)
