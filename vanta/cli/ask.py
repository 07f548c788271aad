"""`vanta ask`: one question, one reply.

Invariant: stdout carries the reply's text and nothing else (with `--json`, one object), so it can
be piped; the progress of the turn goes to stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vanta.cli import output
from vanta.cli.options import (
    ConfigOption,
    DeadlineOption,
    ImageOption,
    JsonOption,
    PolicyOption,
    PrivateOption,
    QuietOption,
    ReasoningOption,
    SessionOption,
    ToolsOption,
    TrackOption,
    UserOption,
    check_choice,
    check_deadline,
    new_session_id,
)
from vanta.cli.setup import named_tools, open_runtime
from vanta.cli.terminal import can_ask, read_stdin
from vanta.errors import UsageError
from vanta.text import decoded

if TYPE_CHECKING:
    from vanta.cli.terminal.approval import TerminalApproval
    from vanta.events import Event
    from vanta.messages import MessageContent
    from vanta.runtime import Session, SyncRuntime
    from vanta.trace import Reply

app = typer.Typer()


@app.command()
def ask(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TEXT]...", help="The question; - stands for standard input."),
    ] = None,
    track: TrackOption = None,
    policy: PolicyOption = None,
    session: SessionOption = None,
    user: UserOption = "default",
    private: PrivateOption = None,
    deadline: DeadlineOption = None,
    tools: ToolsOption = None,
    json: JsonOption = False,
    image: ImageOption = None,
    schema: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A JSON Schema: print an object that is valid under it."),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show the progress of the turn on stderr.")
    ] = False,
    reasoning: ReasoningOption = False,
    quiet: QuietOption = False,
    config: ConfigOption = None,
) -> None:
    """Ask one question and print the reply.

    The question may come from a pipe: `vanta ask < question.txt`, or in part:
    `git diff | vanta ask "What changed here?" -`. With `--image` it may be left out.
    """
    check_choice(track, policy)
    check_deadline(deadline)
    if quiet:
        output.silence_notes()
    from vanta.cli.terminal.approval import TerminalApproval
    from vanta.runtime import TurnOptions

    content = _content(words or [], image or [])
    choice: dict[str, Any] = {
        "track": track,
        "policy": policy,
        "deadline_s": deadline,
        "private": private,
    }
    table, offered = named_tools(config, tools)
    if offered is not None:
        choice["options"] = TurnOptions(tools=offered)
    if schema is not None:
        choice["output"] = _read_schema(schema)
    shows_status = verbose or (not json and not quiet and sys.stderr.isatty())
    approval = TerminalApproval() if can_ask() else None
    shows_text = not json and schema is None
    printer = _TurnPrinter(text=shows_text, status=shows_status, reasoning=reasoning)
    with open_runtime(config, approval=approval, tools=table) as runtime:
        conversation = runtime.runtime.session(session or new_session_id(), user=user)
        reply = _answer(runtime, conversation, content, choice, printer, approval)
    if json:
        output.print_json(reply.to_dict())
    elif schema is not None:
        output.print_json(reply.output)


def _read_schema(path: Path) -> dict[str, Any]:
    """Return the JSON Schema in a file.

    :raises UsageError: if it is not one.
    """
    schema = output.read_json(path)
    if not isinstance(schema, dict):
        raise UsageError(f"{str(path)!r} is not a JSON Schema: it must have an object.")
    return schema


def _answer(
    runtime: SyncRuntime,
    conversation: Session,
    content: MessageContent,
    choice: dict[str, Any],
    printer: _TurnPrinter,
    approval: TerminalApproval | None,
) -> Reply:
    """Run the turn, print it while it runs, and return the reply.

    :raises KeyboardInterrupt: if Ctrl-C stopped the turn.
    """
    from vanta.cli.terminal.approval import Question
    from vanta.cli.turns import Interruptible

    replies: list[Reply] = []

    async def work(report: Callable[[Event | Question], None]) -> None:
        with approval.through(report) if approval else nullcontext():
            async with conversation.stream(content, **choice) as turn:
                async for event in turn:
                    report(event)
                replies.append(turn.reply)

    def show(item: Event | Question) -> None:
        if not isinstance(item, Question):
            printer.show(item)
        elif approval:
            printer.end_line()
            approval.answer(item, runtime.portal)

    watched: Interruptible[Event | Question] = Interruptible(runtime.portal)
    try:
        if not watched.watch(work, show):
            raise KeyboardInterrupt
    finally:
        printer.end_line()
    return replies[0]


class _TurnPrinter:
    """Prints a turn: its text on stdout, its progress and reasoning on stderr. Each can be off."""

    def __init__(self, *, text: bool, status: bool, reasoning: bool) -> None:
        self._text = text
        self._status = status
        self._reasoning = reasoning
        self._open_line = False
        self._thinks = False

    def show(self, event: Event) -> None:
        """Print one event."""
        from vanta.cli.turns import describe_event, describe_reply
        from vanta.events import Amended, ReasoningDelta, TextDelta, TurnFinished

        if isinstance(event, ReasoningDelta):
            self._think(event.text)
            return
        if isinstance(event, TextDelta):
            self._write(event.text)
            return
        if isinstance(event, TurnFinished):
            line: str | None = describe_reply(event.reply)
        else:
            line = describe_event(event)
        if line and self._status:
            self._end_thoughts()
            self._break_line()
            output.print_status(line)
        if isinstance(event, Amended):
            self.end_line()
            self._write(event.text)

    def _think(self, text: str) -> None:
        if self._reasoning:
            self._thinks = True
            output.print_status(text, end="")

    def _end_thoughts(self) -> None:
        if self._thinks:
            self._thinks = False
            output.print_status("")

    def end_line(self) -> None:
        """End a line of text that is still open."""
        self._end_thoughts()
        if self._open_line:
            self._write("\n")

    def _write(self, text: str) -> None:
        self._end_thoughts()
        if self._text and text:
            self._open_line = not text.endswith("\n")
            sys.stdout.write(output.printable(text) if sys.stdout.isatty() else text)
            sys.stdout.flush()

    def _break_line(self) -> None:
        # Only where both streams share one terminal: a pipe receives the text unchanged.
        if self._open_line and sys.stdout.isatty():
            self._write("\n")


def _content(words: Sequence[str], images: Sequence[Path]) -> MessageContent:
    """Return the message: the question, and the images in these files after it.

    :raises UsageError: if a file is not an image.
    """
    if not images:
        return _question(words)
    from vanta.messages import Image

    shown = [Image.read(file) for file in images]
    return [*([_question(words)] if words else []), *shown]


def _question(words: Sequence[str]) -> str:
    """Join the arguments into one text; `-` or no argument at all stands for stdin."""
    if not words and sys.stdin.isatty():
        raise typer.BadParameter("the question is missing: give one, or pipe one in.")
    parts = [read_stdin().strip() if word == "-" else decoded(word) for word in words or ["-"]]
    text = "\n\n".join(parts) if "-" in words else " ".join(parts)
    if not text.strip():
        raise typer.BadParameter("the question is empty.")
    return text
