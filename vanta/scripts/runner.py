"""Runs a script's turns through a runtime and judges the replies.

Invariant: a turn that raises VantaError is a failed turn, and the script goes on with the next one
(a conversation goes on after a failure, and its other verdicts are worth having); anything else
that a turn raises, cancellation above all, ends the run. A check that raises fails its turn only.
"""

from __future__ import annotations

import inspect
import time
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from vanta.errors import VantaError
from vanta.scripts.expectations import Expectation, Failure, Seen, known_expectations
from vanta.scripts.model import Script, ScriptTurn
from vanta.scripts.results import ScriptResult, TurnResult

if TYPE_CHECKING:
    from vanta.runtime import Runtime
    from vanta.session import Session

Progress = Callable[[Script, TurnResult], None]


async def run_script(
    runtime: Runtime, script: Script, *, progress: Progress | None = None
) -> ScriptResult:
    """Run `script` and judge every reply by what its turn expects.

    The session is a fresh one unless the script names one, which then goes on where it was.
    progress: called after each turn with its result. Raises PluginError if a plugin's expectation
    has the name of a built-in one; what a turn raises is in its result.
    """
    expectations = known_expectations(runtime.plugins)
    session = _session(runtime, script)
    started = time.monotonic()
    results = []
    for number, turn in enumerate(script.turns, start=1):
        result = await _run_turn(session, script, turn, number, expectations)
        results.append(result)
        if progress is not None:
            progress(script, result)
    duration_s = time.monotonic() - started
    return ScriptResult(script.name, script.source, session.id, duration_s, tuple(results))


def _session(runtime: Runtime, script: Script) -> Session:
    return runtime.session(
        script.session or f"script-{uuid.uuid4().hex}",
        user=script.user,
        private=script.private,
        system=script.system,
        variables=script.variables,
    )


async def _run_turn(
    session: Session,
    script: Script,
    turn: ScriptTurn,
    number: int,
    expectations: Mapping[str, Expectation],
) -> TurnResult:
    own = turn.policy is not None or turn.track is not None
    try:
        reply = await session.ask(
            turn.say,
            policy=turn.policy if own else script.policy,
            track=turn.track if own else script.track,
            private=turn.private,
            sampling=script.sampling,
        )
    except VantaError as error:
        return TurnResult(number, turn.say, error=_told(error), line=turn.line)
    seen = Seen(turn.say, reply)
    failures: list[Failure] = []
    for name, value in turn.expect.items():
        failure = await _judge(expectations[name], value, seen)
        failures += [failure] if failure else []
    return TurnResult(number, turn.say, tuple(failures), None, reply, turn.line)


async def _judge(expectation: Expectation, value: Any, seen: Seen) -> Failure | None:
    try:
        verdict = expectation.check(value, seen)
        return await verdict if inspect.isawaitable(verdict) else verdict
    except Exception as error:  # noqa: BLE001 - a check may be a plugin's, and others go on
        expected = f"a verdict from expectation {expectation.name!r}"
        return Failure(expectation.name, expected, f"an error in it: {_told(error)}")


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, VantaError) else f"{type(error).__name__}: {error}"
