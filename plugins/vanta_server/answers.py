"""One answer as parts that a client appends, whatever happens to the tracks behind it.

A takeover that continues is invisible: the text has no seam. A policy under which shown text may
be replaced (an amendment, a restart) is held back until the answer is final, with its reasoning,
since a client of a streaming protocol cannot take anything back. Invariant: the texts of all parts,
joined, are the text of the reply; if a text was replaced against expectation, the new one follows
after an empty line.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from vanta import (
    Amended,
    Event,
    Policy,
    ReasoningDelta,
    Reply,
    Takeover,
    TextDelta,
    ToolCall,
    TurnStream,
)

BREAK = "\n\n"


@dataclass(frozen=True, slots=True)
class AnswerPart:
    """What a client appends next; the last part of an answer has its reply.

    :param text: more of the text.
    :param reasoning: more of the reasoning that leads to it.
    :param calls: calls that the client has to run.
    :param event: what happened, for clients that ask for it; None if this part is not an event.
    :param reply: the whole reply, at the end.
    """

    text: str = ""
    reasoning: str = ""
    calls: tuple[ToolCall, ...] = ()
    event: Event | None = None
    reply: Reply | None = None


def may_replace(policy: Policy) -> bool:
    """Return whether a turn under this policy may replace text that was already shown."""
    return policy.takeover == "restart" or any(leg.amends for leg in policy.legs)


async def answer_parts(turn: TurnStream, *, holds: bool) -> AsyncGenerator[AnswerPart, None]:
    """Yield the parts of a turn's answer.

    :param turn: a running turn; what it raises is raised here.
    :param holds: whether the text is held back until it is final.
    """
    sent, reasoned, is_held = "", False, holds
    async for event in turn:
        yield AnswerPart(event=event)
        if isinstance(event, Amended) or (isinstance(event, Takeover) and event.restarts):
            is_held = holds or bool(sent)  # what was sent is void, and what follows replaces it
        elif isinstance(event, TextDelta) and not is_held:
            sent += event.text
            yield AnswerPart(text=event.text)
        elif isinstance(event, ReasoningDelta) and not is_held:
            reasoned = True
            yield AnswerPart(reasoning=event.text)
    reply = turn.reply
    if reply.reasoning and not reasoned and not sent:
        yield AnswerPart(reasoning=reply.reasoning)
    if reply.text != sent:
        yield AnswerPart(text=_rest(reply.text, sent))
    if reply.tool_calls:
        yield AnswerPart(calls=reply.tool_calls)
    yield AnswerPart(reply=reply)


def who_answered(reply: Reply) -> dict[str, Any]:
    """Return which track answered, under which policy, at what cost.

    :param reply: the answer.
    """
    trace = reply.trace
    return {
        "turn": trace.turn_id,
        "track": reply.track,
        "model": reply.model,
        "policy": trace.policy,
        "private": trace.private,
        "takeovers": sum(leg.state == "broken" for leg in trace.legs),
        "rounds": trace.rounds,
        "cost_usd": reply.cost_usd,
        "first_content_s": reply.timings.first_content_s,
        "duration_s": reply.timings.duration_s,
    }


def event_data(event: Event) -> dict[str, Any]:
    """Return an event for clients that ask for them.

    :param event: the event; of the last one the reply is left out, which has its own chunks.
    """
    return {"event": {key: item for key, item in event.to_dict().items() if key != "reply"}}


def _rest(text: str, sent: str) -> str:
    if text.startswith(sent):
        return text[len(sent) :]
    return BREAK + text if sent else text
