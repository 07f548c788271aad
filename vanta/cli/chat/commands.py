"""The commands of a chat: what a line that begins with a slash does.

Invariant: a command says what it did; one that is unknown names the nearest and does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vanta.cli.chat.narration import money, seconds
from vanta.errors import UnknownName

if TYPE_CHECKING:
    from vanta.events import Reply
    from vanta.runtime import Session, SyncRuntime

Command = Callable[["Talk", str], str]


@dataclass(slots=True)
class Talk:
    """What a chat is about, and what it came to so far."""

    runtime: SyncRuntime
    session: Session
    policy: str | None = None
    track: str | None = None
    said: list[str] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    over: bool = False

    def obey(self, line: str) -> str:
        """Do what `/name rest` asks; returns what to say. Raises UnknownName."""
        name, _, rest = line[1:].partition(" ")
        if name not in COMMANDS:
            raise UnknownName("command", name, COMMANDS, hint="/help lists them.")
        return COMMANDS[name](self, rest.strip())


def _help(_talk: Talk, _rest: str) -> str:
    return (
        "/info          this conversation, its policy and its tracks\n"
        "/track [NAME]  answer with one track alone; /track auto goes back to the policy\n"
        "/stats         what the turns of this chat took and cost\n"
        "/memory        what was recalled for the last reply\n"
        "               /memory search WORDS looks for more, /memory forget ID forgets for good\n"
        "/clear         forget this conversation\n"
        "/exit          leave (so does Ctrl-D)\n"
        "Ctrl-C stops a reply. A line that ends in \\ goes on in the next one; pasted lines\n"
        "stay together. A message that begins with a slash is written with two."
    )


def _info(talk: Talk, _rest: str) -> str:
    runtime = talk.runtime.runtime
    serving = f"track {talk.track} alone" if talk.track else f"policy {policy_of(talk)}"
    lines = [f"session {talk.session.id}, user {talk.session.user}, {serving}"]
    if talk.session.private:
        lines.append("private: nothing leaves this machine")
    for name, track in runtime.tracks.items():
        price = track.price
        paid = price.input_usd_per_mtok or price.output_usd_per_mtok
        lines.append(
            f"track {name}: {track.engine.name}, {track.engine.model}, "
            f"window {track.window or track.engine.window or 'unknown'}, "
            f"{'private' if track.private else 'leaves this machine'}, "
            + (
                f"${price.input_usd_per_mtok:g}/${price.output_usd_per_mtok:g} a million tokens"
                if paid
                else "costs nothing"
            )
        )
    lines += [f"track {name} is off: {why}" for name, why in runtime.off.items()]
    return "\n".join([*lines, f"kept in {runtime.config.store_url or runtime.config.data_dir}"])


def _clear(talk: Talk, _rest: str) -> str:
    count = talk.runtime.portal.call(talk.session.clear)
    return f"forgotten: {count} messages of session {talk.session.id}"


def _track(talk: Talk, name: str) -> str:
    runtime = talk.runtime.runtime
    if not name:
        return f"track {talk.track} alone" if talk.track else f"auto: policy {policy_of(talk)}"
    if name == "auto":
        talk.track = None
        return f"the policy {policy_of(talk)} decides again"
    if name in runtime.off:
        return f"track {name} is off: {runtime.off[name]}"
    if name not in runtime.tracks:
        raise UnknownName("track", name, [*runtime.tracks, *runtime.off, "auto"])
    talk.track = name
    return f"{name} answers alone from here on; /track auto goes back to the policy"


def _stats(talk: Talk, _rest: str) -> str:
    if not talk.replies:
        return "no turn has been answered yet"
    lines = [_line_for(track, talk.replies) for track in _tracks(talk.replies)]
    total = sum(reply.cost_usd for reply in talk.replies)
    lines.append(f"{len(talk.replies)} turns, {money(total)} in all, losing legs included")
    for name, track in talk.runtime.runtime.tracks.items():
        figures = [_figure(key, value) for key, value in track.engine.stats().items()]
        if any(figures):
            lines.append(f"engine of {name}: {', '.join(filter(None, figures))}")
    return "\n".join(lines)


def _figure(key: str, value: object) -> str:
    """A figure of an engine as text; what is no number is left to `/info`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    return f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"


def _line_for(track: str, replies: list[Reply]) -> str:
    own = [reply for reply in replies if reply.track == track]
    waits = [reply.timings.first_content_s or 0.0 for reply in own]
    tokens = sum(reply.usage.output_tokens for reply in own if reply.usage)
    mean = seconds(sum(waits) / len(waits))
    return f"{track} answered {len(own)}: first text after {mean} on average, {tokens} tokens"


def _tracks(replies: list[Reply]) -> list[str]:
    return list(dict.fromkeys(reply.track for reply in replies))


def _memory(talk: Talk, rest: str) -> str:
    from vanta.cli.chat.memory import obey

    return obey(talk, rest)


def _exit(talk: Talk, _rest: str) -> str:
    talk.over = True
    return ""


def policy_of(talk: Talk) -> str:
    """The name of the policy in force."""
    return talk.policy or talk.runtime.runtime.usual_policy(talk.session.user).name


COMMANDS: Mapping[str, Command] = {
    "help": _help,
    "info": _info,
    "track": _track,
    "stats": _stats,
    "memory": _memory,
    "clear": _clear,
    "exit": _exit,
}
