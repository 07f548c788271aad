"""`vanta memory forget`: a preview, a question, and the receipt.

Invariant: nothing is removed before the person has seen a preview, or passed `--yes`. Lines typed
into `vanta chat` are removed from its history file, too; the file keeps all its other lines and is
complete at any moment.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vanta.cli import output
from vanta.cli.memory import options
from vanta.cli.memory.opening import with_memory
from vanta.cli.options import ConfigOption, JsonOption
from vanta.cli.setup import load_setup
from vanta.errors import UsageError
from vanta.files import read_file, write_private

if TYPE_CHECKING:
    from vanta.memory import ForgetPreview, ForgetReceipt, Memory, Selection

PREVIEWED = 12
_MOST_BYTES = 1 << 28
"""Items that a preview lists; it counts the others."""


def forget(
    item: Annotated[
        list[int] | None,
        typer.Option("--item", "-i", metavar="ID", help="An item; a message with its exchange."),
    ] = None,
    session: Annotated[
        str | None, typer.Option("--session", "-s", metavar="NAME", help="A conversation.")
    ] = None,
    since: options.SinceOption = None,
    until: options.UntilOption = None,
    file: Annotated[
        str | None, typer.Option("--file", "-f", metavar="FILE", help="A document that was added.")
    ] = None,
    tag: Annotated[
        str | None, typer.Option("--tag", metavar="TAG", help="Items with this tag.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All items of the user.")] = False,
    user: options.UserOption = "default",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be removed, and remove nothing.")
    ] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Forget for good: afterwards no byte of it is left in any of vanta's files.

    Several options select the items that fit all of them. A message is removed with its whole
    exchange and everything derived from it. The exit code is 1 if bytes may be left. --json: an
    object with removed (items, messages, vectors, sessions, typed_lines), certain, why and took_s;
    with --dry-run removed and items.
    """
    from vanta.cli.memory.add import file_tag
    from vanta.memory import Selection

    if file and tag:
        raise typer.BadParameter("--file and --tag exclude each other: give one of them.")
    first, end = options.parse_span(since, until)
    selected_tag = file_tag(Path(file).expanduser()) if file else tag
    selection = Selection(user, tuple(item or ()), session, first, end, everything, selected_tag)
    if not selection.is_set:
        raise UsageError(
            "nothing is selected: give --item ID, --session NAME, --file FILE, --tag TAG, "
            "--since WHEN, --until WHEN, or --all. `vanta memory list` shows the items."
        )
    if not yes or dry_run:
        foreseen = with_memory(config, lambda memory: memory.preview_forget(selection))
        if dry_run and json:
            output.print_json(_as_data(foreseen))
            return
        _preview(foreseen)
        if dry_run or not _confirm():
            return
    history = load_setup(config).config.data_dir / "chat_history"
    receipt, typed = with_memory(config, lambda memory: forget_all(memory, selection, history))
    _show(receipt, typed, json=json)
    if not receipt.certain:
        raise typer.Exit(output.ExitCode.FAILED)


async def forget_all(
    memory: Memory, selection: Selection, history: Path
) -> tuple[ForgetReceipt, int]:
    """Forget a selection in memory and in the chat's history file.

    :returns: the receipt, and the number of lines that were removed from the history.
    """
    import anyio.to_thread

    foreseen = await memory.preview_forget(selection)
    receipt = await memory.forget(selection)
    texts: list[str] | None = [item.text for item in foreseen.items if item.role == "user"]
    if selection.everything:  # a message whose turn failed is in no item, but it was typed
        texts = None
    try:
        return receipt, await anyio.to_thread.run_sync(forget_typed_lines, history, texts)
    except OSError as error:
        why = f"typed lines are still in {str(history)!r} ({error.strerror}): remove that file"
        reasons = "; ".join(filter(None, [receipt.why, why]))
        return dataclasses.replace(receipt, certain=False, why=reasons), 0


def forget_recent_lines(texts: Iterable[str]) -> None:
    """Remove texts from the lines that this process would write to its history file at exit."""
    readline = sys.modules.get("readline")
    if readline is None:
        return
    removed = set(texts)
    for place in range(readline.get_current_history_length(), 0, -1):
        line = readline.get_history_item(place) or ""
        if line in removed or line.removeprefix("/") in removed:
            readline.remove_history_item(place - 1)


def forget_typed_lines(history: Path, texts: Iterable[str] | None) -> int:
    """Remove the lines of `texts`, or all, from a history file. Return their number. Blocking.

    :raises OSError: if the file cannot be changed.
    """
    try:
        lines = read_file(history, _MOST_BYTES).splitlines(keepends=True)
    except FileNotFoundError:
        return 0
    typed = {line.strip() for text in texts or () for line in text.splitlines()} - {""}
    kept = [] if texts is None else [line for line in lines if not _was_typed(line, typed)]
    if len(kept) < len(lines):
        write_private(history, b"".join(kept))
    return len(lines) - len(kept)


def _was_typed(line: bytes, typed: set[str]) -> bool:
    # A message that begins with a slash is typed with two.
    text = line.decode("utf-8", "replace").strip()
    return text in typed or text.removeprefix("/") in typed


def _preview(foreseen: ForgetPreview) -> None:
    """Show what would be removed on stderr, so that stdout has the receipt alone."""
    from vanta.cli.memory.tables import author, describe_removed, format_time, one_line, origin

    if not foreseen.items:
        output.print_status("No item fits; the files would only be cleaned again.")
        return
    output.print_status(f"This would forget {describe_removed(foreseen.removed)}:", "bold")
    width = max(30, output.stderr().width - 8)
    for item in foreseen.items[:PREVIEWED]:
        place = f", {origin(item)}" if origin(item) else ""
        about = f"{format_time(item.said_at)}  {author(item)}{place}"
        output.print_status(f"  #{item.id}  {about}", "none")
        output.print_status(f"      {one_line(item.text, width)}")
    if len(foreseen.items) > PREVIEWED:
        more = len(foreseen.items) - PREVIEWED
        output.print_status(f"  and {more} more; --dry-run --json has all of them")


def _confirm() -> bool:
    """Ask on the terminal. Raises UsageError without one."""
    if not sys.stdin.isatty():
        raise UsageError(
            "nothing was forgotten: a terminal is needed to confirm it. Add --yes to "
            "forget without it, or --dry-run to see only what would be removed."
        )
    if typer.confirm("Forget it for good?", err=True):
        return True
    output.print_status("nothing was forgotten")
    return False


def _as_data(foreseen: ForgetPreview) -> dict[str, Any]:
    items = [item.to_dict() for item in foreseen.items]
    return {"removed": dataclasses.asdict(foreseen.removed), "items": items}


def _show(receipt: ForgetReceipt, typed: int, *, json: bool) -> None:
    if json:
        data = dataclasses.asdict(receipt)
        data["removed"]["typed_lines"] = typed
        output.print_json(data)
        return
    from vanta.cli.memory.tables import show_receipt

    show_receipt(receipt, typed)
