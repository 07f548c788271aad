"""Runs a script's turns through a runtime and judges the replies.

Invariant: a turn that raises VantaError is a failed turn, and the next turn runs (a conversation
survives a failure, and the verdicts on its other turns are useful). Any other exception of a turn,
cancellation above all, ends the run. A check that raises fails its turn only.
"""

from __future__ import annotations

import inspect
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from vanta import (
    CheckedTurn,
    Event,
    Expectation,
    Failure,
    ReasoningDelta,
    Reply,
    ScriptError,
    TextDelta,
    VantaError,
)
from vanta.memory import MemoryItem, Scope
from vanta_scripts.acting.toolsets import ScriptTools
from vanta_scripts.checks import known_expectations
from vanta_scripts.checks.values import excerpt, listed
from vanta_scripts.isolation import (
    IsolatedStorage,
    Labels,
    ScriptClock,
    SettledMemory,
    add_fixtures,
)
from vanta_scripts.preflight import no_memory
from vanta_scripts.results import ScriptResult, TurnResult
from vanta_scripts.script import Script, ScriptTurn
from vanta_scripts.tracks import NO_TOOLS, ScriptTracks, WrapTrack

if TYPE_CHECKING:
    from vanta import Runtime, Session
    from vanta.memory import Memory

OnTurn = Callable[[Script, TurnResult], None]
Reopen = Callable[[], AbstractAsyncContextManager["Runtime"]]


async def run_script(
    runtime: Runtime,
    script: Script,
    *,
    progress: OnTurn | None = None,
    reopen: Reopen | None = None,
) -> ScriptResult:
    """Run `script` once and judge every reply.

    A script that names a session continues it; any other runs in a new, isolated session.

    :param runtime: the runtime.
    :param script: the script.
    :param progress: called after each turn with its result.
    :param reopen: opens a runtime like this one, for a script that restarts.
    :returns: the result; an error of a turn is part of it.
    :raises PluginError: if a plugin's expectation has the name of a built-in one.
    :raises ScriptError: if the runtime lacks something that the script needs.
    :raises UnknownName: if the script names something unknown.
    """
    async with ScriptRun(runtime, script, reopen=reopen) as run:
        while not run.over:
            result = await run.next()
            if progress is not None:
                progress(script, result)
        return run.result()


