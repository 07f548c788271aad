"""The ledger enforces caps, settles true costs and leaves nothing reserved."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from functools import partial
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
import sqlalchemy as sa

from tests.money.ledgers import OTHER_HOST, open_ledger, reserve, totals
from vanta.errors import BudgetExceeded, StoreError
from vanta.money import Caps, Ledger, Reservation
from vanta.money.reservation import Owner, this_process
from vanta.storage import Store, sqlite_url

pytestmark = pytest.mark.anyio


async def test_of_twenty_concurrent_calls_exactly_as_many_pass_as_the_cap_allows(
    tmp_path: Path,
) -> None:
    passed: list[Reservation] = []
    refused: list[BudgetExceeded] = []

    async def call(ledger: Ledger, turn: str) -> None:
        try:
            passed.append(await reserve(ledger, 0.02, turn=turn))
        except BudgetExceeded as error:
            refused.append(error)

    async with open_ledger(tmp_path, day_usd=0.05) as ledger:
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(call, ledger, f"t{number}")
        assert (len(passed), len(refused)) == (2, 18)
        assert await totals(ledger) == (0, 0.04)


@pytest.mark.parametrize("scope", ["turn", "session", "user", "day"])
async def test_each_cap_counts_only_its_own_scope(tmp_path: Path, scope: str) -> None:
    mine = {"user": "ada", "session": "s", "turn": "t"}
    others = {
        "turn": {**mine, "turn": "t2"},
        "session": {**mine, "turn": "t2", "session": "s2"},
        "user": {"user": "bob", "session": "s", "turn": "t2"},
    }
    async with open_ledger(tmp_path, caps=Caps(**{f"{scope}_usd": 0.05})) as ledger:
        await reserve(ledger, 0.04, **mine)
        with pytest.raises(BudgetExceeded) as refused:
            await reserve(ledger, 0.02, **mine)
        assert refused.value.scope == scope
        for name, other in others.items():
            if name == scope:
                await reserve(ledger, 0.02, **other)


async def test_a_session_belongs_to_its_user(tmp_path: Path) -> None:
    async with open_ledger(tmp_path, session_usd=0.05) as ledger:
        await reserve(ledger, 0.05, user="ada", session="s")
        await reserve(ledger, 0.05, user="bob", session="s")
        assert (await ledger.spending()).total.reserved_usd == pytest.approx(0.10)


async def test_a_new_day_begins_at_midnight_utc_and_a_leg_belongs_to_the_day_it_began_in(
    tmp_path: Path,
) -> None:
    now = [86_400.0 * 20_000 - 1]
    async with open_ledger(tmp_path, clock=lambda: now[0], day_usd=0.05) as ledger:
        late = await reserve(ledger, 0.05)
        with pytest.raises(BudgetExceeded, match=r"on 2024-10-03 \(UTC\)"):
            await reserve(ledger, 0.01)
        now[0] += 1
        await reserve(ledger, 0.05)
        await ledger.settle(late, 0.03)
        assert (await ledger.spending()).today.spent_usd == 0
        now[0] -= 1
        assert (await ledger.spending()).today.spent_usd == 0.03


async def test_a_refusal_names_the_cap_its_state_and_the_next_step(tmp_path: Path) -> None:
    async with open_ledger(tmp_path, day_usd=1, user_usd=0.05) as ledger:
        await ledger.settle(await reserve(ledger, 0.02), 0.01)
        await reserve(ledger, 0.03)
        with pytest.raises(BudgetExceeded) as refused:
            await reserve(ledger, 0.02)
        message = str(refused.value)
        assert (
            "the user cap of $0.05 does not allow $0.02: $0.01 spent and $0.03 reserved" in message
        )
        assert "Try again when the reserved legs have settled" in message
        assert "budget.user_usd" in message
        with pytest.raises(BudgetExceeded) as hopeless:
            await reserve(ledger, 0.5)
        assert "Try again" not in str(hopeless.value)
        assert hopeless.value.spent_usd == 0.01
        assert hopeless.value.asked_usd == 0.5


async def test_settling_releases_the_unspent_money(tmp_path: Path) -> None:
    async with open_ledger(tmp_path, day_usd=0.05) as ledger:
        held = await reserve(ledger, 0.05)
        settled = await ledger.settle(held, 0.01, exact=False)
        assert (settled.usd, settled.exact, settled.label) == (0.01, False, "")
        await reserve(ledger, 0.04)
        assert await totals(ledger) == (0.01, 0.04)
        assert (await ledger.spending()).total.estimated_usd == 0.01


async def test_settling_is_idempotent(tmp_path: Path) -> None:
    async with open_ledger(tmp_path, day_usd=0.05) as ledger:
        held = await reserve(ledger, 0.05)
        await ledger.settle(held, 0.01)
        await ledger.settle(held, 0.04)
        await ledger.give_back(held)
        assert await totals(ledger) == (0.01, 0)


async def test_a_settlement_above_its_reservation_is_recorded_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_ledger(tmp_path, day_usd=0.05) as ledger:
        settled = await ledger.settle(await reserve(ledger, 0.01), 0.04)
        assert settled.label == "overrun"
        assert "cost $0.04, more than the $0.01 reserved" in caplog.text
        assert await totals(ledger) == (0.04, 0)
        assert (await ledger.spending()).overruns == 1


async def test_caps_bind_two_ledgers_on_one_store(tmp_path: Path) -> None:
    async with (
        open_ledger(tmp_path, day_usd=0.05) as one,
        open_ledger(tmp_path, day_usd=0.05) as two,
    ):
        await reserve(one, 0.03)
        with pytest.raises(BudgetExceeded):
            await reserve(two, 0.03)


async def test_without_a_cap_nothing_is_reserved_and_every_cost_is_recorded(tmp_path: Path) -> None:
    async with open_ledger(tmp_path) as ledger:
        free = await reserve(ledger, 0.5)
        assert not free.held
        assert await totals(ledger) == (0, 0)
        await ledger.settle(free, 0.2)
        await ledger.settle(free, 0.2)
        assert await totals(ledger) == (0.2, 0)
    async with open_ledger(tmp_path, user_usd=0.3) as capped:
        with pytest.raises(BudgetExceeded, match=r"\$0.20 spent"):
            await reserve(capped, 0.2)


async def test_a_reserve_that_is_cancelled_leaves_nothing_reserved(tmp_path: Path) -> None:
    async with open_ledger(tmp_path, day_usd=1) as ledger:
        for steps in range(12):
            kept: list[Reservation] = []

            async def call(kept: list[Reservation] = kept, turn: str = f"t{steps}") -> None:
                kept.append(await reserve(ledger, 0.01, turn=turn))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call)
                for _ in range(steps):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            for reservation in kept:
                await ledger.give_back(reservation)
            assert await totals(ledger) == (0, 0)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_reserve_that_asyncio_itself_cancels_leaves_nothing_reserved(
    tmp_path: Path,
) -> None:
    async with open_ledger(tmp_path, day_usd=1) as ledger:
        for steps in range(12):
            task = asyncio.ensure_future(reserve(ledger, 0.01, turn=f"t{steps}"))
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ledger.give_back(await task)
            assert await totals(ledger) == (0, 0)


async def test_a_leg_that_never_started_is_not_counted(tmp_path: Path) -> None:
    async with open_ledger(tmp_path, day_usd=1) as ledger:
        await ledger.give_back(await reserve(ledger, 0.5))
        spent = await ledger.spending()
    assert (spent.total.legs, spent.total.reserved_usd, spent.died) == (0, 0, 0)


async def test_a_cancelled_settlement_is_still_written(tmp_path: Path) -> None:
    async with open_ledger(tmp_path, day_usd=1) as ledger:
        held = await reserve(ledger, 0.5)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await ledger.settle(held, 0.1)
        assert await totals(ledger) == (0.1, 0)


async def test_the_leg_of_a_dead_process_is_settled_at_its_reservation(tmp_path: Path) -> None:
    me = this_process()
    dead = Owner(me.host, f"{me.process.partition(':')[0]}:another-start")
    async with (
        open_ledger(tmp_path, owner=dead, day_usd=0.05) as gone,
        open_ledger(tmp_path, day_usd=0.05) as ledger,
    ):
        lost = await reserve(gone, 0.03)
        with pytest.raises(BudgetExceeded, match=r"\$0.03 spent and \$0 reserved"):
            await reserve(ledger, 0.05)
        await reserve(ledger, 0.02)
        assert await totals(ledger) == (0.03, 0.02)
        spending = await ledger.spending()
        assert (spending.died, spending.total.estimated_usd) == (1, 0.03)
        late = await ledger.settle(lost, 0.01)
        assert late.label == "late"
        assert await totals(ledger) == (0.01, 0.02)
        await reserve(ledger, 0.02)


async def test_a_process_that_is_killed_leaves_its_reservation_spent(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, signal, sys, anyio\n"
        "from tests.money.ledgers import open_ledger, reserve\n"
        "async def main():\n"
        "    async with open_ledger(pathlib.Path(sys.argv[1]), day_usd=1) as ledger:\n"
        "        await reserve(ledger, 0.25)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "anyio.run(main)\n"
    )
    done = await anyio.run_process([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    async with open_ledger(tmp_path, day_usd=0.3) as ledger:
        assert await totals(ledger) == (0.25, 0)
        with pytest.raises(BudgetExceeded):
            await reserve(ledger, 0.1)
        assert (await ledger.spending()).died == 1


@pytest.mark.parametrize("session", [None, "s"])
async def test_a_reset_cap_counts_from_then_on(tmp_path: Path, session: str | None) -> None:
    caps = Caps(session_usd=0.1) if session else Caps(user_usd=0.1)
    async with open_ledger(tmp_path, caps=caps) as ledger:
        await ledger.settle(await reserve(ledger, 0.06), 0.06)
        held = await reserve(ledger, 0.04)
        with pytest.raises(BudgetExceeded, match="vanta budget reset"):
            await reserve(ledger, 0.01)
        assert await ledger.reset(user="ada", session=session) == pytest.approx(0.06)
        await ledger.settle(await reserve(ledger, 0.06), 0.06)
        with pytest.raises(BudgetExceeded, match=r"\$0.06 spent and \$0.04 reserved"):
            await reserve(ledger, 0.01)
        await ledger.settle(held, 0.04)
        assert await ledger.reset(user="ada", session=session) == pytest.approx(0.1)
        assert await totals(ledger) == pytest.approx((0.16, 0))


async def test_a_reset_leaves_other_caps_alone(tmp_path: Path) -> None:
    async with open_ledger(tmp_path, day_usd=0.1, user_usd=0.1) as ledger:
        await ledger.settle(await reserve(ledger, 0.1), 0.1)
        await ledger.reset(user="ada")
        with pytest.raises(BudgetExceeded, match="day cap"):
            await reserve(ledger, 0.01)
        assert await ledger.reset(user="nobody") == 0


async def test_a_lease_from_another_host_expires(tmp_path: Path) -> None:
    now = [1_000_000.0]
    async with (
        open_ledger(tmp_path, owner=OTHER_HOST, clock=lambda: now[0], day_usd=0.05) as far,
        open_ledger(tmp_path, clock=lambda: now[0], day_usd=0.05) as ledger,
    ):
        await reserve(far, 0.05, lease_s=10)
        with pytest.raises(BudgetExceeded):
            await reserve(ledger, 0.05)
        now[0] += 11
        with pytest.raises(BudgetExceeded):
            await reserve(ledger, 0.05)
        assert await totals(ledger) == (0.05, 0)
        now[0] += 24 * 3600
        await reserve(ledger, 0.05)


async def test_a_settlement_that_the_store_refused_is_written_with_the_next_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store.open(sqlite_url(tmp_path))
    async with open_ledger(tmp_path, store=store, day_usd=1) as ledger:
        held = await reserve(ledger, 0.5)
        await store.transact(partial(_set_query_only, on=True))
        await ledger.settle(held, 0.1)
        assert "kept until it can be written" in caplog.text
        with pytest.raises(StoreError):
            await reserve(ledger, 0.1)
        await store.transact(partial(_set_query_only, on=False))
        await reserve(ledger, 0.3)
        assert await totals(ledger) == (0.1, 0.3)


def _set_query_only(connection: sa.Connection, *, on: bool) -> None:
    connection.execute(sa.text(f"pragma query_only = {int(on)}"))


async def test_spending_is_broken_down_by_user_session_and_track(tmp_path: Path) -> None:
    async with open_ledger(tmp_path, day_usd=1) as ledger:
        await ledger.settle(await reserve(ledger, 0.1), 0.1)
        await ledger.settle(await reserve(ledger, 0.1, user="bob", track="big"), 0.02)
        await reserve(ledger, 0.3, session="s2")
        spent = await ledger.spending()
    assert [(line.name, line.spent_usd) for line in spent.users] == [("ada", 0.1), ("bob", 0.02)]
    assert [line.name for line in spent.sessions] == ["ada/s", "bob/s", "ada/s2"]
    assert [(line.name, line.legs) for line in spent.tracks] == [("api", 2), ("big", 1)]
    assert spent.total.reserved_usd == 0.3


def _name_the_dialect_oracle(connection: sa.Connection) -> None:
    connection.dialect.name = "oracle"


async def test_a_database_that_cannot_enforce_caps_is_refused(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'x.db'}")
    store.transact_now(_name_the_dialect_oracle)
    with pytest.raises(StoreError, match="SQLite or PostgreSQL, not 'oracle'"):
        Ledger.open(store, Caps())
    store.close()
