"""`vanta memory export` and `import`: memory as JSON lines, without loss.

Invariant: a file is checked as a whole before any of it is imported; each error names the line.
"""

from __future__ import annotations

import datetime as dt
import functools
import json as json_library
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, TextIO

import typer

from vanta.cli import output
from vanta.cli.memory import options
from vanta.cli.memory.opening import progress_bar, with_memory
from vanta.cli.options import ConfigOption, JsonOption
from vanta.errors import UsageError
from vanta.files import open_file
from vanta.text import well_formed

if TYPE_CHECKING:
    from vanta.memory import Memory, NewItem

_MOST_BYTES = 1 << 32
_MOST_LINE_BYTES = 1 << 25

STANDARD = "-"
REPORTED_LINES = 20
"""The number of bad lines that an error lists."""

FileArgument = Annotated[
    str, typer.Argument(metavar="[FILE|-]", help="A file; - for the terminal or a pipe.")
]


def export(
    file: FileArgument = STANDARD,
    user: options.AnyUserOption = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Write all items as JSON lines, private ones included.

    Each line is an object with id, user, session, turn_id, kind, role, text, said_at (seconds since
    1970), private, tags, source and dates; `vanta memory import` reads it. --json, with a FILE: an
    object with file, items and private.
    """
    items, private = with_memory(config, lambda memory: _export(memory, file, user))
    if file == STANDARD:
        return
    if json:
        output.print_json({"file": file, "items": items, "private": private})
    else:
        some_private = f", {private} of them private" if private else ""
        output.print_status(f"{items} items{some_private} are in {file}", "none")


def import_lines(
    file: FileArgument = STANDARD,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Import the lines of `vanta memory export`; known items are not added again.

    A file with a line that cannot be read is refused as a whole. --json: an object with items (the
    number of lines), added and known.
    """
    items = _read(file)
    added = with_memory(config, lambda memory: _import(memory, items, quiet=json))
    known = len(items) - added
    if json:
        output.print_json({"items": len(items), "added": added, "known": known})
    else:
        output.print_status(f"{added} items were added, {known} were already known", "none")
        if added:
            output.print_status(
                "they can be found by words now, and by meaning after `vanta memory reindex`"
            )


async def _export(memory: Memory, file: str, user: str | None) -> tuple[int, int]:
    items = private = 0
    with _open_output(file) as out:
        async for item in memory.export(user):
            output.print_json_line(item.to_dict(), out)
            items += 1
            private += item.private
    return items, private


async def _import(memory: Memory, items: list[NewItem], *, quiet: bool) -> int:
    import anyio

    from vanta.errors import StoreError

    reached = 0

    def report(done: int, total: int) -> None:
        nonlocal reached
        reached = done
        show(done, total)

    with progress_bar("taking over transcripts", "importing", quiet=quiet) as show:
        try:
            return await memory.add_missing(items, report)
        except (anyio.get_cancelled_exc_class(), StoreError):
            output.print_status(
                f"stopped after {reached} of {len(items)} lines, which are in memory now: import "
                "the file again for the rest; nothing is added twice"
            )
            raise


@contextmanager
def _open_output(target: str) -> Iterator[TextIO | None]:
    """Open a file that only this user can read and that appears complete; None is standard output.

    :raises UsageError: if the file cannot be written.
    """
    if target == STANDARD:
        yield None
        return
    path = Path(target).expanduser()
    part = path.with_name(f"{path.name}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise UsageError(
            f"{target!r} cannot be written: {error.strerror}. Name another file, or - for the "
            "terminal."
        ) from error
    try:
        with open(descriptor, "w", encoding="utf-8", newline="\n") as file:  # noqa: PTH123
            yield file
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _read(source: str) -> list[NewItem]:
    """Return the items of a file or of standard input. Raises UsageError for any bad line."""
    if source == STANDARD:
        return _parse(_bounded(sys.stdin.buffer), "standard input")
    try:
        with open_file(Path(source).expanduser(), _MOST_BYTES) as file:
            return _parse(file, source)
    except OSError as error:
        raise UsageError(
            f"{source!r} cannot be read: {error.strerror}. Check the path; `vanta memory export "
            "FILE` writes such a file."
        ) from error


def _bounded(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a pipe, which may have no end. Raises UsageError beyond the bound."""
    left = _MOST_BYTES
    while line := file.readline(_MOST_LINE_BYTES + 1):
        left -= len(line)
        if left < 0 or len(line) > _MOST_LINE_BYTES:
            raise UsageError(
                f"standard input is longer than {_MOST_BYTES:,} bytes, or a line of it than "
                f"{_MOST_LINE_BYTES:,}. Import it in parts."
            )
        yield line


def _parse(lines: Iterable[bytes] | BinaryIO, name: str) -> list[NewItem]:
    """Return the items of lines, without empty lines. Raises UsageError, naming each bad line."""
    items: list[NewItem] = []
    problems: list[str] = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            item = _as_item(line)
            if isinstance(item, str):
                problems.append(f"  line {number}: {item}")
            else:
                items.append(item)
    if problems:
        raise UsageError(_refusal(problems, len(items), name))
    return items


def _refusal(problems: list[str], good: int, name: str) -> str:
    count = len(problems)
    bad = "1 line" if count == 1 else f"{count} lines"
    listed = "\n".join(problems[:REPORTED_LINES])
    if count > REPORTED_LINES:
        listed += f"\n  and {count - REPORTED_LINES} more"
    return (
        f"{bad} of {count + good} in {name!r} cannot be read, so nothing was imported:\n"
        f"{listed}\nFix or remove these lines and import again."
    )


def _as_item(line: bytes) -> NewItem | str:
    """Return the item of a line, or what is wrong with the line."""
    from pydantic import ValidationError

    from vanta.memory import NewItem

    data = _as_object(line)
    if isinstance(data, str):
        return data
    try:
        fields = _line_model().model_validate(data)
    except ValidationError as error:
        return "; ".join(
            f"{'.'.join(map(str, detail['loc']))}: {detail['msg'].removeprefix('Value error, ')}"
            for detail in error.errors()
        )
    return NewItem(**fields.model_dump(exclude={"id"}))


def _as_object(line: bytes) -> dict[str, Any] | str:
    """Return the JSON object of a line, or why there is none."""
    try:
        data = json_library.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return "it is not UTF-8"
    except json_library.JSONDecodeError as error:
        return f"it is not JSON: {error.msg}, column {error.colno}"
    except (ValueError, RecursionError) as error:
        return f"it is not JSON: {error}"
    return data if isinstance(data, dict) else "it is not a JSON object"


@functools.cache
def _line_model() -> Any:
    """Return the pydantic model of a line; building it takes some milliseconds."""
    from typing import Annotated

    from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, create_model

    from vanta.memory import ItemKind

    text = Annotated[str, BeforeValidator(_well_formed)]
    said_at = Annotated[float, AfterValidator(_check_time)]
    return create_model(
        "Line",
        __config__=ConfigDict(extra="forbid", strict=True),
        id=(int, 0),
        user=(Annotated[text, Field(min_length=1)], ...),
        session=(text, ""),
        turn_id=(text, ""),
        kind=(ItemKind, ...),
        role=(text, ""),
        text=(text, ...),
        said_at=(said_at, ...),
        private=(bool, False),
        tags=(Annotated[tuple[text, ...], Field(strict=False)], ()),
        source=(text, ""),
        dates=(dict[text, text] | None, None),
    )


def _well_formed(value: Any) -> Any:
    return well_formed(value) if isinstance(value, str) else value


def _check_time(at: float) -> float:
    try:
        dt.datetime.fromtimestamp(at, dt.UTC)
    except (OverflowError, ValueError, OSError):
        raise ValueError("it must be seconds since 1970, in the years 1 to 9999") from None
    return at
