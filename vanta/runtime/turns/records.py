"""What a turn leaves behind: the reply for its caller, and the row of its record.

Invariant: both are made from the trace and the rounds alone, after the last round.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any

from vanta.messages import Message, Usage
from vanta.runtime.conversations import Conversation
from vanta.runtime.turns.rounds import Rounds
from vanta.scheduling.race_plan import RaceOutcome
from vanta.trace import Reply, Timings, Trace


def reply_of(
    outcome: RaceOutcome, trace: Trace, rounds: Rounds, before: Sequence[Message], *, acts: bool
) -> Reply[Any]:
    """Return the reply of an answered turn.

    :param outcome: the outcome of the last round.
    :param trace: the record of the turn.
    :param rounds: its rounds.
    :param before: calls of earlier turns that the transcript lacked.
    :param acts: whether calls were run or are the caller's; otherwise the reply has those that the
        model asked for without any tool.
    """
    assert outcome.leg is not None  # noqa: S101 - it was answered
    answer = outcome.leg.fold.completion()
    added = (*before, *rounds.transcript)
    if trace.private:
        added = tuple(replace(message, private=True) for message in added)
    return Reply(
        text=outcome.text,
        track=outcome.leg.track.name,
        model=answer.model or outcome.leg.track.engine.model,
        finish_reason=outcome.finish_reason,
        usage=_sum(leg.usage for leg in trace.legs if leg.state in ("won", "broken")),
        cost_usd=trace.cost_usd,
        timings=Timings(first_content_s=outcome.first_content_s, duration_s=trace.duration_s),
        trace=trace,
        reasoning=answer.reasoning,
        tool_calls=rounds.returned if acts else answer.tool_calls,
        output=outcome.output,
        messages=added,
        logprobs=answer.logprobs if _is_by_one_leg(trace) else (),
    )


def _is_by_one_leg(trace: Trace) -> bool:
    """Return whether one leg alone wrote the text of a turn."""
    return trace.rounds == 1 and not any(leg.state in ("broken", "amended") for leg in trace.legs)


def row_of(conversation: Conversation, trace: Trace, reply: Reply[Any] | None) -> dict[str, Any]:
    """Return the columns of a turn's record, but its trace.

    :param conversation: the conversation of the turn.
    :param trace: the record of the turn.
    :param reply: its reply; None for a turn without one.
    """
    return {
        "id": trace.turn_id,
        "user": conversation.user,
        "session": conversation.session,
        "private": trace.private,
        "status": trace.status,
        "track": reply.track if reply else None,
        "cost_usd": trace.cost_usd,
    }


def _sum(usages: Iterable[Usage | None]) -> Usage | None:
    known = [usage for usage in usages if usage is not None]
    return reduce(add, known) if known else None
