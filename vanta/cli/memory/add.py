"""`vanta memory add`: documents into memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vanta.cli import output, tables
from vanta.cli.memory import options
from vanta.cli.memory.opening import with_memory

if TYPE_CHECKING:
    from vanta.cli.memory.files import Added, Label
    from vanta.memory.memory import Memory


def add(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Text, Markdown, HTML, PDF; or folders of them."),
    ],
    user: options.UserOption = "default",
    private: Annotated[
        bool, typer.Option("--private", help="For no track that leaves this machine.")
    ] = False,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="TAG", help="Mark it, to search by.")
    ] = None,
    json: output.JsonOption = False,
    config: output.ConfigOption = None,
) -> None:
    """Add documents, in chunks; a file that was added before takes the place of what it was.

    Ends in 1 if a file could not be added; the others are. --json: an object with files (objects
    with file, chunks, replaced, unchanged, notes and error), chunks, and skipped: why meaning finds
    none of it, "" if it does.
    """
    from vanta.cli.memory.files import Label, files_of

    paths = files_of(files)
    label = Label(user, private, tuple(tag or ()))
    done, skipped = with_memory(config, lambda memory: _add(memory, paths, label, quiet=json))
    if json:
        told = [dataclasses.asdict(one) for one in done]
        chunks = sum(one.chunks for one in done)
        output.print_json({"files": told, "chunks": chunks, "skipped": skipped})
    else:
        _show(done, skipped)
    if not done or any(one.error for one in done):
        raise typer.Exit(output.ExitCode.FAILED)


async def _add(
    memory: Memory, paths: Sequence[Path], label: Label, *, quiet: bool
) -> tuple[list[Added], str]:
    """Read, store, then embed; stopped in between, what is stored stays and is embedded later."""
    import anyio

    from vanta.cli.memory.files import add_file
    from vanta.cli.memory.progress import shown
    from vanta.cli.memory.tables import many

    done: list[Added] = []
    try:
        with shown("reading", "reading", quiet=True) as progress:
            for path in paths:
                progress(len(done), len(paths))
                done.append(await add_file(memory, path, label))
        return done, await _embed(memory, label, quiet=quiet) if any(map(_came, done)) else ""
    except anyio.get_cancelled_exc_class():
        output.say(
            f"stopped: memory has {sum(map(_came, done))} of {many(len(paths), 'file')}; `vanta "
            "memory reindex` embeds what is not embedded yet"
        )
        raise


async def _embed(memory: Memory, label: Label, *, quiet: bool) -> str:
    """Wait until meaning finds what was added; returns why it does not."""
    from vanta.cli.memory.app import waits_for
    from vanta.cli.memory.progress import shown
    from vanta.memory.items import Scope

    with shown(waits_for(memory), "embedding", quiet=quiet) as progress:
        return await memory.ready(Scope(label.user, private=label.private), progress)


def _came(one: Added) -> bool:
    return not one.error


def _show(done: Sequence[Added], skipped: str) -> None:
    from vanta.cli.memory.tables import many

    if not done:
        output.say("There is no document in there: text, Markdown, HTML and PDF files are added.")
        return
    for one in done:
        if one.error:
            output.say(f"not added: {one.error}", "red")
            continue
        tables.line(f"{output.harmless(one.file)}: {_became(one)}")
        for note in one.notes:
            output.say(f"  {note}")
    added = [one for one in done if not one.error]
    if len(done) > 1:
        chunks = many(sum(one.chunks for one in done), "chunk")
        tables.line(f"{len(added)} of {many(len(done), 'file')}, {chunks}")
    if added and skipped:
        output.say(f"found by words alone: {skipped}")


def _became(one: Added) -> str:
    from vanta.cli.memory.tables import many

    chunks = many(one.chunks, "chunk")
    if one.unchanged:
        return f"{chunks}, as they were"
    return f"{chunks} in place of {one.replaced}" if one.replaced else chunks
