"""A real OpenAI-compatible server on loopback, in another process.

Invariant: the server ends with its context, however that is left. It also ends when this process
dies, because its standard input is closed then.
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
    """A listening server.

    :param delay_s: the delay before each answer.
    :param cut_after: the number of tokens after which it cuts every answer, or None.
    """

    base_url: str
    model: str
    delay_s: float
    cut_after: int | None = None


@contextmanager
def loopback(
    model: str, *, delay_s: float, threads: int, cut_after: int | None = None
) -> Iterator[Loopback]:
    """Serve `model` with the given number of threads until the context is left.

    :raises RunError: if the server does not start.
    """
    command = [sys.executable, "-P", "-m", "vanta.testing.serve", "--model", model]
    command += ["--delay-s", str(delay_s), "--threads", str(threads)]
    command += [] if cut_after is None else ["--cut-after", str(cut_after)]
    # In a session of its own, Ctrl-C reaches only this process, which then stops the server.
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            base_url = _announcement(process, command)["base_url"]
            yield Loopback(base_url, model, delay_s, cut_after)
        finally:
            _stop(process)


def _announcement(process: subprocess.Popen[bytes], command: Sequence[str]) -> dict[str, Any]:
    """Return the JSON line that the server prints once it listens."""
    assert process.stdout is not None  # noqa: S101 - it was opened with a pipe
    line = process.stdout.readline()
    try:
        announcement: dict[str, Any] = json.loads(line)
    except ValueError:
        raise RunError(
            f"the loopback server did not start. To see why, run: {' '.join(command)}"
        ) from None
    if "error" in announcement:
        raise RunError(f"the loopback server did not start: {announcement['error']}")
    return announcement


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
