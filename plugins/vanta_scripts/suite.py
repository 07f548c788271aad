"""Runs many scripts over one runtime, several at a time if requested.

Invariant: whatever ends a suite (a limit, a first failure, Ctrl-C), the report holds what ran and
counts what did not. A turn that does not begin costs nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import anyio

from vanta import VantaError
from vanta_scripts.results import RunReport, ScriptOutcome, ScriptResult, TurnResult
from vanta_scripts.runner import OnTurn, Reopen, ScriptRun
from vanta_scripts.script import Script, repetition, variants
from vanta_scripts.tracks import WrapTrack

if TYPE_CHECKING:
    from vanta import Runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How to run a suite.

    :param parallel: scripts at a time. With one, a seeded local engine gives the same replies
        every time.
    :param repeat: runs of each script instead of its own `repeat`; None for its own.
    :param max_cost_usd: no turn begins once this amount is spent; None for no limit.
    :param fail_fast: no turn begins once a run has failed.
    """

    parallel: int = 1
    repeat: int | None = None
    max_cost_usd: float | None = None
    fail_fast: bool = False


class EngineTap(Protocol):
    """Something between scripts and engines: a cassette's recorder or player."""

    def wrap(self, script: Script, number: int) -> WrapTrack:
        """Return the function that wraps the tracks of one run of a script."""
        ...

    def turn_over(self, script: Script, number: int, turn: TurnResult) -> None:
        """Note that a turn of that run is over."""
        ...


class Suite:
    """Scripts to run: call `run` once, and `report` at any time.

    :param runtime: the runtime that all scripts share.
    :param scripts: the scripts; each is expanded to the variants of its matrix.
    :param options: how to run them.
    :param reopen: opens a runtime like this one, for scripts that restart.
    :param tape: records the engines, or plays a recording.
    """

    def __init__(
        self,
        runtime: Runtime,
        scripts: Sequence[Script],
        options: RunOptions | None = None,
        *,
        reopen: Reopen | None = None,
        tape: EngineTap | None = None,
    ) -> None:
        self._runtime = runtime
        self._options = options or RunOptions()
        self._reopen = reopen
        self._tape = tape
        self._progress: OnTurn = _ignore
        self.scripts = [variant for script in scripts for variant in variants(script)]
        self._results: dict[int, dict[int, ScriptResult]] = {}
        self._spent_usd = 0.0
        self._stopped = ""
        self._started = time.monotonic()

    @property
    def turns(self) -> int:
        """Return the number of turns to run."""
        return sum(len(script.turns) * self._repeats(script) for script in self.scripts)

    async def run(self, progress: OnTurn | None = None) -> RunReport:
        """Run all scripts and return the report.

        A script that raises VantaError has failed, any other exception ends the suite.

        :param progress: called after each turn with its script and result.
        """
        self._progress = progress or _ignore
        jobs = self._jobs()
        async with anyio.create_task_group() as tasks:
            for _ in range(max(1, self._options.parallel)):
                tasks.start_soon(self._work, jobs)
        return self.report()

    def report(self, stopped: str = "") -> RunReport:
        """Return the results so far.

        :param stopped: why the caller ended the suite early, or "".
        """
        outcomes = [
            ScriptOutcome(
                script,
                tuple(run for _, run in sorted(self._results.get(index, {}).items())),
                self._repeats(script),
            )
            for index, script in enumerate(self.scripts)
        ]
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
                await self._run_turns(run, number)
            why = self._stopped
        except VantaError as error:
            why = str(error)
        finally:
            result = run.result("" if run.over and why in ("", self._stopped) else why)
            self._results.setdefault(index, {})[number] = result
        if self._options.fail_fast and not result.passed:
            self._stop(f"{result.title} failed, and the first failure ends the run")

    async def _run_turns(self, run: ScriptRun, number: int) -> None:
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


def _ignore(_script: Script, _turn: TurnResult) -> None:
    """Discard a result."""
