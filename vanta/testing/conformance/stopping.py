"""Conformance: an engine stops when it is told to, and goes on being useful."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import threading

import anyio
import pytest

from vanta.engine import Engine
from vanta.errors import EngineError
from vanta.messages import Completion
from vanta.testing.conformance.hints import Hints, answered, unsupported

_POOLS = ("AnyIO worker", "Trio thread", "asyncio_")


class StoppingTests(Hints):
    """Leaving, cancelling, failing and closing leave nothing behind."""

    async def test_leaving_early_stops_the_work(self, engine: Engine) -> None:
        """Leaving the context ends the generation, and the receipt says what it had cost."""
        limit = self.long_request.sampling.max_tokens
        assert limit is not None, "`long_request` needs a max_tokens"
        with anyio.fail_after(self.patience_s):
            async with engine.stream(self.long_request) as stream:
                await anext(stream)
        receipt = stream.receipt
        assert receipt is not None, "leaving the context set no receipt"
        assert receipt.output_tokens < limit, "it went on to its limit"
        assert receipt.tokens_after_stop <= self.max_tokens_after_stop

    async def test_an_abandoned_stream_does_not_hold_up_the_next(self, engine: Engine) -> None:
        """After leaving early, the next answer is whole."""
        async with engine.stream(self.long_request) as stream:
            await anext(stream)
        self._whole(await self._soon(engine))

    async def test_cancelling_from_outside_leaves_it_usable(self, engine: Engine) -> None:
        """A cancelled reader takes its generation with it, and nothing else."""
        read = anyio.Event()

        async def read_on() -> None:
            async with engine.stream(self.long_request) as stream:
                async for _ in stream:
                    read.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read_on)
            await read.wait()
            tasks.cancel_scope.cancel()
        self._whole(await self._soon(engine))

    async def test_cancelling_before_the_first_delta_leaves_it_usable(self, engine: Engine) -> None:
        """The same, at the earliest moment."""
        with anyio.move_on_after(0):
            await answered(engine, self.long_request)
        self._whole(await self._soon(engine))

    async def test_concurrent_streams_all_end_well(self, engine: Engine) -> None:
        """Several requests at once are all answered."""
        answers: list[Completion] = []

        async def one() -> None:
            answers.append((await answered(engine, self.request)).answer)

        with anyio.fail_after(self.patience_s):
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(one)
        assert len(answers) == 3
        for answer in answers:
            self._whole(answer)

    async def test_it_answers_after_a_failure(self, engine: Engine) -> None:
        """A refused request does no harm to the next."""
        demands = unsupported(engine.capabilities, self.request)
        if not demands:
            pytest.skip("no request is known to fail")
        with pytest.raises(EngineError):
            await answered(engine, demands[0][1])
        self._whole(await self._soon(engine))

    async def test_closing_twice_is_fine(self, engine: Engine) -> None:
        """The second time does nothing."""
        await answered(engine, self.request)
        with anyio.fail_after(self.patience_s):
            await engine.aclose()
            await engine.aclose()

    async def test_a_closed_engine_refuses(self, engine: Engine) -> None:
        """A request after `aclose` raises EngineError; it neither hangs nor opens anew."""
        await engine.aclose()
        with anyio.fail_after(self.patience_s), pytest.raises(EngineError):
            await answered(engine, self.request)

    async def test_no_thread_outlives_it(self, engine: Engine) -> None:
        """Threads that came with the engine go with `aclose`."""
        before = set(threading.enumerate())
        await engine.load()
        await answered(engine, self.request)
        await engine.aclose()
        left = [
            thread.name
            for thread in set(threading.enumerate()) - before
            if not thread.name.startswith(_POOLS)
        ]
        assert not left, f"threads are left: {left}"

    async def _soon(self, engine: Engine) -> Completion:
        with anyio.fail_after(self.patience_s):
            return (await answered(engine, self.request)).answer

    def _whole(self, answer: Completion) -> None:
        assert answer.text.strip()
        assert answer.finish_reason is not None
