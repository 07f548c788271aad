"""`/memory` in a chat: what the last reply was shown, a search, forgetting one item.

Invariant: it says what it did; what it forgets is gone from this conversation, too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from vanta.cli.trace.memory import recall_line, shown_lines
from vanta.errors import UnknownName, UsageError

if TYPE_CHECKING:
    from vanta.cli.chat.commands import Talk
    from vanta.memory.items import MemoryItem, Scope
    from vanta.memory.memory import Memory

MOST = 8
"""Items that a search in a chat shows."""

Action = Callable[["Talk", "Memory", str], str]


def obey(talk: Talk, rest: str) -> str:
    """Do what `/memory rest` asks; returns what to say. Raises UnknownName, UsageError."""
    runtime = talk.runtime.runtime
    if runtime.memory is None:
        return f"there is no memory: {runtime.memory_off}"
    if not rest:
        return _last(talk, runtime.memory)
    action, _, words = rest.partition(" ")
    if action not in _ACTIONS:
        raise UnknownName(
            "action of /memory",
            action,
            _ACTIONS,
            hint="There are /memory, /memory search WORDS and /memory forget ID.",
        )
    return _ACTIONS[action](talk, runtime.memory, words.strip())


def _last(talk: Talk, memory: Memory) -> str:
    """What the last reply's recall found, and what of it each track was shown."""
    if not talk.replies:
        return "no turn has been answered yet; /memory search WORDS looks for something"
    trace = talk.replies[-1].trace
    lines = [
        recall_line(trace) or "memory was not asked for the last reply",
        *shown_lines(trace, each=False),
    ]
    scores: dict[int, float] = {
        memory.id: memory.score for report in trace.context.values() for memory in report.memories
    }
    items = talk.runtime.portal.call(memory.named, _scope(talk), list(scores))
    by_score = sorted(items, key=lambda item: -scores[item.id])
    return "\n".join([*lines, *(_line(scores[item.id], item) for item in by_score)])


def _search(talk: Talk, memory: Memory, words: str) -> str:
    from vanta.memory.memory import Question

    if not words:
        raise UsageError("/memory search needs words to look for: /memory search holidays")
    question = Question(words, _scope(talk), limit=MOST, confidential=talk.session.private)
    found = talk.runtime.portal.call(memory.recall, question)
    lines = [_line(one.score, one.item) for one in found.found[:MOST]]
    lines = lines or ["nothing was found"]
    if found.skipped:
        lines.append(f"took no part: {found.skipped}")
    return "\n".join(lines)


def _forget(talk: Talk, memory: Memory, words: str) -> str:
    from vanta.cli.memory.forget import forget_all
    from vanta.cli.memory.input_history import forget_recent
    from vanta.cli.memory.tables import told
    from vanta.memory.store.forgetting import Selection

    ids = tuple(int(word.lstrip("#")) for word in words.split() if word.lstrip("#").isdecimal())
    if not ids or len(ids) != len(words.split()):
        raise UsageError("/memory forget needs ids, as /memory and /memory search show them: 12 13")
    if not talk.runtime.portal.call(memory.named, _scope(talk), ids):
        return f"nothing of {words} is remembered"
    history = talk.runtime.config.data_dir / "chat_history"
    selection = Selection(talk.session.user, ids)
    foreseen = talk.runtime.portal.call(memory.foresee, selection)
    done = talk.runtime.portal.call(functools.partial(forget_all, memory, selection, history))
    forget_recent(item.text for item in foreseen.items if item.role == "user")
    return "\n".join(told(*done))


def _scope(talk: Talk) -> Scope:
    from vanta.memory.items import Scope

    return Scope(talk.session.user, private=True)


def _line(score: float, item: MemoryItem) -> str:
    from vanta.cli import output
    from vanta.cli.memory.tables import clock, one_line, where, who

    width = max(40, 2 * output.stdout().width - 20)
    about = ", ".join(filter(None, [clock(item.said_at), who(item), where(item)]))
    return f"  {score:.2f}  #{item.id}  {about}\n        {one_line(item.text, width)}"


_ACTIONS: Mapping[str, Action] = {"search": _search, "forget": _forget}
