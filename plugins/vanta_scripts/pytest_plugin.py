"""Scripts as pytest tests: a file is collected, and each of its turns is a test.

`vanta_scripts.pytest_entry` imports this module for the first `*.vanta.yaml`. A script with a
pass rate below 1 is a single test. Invariant: a turn runs after the turns before it, selected or
not, and once in a process, so any selection and pytest-xdist work (`--dist loadfile` keeps a script
in one process). Each runtime is opened once and closed at the end.
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

from vanta import Opening, SyncRuntime, VantaError
from vanta import open as open_vanta
from vanta_scripts.checks import known_expectations
from vanta_scripts.format import load_script
from vanta_scripts.preflight import check_names
from vanta_scripts.results import TurnResult
from vanta_scripts.runner import ScriptRun
from vanta_scripts.script import Script, repetition, variants
from vanta_scripts.suite import Suite

OpenRuntime = Callable[[], Opening]


class ScriptFailed(Exception):  # noqa: N818 - internal to this module
    """A turn or a script failed; the message is shown without a traceback."""


class ScriptFile(pytest.File):
    """A script file."""

    def collect(self) -> Iterable[pytest.Item]:
        """Return the tests of each variant and run."""
        try:
            shared = _runtimes(self.config).get(self)
            known = known_expectations(shared.runtime.plugins)
            scripts = variants(load_script(self.path, known))
            for script in scripts:
                check_names(script, shared.runtime.runtime)
        except VantaError as error:
            raise self.CollectError(str(error)) from error
        return [item for script in scripts for item in self._items(script, shared)]

    def _items(self, script: Script, shared: SharedRuntime) -> Iterator[pytest.Item]:
        variant = script.title.removeprefix(script.name).strip()
        if script.pass_rate < 1:
            name = f"runs {variant}".strip()
            yield PassRateItem.from_parent(self, name=name, of=(script, shared))
            return
        for number in range(1, script.repeat + 1):
            run = StepwiseRun(shared, script, number)
            prefix = f"run {number} " if script.repeat > 1 else ""
            for index in range(len(script.turns)):
                name = f"{prefix}turn {index + 1} {variant}".strip()
                yield TurnItem.from_parent(self, name=name, of=(run, index))


class TurnItem(pytest.Item):
    """The test of a turn."""

    def __init__(self, *, of: tuple[StepwiseRun, int], **rest: Any) -> None:
        super().__init__(**rest)
        self._run, self._index = of

    def runtest(self) -> None:
        """Run the turn, and the turns before it that have not run yet."""
        result = self._run.turn(self._index)
        if not result.passed:
            raise ScriptFailed(result.describe())

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the failed expectations, or the message of an error of vanta."""
        return _message(excinfo) or super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return the turn's place in the file."""
        script = self._run.script
        line = script.turns[self._index].line
        return self.path, line - 1, f"{script.title}: {self.name}"


class PassRateItem(pytest.Item):
    """The test of a script of which a share of the runs must pass."""

    def __init__(self, *, of: tuple[Script, SharedRuntime], **rest: Any) -> None:
        super().__init__(**rest)
        self._script, self._shared = of

    def runtest(self) -> None:
        """Run all runs of the script."""
        runtime = self._shared.runtime
        suite = Suite(runtime.runtime, [self._script], reopen=self._shared.open)
        report = runtime.portal.call(suite.run)
        (outcome,) = report.outcomes
        if not outcome.passed:
            passed = f"{outcome.passed_runs} of {outcome.planned} runs passed, "
            required = f"{self._script.pass_rate:.0%} must pass"
            failed = [run.describe() for run in outcome.runs if not run.passed]
            raise ScriptFailed("\n".join([passed + required, *failed]))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return how many runs passed, and the failed expectations of the others."""
        return _message(excinfo) or super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return the file."""
        return self.path, 0, self._script.title


