"""One run of a tool: paid for, between two entries in the journal, within the turn's time.

Invariant: when the tool begins, its start is durable and its price is reserved. However the run
ends, the journal and the ledger have its end: a call that was cut off is `unknown` if it may have
had an effect, and is paid for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import anyio

from vanta.errors import BudgetExceeded
from vanta.money import Ledger
from vanta.storage import store_waits_until
from vanta.tool_contract import AskPerson, ToolContext, ToolResult
from vanta.tools.journal.call_record import CallRecord
from vanta.tools.journal.journal import Journal
from vanta.tools.permissions.approvals import Approvals
from vanta.tools.registry import OfferedTool, ToolRegistry
from vanta.tools.turn_rules import TurnClock

GRACE_S = 60.0
"""Seconds after a tool's time limit for which its reservation and its lease last."""


@dataclass(frozen=True, slots=True)
class CallDesk:
    """What every call of a runtime goes through.

    :param registry: runs the tools.
    :param journal: records the calls.
    :param ledger: pays for tools that have a price.
    :param approvals: what a person has approved for longer than one call.
    """

    registry: ToolRegistry
    journal: Journal
    ledger: Ledger
    approvals: Approvals


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """How a call ended.

    :param result: what the tool gave, or why it did not run.
    :param state: `finished`, `failed`, `denied` (a cap of money), `refused` (no time) or `unknown`.
    :param took_s: seconds that the tool ran.
    :param cost_usd: what the call cost.
    """

    result: ToolResult
    state: str
    took_s: float = 0.0
    cost_usd: float = 0.0


async def run_recorded(
    desk: CallDesk,
    record: CallRecord,
    offered: OfferedTool,
    arguments: Mapping[str, Any],
    clock: TurnClock,
    ask: AskPerson | None = None,
) -> RecordedCall:
    """Run a call that may run.

    :param desk: what the call goes through.
    :param record: the call, not yet in the journal.
    :param offered: its tool.
    :param arguments: its arguments, valid under the tool's schema.
    :param clock: the turn's clock.
    :param ask: asks the person while the call runs; None if no one can be asked.
    :raises StoreError: if the start or the end cannot be recorded.
    """
    if anyio.current_time() >= clock.ends_at:
        late = "Not run: the time of the turn is up."
        return RecordedCall(ToolResult(late, is_error=True), "refused")
    tool, reservation = offered.tool, None
    if tool.price_usd:
        try:
            reservation = await desk.ledger.reserve(
                user=record.user,
                session=record.session,
                turn=record.turn,
                track=f"tool {offered.identity}",
                usd=tool.price_usd,
                lease_s=tool.timeout_s + GRACE_S,
            )
        except BudgetExceeded as error:
            why = f"Not run: {error.message}"
            return RecordedCall(ToolResult(why, is_error=True), "denied")
    try:
        return await _between_entries(desk, record, offered, arguments, clock, ask)
    finally:
        if reservation is not None:
            with anyio.CancelScope(shield=True):
                await desk.ledger.settle(reservation, tool.price_usd, exact=True)


async def record_denial(desk: CallDesk, record: CallRecord) -> None:
    """Write into the journal that a call was not allowed to run.

    :param desk: what the call goes through.
    :param record: the call, with the reason.
    :raises StoreError: if it cannot be recorded.
    """
    await desk.journal.request(record)
    await desk.journal.finish(record.key, "", "denied")


async def record_answer(desk: CallDesk, record: CallRecord, text: str) -> None:
    """Write into the journal what a person answered to a question.

    :param desk: what the call goes through.
    :param record: the call, not yet in the journal.
    :param text: the answer.
    :raises StoreError: if it cannot be recorded.
    """
    await desk.journal.begin(record)
    await desk.journal.finish(record.key, json.dumps({"text": text, "source": "the person"}))


async def _between_entries(
    desk: CallDesk,
    record: CallRecord,
    offered: OfferedTool,
    arguments: Mapping[str, Any],
    clock: TurnClock,
    ask: AskPerson | None,
) -> RecordedCall:
    with store_waits_until(clock.ends_at, moved=True):  # a person's answer may have moved it
        await desk.journal.begin(record, lease_s=offered.tool.timeout_s + GRACE_S)
    began_at = anyio.current_time()
    context = ToolContext(
        user=record.user,
        session=record.session,
        turn=record.turn,
        call_id=record.call_id,
        idempotency_key=record.key,
        private=record.private,
        ends_at=min(clock.ends_at, began_at + offered.tool.timeout_s),
        ask=ask,
    )
    try:
        result = await desk.registry.call(offered, arguments, context)
    except BaseException:  # the turn was cancelled: the tool may have done its work or not
        with anyio.CancelScope(shield=True):
            await desk.journal.finish(record.key, "", "unknown")
        raise
    took_s, state = anyio.current_time() - began_at, _end_state(offered, result, context)
    written = json.dumps({"text": result.text, "source": result.source})
    with anyio.CancelScope(shield=True), store_waits_until(clock.ends_at, moved=True):
        await desk.journal.finish(record.key, written, state, private=result.private)
    return RecordedCall(result, state, took_s, offered.tool.price_usd)


def _end_state(
    offered: OfferedTool, result: ToolResult, context: ToolContext
) -> Literal["finished", "failed", "unknown"]:
    """Return how a call ended; one that ran out of time may have had its effect or not."""
    if not result.is_error:
        return "finished"
    is_late = result.is_unknown or anyio.current_time() >= context.ends_at
    return "unknown" if is_late and offered.tool.effect != "read" else "failed"