class ScriptRun:
    """One run of a script, turn by turn: enter it as a context and call `next` until `over`.

    :param runtime: the runtime.
    :param script: the script.
    :param reopen: opens a runtime like this one. A script that restarts runs in runtimes opened by
        it, several in a row on one store.
    :param wrap: replaces every track by another one, such as a recorder's.
    :param number: which of the script's runs this is, from 1.
    :raises ScriptError: if the script restarts and `reopen` is None.
    """

    def __init__(
        self,
        runtime: Runtime,
        script: Script,
        *,
        reopen: Reopen | None = None,
        wrap: WrapTrack | None = None,
        number: int = 1,
    ) -> None:
        if script.restarts and reopen is None:
            raise ScriptError(
                f"{script.source}: a turn restarts the runtime, and this runtime cannot be "
                "reopened. Run the script with `vanta run`, or pass `reopen`."
            )
        self.script = script
        self._runtime = runtime
        self._reopen = reopen if script.restarts else None
        self._wrap = wrap
        self._number = number
        self._session = script.session or f"script-{uuid.uuid4().hex}"
        self._expectations = known_expectations(runtime.plugins)
        self._results: list[TurnResult] = []
        self._started = time.monotonic()
        self._clock = ScriptClock(script.at)
        self._folder: Path | None = None
        self._labels: Labels | None = None
        self._memory: Memory | None = None
        self._run_stack = AsyncExitStack()
        self._runtime_stack = AsyncExitStack()
        self._tracks: ScriptTracks
        self._tools: ScriptTools
        self._sessions: dict[tuple[str, str], Session] = {}

    async def __aenter__(self) -> ScriptRun:
        async with AsyncExitStack() as stack:
            if self.script.restarts and not self.script.session:
                self._folder = await stack.enter_async_context(_temporary_folder())
            self._tools = await stack.enter_async_context(ScriptTools(self.script))
            await self._set_up()
            self._run_stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self._runtime_stack.aclose()
        finally:
            await self._run_stack.aclose()

    @property
    def over(self) -> bool:
        """Return whether every turn has run."""
        return len(self._results) == len(self.script.turns)

    async def next(self) -> TurnResult:
        """Run the next turn and return its result."""
        turn = self.script.turns[len(self._results)]
        if turn.restart:
            await self._runtime_stack.aclose()
            await self._set_up()
        self._clock.now = turn.at or self._clock.now
        self._tracks.apply(self._tools.filled_plan(turn.upstream or self.script.upstream))
        self._tools.prepare(turn.approvals or self.script.approvals)
        if isinstance(self._memory, SettledMemory):
            await self._memory.settle()
        result = await self._run(turn, len(self._results) + 1)
        self._results.append(result)
        return result

    def result(self, stopped: str = "") -> ScriptResult:
        """Return the result of the turns so far.

        :param stopped: why the run ended early, or "".
        """
        return ScriptResult(
            self.script.name,
            self.script.source,
            self._session,
            time.monotonic() - self._started,
            tuple(self._results),
            variant=self.script.variant,
            tags=self.script.tags,
            number=self._number,
            stopped=stopped,
            warnings=self._unused() if self.over and not stopped else (),
        )

    def _unused(self) -> tuple[str, ...]:
        calls = {(call.identity, call.rule) for turn in self._results for call in turn.calls}
        return self._tools.unused(calls)

    async def _set_up(self) -> None:
        async with AsyncExitStack() as stack:
            if self._reopen:
                self._runtime = await stack.enter_async_context(self._reopen())
            storage = await self._isolate(stack)
            tools = NO_TOOLS
            if self.script.acts:
                memory = storage.memory if storage else None
                tools = self._tools.open(self._runtime, memory, self._clock, stack)
            self._tracks = await stack.enter_async_context(
                ScriptTracks(self._runtime, self.script, storage, self._wrap, tools)
            )
            self._sessions = {}
            self._runtime_stack = stack.pop_all()

    async def _isolate(self, stack: AsyncExitStack) -> IsolatedStorage | None:
        """Open the run's own storage; None for a script that continues a stored session."""
        if self.script.session:
            self._memory = self._runtime.memory
            return None
        storage = await stack.enter_async_context(
            IsolatedStorage(self._runtime, self._clock, self._folder)
        )
        self._memory = storage.memory
        if self.script.fixtures.need_memory and self._labels is None:
            if storage.memory is None:
                raise ScriptError(no_memory(self.script, self._runtime, "'fixtures' need"))
            self._labels = await add_fixtures(storage.memory, self.script, self._session_id)
        return storage

    async def _run(self, turn: ScriptTurn, number: int) -> TurnResult:
        events: list[Event] = []
        message = self._tools.filled(turn.say)
        try:
            reply = await self._say(turn, message, events)
        except VantaError as error:
            failures, unexpected = judge_error(turn.expect, error)
            return TurnResult(
                number, turn.say, failures, unexpected, line=turn.line, events=_without_text(events)
            )
        costs: list[float] = []
        seen = CheckedTurn(
            message,
            reply,
            events=tuple(events),
            tracks=self._tracks.tracks,
            source=self.script.source,
            spend=costs.append,
            recalled=await self._recalled(turn, reply),
            labels=self._labels or {},
            embedder=self._tracks.embedder,
            write=self._runtime.templates.render,
        )
        failures = await judge(turn.expect, seen, self._expectations)
        return TurnResult(
            number, turn.say, failures, None, reply, turn.line, _without_text(events), sum(costs),
            seen.recalled,
        )  # fmt: skip

    async def _recalled(self, turn: ScriptTurn, reply: Reply) -> tuple[MemoryItem, ...]:
        """Return the memories shown to the track that answered, in the order of the prompt."""
        context = reply.trace.context.get(reply.track)
        shown = context.memories if context else ()
        if not shown or self._memory is None:
            return ()
        scope = Scope(turn.user or self.script.user, private=True)
        memory = self._memory
        batches = [await memory.recent(scope, after_id=item.id - 1, limit=1) for item in shown]
        return tuple(item for batch in batches for item in batch)

    async def _say(self, turn: ScriptTurn, message: str, events: list[Event]) -> Reply:
        script = self.script
        chooses = turn.policy is not None or turn.track is not None
        deadline_s = script.deadline_s if turn.deadline_s is None else turn.deadline_s
        async with self._session_of(turn).stream(
            message,
            policy=turn.policy if chooses else script.policy,
            track=turn.track if chooses else script.track,
            deadline_s=deadline_s,
            private=turn.private,
            sampling=script.sampling,
        ) as stream:
            async for event in stream:
                events.append(event)  # noqa: PERF401 - keeps the events before a failure
            return stream.reply

    def _session_of(self, turn: ScriptTurn) -> Session:
        user = turn.user or self.script.user
        name = self._session_id(turn.session) if turn.session else self._session
        if (user, name) not in self._sessions:
            self._sessions[user, name] = self._tracks.session(user, name)
        return self._sessions[user, name]

    def _session_id(self, name: str) -> str:
        return f"{self._session}/{name}"


async def judge(
    expect: Mapping[str, Any], seen: CheckedTurn, expectations: Mapping[str, Expectation]
) -> tuple[Failure, ...]:
    """Return the expectations that do not hold; an exception in a check is a failure, too."""
    verdicts = [await _check(expectations[name], value, seen) for name, value in expect.items()]
    return tuple(failure for failure in verdicts if failure)


def judge_error(
    expect: Mapping[str, Any], error: VantaError
) -> tuple[tuple[Failure, ...], str | None]:
    """Judge a turn that raised `error` by its expectation `error`.

    :returns: the failures, and the error's message if no error was expected.
    """
    wanted = expect.get("error")
    if wanted is None:
        return (), str(error)
    missing = [part for part in wanted if part not in str(error)]
    if not missing:
        return (), None
    expected = f"an error that contains {listed(missing, 'and')}"
    return (Failure("error", expected, excerpt(str(error))),), None


async def _check(expectation: Expectation, value: Any, seen: CheckedTurn) -> Failure | None:
    try:
        verdict = expectation.check(value, seen)
        return await verdict if inspect.isawaitable(verdict) else verdict
    except Exception as error:  # noqa: BLE001 - a plugin's check must not end the run
        expected = f"a verdict of expectation {expectation.name!r}"
        message = str(error) if isinstance(error, VantaError) else _described(error)
        return Failure(expectation.name, expected, f"the error {message}")


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


@asynccontextmanager
async def _temporary_folder() -> AsyncIterator[Path]:
    """Create a folder for the data that survives a restart; delete it afterwards."""
    create = partial(
        tempfile.TemporaryDirectory, prefix="vanta-script-", ignore_cleanup_errors=True
    )
    folder = await anyio.to_thread.run_sync(create)
    try:
        yield Path(folder.name)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(folder.cleanup)


def _without_text(events: list[Event]) -> tuple[Event, ...]:
    return tuple(event for event in events if not isinstance(event, TextDelta | ReasoningDelta))
