"""The commands of a chat: lines that begin with a slash.

Invariant: a command returns what it did. An unknown command does nothing and its error names the
nearest one. An item that `/memory forget` removes is gone from this conversation, too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vanta.cli.chat import branching
from vanta.cli.chat.stats import describe_stats
from vanta.cli.chat.tools import decide, describe_tools
from vanta.errors import UnknownName, UsageError
from vanta.text import redact_url

if TYPE_CHECKING:
    from vanta.cli.chat.branching import Pending
    from vanta.cli.terminal.approval import TerminalApproval
    from vanta.memory import Memory, MemoryItem, Scope
    from vanta.messages import Image
    from vanta.runtime import Session, SyncRuntime
    from vanta.trace import Reply
    from vanta.track import Track

SEARCH_RESULTS = 8
"""Items that `/memory search` shows."""


@dataclass(slots=True)
class Chat:
    """A chat and its state.

    :param policy: the policy of `--policy`, or None for the configured one.
    :param track: the track that answers alone, or None.
    :param messages: the messages that were answered, in the order of `replies`.
    :param pending: a message that the last command has the chat send.
    :param approval: asks about models without a known price; None without a terminal.
    :param reasoning: whether the model's reasoning is shown.
    :param resuming: the turn that a command wants to be resumed now, "" for none.
    :param images: the images that the next message is sent with.
    """

    runtime: SyncRuntime
    session: Session
    policy: str | None = None
    track: str | None = None
    messages: list[str] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    over: bool = False
    approval: TerminalApproval | None = None
    pending: Pending | None = None
    reasoning: bool = False
    resuming: str = ""
    images: list[Image] = field(default_factory=list)

    def run(self, line: str) -> str:
        """Run the command `/name rest` and return what to print.

        :raises UnknownName: if the command is unknown.
        """
        name, _, rest = line[1:].partition(" ")
        if name not in COMMANDS:
            raise UnknownName("command", name, COMMANDS, hint="/help lists them.")
        return COMMANDS[name](self, rest.strip())


def policy_of(chat: Chat) -> str:
    """Return the name of the policy in force."""
    return chat.policy or chat.runtime.runtime.usual_policy(chat.session.user).name


def _help(_chat: Chat, _rest: str) -> str:
    return (
        "/info          this conversation, its policy and its tracks\n"
        "/track [NAME]  answer with one track alone; /track auto returns to the policy\n"
        "/stats         times and costs of the turns of this chat\n"
        "/image FILE    send an image with your next message; /image drop leaves it out\n"
        "/memory        the memories that were recalled for the last reply\n"
        "               /memory search WORDS finds more, /memory forget ID deletes for good\n"
        "/regenerate [TRACK]  answer your latest message again\n"
        "/edit TEXT     replace your latest message; /edit #2 TEXT the second one\n"
        "/branch        list branches and your messages; /branch NAME continues a branch,\n"
        "               /branch new begins one here, /branch #2 after your second message\n"
        "/sessions      your conversations; /sessions WORDS finds some,\n"
        "               /sessions open NAME continues one\n"
        "/tools         the tools that are offered, and what may run without a question\n"
        "/approve       calls that wait, and what you approved for later ones\n"
        "               /approve KEY, /approve deny KEY, /approve answer KEY TEXT,\n"
        "               /approve resume TURN, /approve revoke ID\n"
        "/clear         delete this conversation\n"
        "/exit          leave (as does Ctrl-D)\n"
        "Ctrl-C stops a reply. A line that ends in \\ continues on the next one; pasted\n"
        "lines stay together. Begin a message that starts with a slash with two slashes."
    )


def _info(chat: Chat, _rest: str) -> str:
    runtime = chat.runtime.runtime
    answering = f"track {chat.track} alone" if chat.track else f"policy {policy_of(chat)}"
    lines = [f"session {chat.session.id}, user {chat.session.user}, {answering}"]
    if chat.session.private:
        lines.append("private: nothing leaves this machine")
    lines += [_track_line(name, track) for name, track in runtime.tracks.items()]
    lines += [f"track {name} is off: {why}" for name, why in runtime.off.items()]
    place = runtime.config.store_url or str(runtime.config.data_dir)
    return "\n".join([*lines, f"stored in {redact_url(place)}"])


def _track_line(name: str, track: Track) -> str:
    price = track.price
    free = not (price.input_usd_per_mtok or price.output_usd_per_mtok)
    cost = (
        "price unknown"
        if not price.known
        else "costs nothing"
        if free
        else f"${price.input_usd_per_mtok:g}/${price.output_usd_per_mtok:g} a million tokens"
    )
    return (
        f"track {name}: {track.engine.name}, {track.engine.model}, "
        f"window {track.window or track.engine.window or 'unknown'}, "
        f"{'private' if track.private else 'leaves this machine'}, {cost}"
    )


def _tools(chat: Chat, _rest: str) -> str:
    return describe_tools(chat.runtime, chat.session)


def _approve(chat: Chat, rest: str) -> str:
    text, chat.resuming = decide(chat.runtime, chat.session, rest)
    return text


def _image(chat: Chat, path: str) -> str:
    """Run `/image FILE`.

    :raises UsageError: if the file is not an image.
    """
    from vanta.messages import Image

    if path == "drop":
        chat.images.clear()
        return "your next message is sent without an image"
    if path:
        chat.images.append(Image.read(Path(path.strip("'\"")).expanduser()))
    sizes = [f"{image.media_type}, {len(image.data)} bytes" for image in chat.images]
    if not sizes:
        raise UsageError("/image needs a file: /image photo.jpg goes with your next message.")
    return f"with your next message: {'; '.join(sizes)}"


def _clear(chat: Chat, _rest: str) -> str:
    count = chat.runtime.portal.call(chat.session.clear)
    return f"deleted: {count} messages of session {chat.session.id}"


def _track(chat: Chat, name: str) -> str:
    runtime = chat.runtime.runtime
    if not name:
        return f"track {chat.track} alone" if chat.track else f"auto: policy {policy_of(chat)}"
    if name == "auto":
        chat.track = None
        return f"the policy {policy_of(chat)} decides again"
    if name in runtime.off:
        return f"track {name} is off: {runtime.off[name]}"
    if name not in runtime.tracks:
        raise UnknownName("track", name, [*runtime.tracks, *runtime.off, "auto"])
    chat.track = name
    return f"{name} answers alone from now on; /track auto returns to the policy"


def _stats(chat: Chat, _rest: str) -> str:
    if not chat.replies:
        return "no turn has been answered yet"
    tracks = chat.runtime.runtime.tracks
    return describe_stats(chat.replies, {name: item.engine for name, item in tracks.items()})


def _exit(chat: Chat, _rest: str) -> str:
    chat.over = True
    return ""


def _memory(chat: Chat, rest: str) -> str:
    """Run `/memory rest`.

    :raises UnknownName: if `rest` begins with an unknown action.
    :raises UsageError: if the action's arguments do not fit.
    """
    runtime = chat.runtime.runtime
    if runtime.memory is None:
        return f"memory is off: {runtime.memory_off}"
    if not rest:
        return _recalled(chat, runtime.memory)
    action, _, words = rest.partition(" ")
    if action not in _MEMORY_ACTIONS:
        raise UnknownName(
            "action of /memory",
            action,
            _MEMORY_ACTIONS,
            hint="There are /memory, /memory search WORDS and /memory forget ID.",
        )
    return _MEMORY_ACTIONS[action](chat, runtime.memory, words.strip())


def _recalled(chat: Chat, memory: Memory) -> str:
    """Return the recall of the last reply, and the memories that each track was shown."""
    from vanta.cli.trace import describe_memories, describe_recall

    if not chat.replies:
        return "no turn has been answered yet; /memory search WORDS searches memory"
    trace = chat.replies[-1].trace
    lines = [
        describe_recall(trace) or "memory was not used for the last reply",
        *describe_memories(trace, listed=False),
    ]
    scores: dict[int, float] = {
        shown.id: shown.score for report in trace.context.values() for shown in report.memories
    }
    items = chat.runtime.portal.call(memory.get, _scope(chat), list(scores))
    by_score = sorted(items, key=lambda item: -scores[item.id])
    return "\n".join([*lines, *(_item_lines(scores[item.id], item) for item in by_score)])


def _search(chat: Chat, memory: Memory, words: str) -> str:
    from vanta.memory import Question

    if not words:
        raise UsageError("/memory search needs words to look for: /memory search holidays")
    question = Question(
        words, _scope(chat), limit=SEARCH_RESULTS, confidential=chat.session.private
    )
    result = chat.runtime.portal.call(memory.recall, question)
    lines = [_item_lines(match.score, match.item) for match in result.items[:SEARCH_RESULTS]]
    lines = lines or ["nothing was found"]
    if result.skipped:
        lines.append(f"skipped: {result.skipped}")
    return "\n".join(lines)


def _forget(chat: Chat, memory: Memory, words: str) -> str:
    from vanta.cli.memory.forget import forget_all, forget_recent_lines
    from vanta.cli.memory.tables import describe_receipt
    from vanta.memory import Selection

    ids = tuple(int(word.lstrip("#")) for word in words.split() if word.lstrip("#").isdecimal())
    if not ids or len(ids) != len(words.split()):
        raise UsageError("/memory forget needs ids, as /memory and /memory search show them: 12 13")
    if not chat.runtime.portal.call(memory.get, _scope(chat), ids):
        return f"no item of memory has the id {words}"
    history = chat.runtime.runtime.config.data_dir / "chat_history"
    selection = Selection(chat.session.user, ids)
    foreseen = chat.runtime.portal.call(memory.preview_forget, selection)
    result = chat.runtime.portal.call(functools.partial(forget_all, memory, selection, history))
    forget_recent_lines(item.text for item in foreseen.items if item.role == "user")
    return "\n".join(describe_receipt(*result))


def _scope(chat: Chat) -> Scope:
    from vanta.memory import Scope

    return Scope(chat.session.user, private=True)


def _item_lines(score: float, item: MemoryItem) -> str:
    from vanta.cli import output
    from vanta.cli.memory.tables import author, format_time, one_line, origin

    width = max(40, 2 * output.stdout().width - 20)
    about = ", ".join(filter(None, [format_time(item.said_at), author(item), origin(item)]))
    return f"  {score:.2f}  #{item.id}  {about}\n        {one_line(item.text, width)}"


_MEMORY_ACTIONS: Mapping[str, Callable[[Chat, Memory, str], str]] = {
    "search": _search,
    "forget": _forget,
}
COMMANDS: Mapping[str, Callable[[Chat, str], str]] = {
    "help": _help,
    "info": _info,
    "track": _track,
    "stats": _stats,
    "memory": _memory,
    "regenerate": branching.regenerate,
    "edit": branching.edit,
    "branch": branching.branch,
    "sessions": branching.sessions,
    "image": _image,
    "tools": _tools,
    "approve": _approve,
    "clear": _clear,
    "exit": _exit,
}
