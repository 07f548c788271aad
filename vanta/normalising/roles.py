"""Messages in the roles and the order that a model's chat format accepts.

Some templates refuse a system message (Gemma 1 and 2, early Mistral) or two messages of one role in
a row. `arranged` keeps every word and moves it: a system prompt to the head of the user's first
message, a message to the end of the one before it. Reasoning at the beginning of earlier answers is
left out, since models are trained without it.

Invariant: messages that the rules accept are returned unchanged, tool calls and results are never
moved, and no text is lost except reasoning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from vanta.messages import Message
from vanta.normalising.reasoning import quoted_marks, without_reasoning

BEGIN = Message("user", "Begin.")
"""Precedes an answer that the conversation would begin with."""

CONTINUE = Message("user", "Continue.")
"""Follows an answer that the conversation would end with."""


@dataclass(frozen=True, slots=True)
class RoleRules:
    """What a chat format accepts.

    :param system: whether a conversation may begin with a system message.
    :param alternating: whether user and assistant must take turns, the user first.
    """

    system: bool = True
    alternating: bool = False

    def __str__(self) -> str:
        """Return what is done to messages, as a clause; "" for nothing."""
        parts = []
        if not self.system:
            parts.append("the system prompt is put into the first user message")
        if self.alternating:
            parts.append("consecutive messages of one role are joined")
        return " and ".join(parts)


AS_GIVEN = RoleRules()

_SYSTEM_REFUSED = re.compile(
    r"system (?:role|message|prompt|instruction)s?\b.{0,40}\bnot (?:supported|enabled|allowed)"
    r"|(?:does not|doesn't) support (?:the )?system"
    r"|developer instruction is not enabled"
    r"|only user(?:,| and) (?:assistant|model)(?: and assistant)? roles are supported",
    re.IGNORECASE,
)
_ORDER_REFUSED = re.compile(
    r"roles must alternate|must alternate between|roles? should alternate"
    r"|after the optional system message, conversation"
    r"|(?:messages|roles) .{0,40}\balternat",
    re.IGNORECASE,
)


def arranged(messages: Sequence[Message], rules: RoleRules = AS_GIVEN) -> tuple[Message, ...]:
    """Return a conversation that the rules accept.

    :param messages: the conversation, oldest first.
    :param rules: what the chat format accepts.
    """
    quoted = quoted_marks(messages)
    conversation = [_without_reasoning(message, quoted) for message in messages]
    kept = [message for message in conversation if message is not None]
    if not rules.system or (rules.alternating and _has_late_system(kept)):
        kept = _with_system_first(kept, rules)
    if rules.alternating:
        kept = _in_turn(kept)
    return tuple(kept)


def probe_rules(accepts: Callable[[Sequence[Message]], bool]) -> RoleRules:
    """Return the rules of a chat format by trying small conversations.

    :param accepts: returns whether a conversation is accepted, with all its words kept.
    """
    question, answer = Message("user", "vantaquestion"), Message("assistant", "vantaanswer")
    again, system = Message("user", "vantaagain"), Message("system", "vantasystem")
    if not accepts((question,)):
        return AS_GIVEN  # it refuses everything: no arrangement helps
    return RoleRules(
        system=accepts((system, question)),
        alternating=not accepts((question, again, answer, again)),
    )


def learn_roles(
    refusal: str, messages: Sequence[Message], rules: RoleRules = AS_GIVEN
) -> RoleRules | None:
    """Return the rules that a server's refusal of a conversation shows.

    :param refusal: the server's error message.
    :param messages: the conversation that it refused, as it was before it was arranged.
    :param rules: the rules by which it was arranged.
    :returns: stricter rules, or None if the refusal shows none.
    """
    system = rules.system and not _SYSTEM_REFUSED.search(refusal)
    alternating = rules.alternating or bool(_ORDER_REFUSED.search(refusal))
    if alternating and not rules.alternating and system:
        # An order that is right already is only wrong by its system message.
        sent = arranged(messages, rules)
        system = arranged(sent, RoleRules(alternating=True)) != sent
    learnt = RoleRules(system, alternating)
    return None if learnt == rules else learnt


def _without_reasoning(message: Message, quoted: frozenset[str]) -> Message | None:
    """Return an answer without its reasoning, None if nothing of it is left."""
    if message.role != "assistant" or not message.content:
        return message
    text = without_reasoning(message.content, quoted)
    if text == message.content:
        return message
    return replace(message, content=text) if text.strip() or message.tool_calls else None


def _has_late_system(messages: Sequence[Message]) -> bool:
    return any(message.role == "system" for message in messages[1:])


def _with_system_first(messages: Sequence[Message], rules: RoleRules) -> list[Message]:
    """Put all system messages at the beginning, or into the user's first message."""
    texts = [message.content for message in messages if message.role == "system"]
    rest = [message for message in messages if message.role != "system"]
    text = "\n\n".join(filter(None, texts))
    if not text:
        return rest
    if rules.system:
        return [Message("system", text), *rest]
    if rest and rest[0].role == "user":
        return [_joined(Message("user", text), rest[0]), *rest[1:]]
    return [Message("user", text), *rest]


def _in_turn(messages: Sequence[Message]) -> list[Message]:
    result: list[Message] = []
    for message in messages:
        if not result or result[-1].role == "system":
            if message.role == "assistant":
                result.append(BEGIN)
            result.append(message)
        elif _is_plain(message) and _is_plain(result[-1]) and message.role == result[-1].role:
            result[-1] = _joined(result[-1], message)
        else:
            result.append(message)
    if result and result[-1].role == "assistant" and _is_plain(result[-1]):
        result.append(CONTINUE)
    return result


def _is_plain(message: Message) -> bool:
    return message.role in {"user", "assistant"} and not message.tool_calls


def _joined(first: Message, second: Message) -> Message:
    content = "\n\n".join(filter(None, (first.content, second.content)))
    following = len(content) - len(first.content)
    places = (*(place + following for place in first.image_places), *second.image_places)
    images = (*first.images, *second.images)
    return replace(second, content=content, images=images, image_places=places)
