"""A question to the person at the terminal: may a track whose price is not known spend money?

The turn runs on the event loop's thread and the terminal belongs to the main thread, so the
question travels like an event of the turn: `UnpricedApproval` reports it, the main thread answers
it between two lines of output. Invariant: one question for each track and model until the command
ends, whatever became of the turn that asked it; without an answer the track is refused.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio
from anyio.from_thread import BlockingPortal

from vanta.cli import output


@dataclass(frozen=True, slots=True)
class PriceQuestion:
    """A question that waits for its answer.

    :param track: the name of the track.
    :param model: the name of its model.
    :param answered: set on the event loop once the answer is known.
    """

    track: str
    model: str
    answered: anyio.Event = field(default_factory=anyio.Event, repr=False)


class UnpricedApproval:
    """Asks at the terminal; pass it to `open_runtime` as `approve_unpriced`."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str], bool] = {}
        self._report: Callable[[PriceQuestion], None] | None = None

    @contextmanager
    def through(self, report: Callable[[PriceQuestion], None]) -> Iterator[None]:
        """Report the questions of a turn to the thread that owns the terminal.

        :param report: passes a question on; the receiver calls `answer`.
        """
        self._report = report
        try:
            yield
        finally:
            self._report = None

    async def __call__(self, track: str, model: str) -> bool:
        """Return whether the track may answer; see `vanta.open`.

        :param track: the name of the track.
        :param model: the name of its model.
        """
        if (track, model) not in self._answers:
            if self._report is None:
                return False
            question = PriceQuestion(track, model)
            self._report(question)
            await question.answered.wait()
        return self._answers[track, model]

    def answer(self, question: PriceQuestion, portal: BlockingPortal) -> None:
        """Ask the person, in the main thread.

        :param question: the reported question.
        :param portal: the portal of the runtime.
        :raises KeyboardInterrupt: after Ctrl-C.
        """
        text = (
            f"a spending cap is set, and the price of {question.model!r} (track "
            f"{question.track!r}) is not known, so its cost cannot be counted. Use it until this "
            "command ends? [y/N] "
        )
        key = (question.track, question.model)
        self._answers[key] = _confirm(text)
        if not self._answers[key]:
            output.print_status(f"track {question.track!r} is not used")
        portal.start_task_soon(_settle, question)


async def _settle(question: PriceQuestion) -> None:
    question.answered.set()


def _confirm(text: str) -> bool:
    """Ask a question on stderr and read one line. Ctrl-C interrupts it as it does a command."""
    output.stderr().print(text, end="", markup=False, highlight=False, soft_wrap=True)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return sys.stdin.readline().strip().lower() in {"y", "yes"}
    finally:
        signal.signal(signal.SIGINT, before)
