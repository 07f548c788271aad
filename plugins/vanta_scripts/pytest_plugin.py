"""Scripts as tests of pytest: a file is collected, a test is a turn.

vanta's pytest plugin (`vanta.testing.pytest_plugin`) comes here for every `*.vanta.yaml`. A script
that passes by a share of its runs is one test. Invariant: a turn runs after those before it,
chosen or not, and each turn once a process, so that any selection and pytest-xdist work (keep a
script in one process with `--dist loadfile`); runtimes are opened once and closed at the end.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import anyio
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from vanta import Opening
from vanta import open as open_runtime
from vanta.errors import VantaError
from vanta.runtime import SyncRuntime
from vanta_scripts.checks import known_expectations
from vanta_scripts.format import load_script
from vanta_scripts.model import Script
from vanta_scripts.preflight import check_names
from vanta_scripts.results import TurnResult
from vanta_scripts.runner import ScriptRun
from vanta_scripts.suite import Suite
from vanta_scripts.variants import repetition, variants

Open = Callable[[], Opening]


class ScriptFailed(Exception):  # noqa: N818 - never leaves this module
    """A turn, or a script, did not hold; the message is what a person reads."""


class ScriptFile(pytest.File):
    """A script's file."""

    def collect(self) -> Iterable[pytest.Item]:
        """Its turns, for each variant and each run."""
        try:
            stage = _stages(self.config).stage(self)
            known = known_expectations(stage.runtime.plugins)
            made = variants(load_script(self.path, known))
            for script in made:
                check_names(script, stage.runtime.runtime)
        except VantaError as error:
            raise self.CollectError(str(error)) from error
        return [item for script in made for item in self._items(script, stage)]

    def _items(self, script: Script, stage: Stage) -> Iterator[pytest.Item]:
        chosen = script.title.removeprefix(script.name).strip()
        if script.pass_rate < 1:
            yield ShareItem.from_parent(self, name=f"runs {chosen}".strip(), of=(script, stage))
            return
        for number in range(1, script.repeat + 1):
            performance = Performance(stage, script, number)
            run = f"run {number} " if script.repeat > 1 else ""
            for index in range(len(script.turns)):
                name = f"{run}turn {index + 1} {chosen}".strip()
                yield TurnItem.from_parent(self, name=name, of=(performance, index))


