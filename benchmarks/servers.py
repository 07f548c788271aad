"""The traps of the race benchmark, and their two upstreams in a separate process.

In each trap the user should see the text of the second server ("fast"). A race that decides by
anything but readable text loses it. Invariant: a record belongs to the request whose message ends
with its tag; the process ends with the context, or with this process if it is killed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from vanta.errors import RunError

WORDS = ["The ", "answer ", "of ", "the ", "{} ", "server."]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trap:
    """The behaviour of both servers, and the configuration of the runtime.

    `slow` and `fast` are keyword arguments of `vanta.testing.Behaviour`; `kind` names its
    constructor. `first_token_s` is the delay of the fast server's first token from the request.
    `loser` states whether one leg is still running when the other one wins.
    """

    name: str
    summary: str
    slow: Mapping[str, Any]
    fast: Mapping[str, Any]
    first_token_s: float
    loser: bool = True
    config: Mapping[str, Any] = field(default_factory=dict)


HEADERS_FIRST = Trap(
    name="headers first",
    summary="one leg sends its headers, a role and an empty delta at once, its text 150 ms later; "
    "the other is silent for 30 ms, then all comes together",
    slow={"empty_deltas": 1, "ttft_s": 0.15},
    fast={"headers_after_s": 0.03},
    first_token_s=0.03,
)
FAILS_LATE = Trap(
    name="fails late",
    summary="one leg sends its headers at once and an error frame 30 ms later; the other's first "
    "text comes after 50 ms",
    slow={"kind": "error_frame", "ttft_s": 0.03},
    fast={"headers_after_s": 0.05},
    first_token_s=0.05,
    loser=False,
)
SILENT_PROMPT = Trap(
    name="silent prompt",
    summary="both send headers and a role at once and are then silent, longer than the stall "
    "timeout of 50 ms: one for 300 ms, the other for 100 ms",
    slow={"ttft_s": 0.3},
    fast={"ttft_s": 0.1},
    first_token_s=0.1,
    config={"stall_timeout_s": 0.05},
)
TRAPS = (HEADERS_FIRST, FAILS_LATE, SILENT_PROMPT)

SPRINT = Trap(
    name="sprint",
    summary="both answer at once, the loser slowly: races in quick succession, to find what leaks",
    slow={"ttft_s": 0.02, "gap_s": 0.02},
    fast={},
    first_token_s=0.0,
)

_ENDED = (
    "the servers of the benchmark ended on their own; their output is above. Check that the extra "
    "'testing' is installed."
)
PROGRAM = Path(__file__).parent / "peers" / "upstreams.py"


@dataclass(frozen=True, slots=True)
class Record:
    """A request as a server saw it; times are monotonic, None for an event that never occurred."""

    tag: str
    started_at: float
    first_token_at: float | None
    client_gone_at: float | None
    complete: bool


class Served(NamedTuple):
    """The records of both servers of one race; None for a server without a request."""

    slow: Record | None
    fast: Record | None


class Servers:
    """The running servers, with the base URLs of the slow and the fast one."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.urls: tuple[str, str] = tuple(self._read())

    def collect(self) -> dict[str, Served]:
        """Return the records since the last call by tag. Blocking."""
        slow, fast = ({row["tag"]: Record(**row) for row in rows} for rows in self._records())
        return {tag: Served(slow.get(tag), fast.get(tag)) for tag in slow | fast}

    def _records(self) -> list[list[dict[str, Any]]]:
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
    """Run the servers of a trap while the context is open.

    :param trap: the behaviour of the servers.
    :raises RunError: if the servers end on their own.
    """
    specs = [{**spec, "text": _words(name)} for name, spec in _specs(trap)]
    command = [sys.executable, "-P", str(PROGRAM), json.dumps(specs)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the servers
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
