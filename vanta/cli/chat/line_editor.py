"""Reads what a person types: line editing, a history on disk, messages of several lines.

Invariant: it runs in the main thread and blocks it, so Ctrl-C interrupts the line and nothing
else; a history that cannot be read or written is done without. A line is in the history's file as
soon as it was typed, and is not written again: what is taken out of the file stays out.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

_HISTORY_LINES = 1000


class Prompt:
    """The prompt of a chat. history: the file that lines are remembered in, None for nowhere."""

    def __init__(self, history: Path | None, words: Sequence[str] = ()) -> None:
        self._history = history
        self._interactive = sys.stdin.isatty()
        if self._interactive:
            self._prepare(words)

    def read(self) -> str:
        """The next message. Lines that end in a backslash, and pasted ones, are one message.

        Raises EOFError after Ctrl-D, KeyboardInterrupt after Ctrl-C.
        """
        lines = [self._line("you> ")]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1][:-1]
            lines.append(self._line("...> "))
        message = "\n".join(lines).strip()
        self._remember(message)
        return message

    def _line(self, prompt: str) -> str:
        # readline counts what stands between \1 and \2 as no width.
        return input(f"\001\033[1m\002{prompt}\001\033[0m\002" if self._interactive else "")

    def _prepare(self, words: Sequence[str]) -> None:
        import readline

        readline.set_auto_history(False)
        readline.set_history_length(_HISTORY_LINES)
        readline.parse_and_bind("set enable-bracketed-paste on")
        readline.parse_and_bind("tab: complete")
        readline.set_completer_delims(" ")
        readline.set_completer(_completer(words))
        if self._history is not None:
            with contextlib.suppress(OSError):
                readline.read_history_file(self._history)

    def _remember(self, message: str) -> None:
        if self._interactive and message:
            import readline

            readline.add_history(message)
            if self._history is not None:
                with contextlib.suppress(OSError):
                    self._history.parent.mkdir(parents=True, exist_ok=True)
                    self._history.touch(mode=0o600)
                    readline.append_history_file(1, self._history)


def _completer(words: Sequence[str]) -> Callable[[str, int], str | None]:
    def complete(start: str, state: int) -> str | None:
        found = [word for word in words if start and word.startswith(start)]
        return found[state] if state < len(found) else None

    return complete
