"""Calls of turns that are not in the history: cut off, failed, or on another branch.

They may have had effects, which a later turn must not bring about once more, so the next turn of
the session reads them with their results. Invariant: of a private call, a turn that is not private
reads the tool's name only. An equal call is held there until a person approves it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from vanta.messages import Exchange, Message, ToolCall
from vanta.storage import Store
from vanta.tools import Caller, CallRecord, Journal, ParkedTurns, as_data

UNKNOWN = (
    "The outcome of this call is unknown: it was started, and then the turn was cut off. It may "
    "have had its effect or not. Do not repeat it before a person has looked."
)
"""What the model reads of a call whose end is not known."""

PRIVATE = (
    "A call of this tool was made in a private turn that is not part of this conversation's text. "
    "It may have had its effect. Its arguments and its outcome are private, and withheld here. Do "
    "not make a call that may be the same before a person has confirmed it."
)
"""What the model reads of a private call in a turn that is not private."""

MOST_STRANDED = 32
"""The most calls of earlier turns that a turn is shown."""

Done = Callable[[Collection[str]], Awaitable[frozenset[str]]]


@dataclass(frozen=True, slots=True)
class StrandedCalls:
    """What a turn has to know of such calls.

    :param exchange: the calls with their results, as its transcript has them; None for none.
    :param withheld: the private write calls that it is not shown: toolset, tool and arguments.
    """

    exchange: Exchange | None = None
    withheld: frozenset[tuple[str, str, str]] = frozenset()


NO_STRANDED = StrandedCalls()


async def find_stranded(
    journal: Journal,
    parked: ParkedTurns,
    store: Store,
    caller: Caller,
    history: Sequence[Exchange],
    done: Done,
    *,
    private: bool,
) -> StrandedCalls:
    """Return what a turn has to know of calls of turns that are not in its history.

    Calls that only read are left out, as are those of turns that wait for a person.

    :param journal: the journal of the calls.
    :param parked: the turns that wait for a person.
    :param store: the store of the turns.
    :param caller: the user, the session and the turn.
    :param history: the session's exchanges.
    :param done: returns which of some turns need not be reported, although the history lacks them.
    :param private: whether nothing of the turn reaches a track that is not private.
    :raises StoreError: if the journal cannot be read.
    """
    records = await _records(journal, caller)
    turns = {exchange.turn for exchange in history} | {caller.turn}
    stranded = [
        record
        for record in records
        if record.turn not in turns and record.effect != "read"
        if not record.forgotten and record.state != "started"
    ]
    if stranded:  # the calls of a turn that waits come with it, when it goes on
        waiting = {turn.turn for turn in await parked.list(user=caller.user)}
        stranded = [record for record in stranded if record.turn not in waiting]
    if stranded:
        over = await done({record.turn for record in stranded})
        stranded = [record for record in stranded if record.turn not in over]
    if not stranded:
        return NO_STRANDED
    visible = [item for item in history if private or not item.private]
    reported = {message.tool_call_id for item in visible for message in item.messages}
    news = [item for item in stranded if _id_of(item, private=private) not in reported]
    answered = await store.answered({record.turn for record in news}) if news else frozenset()
    return StrandedCalls(
        _exchange(news, answered, private=private),
        frozenset() if private else _withheld(stranded, records),
    )


async def _records(journal: Journal, caller: Caller) -> Sequence[CallRecord]:
    """Return the latest calls of a session, after those of dead processes have an end."""
    read = partial(
        journal.list,
        user=caller.user,
        session=caller.session,
        states=["started", "finished", "failed", "unknown", "resolved"],
        limit=MOST_STRANDED,
    )
    records = await read()
    if any(record.state == "started" for record in records):  # else there is nothing to write
        await journal.abandoned()
        records = await read()
    return records


def _id_of(record: CallRecord, *, private: bool) -> str:
    """Return the id of a call in the transcript: another one where its text is withheld."""
    return f"withheld_{record.key}" if record.private and not private else record.key


def _exchange(
    stranded: Sequence[CallRecord], answered: frozenset[str], *, private: bool
) -> Exchange | None:
    if not stranded:
        return None
    shown = [(item, _id_of(item, private=private)) for item in stranded]
    calls = tuple(
        ToolCall(name, item.tool, item.arguments if name == item.key else "{}")
        for item, name in shown
    )
    results = (
        Message(
            "tool",
            _outcome_of(item, answered) if name == item.key else PRIVATE,
            tool_call_id=name,
        )
        for item, name in shown
    )
    is_private = private and any(record.private for record in stranded)
    return Exchange((Message("assistant", "", calls), *results), private=is_private)


def _withheld(
    stranded: Iterable[CallRecord], records: Sequence[CallRecord]
) -> frozenset[tuple[str, str, str]]:
    """Return the private write calls that may have had an effect, less those made again since."""
    keys = {record.key for record in stranded}
    withheld: set[tuple[str, str, str]] = set()
    for record in records:  # oldest first
        same = (record.toolset, record.tool, record.arguments)
        if record.key not in keys:
            withheld.discard(same)
        elif record.private and record.effect == "write" and record.outcome != "not done":
            withheld.add(same)
    return frozenset(withheld)


def _outcome_of(record: CallRecord, answered: frozenset[str]) -> str:
    """Return what the model reads of a call whose turn has no exchange in the history.

    answered: the turns that have one elsewhere.
    """
    if record.state == "unknown":
        return UNKNOWN
    if record.state == "resolved":
        return f"A person found out that this call was {record.outcome}."
    result = as_data(str(json.loads(record.result).get("text", ""))) if record.result else ""
    how = "It failed" if record.state == "failed" else "It ran"
    where = ", and then the turn was cut off"
    if record.turn in answered:
        where = " in a turn that is on another branch of this conversation, and has its effect"
    return f"{how}{where}. Do not repeat it. <result>\n{result}\n</result>"
