"""A real OpenAI-compatible server on loopback, in another process, for as long as it is needed.

Invariant: it is gone when the context is left, however it is left; it also ends by itself when this
process dies, for its standard input is then closed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from vanta.errors import RunError

_GRACE_S = 5.0


@dataclass(frozen=True, slots=True)
class Loopback:
    """A server that listens. cut_after: tokens after which it breaks every answer off."""

    base_url: str
    model: str
    delay_s: float
    cut_after: int | None = None


@contextmanager
def loopback(
    model: str, *, delay_s: float, threads: int, cut_after: int | None = None
) -> Iterator[Loopback]:
    """Serve `model`, each answer begun `delay_s` late. Raises RunError if it cannot."""
    command = [sys.executable, "-m", "vanta.testing.serve", "--model", model]
    command += ["--delay-s", str(delay_s), "--threads", str(threads)]
    command += [] if cut_after is None else ["--cut-after", str(cut_after)]
    # A session of its own: Ctrl-C at the terminal is for us, and we end it in good order.
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            base_url = _announced(process, command)["base_url"]
            yield Loopback(base_url, model, delay_s, cut_after)
        finally:
            _stop(process)


def _announced(process: subprocess.Popen[bytes], command: Sequence[str]) -> dict[str, Any]:
    """The line that the server prints once it listens."""
    assert process.stdout is not None  # noqa: S101 - it was opened with a pipe
    line = process.stdout.readline()
    try:
        told: dict[str, Any] = json.loads(line)
    except ValueError:
        shown = " ".join(command)
        raise RunError(f"the loopback server did not start. See why: {shown}") from None
    if "error" in told:
        raise RunError(f"the loopback server did not start: {told['error']}")
    return told


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
