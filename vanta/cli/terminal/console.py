"""The consoles of the command line: Rich, with a filter on everything that is printed.

Invariant: of the characters that a terminal obeys, only those that Rich writes itself reach it.
Every renderable passes `render`, so no command has to filter the text of servers, models and files.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from vanta.cli.terminal.streams import discard
from vanta.text import printable


class PrintableConsole(Console):
    """A console on standard output or standard error.

    :param stderr: whether it is standard error, which may break without harm: messages about the
        work are lost then, and the work is not.
    """

    def __init__(self, *, stderr: bool) -> None:
        super().__init__(stderr=stderr, highlight=False, soft_wrap=False)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Return the segments of a renderable, with printable text only.

        :param renderable: what to print.
        :param options: how to print it, or None for the console's own options.
        """
        return map(_printable, super().render(renderable, options))

    def on_broken_pipe(self) -> None:
        """Continue without standard error; stop if nothing reads standard output.

        :raises BrokenPipeError: on standard output.
        """
        if not self.stderr:
            raise BrokenPipeError
        self.quiet = True
        discard(2)


def _printable(segment: Segment) -> Segment:
    if segment.control:
        return segment
    text = printable(segment.text)
    return segment if text == segment.text else Segment(text, segment.style)
