"""One script being performed for one request.

Invariant: every delta is preceded by a checkpoint, so a stream can be cancelled between any two;
`settle` gives the receipt and marks the run as standing still, exactly once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

from vanta.engine import DeltaStream, Receipt
from vanta.errors import EngineError, ErrorKind
from vanta.messages import Delta, FinishReason, TokenLogprob, ToolCallPart, Usage
from vanta.testing._stops import StopFilter
from vanta.testing.steps import Call, Fail, Finish, Hang, Pause, Say, Step, Think, Wait
from vanta.testing.tokens import count_prompt, count_tokens, split_tokens

if TYPE_CHECKING:
    from vanta.testing.scripted import Run, ScriptedEngine


class Performance(DeltaStream):
    """The deltas of a script. Made and settled by its engine."""

    started = True

    def __init__(self, engine: ScriptedEngine, run: Run, steps: tuple[Step, ...]) -> None:
        sampling = run.request.sampling
        self._engine = engine
        self.run = run
        self._steps: Iterator[Step] = iter(steps)
        self._stops = StopFilter(sampling.stop)
        self._left = sampling.max_tokens
        self._logprobs = sampling.logprobs
        self._input = count_prompt(run.request.messages)
        self._calls = 0
        self._ready: list[Delta] = []
        self._done = False
        self._error: EngineError | None = None
        self._waiting: anyio.CancelScope | None = None

    async def __anext__(self) -> Delta:
        await anyio.lowlevel.checkpoint()
        while True:
            if self._error is not None:
                raise self._error
            if self._ready:
                return self._give(self._ready.pop(0))
            if self._done:
                raise StopAsyncIteration
            await self._take(next(self._steps, None))

    def abort(self, error: EngineError) -> None:
        """Have the reader meet `error` instead of the next delta."""
        self._error = error
        if self._waiting is not None:
            self._waiting.cancel()

    def settle(self) -> None:
        """Stand still: the receipt is written."""
        run = self.run
        self.receipt = Receipt(self._input, run.tokens, run.tokens_after_stop)
        run.stopped_at = time.monotonic()
        run.stopped.set()

    async def _take(self, step: Step | None) -> None:
        match step:
            case Say():
                self._say(step)
            case Think():
                self.run.tokens += count_tokens(step.text)
                self._ready.append(Delta(reasoning=step.text))
            case Wait() | Pause() | Hang():
                await self._pass_time(step)
            case Call():
                self._call(step)
            case Fail():
                self._error = self._failure(step)
            case Finish():
                self._finish(step.reason, step.usage)
            case None:
                self._finish("tool_calls" if self._calls else "stop")

    def _say(self, step: Say) -> None:
        tokens = split_tokens(step.text)
        fit = tokens if self._left is None else tokens[: self._left]
        self.run.tokens += len(fit)
        text = self._stops.feed("".join(fit))
        if self._left is not None:
            self._left -= len(fit)
        if text:
            self._ready.append(Delta(text=text, logprobs=self._likely(text, step.logprob)))
        if self._stops.hit:
            self._finish("stop")
        elif self._left == 0:
            self._finish("length")

    def _likely(self, text: str, logprob: float | None) -> tuple[TokenLogprob, ...]:
        if self._logprobs is None:
            return ()
        value = -0.1 if logprob is None else logprob
        rivals = self._logprobs > 0
        return tuple(
            TokenLogprob(token, value, ((token, value),) if rivals else ())
            for token in split_tokens(text)
        )

    def _call(self, step: Call) -> None:
        index, self._calls = self._calls, self._calls + 1
        name = ToolCallPart(index, id=step.id or f"call_{index}", name=step.name)
        arguments = ToolCallPart(index, arguments=step.arguments)
        self.run.tokens += count_tokens(step.name) + count_tokens(step.arguments)
        self._ready += [Delta(tool_calls=(name,)), Delta(tool_calls=(arguments,))]

    def _finish(self, reason: FinishReason, usage: Usage | None = None) -> None:
        held = "" if self._stops.hit else self._stops.flush()
        if held:
            self._ready.append(Delta(text=held, logprobs=self._likely(held, None)))
        counted = usage or Usage(self._input, self.run.tokens)
        self._ready.append(Delta(finish_reason=reason, usage=counted, model=self._engine.model))
        self._done = True

    def _give(self, delta: Delta) -> Delta:
        if self._done and not self._ready:
            self.run.complete = True
        return delta

    def _failure(self, step: Fail) -> EngineError:
        if isinstance(step.error, EngineError):
            return step.error
        return self._engine.error(ErrorKind(step.error), "the script failed as it was told")

    async def _pass_time(self, step: Wait | Pause | Hang) -> None:
        with anyio.CancelScope() as self._waiting:
            match step:
                case Wait():
                    await step.gate.wait()
                case Pause():
                    await anyio.sleep(step.seconds)
                case Hang():
                    await anyio.sleep_forever()
        self._waiting = None
