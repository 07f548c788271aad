"""Reading a message at the terminal: line editing, a history on disk, messages of several lines.

Invariant: it runs in the main thread and blocks it, so Ctrl-C interrupts the line and nothing else.
A history that cannot be read or written is ignored. A line is appended to the history's file as
soon as it is typed and never written again, so a line that is deleted from the file stays deleted.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from vanta.files import private_folder, read_file, restrict
from vanta.text import decoded

_MOST_BYTES = 1 << 28

_HISTORY_LINES = 1000


class LineEditor:
    """Reads the messages of a chat.

    :param history: the file that keeps the typed lines, or None to keep none.
    :param words: words that the tab key completes.
    """

    def __init__(self, history: Path | None, words: Sequence[str] = ()) -> None:
        self._history = history
        self._interactive = sys.stdin.isatty()
        if self._interactive:
            self._prepare(words)

    def read(self) -> str:
        """Return the next message; lines that end in a backslash, or are pasted, form one message.

        :raises EOFError: after Ctrl-D.
        :raises KeyboardInterrupt: after Ctrl-C.
        """
        lines = [self._line("you> ")]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1][:-1]
            lines.append(self._line("...> "))
        message = decoded("\n".join(lines)).strip()
        self._remember(message)
        return message

    def _line(self, prompt: str) -> str:
        # readline gives no width to the characters between \1 and \2.
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
                read_file(self._history, _MOST_BYTES)  # only a regular file of a sane size
                readline.read_history_file(self._history)

    def _remember(self, message: str) -> None:
        if self._interactive and message:
            import readline

            readline.add_history(message)
            if self._history is not None:
                with contextlib.suppress(OSError):
                    private_folder(self._history.parent)
                    self._history.touch(mode=0o600)
                    restrict(self._history)
                    readline.append_history_file(1, self._history)


def _completer(words: Sequence[str]) -> Callable[[str, int], str | None]:
    def complete(start: str, state: int) -> str | None:
        matches = [word for word in words if start and word.startswith(start)]
        return matches[state] if state < len(matches) else None

    return complete
