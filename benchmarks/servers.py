"""The two upstreams of a trap, in a process of their own, and what they recorded.

Invariant: a record belongs to the request whose last message is its tag; the process ends with the
context, or with this process, whatever kills it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from vanta.errors import RunError

from .traps import WORDS, Trap

_ENDED = (
    "the servers of the benchmark ended on their own; their output is above. Is the extra "
    "'testing' installed?"
)
_PROGRAM = Path(__file__).parent / "peers" / "upstreams.py"


@dataclass(frozen=True, slots=True)
class Record:
    """What a server did with one request; times on the monotonic clock, None for what never was."""

    tag: str
    started_at: float
    first_token_at: float | None
    client_gone_at: float | None
    complete: bool


class Served(NamedTuple):
    """What both servers saw of one race; None where no request came."""

    slow: Record | None
    fast: Record | None


class Servers:
    """Two servers that run. urls: of the slow one and the fast one."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.urls: tuple[str, str] = tuple(self._read())

    def collect(self) -> dict[str, Served]:
        """What was recorded since the last time, by tag. Blocking."""
        slow, fast = ({each["tag"]: Record(**each) for each in told} for told in self._told())
        return {tag: Served(slow.get(tag), fast.get(tag)) for tag in slow | fast}

    def _told(self) -> list[list[dict[str, Any]]]:
        assert self._process.stdin is not None
        try:
            print("records", file=self._process.stdin, flush=True)
        except OSError as error:
            raise RunError(_ENDED) from error
        records: list[list[dict[str, Any]]] = self._read()["records"]
        return records

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RunError(_ENDED)
        return json.loads(line)


@contextmanager
def serve(trap: Trap) -> Iterator[Servers]:
    """Run the servers of a trap for as long as the context is open. Raises RunError."""
    specs = [{**spec, "text": _words(name)} for name, spec in _specs(trap)]
    command = [sys.executable, "-P", str(_PROGRAM), json.dumps(specs)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for this process, which then ends that one
    ) as process:
        try:
            yield Servers(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()


def _specs(trap: Trap) -> list[tuple[str, dict[str, Any]]]:
    return [("slow", dict(trap.slow)), ("fast", dict(trap.fast))]


def _words(name: str) -> list[str]:
    return [word.format(name) for word in WORDS]
