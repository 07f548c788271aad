"""Runs many scripts, side by side, over one runtime.

Invariant: whatever ends a run (a limit, a failure where one is enough, Ctrl-C), what was run until
then is in the report, and what was not run is counted there; turns that are not begun cost nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import anyio

from vanta.errors import VantaError
from vanta_scripts.model import Script
from vanta_scripts.report import Outcome, RunReport
from vanta_scripts.results import ScriptResult, TurnResult
from vanta_scripts.runner import Progress, Reopen, ScriptRun
from vanta_scripts.tracks import Wrap
from vanta_scripts.variants import repetition, variants

if TYPE_CHECKING:
    from vanta.runtime import Runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How to run.

    parallel: scripts at a time; with one, a local engine with a seed says the same every time.
    repeat: runs of each script, in the place of its own `repeat`. max_cost_usd: no turn begins once
    so much was spent. fail_fast: nothing begins once a run has failed.
    """

    parallel: int = 1
    repeat: int | None = None
    max_cost_usd: float | None = None
    fail_fast: bool = False


class Tape(Protocol):
    """What stands between scripts and engines: a recorder or a player."""

    def wrap(self, script: Script, number: int) -> Wrap:
        """What to put around the engines of one run of a script."""
        ...

    def turn_over(self, script: Script, number: int, turn: TurnResult) -> None:
        """A turn of that run is over."""
        ...


class Suite:
    """Scripts to run; call `run` once, and `report` whenever.

    tape: what records the engines, or plays them. reopen: see `ScriptRun`.
    """

    def __init__(
        self,
        runtime: Runtime,
        scripts: Sequence[Script],
        options: RunOptions | None = None,
        *,
        reopen: Reopen | None = None,
        tape: Tape | None = None,
    ) -> None:
        self._runtime = runtime
        self._options = options or RunOptions()
        self._reopen = reopen
        self._tape = tape
        self._progress: Progress = _unheard
        self.scripts = [variant for script in scripts for variant in variants(script)]
        self._results: dict[int, dict[int, ScriptResult]] = {}
        self._spent_usd = 0.0
        self._stopped = ""
        self._started = time.monotonic()

    @property
    def turns(self) -> int:
        """How many turns there are to run."""
        return sum(len(script.turns) * self._repeats(script) for script in self.scripts)

    async def run(self, progress: Progress | None = None) -> RunReport:
        """Run everything; progress: called with each turn's result.

        Raises what is no VantaError; a script that cannot begin has failed.
        """
        self._progress = progress or _unheard
        jobs = self._jobs()
        async with anyio.create_task_group() as tasks:
            for _ in range(max(1, self._options.parallel)):
                tasks.start_soon(self._work, jobs)
        return self.report()

    def report(self, stopped: str = "") -> RunReport:
        """What has been run so far; stopped: why no more was, if the caller ended it."""
        outcomes = [
            Outcome(script, tuple(run for _, run in sorted(self._results.get(index, {}).items())),
                    self._repeats(script))
            for index, script in enumerate(self.scripts)
        ]  # fmt: skip
        duration_s = time.monotonic() - self._started
        return RunReport(tuple(outcomes), duration_s, stopped or self._stopped)

    def _jobs(self) -> Iterator[tuple[int, int]]:
        for index, script in enumerate(self.scripts):
            for number in range(1, self._repeats(script) + 1):
                yield index, number

    def _repeats(self, script: Script) -> int:
        return self._options.repeat or script.repeat

    async def _work(self, jobs: Iterator[tuple[int, int]]) -> None:
        for index, number in jobs:
            if self._stopped:
                return
            await self._run(index, number)

    async def _run(self, index: int, number: int) -> None:
        script = self.scripts[index]
        wrap = self._tape.wrap(script, number) if self._tape else None
        run = ScriptRun(
            self._runtime,
            repetition(script, number),
            reopen=self._reopen,
            wrap=wrap,
            number=number,
        )
        why = "interrupted"
        try:
            async with run:
                await self._turns(run, number)
            why = self._stopped
        except VantaError as error:
            why = str(error)
        finally:
            result = run.result("" if run.over and why in ("", self._stopped) else why)
            self._results.setdefault(index, {})[number] = result
        if self._options.fail_fast and not result.passed:
            self._stop(f"{result.title} failed, and one failure is enough")

    async def _turns(self, run: ScriptRun, number: int) -> None:
        while not run.over and not self._stopped:
            result = await run.next()
            if self._tape:
                self._tape.turn_over(run.script, number, result)
            self._progress(run.script, result)
            self._spent_usd += result.cost_usd
            limit = self._options.max_cost_usd
            if limit is not None and self._spent_usd >= limit:
                self._stop(f"${self._spent_usd:g} was spent, the limit is ${limit:g}")

    def _stop(self, why: str) -> None:
        self._stopped = self._stopped or why


def _unheard(_script: Script, _turn: TurnResult) -> None:
    """Nobody watches."""
