"""A caller's transcript, checked and divided into what a turn is made of.

Checked is what some server or chat template refuses, so that every track of a policy accepts the
same transcript: a result without its call, a call without its result, two calls of one id, a
message without any content, an end that is not to be answered. Allowed is what all of them take
(or what vanta arranges for them): system messages between others, several messages of one role in
a row, an assistant's greeting at the beginning, an id that comes again in a later answer.

Invariant: the messages keep their order and their texts. An exchange, which is what a prompt leaves
out as a whole, has calls together with their results.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vanta.errors import UsageError
from vanta.messages import Exchange, Image, Message, read_message

PRIVATE_MESSAGE = "a message of the transcript is private"
"""Why a turn is private if one of its messages is marked so."""

_ENDS = ("user", "tool", "system")


@dataclass(frozen=True, slots=True)
class Transcript:
    """The parts of a transcript.

    :param system: the text of the system messages at its beginning; None if there are none.
    :param history: what stands before the user's last message.
    :param message: the user's last message.
    :param following: what stands after it: calls and their results.
    """

    system: str | None
    history: tuple[Exchange, ...]
    message: Message
    following: tuple[Message, ...] = ()

    @property
    def messages(self) -> tuple[Message, ...]:
        """All messages but the system messages at the beginning."""
        past = (message for exchange in self.history for message in exchange.messages)
        return (*past, self.message, *self.following)

    @property
    def is_private(self) -> bool:
        """Whether one of the messages must not leave this machine."""
        return any(message.private for message in self.messages)

    @property
    def images(self) -> tuple[Image, ...]:
        """The images of all messages."""
        return tuple(image for message in self.messages for image in message.images)

    @property
    def text(self) -> str:
        """All texts, the arguments of calls included, for a detector of private text."""
        texts = [self.system or ""]
        for message in self.messages:
            texts += [message.content, *(call.arguments for call in message.tool_calls)]
        return "\n\n".join(filter(None, texts))


def read_transcript(messages: Iterable[Message | Mapping[str, Any]]) -> Transcript:
    """Check a transcript and divide it.

    :param messages: the messages, oldest first; see `vanta.read_message`.
    :raises UsageError: if it is not one that can be answered. The message names the place.
    """
    given = _checked(_read(messages))
    begin = next((n for n, item in enumerate(given) if item.role != "system"), len(given))
    last = max((n for n, item in enumerate(given) if item.role == "user"), default=None)
    if last is None:
        raise UsageError("messages: there is no message of the user to answer. Add one.")
    if given[-1].role not in _ENDS:
        raise UsageError(
            f"messages[{len(given) - 1}]: the transcript ends with an answer of the assistant. "
            "Add the message of the user that is to be answered."
        )
    prompts = [item.content for item in given[:begin]]
    return Transcript(
        system="\n\n".join(filter(None, prompts)) if prompts else None,
        history=_exchanges(given[begin:last]),
        message=given[last],
        following=tuple(given[last + 1 :]),
    )


def _read(messages: Iterable[Message | Mapping[str, Any]]) -> list[Message]:
    if isinstance(messages, str | bytes | Mapping | Message) or not isinstance(messages, Iterable):
        raise UsageError(
            "messages: pass a list of messages, such as [vanta.Message('user', 'Hello')], not "
            f"{type(messages).__name__!r}"
        )
    read = []
    for place, value in enumerate(messages):
        try:
            read.append(read_message(value))
        except UsageError as error:
            raise UsageError(f"messages[{place}]: {error}") from None
    if not read:
        raise UsageError("messages: the list is empty. Add the message that is to be answered.")
    return read


class _Check:
    """Checks messages one after the other."""

    def __init__(self) -> None:
        self._open: dict[str, str] = {}
        self._asked_at = 0
        self._used: set[str] = set()
        self._renamed: dict[str, str] = {}

    def take(self, place: int, message: Message) -> Message:
        """Return the message, with ids of calls that no earlier answer has."""
        if message.role == "tool":
            return self._result(place, message)
        self.require_results(place)
        if message.role != "assistant" and message.tool_calls:
            raise _wrong(place, f"a message of the {message.role} has no calls", "Remove them")
        if message.tool_call_id is not None:
            raise _wrong(
                place,
                f"a message of the {message.role} has no 'tool_call_id'",
                "Use the role 'tool' for a result, or remove the id",
            )
        if message.role == "assistant":
            return self._answer(place, message)
        if message.role == "user" and not (message.content or message.images):
            raise _wrong(place, "the user's message is empty", "Leave it out, or add its text")
        return message

    def require_results(self, place: int) -> None:
        """Refuse a message, or the end, before all calls have their results."""
        for call_id, name in self._open.items():
            raise _wrong(
                place,
                f"the result of the call {call_id!r} ({name!r}), which messages[{self._asked_at}] "
                "asks for, is missing",
                f"Put a message of the role 'tool' with the tool_call_id {call_id!r} here",
            )

    def _answer(self, place: int, message: Message) -> Message:
        if not message.content and not message.tool_calls:
            raise _wrong(place, "the assistant's message has no text and no calls", "Leave it out")
        self._asked_at, self._renamed, calls = place, {}, []
        for call in message.tool_calls:
            if not call.id:
                raise _wrong(place, f"the call of {call.name!r} has no id", "Give it one")
            if call.id in self._open:
                raise _wrong(place, f"two calls have the id {call.id!r}", "Rename one of them")
            self._open[call.id] = call.name
            calls.append(dataclasses.replace(call, id=self._own(call.id)))
        changed = self._renamed and dataclasses.replace(message, tool_calls=tuple(calls))
        return changed or message

    def _own(self, call_id: str) -> str:
        """Return an id that no earlier call has: some servers refuse one that comes again."""
        own, number = call_id, 2
        while own in self._used:
            own, number = f"{call_id}-{number}", number + 1
        self._used.add(own)
        if own != call_id:
            self._renamed[call_id] = own
        return own

    def _result(self, place: int, message: Message) -> Message:
        call_id = message.tool_call_id
        if not call_id:
            raise _wrong(place, "the tool's message has no 'tool_call_id'", "Add the call's id")
        if message.tool_calls:
            raise _wrong(place, "a message of the tool has no calls", "Remove them")
        if self._open.pop(call_id, None) is None:
            open_ids = ", ".join(map(repr, self._open)) or "none"
            raise _wrong(
                place,
                f"the call {call_id!r} was not asked for by the answer before, or has its result",
                f"The calls that wait for a result here: {open_ids}. Remove the message, or put "
                "the answer with the call before it",
            )
        own = self._renamed.get(call_id, call_id)
        return message if own == call_id else dataclasses.replace(message, tool_call_id=own)


def _checked(messages: Sequence[Message]) -> list[Message]:
    check = _Check()
    checked = [check.take(place, message) for place, message in enumerate(messages)]
    check.require_results(len(messages))
    return checked


def _wrong(place: int, problem: str, advice: str) -> UsageError:
    return UsageError(f"messages[{place}]: {problem}. {advice}.")


def _exchanges(messages: Sequence[Message]) -> tuple[Exchange, ...]:
    """Divide the past at each message of the user."""
    parts: list[list[Message]] = []
    for message in messages:
        if message.role == "user" or not parts:
            parts.append([])
        parts[-1].append(message)
    return tuple(Exchange(tuple(part)) for part in parts)
