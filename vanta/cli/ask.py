"""`vanta ask`: one question, one reply.

Invariant: stdout has the reply's text and nothing else (with `--json`, one object and nothing
else), so that it can be piped; who speaks and what broke is said on stderr, to a person.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vanta.cli import output
from vanta.cli.turn_options import (
    DeadlineOption,
    PolicyOption,
    PrivateOption,
    SessionOption,
    TrackOption,
    UserOption,
    check_choice,
    check_deadline,
    fresh_session,
)

if TYPE_CHECKING:
    from vanta.events import Event, Reply
    from vanta.runtime import Session, SyncRuntime

app = typer.Typer()


@app.command()
def ask(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TEXT]...", help="The question; - stands for what is piped in."),
    ] = None,
    track: TrackOption = None,
    policy: PolicyOption = None,
    session: SessionOption = None,
    user: UserOption = "default",
    private: PrivateOption = False,
    deadline: DeadlineOption = None,
    json: output.JsonOption = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Say what happens, on stderr.")
    ] = False,
    config: output.ConfigOption = None,
) -> None:
    """Ask one question and print the reply.

    The question may come from a pipe: `vanta ask < question.txt`, or as a part of it:
    `git diff | vanta ask "What changed here?" -`.
    """
    check_choice(track, policy)
    check_deadline(deadline)
    text = _question(words or [])
    choice = {"track": track, "policy": policy, "deadline_s": deadline, "private": private}
    listener = _Listener(text=not json, status=verbose or (not json and sys.stderr.isatty()))
    with output.open_runtime(config) as runtime:
        conversation = runtime.runtime.session(session or fresh_session(), user=user)
        reply = _answer(runtime, conversation, text, choice, listener)
    if json:
        output.print_json(reply.to_dict())


def _answer(
    runtime: SyncRuntime,
    conversation: Session,
    text: str,
    choice: dict[str, Any],
    listener: _Listener,
) -> Reply:
    """The reply, shown as it comes. Raises what the turn raises; KeyboardInterrupt for Ctrl-C."""
    from vanta.cli.interruptible import Interruptible

    replies: list[Reply] = []

    async def work(tell: Callable[[Event], None]) -> None:
        async with conversation.stream(text, **choice) as turn:
            async for event in turn:
                tell(event)
            replies.append(turn.reply)

    watched: Interruptible[Event] = Interruptible(runtime.portal)
    try:
        if not watched.watch(work, listener.hear):
            raise KeyboardInterrupt
    finally:
        listener.end()
    return replies[0]


class _Listener:
    """Shows a turn: its text on stdout, what happens on stderr. Either can be off."""

    def __init__(self, *, text: bool, status: bool) -> None:
        self._text = text
        self._status = status
        self._column = ""

    def hear(self, event: Event) -> None:
        """Show one event."""
        from vanta.cli.chat.narration import narrate, summary
        from vanta.events import Amended, TextDelta, TurnFinished

        if isinstance(event, TextDelta):
            self._write(event.text)
            return
        line = summary(event.reply) if isinstance(event, TurnFinished) else narrate(event)
        if line and self._status:
            self._break_line()
            output.say(line)
        if isinstance(event, Amended):
            self.end()
            self._write(event.text)

    def end(self) -> None:
        """End the last line of text."""
        if self._column:
            self._write("\n")

    def _write(self, text: str) -> None:
        if self._text and text:
            self._column = "" if text.endswith("\n") else text[-1]
            sys.stdout.write(output.harmless(text) if sys.stdout.isatty() else text)
            sys.stdout.flush()

    def _break_line(self) -> None:
        # Only where both streams are one terminal: a pipe gets the text as it was said.
        if self._column and sys.stdout.isatty():
            self._write("\n")


def _question(words: Sequence[str]) -> str:
    """The arguments as one text, `-` replaced by all of stdin; stdin alone without arguments."""
    if not words and sys.stdin.isatty():
        raise typer.BadParameter("there is no question: give one, or pipe one in.")
    parts = [sys.stdin.read().strip() if word == "-" else word for word in words or ["-"]]
    text = "\n\n".join(parts) if "-" in words else " ".join(parts)
    if not text.strip():
        raise typer.BadParameter("the question is empty.")
    return text
