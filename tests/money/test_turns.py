"""A turn reserves money before each leg, settles it afterwards, and a refusal ends one leg."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.money.ledgers import totals
from tests.runtime.home import open_scripted
from vanta.errors import AllTracksFailed, EngineError, ErrorKind
from vanta.events import LegFailed
from vanta.money import Caps
from vanta.runtime import Runtime, TurnOptions
from vanta.scheduling import LegPlan, Policy
from vanta.testing import Fail, Hang, Pause, ScriptedEngine, Step, Wait
from vanta.trace import Reply

pytestmark = pytest.mark.anyio

FIVE_CENTS_A_TOKEN = {"input_usd_per_mtok": 0.0, "output_usd_per_mtok": 50_000.0}
PAID = {"api": {**FIVE_CENTS_A_TOKEN, "sampling": {"max_tokens": 4}}}


def refusals(failure: AllTracksFailed) -> list[ErrorKind]:
    return [error.kind for error in failure.exceptions if isinstance(error, EngineError)]


async def test_a_paid_leg_is_reserved_while_it_runs_and_settled_at_its_real_usage(
    tmp_path: Path,
) -> None:
    gate = anyio.Event()
    engine = ScriptedEngine("one", Wait(gate), " two")
    async with open_scripted(
        tmp_path, api=engine, tracks=PAID, policy="api", budget={"day_usd": 0.2}
    ) as runtime:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.session("s").ask, "hi")
            await engine.run(0)
            assert await totals(runtime.ledger) == (0, 0.2)
            gate.set()
        assert engine.runs[0].tokens == 2
        assert await totals(runtime.ledger) == (0.1, 0)


async def test_of_twenty_concurrent_turns_exactly_as_many_are_paid_as_the_cap_allows(
    tmp_path: Path,
) -> None:
    engine = ScriptedEngine("one two three")
    price = {"input_usd_per_mtok": 0.0, "output_usd_per_mtok": 10_000.0}
    tracks = {"api": {**price, "sampling": {"max_tokens": 2}}}
    answered: list[Reply] = []
    refused: list[ErrorKind] = []

    async def turn(runtime: Runtime, number: int) -> None:
        try:
            answered.append(await runtime.session(f"s{number}").ask("hi"))
        except AllTracksFailed as failure:
            refused.extend(refusals(failure))

    async with open_scripted(
        tmp_path, api=engine, tracks=tracks, policy="api", budget={"day_usd": 0.05}
    ) as runtime:
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(turn, runtime, number)
        assert len(answered) == len(engine.runs) == 2
        assert refused == [ErrorKind.BUDGET] * 18
        assert await totals(runtime.ledger) == (0.04, 0)


@pytest.mark.parametrize("cap", ["turn_usd", "session_usd", "user_usd", "day_usd"])
async def test_every_configured_cap_refuses_a_leg_that_is_too_expensive(
    tmp_path: Path, cap: str
) -> None:
    engine = ScriptedEngine("hi")
    async with open_scripted(
        tmp_path, api=engine, tracks=PAID, policy="api", budget={cap: 0.19}
    ) as runtime:
        with pytest.raises(AllTracksFailed, match=rf"budget.{cap}") as failed:
            await runtime.session("s").ask("hi")
        assert refusals(failed.value) == [ErrorKind.BUDGET]
        assert engine.runs == []


async def test_a_refusal_fails_its_leg_alone_and_the_other_track_answers(tmp_path: Path) -> None:
    local, api = ScriptedEngine("from here"), ScriptedEngine("from there")
    async with (
        open_scripted(
            tmp_path,
            local=local,
            api=api,
            tracks=PAID,
            policy="prefer",
            budget={"user_usd": 0.01},
        ) as runtime,
        runtime.session("s").stream("hi") as turn,
    ):
        events = [event async for event in turn]
    assert turn.reply.text == "from here"
    failed = [event for event in events if isinstance(event, LegFailed)]
    assert [(event.track, event.error["kind"]) for event in failed] == [("api", "budget")]
    assert "$0.01" in str(failed[0].error["message"])


async def test_a_track_without_a_price_never_touches_the_ledger(tmp_path: Path) -> None:
    async with open_scripted(
        tmp_path, local=ScriptedEngine("hi"), policy="local", budget={"turn_usd": 0.0}
    ) as runtime:
        assert (await runtime.session("s").ask("hi")).text == "hi"
        assert (await runtime.ledger.spending()).total.legs == 0


async def test_a_loser_is_in_the_bill_and_in_the_ledger(tmp_path: Path) -> None:
    spoken = anyio.Event()
    local = ScriptedEngine(Wait(spoken), "mine")
    api = ScriptedEngine(Pause(0), " ", Hang())
    async with open_scripted(
        tmp_path, local=local, api=api, tracks=PAID, policy="race", budget={"day_usd": 1.0}
    ) as runtime:
        async with runtime.session("s").stream("hi") as turn:
            await api.run(0)
            spoken.set()
            async for _event in turn:
                pass
        lost = next(leg for leg in turn.reply.trace.legs if leg.track == "api")
        assert lost.state == "cancelled"
        spent = await runtime.ledger.spending()
        assert spent.total.spent_usd == pytest.approx(lost.cost_usd)
        assert spent.total.reserved_usd == 0


async def test_a_cancelled_turn_leaves_nothing_reserved(tmp_path: Path) -> None:
    engine = ScriptedEngine("one", Hang())
    async with open_scripted(
        tmp_path, api=engine, tracks=PAID, policy="api", budget={"day_usd": 1.0}
    ) as runtime:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.session("s").ask, "hi")
            await engine.run(0)
            tasks.cancel_scope.cancel()
        assert (await totals(runtime.ledger))[1] == 0


@pytest.mark.parametrize("seed", range(5))
async def test_under_races_hedges_and_cancellations_the_cap_holds_and_bills_equal_the_ledger(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - a seed, no secret
    gates = [anyio.Event() for _ in range(8)]

    def script(_request: object) -> list[Step | str]:
        return ["one", Wait(chance.choice(gates)), " two", Wait(chance.choice(gates)), " three"]

    async def turn(runtime: Runtime, number: int, scope: anyio.CancelScope) -> None:
        legs = (LegPlan("api"), LegPlan("local", start_after_s=chance.choice([0.0, 0.002, None])))
        with scope, contextlib.suppress(AllTracksFailed):
            await runtime.session(f"s{number % 3}").ask("hi", policy=Policy("mixed", "", legs))

    price: dict[str, Any] = {"input_usd_per_mtok": 0.0, "output_usd_per_mtok": 10_000.0}
    price["sampling"] = {"max_tokens": 3}
    async with open_scripted(
        tmp_path,
        local=ScriptedEngine(reply=script),
        api=ScriptedEngine(reply=script),
        tracks={"local": price, "api": price},
        budget={"day_usd": 0.2, "session_usd": 0.1},
    ) as runtime:
        scopes = [anyio.CancelScope() for _ in range(8)]
        async with anyio.create_task_group() as tasks:
            for number, scope in enumerate(scopes):
                tasks.start_soon(turn, runtime, number, scope)
            for gate, scope in zip(gates, scopes, strict=True):
                await anyio.wait_all_tasks_blocked()
                gate.set()
                if chance.random() < 0.3:
                    scope.cancel()
        spent = await runtime.ledger.spending()
        turns = [row for n in range(3) for row in await runtime.store.records(session=f"s{n}")]
    assert 0 < spent.total.spent_usd <= 0.2
    assert spent.total.reserved_usd == 0
    assert max(session.spent_usd for session in spent.sessions) <= 0.1
    assert sum(turn["cost_usd"] for turn in turns) == pytest.approx(spent.total.spent_usd)


async def test_a_failing_leg_is_settled(tmp_path: Path) -> None:
    engine = ScriptedEngine("one", Fail(ErrorKind.BAD_REQUEST))
    async with open_scripted(
        tmp_path, api=engine, tracks=PAID, policy="api", budget={"day_usd": 1.0}
    ) as runtime:
        with pytest.raises(AllTracksFailed):
            await runtime.session("s").ask("hi")
        assert await totals(runtime.ledger) == (0.05, 0)


async def test_under_a_cap_an_answer_without_a_limit_is_bounded_by_the_reply_reserve(
    tmp_path: Path,
) -> None:
    tracks: dict[str, Any] = {"api": {**FIVE_CENTS_A_TOKEN, "reply_reserve": 2}}
    for budget, words in (({}, "one two three"), ({"day_usd": 1.0}, "one two")):
        async with open_scripted(
            tmp_path,
            api=ScriptedEngine("one two three"),
            tracks=tracks,
            policy="api",
            budget=budget,
        ) as runtime:
            assert (await runtime.session("s").ask("hi")).text.strip() == words


async def test_without_a_cap_spending_is_still_recorded(tmp_path: Path) -> None:
    async with open_scripted(
        tmp_path, api=ScriptedEngine("one two"), tracks=PAID, policy="api"
    ) as runtime:
        reply = await runtime.session("s").ask("hi")
        spent = await runtime.ledger.spending()
    assert spent.total.spent_usd == reply.cost_usd == 0.1
    assert [line.name for line in spent.sessions] == ["default/s"]


async def test_under_a_cap_a_model_without_a_known_price_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        async with open_scripted(
            tmp_path,
            api=ScriptedEngine("hi"),
            tracks={"api": {"model": tmp_path.name}},
            budget={"day_usd": 1.0},
        ):
            pass
    assert caplog.text.count("is not known, so under a cap it is refused") == 1


async def test_the_caps_of_a_turn_hold_beside_those_of_the_configuration(tmp_path: Path) -> None:
    engine = ScriptedEngine("one two")  # 0.1 dollars; 0.2 are reserved
    async with open_scripted(
        tmp_path, api=engine, tracks=PAID, policy="api", budget={"user_usd": 0.45}
    ) as runtime:

        async def ask(user: str, caps: Caps) -> Reply:
            return await runtime.session("s", user=user).ask("hi", options=TurnOptions(caps=caps))

        assert (await ask("anna", Caps(user_usd=0.25))).cost_usd == 0.1
        with pytest.raises(AllTracksFailed) as refused:
            await ask("anna", Caps(user_usd=0.25))
        assert refusals(refused.value) == [ErrorKind.BUDGET]
        assert (await ask("ben", Caps(user_usd=9.0))).cost_usd == 0.1
        await ask("ben", Caps(user_usd=9.0))
        await ask("ben", Caps(user_usd=9.0))
        with pytest.raises(AllTracksFailed):
            await ask("ben", Caps(user_usd=9.0))
        assert [round(total, 6) for total in await totals(runtime.ledger)] == [0.4, 0]


async def test_what_was_spent_without_a_cap_counts_under_the_caps_of_a_turn(
    tmp_path: Path,
) -> None:
    async with open_scripted(
        tmp_path, api=ScriptedEngine("one two"), tracks=PAID, policy="api"
    ) as runtime:
        await runtime.session("s").ask("hi")
        with pytest.raises(AllTracksFailed):
            await runtime.session("s").ask("hi", options=TurnOptions(caps=Caps(session_usd=0.25)))


def test_caps_together_are_the_smaller_of_each() -> None:
    both = Caps(turn_usd=1.0, user_usd=5.0).within(Caps(user_usd=2.0, day_usd=3.0))
    assert both == Caps(turn_usd=1.0, user_usd=2.0, day_usd=3.0)
