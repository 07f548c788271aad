"""Questions to the person at the terminal: may a track spend money, may a call run?

The turn runs on the event loop's thread and the terminal belongs to the main thread, so a question
travels like an event of the turn: `TerminalApproval` reports it, the main thread answers it between
two lines of output. Invariant: one question about money for each track and model until the command
ends, one for each call that a rule holds; without an answer the track or the call is refused.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio
from anyio.from_thread import BlockingPortal

from vanta.cli import output
from vanta.cli.terminal.streams import read_line
from vanta.tools import Approval, ApprovalRequest
from vanta.tools.turn_rules import ApprovalScope

_SCOPES: Mapping[str, ApprovalScope] = {
    "y": "once",
    "yes": "once",
    "s": "session",
    "session": "session",
    "a": "always",
    "always": "always",
}
_LONGEST_VALUE = 400


@dataclass(frozen=True, slots=True)
class PriceQuestion:
    """A question about a track whose price is not known.

    :param track: the name of the track.
    :param model: the name of its model.
    :param answered: set on the event loop once the answer is known.
    """

    track: str
    model: str
    answered: anyio.Event = field(default_factory=anyio.Event, repr=False)


@dataclass(slots=True)
class CallQuestion:
    """A question about a tool call.

    :param request: the call.
    :param answered: set on the event loop once the answer is known.
    :param answer: the answer.
    """

    request: ApprovalRequest
    answered: anyio.Event = field(default_factory=anyio.Event, repr=False)
    answer: Approval = Approval(approved=False, reason="The question was not answered.")  # noqa: RUF009


Question = PriceQuestion | CallQuestion


class TerminalApproval:
    """Asks at the terminal; pass it to `open_runtime` as `approval`."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str], bool] = {}
        self._report: Callable[[Question], None] | None = None

    @contextmanager
    def through(self, report: Callable[[Question], None]) -> Iterator[None]:
        """Report the questions of a turn to the thread that owns the terminal.

        :param report: passes a question on; the receiver calls `answer`.
        """
        self._report = report
        try:
            yield
        finally:
            self._report = None

    async def approve_unpriced(self, track: str, model: str) -> bool:
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

    async def approve_call(self, request: ApprovalRequest) -> Approval:
        """Return whether a call may run; see `vanta.ApprovalHandler`.

        :param request: the call.
        """
        question = CallQuestion(request)
        if self._report is not None:
            self._report(question)
            await question.answered.wait()
        return question.answer

    def answer(self, question: Question, portal: BlockingPortal) -> None:
        """Ask the person, in the main thread.

        :param question: the reported question.
        :param portal: the portal of the runtime.
        :raises KeyboardInterrupt: after Ctrl-C.
        """
        if isinstance(question, CallQuestion):
            try:
                question.answer = _ask_about_call(question.request)
            except KeyboardInterrupt:
                _show_where_it_waits(question.request)
                raise
        else:
            self._ask_about_price(question)
        portal.start_task_soon(_settle, question)

    def _ask_about_price(self, question: PriceQuestion) -> None:
        text = (
            f"a spending cap is set, and the price of {question.model!r} (track "
            f"{question.track!r}) is not known, so its cost cannot be counted. Use it until this "
            "command ends? [y/N] "
        )
        key = (question.track, question.model)
        self._answers[key] = _line_after(text) in {"y", "yes"}
        if not self._answers[key]:
            output.print_status(f"track {question.track!r} is not used")


def describe_call(request: ApprovalRequest) -> str:
    """Return a call as a person reads it: what it does, each argument on its own line, and why.

    :param request: the call.
    """
    lines = [f"{request.toolset}.{request.tool} wants to run ({request.effect})."]
    lines += [f"  {request.description.splitlines()[0]}"] if request.description else []
    for name, value in request.arguments.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if len(text) > _LONGEST_VALUE:
            text = f"{text[:_LONGEST_VALUE]}... ({len(text)} characters)"
        first, *rest = text.splitlines() or [""]
        lines.append(f"  {name} = {first}")
        lines += [f"  {' ' * len(name)}   {line}" for line in rest]
    lines.append(f"  asked because of {request.why}")
    return "\n".join(lines)


def _ask_about_call(request: ApprovalRequest) -> Approval:
    if request.question:
        return _ask_question(request)
    text = f"{describe_call(request)}\nRun it? [y]es, [s]ession, [a]lways, [N]o "
    scope = _SCOPES.get(_line_after(text))
    if scope is None:
        output.print_status(f"{request.toolset}.{request.tool} does not run")
        return Approval(approved=False)
    return Approval(approved=True, scope=scope)


def _show_where_it_waits(request: ApprovalRequest) -> None:
    output.stderr().print()
    output.print_status(
        f"the turn waits: `vanta approvals approve {request.key[:12]}` or `deny`, then "
        f"`vanta approvals resume {request.turn[:12]}`"
    )


def _ask_question(request: ApprovalRequest) -> Approval:
    """Put the model's question; the number of a choice stands for it, an empty line declines."""
    lines = [f"The model asks: {request.question}"]
    lines += [f"  {number}. {choice}" for number, choice in enumerate(request.choices, start=1)]
    given = _line_after("\n".join([*lines, "answer (empty for none): "]), fold=False)
    if given.isdecimal() and 1 <= int(given) <= len(request.choices):
        given = request.choices[int(given) - 1]
    return Approval(approved=bool(given), answer=given)


async def _settle(question: Question) -> None:
    question.answered.set()


def _line_after(text: str, *, fold: bool = True) -> str:
    """Ask a question on stderr and read one line. Ctrl-C interrupts it as it does a command.

    :param fold: whether the line is returned in lower case.
    """
    # First the handler: a person may press Ctrl-C as soon as the question can be read.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        output.stderr().print(text, end="", markup=False, highlight=False, soft_wrap=True)
        line = read_line().strip()
        return line.lower() if fold else line
    finally:
        signal.signal(signal.SIGINT, before)
