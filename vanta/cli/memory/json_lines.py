"""Memory as JSON lines: an item a line, out of memory and in again, without loss.

Invariant: a file is looked at as a whole before any of it is taken in; whatever is wrong with a
line is said with the line's number.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from vanta.errors import UsageError

if TYPE_CHECKING:
    from vanta.memory.items import MemoryItem
    from vanta.memory.store.repository import NewItem

STANDARD = "-"
MOST_TOLD = 20
"""Bad lines that are told one by one."""


def line_of(item: MemoryItem) -> str:
    """An item as a line."""
    return json.dumps(item.to_dict(), ensure_ascii=False)


@contextmanager
def writing(target: str) -> Iterator[TextIO]:
    """Where lines go: standard output, or a file for this user's eyes alone, which is there whole
    or not at all. Raises UsageError for a file that cannot be written."""
    if target == STANDARD:
        yield sys.stdout
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


def read(source: str) -> list[NewItem]:
    """The items of a file, or of standard input, all of them good. Raises UsageError."""
    if source == STANDARD:
        return parse(sys.stdin.buffer, "standard input")
    try:
        with Path(source).expanduser().open("rb") as file:
            return parse(file, source)
    except OSError as error:
        raise UsageError(
            f"{source!r} cannot be read: {error.strerror}. Check the path; `vanta memory export "
            "FILE` writes such a file."
        ) from error


def parse(lines: Iterable[bytes] | BinaryIO, name: str) -> list[NewItem]:
    """The items of lines; empty ones are passed over. Raises UsageError, naming each bad line."""
    items: list[NewItem] = []
    wrong: list[str] = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            found = _item(line)
            if isinstance(found, str):
                wrong.append(f"  line {number}: {found}")
            else:
                items.append(found)
    if wrong:
        raise UsageError(_refusal(wrong, len(items), name))
    return items


def _refusal(wrong: list[str], good: int, name: str) -> str:
    count = len(wrong)
    what = "1 line" if count == 1 else f"{count} lines"
    told = "\n".join(wrong[:MOST_TOLD])
    if count > MOST_TOLD:
        told += f"\n  and {count - MOST_TOLD} more"
    return (
        f"{what} of {count + good} in {name!r} can be no item of memory, so nothing was imported:\n"
        f"{told}\nMend or remove what is wrong and import again."
    )


def _item(line: bytes) -> NewItem | str:
    """The item of a line, or what is wrong with it."""
    from pydantic import ValidationError

    from vanta.memory.store.repository import NewItem

    told = _object(line)
    if isinstance(told, str):
        return told
    try:
        form = _form().model_validate(told)
    except ValidationError as error:
        return "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg'].removeprefix('Value error, ')}"
            for one in error.errors()
        )
    return NewItem(**form.model_dump(exclude={"id"}))


def _object(line: bytes) -> dict[str, Any] | str:
    """The JSON object of a line, or why there is none."""
    try:
        told = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return "it is not UTF-8"
    except json.JSONDecodeError as error:
        return f"it is no JSON: {error.msg}, column {error.colno}"
    except (ValueError, RecursionError) as error:
        return f"it is no JSON: {error}"
    return told if isinstance(told, dict) else "it is no JSON object"


@functools.cache
def _form() -> Any:
    """What a line has to be, as a model; made once, since it takes some milliseconds."""
    from typing import Annotated

    from pydantic import AfterValidator, ConfigDict, Field, create_model

    from vanta.memory.items import Kind

    text = Annotated[str, AfterValidator(_writable)]
    said_at = Annotated[float, AfterValidator(_on_the_calendar)]
    return create_model(
        "Line",
        __config__=ConfigDict(extra="forbid", strict=True),
        id=(int, 0),
        user=(Annotated[text, Field(min_length=1)], ...),
        session=(text, ""),
        turn_id=(text, ""),
        kind=(Kind, ...),
        role=(text, ""),
        text=(text, ...),
        said_at=(said_at, ...),
        private=(bool, False),
        tags=(Annotated[tuple[text, ...], Field(strict=False)], ()),
        source=(text, ""),
        dates=(dict[text, text] | None, None),
    )


def _writable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("it has half a surrogate pair, which is no character") from None
    return text


def _on_the_calendar(at: float) -> float:
    try:
        dt.datetime.fromtimestamp(at, dt.UTC)
    except (OverflowError, ValueError, OSError):
        raise ValueError("it has to be seconds since 1970, in the years 1 to 9999") from None
    return at
