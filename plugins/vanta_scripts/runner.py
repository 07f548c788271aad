"""Runs a script's turns through a runtime and judges the replies.

Invariant: a turn that raises VantaError is a failed turn, and the script goes on with the next one
(a conversation goes on after a failure, and its other verdicts are worth having); anything else
that a turn raises, cancellation above all, ends the run. A check that raises fails its turn only.
"""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from vanta.errors import ScriptError, VantaError
from vanta.events import Event, Reply, TextDelta
from vanta.expectations import Seen
from vanta.memory import MemoryItem, Scope
from vanta_scripts.checks import known_expectations
from vanta_scripts.fixtures import Labels, remember
from vanta_scripts.isolation import Clock, Scene, SettledMemory
from vanta_scripts.judgement import judge, judge_error
from vanta_scripts.model import Script, ScriptTurn
from vanta_scripts.preflight import no_memory
from vanta_scripts.results import ScriptResult, TurnResult
from vanta_scripts.tracks import Cast, Wrap

if TYPE_CHECKING:
    from vanta.memory import Memory
    from vanta.runtime import Runtime, Session

Progress = Callable[[Script, TurnResult], None]
Reopen = Callable[[], AbstractAsyncContextManager["Runtime"]]


async def run_script(
    runtime: Runtime,
    script: Script,
    *,
    progress: Progress | None = None,
    reopen: Reopen | None = None,
) -> ScriptResult:
    """Run `script` once and judge every reply by what its turn expects.

    The session is a fresh one unless the script names one, which then goes on where it was.
    progress: called after each turn with its result. reopen: opens a runtime like this one, for a
    script that restarts. Raises PluginError if a plugin's expectation has the name of a built-in
    one, ScriptError or UnknownName if the script asks for what the runtime does not have; what a
    turn raises is in its result.
    """
    async with ScriptRun(runtime, script, reopen=reopen) as run:
        while not run.over:
            result = await run.next()
            if progress is not None:
                progress(script, result)
        return run.result()


