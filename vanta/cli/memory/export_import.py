"""`vanta memory export` and `import`: memory as JSON lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vanta.cli import output
from vanta.cli.memory import json_lines as lines
from vanta.cli.memory import options
from vanta.cli.memory.opening import with_memory

if TYPE_CHECKING:
    from vanta.memory.memory import Memory
    from vanta.memory.store.repository import NewItem

FileArgument = Annotated[
    str, typer.Argument(metavar="[FILE|-]", help="A file; - for the terminal or a pipe.")
]


def export(
    file: FileArgument = lines.STANDARD,
    user: options.AnyUserOption = None,
    json: output.JsonOption = False,
    config: output.ConfigOption = None,
) -> None:
    """Write all that is remembered as JSON lines, private items too.

    Each line is an object with id, user, session, turn_id, kind, role, text, said_at (seconds since
    1970), private, tags, source and dates; `vanta memory import` reads it. --json, with a FILE: an
    object with file, items and private.
    """
    counts = with_memory(config, lambda memory: _export(memory, file, user))
    if file == lines.STANDARD:
        return
    if json:
        output.print_json({"file": file, "items": counts[0], "private": counts[1]})
    else:
        secret = f", {counts[1]} of them private" if counts[1] else ""
        output.say(f"{counts[0]} items{secret} are in {file}", "none")


async def _export(memory: Memory, file: str, user: str | None) -> tuple[int, int]:
    items = private = 0
    with lines.writing(file) as out:
        async for item in memory.export(user):
            out.write(f"{lines.line_of(item)}\n")
            items += 1
            private += item.private
    return items, private


def import_lines(
    file: FileArgument = lines.STANDARD,
    json: output.JsonOption = False,
    config: output.ConfigOption = None,
) -> None:
    """Take in what `vanta memory export` wrote; what is there already is not added again.

    A file with a line that cannot be read is refused as a whole. --json: an object with items (how
    many lines there are), added and known.
    """
    items = lines.read(file)
    added = with_memory(config, lambda memory: _import(memory, items, quiet=json))
    known = len(items) - added
    if json:
        output.print_json({"items": len(items), "added": added, "known": known})
    else:
        output.say(f"{added} items were added, {known} were there already", "none")
        if added:
            output.say("words find them now, meaning does once `vanta memory reindex` has run")


async def _import(memory: Memory, items: list[NewItem], *, quiet: bool) -> int:
    import anyio

    from vanta.cli.memory.progress import shown
    from vanta.errors import StoreError

    reached = 0

    def tell(done: int, total: int) -> None:
        nonlocal reached
        reached = done
        progress(done, total)

    with shown("taking over what was said", "importing", quiet=quiet) as progress:
        try:
            return await memory.add_missing(items, tell)
        except (anyio.get_cancelled_exc_class(), StoreError):
            output.say(
                f"stopped after {reached} of {len(items)} lines, which are in memory now: import "
                "the file again for the rest, nothing of it will be there twice"
            )
            raise
