"""What memory had to do with a turn, as `vanta trace show` and `/memory` tell it.

Invariant: a trace has no word of what was said, so what is told here are ids, scores and tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from vanta.cli.chat.narration import seconds

if TYPE_CHECKING:
    from vanta.events import ContextTrace, MemoryTrace, Trace

SHOWN = 8
"""Memories of a track that are told one by one, the best."""


def recall_line(trace: Trace) -> str:
    """What the recall of a turn came to, in a line; "" if memory was not asked."""
    recall = trace.recall
    if recall is None:
        return ""
    found = len(recall.found)
    told = f"recall: {found} found in {seconds(recall.took_s)}"
    parts = {"embedder": recall.embedder, "index": recall.index}
    by = [f"{part} {name}" for part, name in parts.items() if name]
    told += f", by {', '.join(by)}" if by else ", by words alone"
    return f"{told}; {recall.skipped}" if recall.skipped else told


def shown_lines(trace: Trace, *, each: bool = True) -> Iterable[str]:
    """What each track was shown of it, a line for each track that was sent a prompt. each: with the
    ids, scores and tokens of the best."""
    if trace.recall is None:
        return
    for track, report in trace.context.items():
        shown = report.memories
        summary = ", with the summary of the conversation" if report.summary else ""
        if not shown and not summary:
            yield f"{track} was shown no memory{_room(report)}"
            continue
        count = "1 memory" if len(shown) == 1 else f"{len(shown)} memories"
        told = f"{track} was shown {count}, {report.memory_tokens} tokens{summary}"
        best = sorted(shown, key=lambda memory: -memory.score)
        lines = [_line(one) for one in best[:SHOWN] if each]
        if len(best) > SHOWN and each:
            lines.append(f"and {len(best) - SHOWN} more")
        yield f"{told}{_room(report)}" + (f": {', '.join(lines)}" if lines else "")


def _line(memory: MemoryTrace) -> str:
    return f"#{memory.id} (score {memory.score:.2f}, {memory.tokens} tokens)"


def _room(report: ContextTrace) -> str:
    """What the whole prompt took of its room."""
    if not report.tokens or not report.budget:
        return ""
    about = "" if report.exact else "about "
    told = f"prompt: {about}{report.tokens} of {report.budget} tokens"
    if report.dropped_exchanges:
        told += f", {report.dropped_exchanges} earlier exchanges left out"
    return f" ({told})"
