"""A terminal with a program on it, as a person would see and use it (a pty of the stdlib)."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\r")
# Makes the pty the controlling terminal of the new session, so that Ctrl-C is a signal.
_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "os.execvp(sys.argv[1], sys.argv[1:])"
)


class Terminal:
    """Runs a program on a pty of its own; leaving the context ends it."""

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, *argv],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environ,
            start_new_session=True,
        )
        os.close(slave)
        self._raw = ""
        self._read = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    @property
    def text(self) -> str:
        """All that was shown so far, without colours and cursor movements."""
        return _CONTROLS.sub("", self._raw)

    def type(self, text: str) -> None:
        """Press keys; a newline is the enter key."""
        os.write(self._master, text.replace("\n", "\r").encode())

    def press_ctrl(self, letter: str) -> None:
        """Press a key with control held."""
        self.type(chr(ord(letter.upper()) - 64))

    def expect(self, text: str, timeout_s: float = 30) -> str:
        """Wait for `text` after what was expected before; returns what came up to its end."""
        until = time.monotonic() + timeout_s
        while text not in self.text[self._read :]:
            left = until - time.monotonic()
            assert left > 0, f"no {text!r} in {self.text[self._read :]!r}"
            assert self._more(left), f"ended without {text!r}: {self.text[self._read :]!r}"
        start, self._read = self._read, self.text.index(text, self._read) + len(text)
        return self.text[start : self._read]

    def end(self, timeout_s: float = 30) -> int:
        """Wait for the program's end; returns its exit code."""
        while self._more(timeout_s):
            pass
        return self._process.wait(timeout_s)

    def _more(self, timeout_s: float) -> bool:
        """Read what there is; False at the end."""
        ready, _, _ = select.select([self._master], [], [], timeout_s)
        try:
            new = os.read(self._master, 65536) if ready else b""
        except OSError:  # how Linux says that the other side is closed
            return False
        self._raw += new.decode(errors="replace")
        return bool(new)