class TurnItem(pytest.Item):
    """A turn."""

    def __init__(self, *, of: tuple[Performance, int], **rest: Any) -> None:
        super().__init__(**rest)
        self._performance, self._index = of

    def runtest(self) -> None:
        """Run the turn, and those before it that were not run yet."""
        result = self._performance.turn(self._index)
        if not result.passed:
            raise ScriptFailed(result.describe())

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What was expected and what came; vanta's own errors as what they say."""
        return _told(excinfo) or super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the turn stands in the file."""
        script = self._performance.script
        line = script.turns[self._index].line
        return self.path, line - 1, f"{script.title}: {self.name}"


class ShareItem(pytest.Item):
    """A script of which a share of the runs has to pass."""

    def __init__(self, *, of: tuple[Script, Stage], **rest: Any) -> None:
        super().__init__(**rest)
        self._script, self._stage = of

    def runtest(self) -> None:
        """Run all of its runs."""
        suite = Suite(self._stage.runtime.runtime, [self._script], reopen=self._stage.open)
        report = self._stage.runtime.portal.call(suite.run)
        (outcome,) = report.outcomes
        if not outcome.passed:
            passed = f"{outcome.passed_runs} of {outcome.planned} runs passed, "
            wanted = f"{self._script.pass_rate:.0%} have to"
            failed = [run.describe() for run in outcome.runs if not run.passed]
            raise ScriptFailed("\n".join([passed + wanted, *failed]))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """How many runs passed, and what did not hold in the others."""
        return _told(excinfo) or super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """The file."""
        return self.path, 0, self._script.title


class Performance:
    """One run of a script, as far as its turns were asked for.

    It is one task on the runtime's event loop, for what a script opens and closes between turns
    belongs to the task that did.
    """

    def __init__(self, stage: Stage, script: Script, number: int) -> None:
        self.script = repetition(script, number)
        self._stage = stage
        self._number = number
        self._results: list[TurnResult] = []
        self._answers: SimpleQueue[TurnResult | BaseException] = SimpleQueue()
        self._broken: BaseException | None = None
        self._ask: MemoryObjectSendStream[None] | None = None
        self._task: Future[None]

    def turn(self, index: int) -> TurnResult:
        """The result of a turn; runs what has to be run for it. Raises what ended the run."""
        while len(self._results) <= index:
            if self._broken is not None:
                raise self._broken
            if self._ask is None:
                self._begin()
            self._stage.runtime.portal.call(self._asked)
            answer = self._answers.get()
            if isinstance(answer, BaseException):
                self._broken = answer
                self.end()
            else:
                self._results.append(answer)
        if len(self._results) == len(self.script.turns):
            self.end()
        return self._results[index]

    def end(self) -> None:
        """Close what the run holds."""
        if self._ask is not None:
            self._stage.runtime.portal.call(self._ask.close)
            self._ask = None
            self._stage.performing.discard(self)
            self._task.result()

    def _begin(self) -> None:
        self._ask, asked = anyio.create_memory_object_stream[None](1)
        self._task = self._stage.runtime.portal.start_task_soon(self._perform, asked)
        self._stage.performing.add(self)

    def _asked(self) -> None:
        assert self._ask is not None  # noqa: S101 - `turn` has begun
        self._ask.send_nowait(None)

    async def _perform(self, asked: MemoryObjectReceiveStream[None]) -> None:
        stage = self._stage
        try:
            async with (
                asked,
                ScriptRun(
                    stage.runtime.runtime, self.script, reopen=stage.open, number=self._number
                ) as run,
            ):
                async for _ in asked:
                    self._answers.put(await run.next())
        except BaseException as error:
            self._answers.put(error)
            if not isinstance(error, Exception):
                raise


class Stage:
    """An open runtime and the way to open another like it."""

    def __init__(self, open_: Open, runtime: SyncRuntime) -> None:
        self.open = open_
        self.runtime = runtime
        self.performing: set[Performance] = set()

    def clear(self) -> None:
        """End the runs of which not every turn was asked for."""
        for performance in tuple(self.performing):
            performance.end()


class _Stages:
    """The stages of one pytest process, by what opens them."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._by_open: dict[Open, Stage] = {}
        self._configured: dict[str, Open] = {}

    def stage(self, file: ScriptFile) -> Stage:
        """What a file's script runs on. Raises VantaError."""
        told = file.ihook.pytest_vanta_open(config=file.config, path=file.path)
        open_: Open = told or self._default(file.config)
        if open_ not in self._by_open:
            stage = Stage(open_, self._stack.enter_context(open_()))
            self._stack.callback(stage.clear)
            self._by_open[open_] = stage
        return self._by_open[open_]

    def close(self) -> None:
        """Close every runtime."""
        self._stack.close()
        self._by_open.clear()

    def _default(self, config: pytest.Config) -> Open:
        source = str(config.getini("vanta_config") or "")
        return self._configured.setdefault(source, functools.partial(open_runtime, source or None))


_KEY = pytest.StashKey[_Stages]()


def _stages(config: pytest.Config) -> _Stages:
    return config.stash.setdefault(_KEY, _Stages())


def close_runtimes(config: pytest.Config) -> None:
    """Close what the scripts of this process ran on."""
    if _KEY in config.stash:
        config.stash[_KEY].close()


def _told(excinfo: pytest.ExceptionInfo[BaseException]) -> str | None:
    return str(excinfo.value) if isinstance(excinfo.value, ScriptFailed | VantaError) else None