class ScriptRun:
    """One run of a script, turn by turn: a context; call `next` until `over`.

    A script that restarts runs in runtimes of its own, which `reopen` opens; it must be able to do
    so more than once, on one store. number: which of the script's runs this is, from 1.
    """

    def __init__(
        self,
        runtime: Runtime,
        script: Script,
        *,
        reopen: Reopen | None = None,
        wrap: Wrap | None = None,
        number: int = 1,
    ) -> None:
        if script.restarts and reopen is None:
            raise ScriptError(
                f"{script.source}: a turn wants a restart, and this runtime cannot be opened "
                "anew. Run the script with `vanta run`, or give `reopen`."
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
        self._clock = Clock(script.at)
        self._kept = AsyncExitStack()
        self._folder: Path | None = None
        self._labels: Labels | None = None
        self._memory: Memory | None = None
        self._stage = AsyncExitStack()
        self._cast: Cast
        self._sessions: dict[tuple[str, str], Session] = {}

    async def __aenter__(self) -> ScriptRun:
        async with AsyncExitStack() as stack:
            if self.script.restarts and not self.script.session:
                self._folder = await stack.enter_async_context(_temporary_folder())
            await self._set_up()
            self._kept = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self._stage.aclose()
        finally:
            await self._kept.aclose()

    @property
    def over(self) -> bool:
        """Whether every turn was run."""
        return len(self._results) == len(self.script.turns)

    async def next(self) -> TurnResult:
        """Run the next turn."""
        turn = self.script.turns[len(self._results)]
        if turn.restart:
            await self._stage.aclose()
            await self._set_up()
        self._clock.now = turn.at or self._clock.now
        self._cast.direct(turn.upstream)
        if isinstance(self._memory, SettledMemory):
            await self._memory.settle()
        result = await self._run(turn, len(self._results) + 1)
        self._results.append(result)
        return result

    def result(self, stopped: str = "") -> ScriptResult:
        """The verdict on what was run so far; stopped: why it was not run to its end."""
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
        )

    async def _set_up(self) -> None:
        async with AsyncExitStack() as stack:
            if self._reopen:
                self._runtime = await stack.enter_async_context(self._reopen())
            scene = await self._enter_scene(stack)
            self._cast = await stack.enter_async_context(
                Cast(self._runtime, self.script, scene, self._wrap)
            )
            self._sessions = {}
            self._stage = stack.pop_all()

    async def _enter_scene(self, stack: AsyncExitStack) -> Scene | None:
        """Where the run takes place; None for a conversation that goes on where it was."""
        if self.script.session:
            self._memory = self._runtime.memory
            return None
        scene = await stack.enter_async_context(Scene(self._runtime, self._clock, self._folder))
        self._memory = scene.memory
        if self.script.fixtures and self._labels is None:
            if scene.memory is None:
                raise ScriptError(no_memory(self.script, self._runtime, "'fixtures' need"))
            self._labels = await remember(scene.memory, self.script, self._session_named)
        return scene

    async def _run(self, turn: ScriptTurn, number: int) -> TurnResult:
        events: list[Event] = []
        try:
            reply = await self._say(turn, events)
        except VantaError as error:
            failures, told = judge_error(turn.expect, error)
            return TurnResult(
                number, turn.say, failures, told, line=turn.line, events=_without_text(events)
            )
        spent: list[float] = []
        seen = Seen(
            turn.say,
            reply,
            events=tuple(events),
            tracks=self._cast.tracks,
            source=self.script.source,
            spend=spent.append,
            recalled=await self._recalled(turn, reply),
            labels=self._labels or {},
            embedder=self._cast.embedder,
            write=self._runtime.templates.render,
        )
        failures = await judge(turn.expect, seen, self._expectations)
        return TurnResult(
            number, turn.say, failures, None, reply, turn.line, _without_text(events), sum(spent),
            seen.recalled,
        )  # fmt: skip

    async def _recalled(self, turn: ScriptTurn, reply: Reply) -> tuple[MemoryItem, ...]:
        """The memories that the track which answered was shown, in the order of the prompt."""
        context = reply.trace.context.get(reply.track)
        shown = context.memories if context else ()
        if not shown or self._memory is None:
            return ()
        scope = Scope(turn.user or self.script.user, private=True)
        found = [
            await self._memory.recent(scope, after_id=memory.id - 1, limit=1) for memory in shown
        ]
        return tuple(item for items in found for item in items)

    async def _say(self, turn: ScriptTurn, events: list[Event]) -> Reply:
        script = self.script
        own = turn.policy is not None or turn.track is not None
        deadline_s = script.deadline_s if turn.deadline_s is None else turn.deadline_s
        async with self._session_of(turn).stream(
            turn.say,
            policy=turn.policy if own else script.policy,
            track=turn.track if own else script.track,
            deadline_s=deadline_s,
            private=turn.private,
            sampling=script.sampling,
        ) as stream:
            async for event in stream:
                events.append(event)  # noqa: PERF401 - those before a failure are kept
            return stream.reply

    def _session_of(self, turn: ScriptTurn) -> Session:
        user = turn.user or self.script.user
        name = self._session_named(turn.session) if turn.session else self._session
        if (user, name) not in self._sessions:
            self._sessions[user, name] = self._cast.session(user, name)
        return self._sessions[user, name]

    def _session_named(self, name: str) -> str:
        return f"{self._session}/{name}"


@asynccontextmanager
async def _temporary_folder() -> AsyncIterator[Path]:
    """A folder for what a run keeps through a restart; gone when it is over."""
    make = partial(tempfile.TemporaryDirectory, prefix="vanta-script-", ignore_cleanup_errors=True)
    folder = await anyio.to_thread.run_sync(make)
    try:
        yield Path(folder.name)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(folder.cleanup)


def _without_text(events: list[Event]) -> tuple[Event, ...]:
    return tuple(event for event in events if not isinstance(event, TextDelta))
