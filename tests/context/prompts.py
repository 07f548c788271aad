"""The texts that vanta adds to a turn, for tests of the context."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vanta.engine import Tool


class PlainPrompts:
    """Texts without templates. `write_memories` may be replaced."""

    def __init__(self, write_memories: Callable[[str, str], str] | None = None) -> None:
        self._write_memories = write_memories

    def write_memories(self, lines: str, summary: str) -> str:
        write = self._write_memories
        return write(lines, summary) if write else f"{summary}{lines}"

    def ask_to_continue(self, shown: str) -> str:
        return f"go on after {shown}"

    def explain_tools(self, tools: Sequence[Tool], *, must_call: bool) -> str:
        names = " ".join(tool.name for tool in tools)
        return f"{'Call' if must_call else 'You may call'} {names}."

    def ask_for_type(self, schema: str) -> str:
        return f"answer under {schema}"

    def ask_to_correct(self, problem: str) -> str:
        return f"correct {problem}"

    def ask_to_verify(self, question: str, answer: str) -> str:
        return f"is {answer} right for {question}?"
