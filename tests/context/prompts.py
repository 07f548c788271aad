"""The texts that vanta adds to a turn, for tests of the context."""

from __future__ import annotations

from collections.abc import Callable


class PlainPrompts:
    """Texts without templates. `write_memories` may be replaced."""

    def __init__(self, write_memories: Callable[[str, str], str] | None = None) -> None:
        self._write_memories = write_memories

    def write_memories(self, lines: str, summary: str) -> str:
        write = self._write_memories
        return write(lines, summary) if write else f"{summary}{lines}"

    def ask_to_continue(self, shown: str) -> str:
        return f"go on after {shown}"

    def ask_to_verify(self, question: str, answer: str) -> str:
        return f"is {answer} right for {question}?"
