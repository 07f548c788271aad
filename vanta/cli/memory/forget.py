"""`vanta memory forget`: what would go, a question, and the receipt.

Invariant: nothing is removed before whoever asked has seen what it is, or said `--yes`.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vanta.cli import output
from vanta.cli.ground import ground
from vanta.cli.memory import options
from vanta.cli.memory.opening import with_memory
from vanta.errors import UsageError

if TYPE_CHECKING:
    from vanta.memory.memory import Memory
    from vanta.memory.store.forgetting import Foreseen, Receipt, Selection

SHOWN = 12
"""Items that a preview shows; the rest is a number."""


def forget(
    item: Annotated[
        list[int] | None,
        typer.Option("--item", "-i", metavar="ID", help="An item; a message with its exchange."),
    ] = None,
    session: Annotated[
        str | None, typer.Option("--session", "-s", metavar="NAME", help="This conversation.")
    ] = None,
    since: options.SinceOption = None,
    until: options.UntilOption = None,
    file: Annotated[
        str | None, typer.Option("--file", "-f", metavar="FILE", help="A document, as added.")
    ] = None,
    tag: Annotated[
        str | None, typer.Option("--tag", metavar="TAG", help="What has this tag.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All that is remembered of the user.")
    ] = False,
    user: options.UserOption = "default",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without being asked.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would go, and leave it.")
    ] = False,
    json: output.JsonOption = False,
    config: output.ConfigOption = None,
) -> None:
    """Forget for good: afterwards no byte of it is in any file of vanta's.

    Of several options all must hold. What was said goes with its whole exchange, and what was made
    of it, too. Ends in 1 if bytes may be left. --json: an object with removed (items, messages,
    vectors, sessions, typed_lines), certain, why and took_s; with --dry-run removed and items.
    """
    from vanta.cli.memory.files import mark
    from vanta.memory.store.forgetting import Selection

    if file and tag:
        raise typer.BadParameter("--file and --tag exclude each other: give one of them.")
    first, end = options.span(since, until)
    wanted = mark(Path(file).expanduser()) if file else tag
    selection = Selection(user, tuple(item or ()), session, first, end, everything, wanted)
    if not selection.named:
        raise UsageError(
            "nothing says what to forget: name --item ID, --session NAME, --file FILE, --tag TAG, "
            "--since WHEN, --until WHEN, or --all. `vanta memory list` shows what there is."
        )
    if not yes or dry_run:
        foreseen = with_memory(config, lambda memory: memory.foresee(selection))
        if dry_run and json:
            output.print_json(_as_data(foreseen))
            return
        _preview(foreseen)
        if dry_run or not _confirmed():
            return
    history = ground(config).config.data_dir / "chat_history"
    receipt, typed = with_memory(config, lambda memory: forget_all(memory, selection, history))
    _tell(receipt, typed, json=json)
    if not receipt.certain:
        raise typer.Exit(output.ExitCode.FAILED)


async def forget_all(memory: Memory, selection: Selection, history: Path) -> tuple[Receipt, int]:
    """Forget, in the history of what was typed, too; the receipt, and the lines that went there."""
    import anyio.to_thread

    from vanta.cli.memory.input_history import forget_typed

    foreseen = await memory.foresee(selection)
    receipt = await memory.forget(selection)
    texts = [item.text for item in foreseen.items if item.role == "user"]
    try:
        return receipt, await anyio.to_thread.run_sync(forget_typed, history, texts)
    except OSError as error:
        why = f"what was typed is still in {str(history)!r} ({error.strerror}): remove that file"
        whole = "; ".join(filter(None, [receipt.why, why]))
        return dataclasses.replace(receipt, certain=False, why=whole), 0


def _preview(foreseen: Foreseen) -> None:
    """Show what would go, on stderr, so that stdout has the receipt alone."""
    from vanta.cli.memory.tables import clock, counted, one_line, where, who

    if not foreseen.items:
        output.say("Nothing that is remembered fits; the files would be cleaned once more.")
        return
    output.say(f"This would forget {counted(foreseen.removed)}:", "bold")
    width = max(30, output.stderr().width - 8)
    for item in foreseen.items[:SHOWN]:
        place = f", {where(item)}" if where(item) else ""
        output.say(f"  #{item.id}  {clock(item.said_at)}  {who(item)}{place}", "none")
        output.say(f"      {one_line(item.text, width)}")
    if len(foreseen.items) > SHOWN:
        output.say(f"  and {len(foreseen.items) - SHOWN} more; --dry-run --json has all of them")


def _confirmed() -> bool:
    """Ask on the terminal. Raises UsageError where there is none."""
    if not sys.stdin.isatty():
        raise UsageError(
            "nothing was forgotten, since nobody is there to be asked. Add --yes to do it, or "
            "--dry-run to see only what would go."
        )
    if typer.confirm("Forget it for good?", err=True):
        return True
    output.say("nothing was forgotten")
    return False


def _as_data(foreseen: Foreseen) -> dict[str, Any]:
    items = [item.to_dict() for item in foreseen.items]
    return {"removed": dataclasses.asdict(foreseen.removed), "items": items}


def _tell(receipt: Receipt, typed: int, *, json: bool) -> None:
    if json:
        told = dataclasses.asdict(receipt)
        told["removed"]["typed_lines"] = typed
        output.print_json(told)
        return
    from vanta.cli.memory.tables import show_receipt

    show_receipt(receipt, typed)
