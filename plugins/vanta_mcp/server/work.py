"""One call of a client while it runs, with the questions to the person that it may have.

In the older era of the protocol a question is a request of its own, while the call waits. In the
newer one the call ends with the question and comes again with the answer; so the work runs in the
background, and the client finds it again by a mark that only it knows.

Invariant: a question reaches the client whose call it belongs to. Work that a client left behind is
denied its question after some time, and ends.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
from anyio.abc import TaskGroup

from vanta import ToolResult

ABANDONED_S = 600.0
"""Seconds that a question waits for its answer."""

MOST_WAITING = 100
"""Calls that may wait for an answer at once; the oldest is denied for a new one."""

Answer = Mapping[str, Any] | None
Ask = Callable[["ServerQuestion"], Awaitable[Answer]]


class ServerQuestion:
    """A question to the person at the client.

    :param message: the text.
    :param schema: the fields of the answer.
    :ivar answer: what the person entered, None if nothing, once `answered` is set.
    """

    def __init__(self, message: str, schema: Mapping[str, Any]) -> None:
        self.message = message
        self.schema = schema
        self.answer: Answer = None
        self.answered = anyio.Event()

    def settle(self, answer: Answer) -> None:
        """Answer the question, if it has no answer yet."""
        if not self.answered.is_set():
            self.answer = answer
            self.answered.set()


class Work:
    """A call in progress.

    :param run: runs it; gets the function that asks the person.
    """

    def __init__(self, run: Callable[[Ask], Awaitable[ToolResult]]) -> None:
        self.mark = secrets.token_urlsafe(24)
        self.result: ToolResult | None = None
        self.error: Exception | None = None
        self.question: ServerQuestion | None = None
        self.scope = anyio.CancelScope()
        self._run = run
        self._news = anyio.Event()

    async def main(self) -> None:
        """Run the call to its end."""
        try:
            with self.scope:
                self.result = await self._run(self._ask)
        except Exception as error:  # noqa: BLE001 - raised to the client that waits
            self.error = error
        finally:
            self._tell()

    async def news(self) -> ServerQuestion | None:
        """Wait for a question, or for the end of the call (None)."""
        while self.question is None and not self.is_over:
            await self._news.wait()
        return self.question

    @property
    def is_over(self) -> bool:
        """Whether the call has ended, one way or another."""
        return self.result is not None or self.error is not None or self.scope.cancel_called

    async def _ask(self, question: ServerQuestion) -> Answer:
        self.question = question
        self._tell()
        with anyio.move_on_after(ABANDONED_S):
            await question.answered.wait()
        self.question = None
        return question.answer

    def _tell(self) -> None:
        news, self._news = self._news, anyio.Event()
        news.set()


class WaitingRoom:
    """The calls that wait for clients to come back with an answer.

    :param tasks: the task group in which calls run.
    """

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._waiting: dict[str, Work] = {}

    def begin(self, run: Callable[[Ask], Awaitable[ToolResult]]) -> Work:
        """Start a call in the background."""
        work = Work(run)
        self._tasks.start_soon(work.main)
        return work

    def keep(self, work: Work) -> str:
        """Keep a call for the client; return the mark by which it finds it again."""
        while len(self._waiting) >= MOST_WAITING:
            oldest = self._waiting.pop(next(iter(self._waiting)))
            if oldest.question:
                oldest.question.settle(None)
        self._waiting[work.mark] = work
        return work.mark

    def take(self, mark: str) -> Work | None:
        """Return the call of a mark, which counts once."""
        return self._waiting.pop(mark, None)


async def finished(work: Work, ask: Ask) -> ToolResult:
    """Follow a call to its end; each question is put by `ask`, at once.

    :param work: the call.
    :param ask: puts a question to the person.
    """
    try:
        while question := await work.news():
            question.settle(await ask(question))
            work.question = None
    except BaseException:
        work.scope.cancel()
        raise
    return result_of(work)


def result_of(work: Work) -> ToolResult:
    """Return the result of a call that has ended, or raise its error."""
    if work.error is not None:
        raise work.error
    return work.result or ToolResult("The call was cancelled.", is_error=True)