class StepwiseRun:
    """One run of a script, which advances turn by turn as tests request results.

    It is one task on the runtime's event loop, since the task that enters a run's contexts must
    leave them.
    """

    def __init__(self, shared: SharedRuntime, script: Script, number: int) -> None:
        self.script = repetition(script, number)
        self._shared = shared
        self._number = number
        self._results: list[TurnResult] = []
        self._answers: SimpleQueue[TurnResult | BaseException] = SimpleQueue()
        self._broken: BaseException | None = None
        self._requests: MemoryObjectSendStream[None] | None = None
        self._task: Future[None]

    def turn(self, index: int) -> TurnResult:
        """Return the result of a turn; runs every turn up to it. Raises what ended the run."""
        while len(self._results) <= index:
            if self._broken is not None:
                raise self._broken
            if self._requests is None:
                self._begin()
            self._shared.runtime.portal.call(self._request)
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
        """Close the run."""
        if self._requests is not None:
            self._shared.runtime.portal.call(self._requests.close)
            self._requests = None
            self._shared.active.discard(self)
            self._task.result()

    def _begin(self) -> None:
        self._requests, receive = anyio.create_memory_object_stream[None](1)
        self._task = self._shared.runtime.portal.start_task_soon(self._perform, receive)
        self._shared.active.add(self)

    def _request(self) -> None:
        assert self._requests is not None  # noqa: S101 - `turn` has begun the run
        self._requests.send_nowait(None)

    async def _perform(self, requests: MemoryObjectReceiveStream[None]) -> None:
        shared = self._shared
        try:
            async with (
                requests,
                ScriptRun(
                    shared.runtime.runtime, self.script, reopen=shared.open, number=self._number
                ) as run,
            ):
                async for _ in requests:
                    self._answers.put(await run.next())
        except BaseException as error:
            self._answers.put(error)
            if not isinstance(error, Exception):
                raise


class SharedRuntime:
    """An open runtime, the function that opens another like it, and the active runs."""

    def __init__(self, open_runtime: OpenRuntime, runtime: SyncRuntime) -> None:
        self.open = open_runtime
        self.runtime = runtime
        self.active: set[StepwiseRun] = set()

    def end_runs(self) -> None:
        """End the runs of which not every turn was requested."""
        for run in tuple(self.active):
            run.end()


class _Runtimes:
    """The open runtimes of one pytest process, by the function that opens them."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._open: dict[OpenRuntime, SharedRuntime] = {}
        self._configured: dict[str, OpenRuntime] = {}

    def get(self, file: ScriptFile) -> SharedRuntime:
        """Return the runtime of a script file, opened if needed. Raises VantaError."""
        chosen = file.ihook.pytest_vanta_open(config=file.config, path=file.path)
        open_runtime: OpenRuntime = chosen or self._default(file.config)
        if open_runtime not in self._open:
            shared = SharedRuntime(open_runtime, self._stack.enter_context(open_runtime()))
            self._stack.callback(shared.end_runs)
            self._open[open_runtime] = shared
        return self._open[open_runtime]

    def close(self) -> None:
        """Close every runtime."""
        self._stack.close()
        self._open.clear()

    def _default(self, config: pytest.Config) -> OpenRuntime:
        source = str(config.getini("vanta_config") or "")
        return self._configured.setdefault(source, functools.partial(open_vanta, source or None))


_KEY = pytest.StashKey[_Runtimes]()


def close_runtimes(config: pytest.Config) -> None:
    """Close the runtimes that the scripts of this process ran on."""
    if _KEY in config.stash:
        config.stash[_KEY].close()


def _runtimes(config: pytest.Config) -> _Runtimes:
    return config.stash.setdefault(_KEY, _Runtimes())


def _message(excinfo: pytest.ExceptionInfo[BaseException]) -> str | None:
    return str(excinfo.value) if isinstance(excinfo.value, ScriptFailed | VantaError) else None
