"""The commands of a chat that go back: another answer, another message, another branch.

Invariant: a command that needs an answer leaves it to the chat, which shows it like any other. What
`--save` writes afterwards is the branch in use.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from vanta.errors import UnknownName, UsageError

if TYPE_CHECKING:
    from vanta.messages import Exchange, Image
    from vanta.runtime import Session, SyncRuntime
    from vanta.storage import Branch
    from vanta.trace import Reply

LISTED = 10
"""Sessions that `/sessions` lists."""

SHOWN = 60
"""Characters of a message in a list."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A message that a command has the chat send.

    :param text: the message.
    :param replaces: the id of the turn that it takes the place of.
    :param track: the track that answers alone; "" as in the rest of the chat.
    :param images: the images of the message.
    """

    text: str
    replaces: str
    track: str = ""
    images: tuple[Image, ...] = ()


class ChatState(Protocol):
    """What these commands use of a chat; see `vanta.cli.chat.commands.Chat`."""

    runtime: SyncRuntime
    session: Session
    messages: list[str]
    replies: list[Reply]
    pending: Pending | None


def regenerate(chat: ChatState, track: str) -> str:
    """Run `/regenerate track`: answer the latest message again.

    :raises UnknownName: if there is no such track.
    :raises UsageError: if there is no message yet.
    """
    runtime = chat.runtime.runtime
    if track and track not in runtime.tracks:
        hint = runtime.off.get(track, "")
        raise UnknownName("track", track, runtime.tracks, hint=hint)
    latest = chat.runtime.portal.call(chat.session.exchange)
    chat.pending = Pending(_message_of(latest), latest.turn, track, _images_of(latest))
    return ""


def edit(chat: ChatState, rest: str) -> str:
    """Run `/edit [#N] TEXT`: replace the text of one of the user's messages, by default the latest.

    :raises UsageError: if there is no such message, or no text.
    """
    number, text = _numbered(rest)
    if not text:
        raise UsageError(
            "/edit needs the new message: /edit TEXT replaces your latest one, /edit #2 TEXT the "
            "second. /branch numbers them."
        )
    replaced = _turn(chat, number)
    chat.pending = Pending(text, replaced.turn, images=_images_of(replaced))
    return ""


def branch(chat: ChatState, rest: str) -> str:
    """Run `/branch`: list branches, begin one (`new`, `#N`), or continue one (its name).

    :raises UnknownName: if there is no branch of that name.
    :raises UsageError: if there is no such message.
    """
    call = chat.runtime.portal.call
    if not rest:
        return _listed(chat)
    number, name = _numbered(rest)
    if number is not None:
        begun = call(functools.partial(chat.session.branch, _turn(chat, number).turn, name))
    elif rest == "new" or rest.startswith("new "):
        begun = call(functools.partial(chat.session.branch, None, rest[3:].strip()))
    else:
        chosen = call(chat.session.switch, rest)
        keep_shown(chat)
        return f"continues branch {chosen.name}, {_turns(chosen)}"
    keep_shown(chat)
    return f"began branch {begun.name} after {_turns(begun)}; /branch {begun.parent} goes back"


def sessions(chat: ChatState, rest: str) -> str:
    """Run `/sessions`: list this user's conversations, search them, or continue one.

    :raises UsageError: for a conversation that does not exist.
    """
    runtime, user = chat.runtime.runtime, chat.session.user
    action, _, name = rest.partition(" ")
    if action == "open" and name:
        return _open(chat, name.strip())
    listing = functools.partial(
        runtime.sessions, user=user, search=rest, limit=LISTED, private=True
    )
    found = chat.runtime.portal.call(listing)
    lines = [
        f"{'*' if info.id == chat.session.id else ' '} {info.id}  "
        f"{info.turns} turn{'s' * (info.turns != 1)}{', private' * info.private}  "
        f"{_short(info.match or info.title)}"
        for info in found
    ]
    return "\n".join(lines) or "no conversation was found"


def keep_shown(chat: ChatState) -> None:
    """Keep the messages and replies that are on the branch in use, for `--save` and `/stats`."""
    exchanges = chat.runtime.portal.call(chat.session.exchanges)
    turns = {exchange.turn for exchange in exchanges}
    kept = [
        (message, reply)
        for message, reply in zip(chat.messages, chat.replies, strict=True)
        if reply.trace.turn_id in turns
    ]
    chat.messages[:] = [message for message, _ in kept]
    chat.replies[:] = [reply for _, reply in kept]


def _open(chat: ChatState, name: str) -> str:
    session = chat.runtime.runtime.session(name, user=chat.session.user)
    history = chat.runtime.portal.call(session.history)
    if not history:
        raise UsageError(f"no conversation is named {name!r}. /sessions lists them.")
    chat.runtime.portal.call(session.refresh)
    chat.session = session
    chat.messages.clear()
    chat.replies.clear()
    return f"session {name}, continued after {len(history)} messages"


def _listed(chat: ChatState) -> str:
    call = chat.runtime.portal.call
    lines = [
        f"{'*' if item.active else ' '} {item.name}  {_turns(item)}"
        f"{', ' + item.kind if item.kind not in ('main', 'branch') else ''}"
        f"{', replaced' if item.replaced else ''}"
        for item in call(chat.session.branches)
    ]
    lines.append("your messages on this branch:")
    for number, exchange in enumerate(call(chat.session.exchanges), 1):
        lines.append(f"  #{number}  {_short(_message_of(exchange))}")
    return "\n".join(lines)


def _turn(chat: ChatState, number: int | None) -> Exchange:
    """Return a turn by the number of its message, the latest one without."""
    if number is None:
        return chat.runtime.portal.call(chat.session.exchange)
    exchanges = chat.runtime.portal.call(chat.session.exchanges)
    if not 1 <= number <= len(exchanges):
        raise UsageError(f"there is no message #{number}: this branch has {len(exchanges)}.")
    return exchanges[number - 1]


def _numbered(rest: str) -> tuple[int | None, str]:
    """Return the number of `#N words`, None without one, and the words."""
    first, _, words = rest.partition(" ")
    if first.startswith("#") and first[1:].isdecimal():
        return int(first[1:]), words.strip()
    return None, rest


def _message_of(exchange: Exchange) -> str:
    return next((item.content for item in exchange.messages if item.role == "user"), "")


def _images_of(exchange: Exchange) -> tuple[Image, ...]:
    return next((item.images for item in exchange.messages if item.role == "user"), ())


def _turns(item: Branch) -> str:
    count = len(item.turns)
    return f"{count} turn{'s' * (count != 1)}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…"
