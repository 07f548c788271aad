"""A turn on the terminal of a chat: the tracks at work, the reply, and each takeover.

Invariant: the reply's text appears to the character, except for control characters (a model's
answer must not move the cursor); everything else is dim or coloured.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.status import Status
from rich.text import Text

from vanta.cli import output
from vanta.cli.turns import describe_event, describe_loss, describe_reply
from vanta.drawing.charts import colour_of
from vanta.events import (
    Amended,
    CallRequested,
    Committed,
    Event,
    LegFailed,
    LegRejected,
    LegStarted,
    ReasoningDelta,
    Takeover,
    TextDelta,
    TurnFinished,
)
from vanta.trace import Reply

if TYPE_CHECKING:
    from rich.console import Console


class Screen:
    """Shows one turn. It is a context manager; leaving it ends an open line.

    :param console: where to show it; standard output by default.
    :param reasoning: whether the model's reasoning is shown, too, dimmed.
    """

    def __init__(self, console: Console | None = None, *, reasoning: bool = False) -> None:
        self._console = console or output.stdout()
        self._waiting: Status | None = None
        self._at_work: list[str] = []
        self._notes: list[str] = []
        self._in_line = False
        self._speaker = ""
        self._reasoning = reasoning
        self._thinks = False

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_waiting()
        self._end_line()

    def show(self, event: Event) -> None:
        """Show one event."""
        match event:
            case LegStarted():
                self._wait_for(event.track)
            case Committed():
                self._stop_waiting()
                self._end_thoughts()
                self._speaker = event.track
            case ReasoningDelta():
                self._think(event.text)
            case TextDelta():
                self._speak(event.text)
            case CallRequested():
                self._call(event)
            case Takeover():
                self._seam(event)
            case Amended():
                self._amend(event)
            case LegFailed() | LegRejected():
                self._notes.append(describe_event(event) or "")
            case TurnFinished():
                self._finish(event.reply)
            case _:
                pass

    def pause(self) -> None:
        """Free the line for a question to the person."""
        self._stop_waiting()
        self._end_line()

    def interrupted(self) -> None:
        """Show that the reply was stopped."""
        self._stop_waiting()
        self._end_line()
        self._print("stopped; this exchange is not stored")

    def _wait_for(self, track: str) -> None:
        self._at_work.append(track)
        if self._console.is_terminal and not self._in_line:
            line = Text(f"{', '.join(dict.fromkeys(self._at_work))} at work", style="dim")
            if self._waiting is None:
                self._waiting = Status(line, console=self._console, spinner="dots")
                self._waiting.start()
            self._waiting.update(line)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.stop()
            self._waiting = None

    def _label(self) -> None:
        """Name the track that speaks from here on, unless the line has its name."""
        track, self._speaker = self._speaker, ""
        if track:
            self._end_line()
            self._console.print(Text(f"{track}> ", f"bold {colour_of(track).terminal}"), end="")
            self._in_line = True

    def _call(self, event: CallRequested) -> None:
        self._stop_waiting()
        self._end_thoughts()
        self._end_line()
        self._print(describe_event(event) or "")

    def _think(self, text: str) -> None:
        if self._reasoning:
            self._stop_waiting()
            self._label()
            self._console.print(Text(text, "dim"), end="", soft_wrap=True)
            self._in_line = self._thinks = True

    def _end_thoughts(self) -> None:
        """Begin a new line after reasoning."""
        if self._thinks:
            self._end_line()
            self._thinks = False

    def _speak(self, text: str) -> None:
        self._end_thoughts()
        self._label()
        self._in_line = True
        self._write(text)

    def _seam(self, event: Takeover) -> None:
        self._stop_waiting()
        self._label()
        seam = Text(f"⟪{event.from_track} broke: ", "dim")
        seam.append(event.track, colour_of(event.track).terminal)
        self._console.print(seam.append(" continues⟫", "dim"), end="")

    def _amend(self, event: Amended) -> None:
        """Print the better answer below the first one, which stays on the terminal."""
        self._end_line()
        self._print(f"⟪{event.track} amends: {event.why}⟫")
        self._speaker = event.track
        self._speak(event.text)

    def _write(self, text: str) -> None:
        sys.stdout.write(output.printable(text))
        sys.stdout.flush()

    def _finish(self, reply: Reply) -> None:
        self._end_line()
        for note in self._notes:
            self._print(note)
        losses = [describe_loss(leg) for leg in reply.trace.legs if leg.state == "cancelled"]
        stopped = f" · stopped {'; '.join(losses)}" if losses else ""
        self._print(f"{describe_reply(reply)}{stopped}")

    def _end_line(self) -> None:
        if self._in_line:
            self._write("\n")
            self._in_line = False

    def _print(self, line: str) -> None:
        self._console.print(Text(f"  {line}", "dim"), soft_wrap=True)
