"""Parked turns: one process resumes one, an answer counts once, and forgetting removes them."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.memory.home import bytes_in, home
from tests.tools.test_rounds import Counted
from tests.tools.test_stream_approvals import opened
from vanta import AllTracksFailed, ApprovalPending, TurnOptions
from vanta.memory.store.forgetting import Selection
from vanta.money import Caps, Owner, this_process
from vanta.storage import Store, sqlite_url
from vanta.tools.permissions.parked_turns import (
    HOLD_S,
    ApprovalError,
    ParkedCall,
    ParkedTurn,
    ParkedTurns,
)

pytestmark = pytest.mark.anyio

FAR = Owner("another host", "7:1")
DEAD = dataclasses.replace(this_process(), process="999999999:1")
SECRET = "Zanzibarquay"


def parked(turn: str = "t1", *, session: str = "one", question: bool = False) -> ParkedTurn:
    call = ParkedCall(
        key=f"{turn}-k1",
        turn=turn,
        toolset="mail",
        tool="send",
        effect="write",
        arguments=f'{{"to":"{SECRET}"}}',
        digest="d" * 64,
        why="tools.mode 'ask'",
        is_question=question,
    )
    return ParkedTurn(
        turn=turn,
        user="ada",
        session=session,
        private=False,
        state=f'{{"message": "{SECRET}"}}',
        calls=(call,),
    )


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store.open(sqlite_url(tmp_path))
    yield store
    await store.aclose()


async def test_a_turn_whose_process_is_gone_is_resumed_by_one_process(store: Store) -> None:
    await ParkedTurns(store, owner=DEAD).park(parked())
    first = await ParkedTurns(store).claim("t1")
    assert (first.turn, first.session, first.holder) == ("t1", "one", this_process())
    with pytest.raises(ApprovalError, match="is being resumed there"):
        await ParkedTurns(store).claim("t1")


async def test_a_turn_that_waits_in_a_living_process_is_not_resumed(store: Store) -> None:
    await ParkedTurns(store).park(parked())
    with pytest.raises(ApprovalError, match=r"waits in process \d+"):
        await ParkedTurns(store, owner=FAR).claim("t1")
    await ParkedTurns(store).release("t1")
    assert (await ParkedTurns(store).claim("t1")).turn == "t1"


async def test_the_hold_of_another_host_ends_unless_it_is_renewed(store: Store) -> None:
    await ParkedTurns(store, owner=FAR, clock=lambda: 1000.0).park(parked())
    later = ParkedTurns(store, clock=lambda: 1000.0 + HOLD_S + 1)
    await ParkedTurns(store, owner=FAR, clock=lambda: 1600.0).answers("t1", renew=True)
    with pytest.raises(ApprovalError):
        await later.claim("t1")
    much_later = ParkedTurns(store, clock=lambda: 1600.0 + HOLD_S + 1)
    assert (await much_later.claim("t1")).turn == "t1"


async def test_an_answer_counts_once(store: Store) -> None:
    turns = ParkedTurns(store)
    await turns.park(parked())
    decided = await turns.decide("t1-k1", "approved", scope="session")
    assert (decided.answer, decided.scope) == ("approved", "session")
    with pytest.raises(ApprovalError, match="is approved already"):
        await turns.decide("t1-k1", "denied", text="No.")
    answers = await turns.answers("t1")
    assert answers is not None
    assert answers["t1-k1"].answer == "approved"
    (listed,) = await turns.list(user="ada")
    assert listed.open_calls == ()


@pytest.mark.parametrize(
    ("question", "answer", "message"),
    [(True, "approved", "answer it in words"), (False, "answered", "approve or deny it")],
)
async def test_an_answer_that_does_not_fit_is_an_error(
    question: bool, answer: str, message: str, store: Store
) -> None:
    turns = ParkedTurns(store)
    await turns.park(parked(question=question))
    with pytest.raises(ApprovalError, match=message):
        await turns.decide("t1-k1", answer)  # type: ignore[arg-type]
    assert len((await turns.list())[0].open_calls) == 1


async def test_what_does_not_wait_cannot_be_decided_or_claimed(store: Store) -> None:
    turns = ParkedTurns(store)
    with pytest.raises(ApprovalError, match="no call 'k9' waits"):
        await turns.decide("k9", "approved")
    with pytest.raises(ApprovalError, match="no turn 't9' waits"):
        await turns.claim("t9")
    await turns.park(parked())
    assert await turns.take("t1")
    assert not await turns.take("t1")
    assert await turns.answers("t1") is None


async def test_a_turn_that_no_process_holds_expires(store: Store) -> None:
    turns = ParkedTurns(store, owner=FAR, clock=lambda: 1000.0, expire_s=5000.0)
    await turns.park(parked())
    (waiting,) = await turns.list()
    assert (waiting.parked_at, waiting.expires_at) == (1000.0, 6000.0)
    before = ParkedTurns(store, clock=lambda: 5999.0, expire_s=5000.0)
    assert [turn.turn for turn in await before.list()] == ["t1"]
    after = ParkedTurns(store, clock=lambda: 6001.0, expire_s=5000.0)
    with pytest.raises(ApprovalError, match="has expired"):
        await after.approve("t1-k1")
    with pytest.raises(ApprovalError, match="no turn 't1' waits"):
        await after.claim("t1")
    assert await after.list() == []


async def test_a_turn_that_a_process_holds_does_not_expire(store: Store) -> None:
    turns = ParkedTurns(store, clock=lambda: 1000.0, expire_s=5000.0)
    await turns.park(parked())
    later = ParkedTurns(store, clock=lambda: 1e9, expire_s=5000.0)
    assert [turn.turn for turn in await later.list()] == ["t1"]
    await turns.release("t1")
    assert await later.list() == []


@pytest.mark.parametrize("chosen", ["session", "since", "everything"])
async def test_forgetting_removes_parked_turns_in_every_byte(chosen: str, tmp_path: Path) -> None:
    async with home(tmp_path) as here:
        turns = ParkedTurns(here.store)
        await turns.park(parked())
        await turns.park(parked("t2", session="two"))
        assert bytes_in(tmp_path, SECRET.encode())
        selections = {
            "session": Selection("ada", session="one"),
            "since": Selection("ada", since=0.0),
            "everything": Selection("ada", everything=True),
        }
        await here.memory.forget(selections[chosen])
        assert [item.turn for item in await turns.list()] == ["t2"] * (chosen == "session")
        if chosen != "session":
            assert bytes_in(tmp_path, SECRET.encode()) == []


async def test_clearing_a_session_removes_its_parked_turns_only(store: Store) -> None:
    turns = ParkedTurns(store)
    await turns.park(parked())
    await turns.park(parked("t2", session="two"))
    await store.clear("ada", "one")
    assert [item.turn for item in await turns.list()] == ["t2"]


async def test_forgetting_an_item_removes_the_parked_turns_of_its_session(tmp_path: Path) -> None:
    async with home(tmp_path) as here:
        await here.say("Write to her.", session="one")
        turns = ParkedTurns(here.store)
        await turns.park(parked())
        await turns.park(parked("t2", session="two"))
        items = [item.id async for item in here.memory.export()]
        await here.memory.forget(Selection("ada", ids=(items[0],)))
        assert [item.turn for item in await turns.list()] == ["t2"]


async def test_a_resumed_turn_keeps_its_own_caps(tmp_path: Path) -> None:
    """Each round reserves 0.2 dollars; the first one spends enough to leave less than that."""
    counted = Counted()
    price = {"input_usd_per_mtok": 0.0, "output_usd_per_mtok": 50_000.0}
    tracks = {"local": {**price, "sampling": {"max_tokens": 4}}}
    for caps, finishes in ((None, True), (Caps(turn_usd=0.21), False)):
        async with opened(tmp_path / f"{finishes}", counted, tracks=tracks) as runtime:
            with pytest.raises(ApprovalPending) as pending:
                await runtime.session("a").ask(
                    "Send it.", options=TurnOptions(approvals="park", caps=caps)
                )
            resumed = runtime.resume(pending.value.turn_id, approve=pending.value.calls)
            if finishes:
                assert (await resumed).trace.rounds == 2
                continue
            with pytest.raises(AllTracksFailed, match=r"turn.*0\.21|0\.21.*turn"):
                await resumed
