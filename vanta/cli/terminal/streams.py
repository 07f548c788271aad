"""The standard streams of the process, whatever they are connected to.

Invariant: after `prepare_streams`, each of the three exists and its descriptor is in use, reading
raises no UnicodeDecodeError and writing no UnicodeEncodeError.
"""

from __future__ import annotations

import codecs
import io
import os
import select
import sys

import typer

from vanta.text import decoded

ERRORS = "vanta.lookalike"
"""The error handler of output: a character that the encoding lacks becomes one that it has."""

_LOOK_UP_S = 0.1

_LOOKALIKES = {
    "…": "...",
    "·": "-",
    "⟪": "<<",
    "⟫": ">>",
    "▶": ">",
    "✓": "v",
    "✗": "x",
    "✕": "x",
    "✂": "x",
    "╵": "'",
    "█": "#",
    "▌": "#",
    "░": ".",
    "\u00a0": " ",
    "\u2009": " ",
    "\u2010": "-",
    "\u2011": "-",
    "\u2013": "-",
    "\u2014": "-",
    "\u2018": "'",
    "\u2019": "'",
    "\u201c": '"',
    "\u201d": '"',
    "\ufffd": "?",
}
_DRAWINGS = {range(0x2500, 0x2580): "-", range(0x2800, 0x2900): "*"}
"""Lines of a progress bar, and the dots of a spinner."""


def prepare_streams() -> None:
    """Make the standard streams usable; called once, before anything else is opened."""
    codecs.register_error(ERRORS, _replace)
    _fill_descriptors()
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ERRORS)
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")


def read_stdin() -> str:
    """Return all text of standard input, without a byte order mark.

    :raises typer.BadParameter: if it cannot be read, such as a folder, or does not end.
    """
    from vanta.bounds import MOST_CHARACTERS

    try:
        text = sys.stdin.read(MOST_CHARACTERS + 1)
        if len(text) > MOST_CHARACTERS:
            raise typer.BadParameter(
                f"standard input has more than {MOST_CHARACTERS:,} characters. Give less of it; "
                "`vanta memory add FILE` takes long texts."
            )
        return decoded(text).removeprefix("\ufeff")
    except OSError as error:
        raise typer.BadParameter(
            f"standard input cannot be read: {error.strerror}. Give a file or a pipe."
        ) from error


def read_line() -> str:
    """Return the next line that a person types, without its end; "" at the end of the input.

    A signal between the last look at signals and the read would wait for the enter key, and so
    would one that another thread receives: so the wait looks up ten times a second.

    :raises KeyboardInterrupt: after Ctrl-C, under Python's own handler.
    """
    if os.name == "posix":
        while not select.select([sys.stdin], [], [], _LOOK_UP_S)[0]:
            pass
    return sys.stdin.readline().rstrip("\r\n")


def can_encode(text: str) -> bool:
    """Return whether standard output has every character of `text`.

    :param text: the text to print.
    """
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def can_ask() -> bool:
    """Return whether a person sees standard error and can answer on standard input."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def reader_left() -> bool:
    """Return whether standard output or standard error is a pipe that nothing reads any more.

    True where the system cannot tell.
    """
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    for descriptor in (1, 2):
        poll.register(descriptor, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def discard(descriptor: int) -> None:
    """Connect a standard stream to nothing, so that the interpreter can flush it at its end.

    :param descriptor: 1 for standard output, 2 for standard error.
    """
    stream = sys.stdout if descriptor == 1 else sys.stderr
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, stream.fileno())
    os.close(nothing)


def _fill_descriptors() -> None:
    """Connect closed descriptors to nothing: the next file to be opened would get their number,
    and a library that prints would write into it."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(map(_lookalike, text)), error.end


def _lookalike(character: str) -> str:
    """Return an ASCII lookalike of a symbol; a letter is escaped."""
    if character in _LOOKALIKES:
        return _LOOKALIKES[character]
    for codes, symbol in _DRAWINGS.items():
        if ord(character) in codes:
            return symbol
    return character.encode("ascii", "backslashreplace").decode()
