"""Memory on the terminal: items, scores, receipts.

Invariant: a text cannot steer the terminal and is never read as markup. Times are in the time zone
of this machine.
"""

from __future__ import annotations

import datetime as dt
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.text import Text

from vanta.cli import output

if TYPE_CHECKING:
    from vanta.memory import ForgetReceipt, MemoryItem, RecalledItem, Recollection, RemovedCounts

SHOWN_CHARACTERS = 600
"""Characters of a text that a search shows; `--json` has all of them."""


def format_time(at: float) -> str:
    """Return a moment such as `Tue 2026-11-17 14:03`."""
    try:
        return f"{dt.datetime.fromtimestamp(at):%a %Y-%m-%d %H:%M}"
    except (OverflowError, ValueError, OSError):
        return f"{at:g} s"


def author(item: MemoryItem) -> str:
    """Return the role of a message, or the kind of another item."""
    name = output.printable(item.role or item.kind)
    return f"{name} (private)" if item.private else name


def origin(item: MemoryItem) -> str:
    """Return the place in a document, or the conversation, that an item comes from."""
    return output.printable(item.source or item.session)


def one_line(text: str, width: int) -> str:
    """Return a text as one line of at most `width` characters."""
    plain = " ".join(output.printable(text[: 8 * width]).split())
    return plain if len(plain) <= width else plain[: width - 1].rstrip() + "…"


def show_matches(matches: Sequence[RecalledItem]) -> None:
    """Print matches, best first: a line about each item, and its text below."""
    console = output.stdout()
    for match in matches:
        item = match.item
        head = Text(f"{match.score:.2f}", "bold cyan")
        head.append(f"  {format_time(item.said_at)}  {author(item)}", "none")
        if place := origin(item):
            head.append(f"  {place}", "green")
        head.append(f"  #{item.id}", "dim")
        console.print(head, soft_wrap=True)
        text = textwrap.shorten(output.printable(item.text), SHOWN_CHARACTERS, placeholder=" …")
        dates = "; ".join(f"{words} = {date}" for words, date in item.dates.items())
        console.print(Padding(Text(text), (0, 0, 0, 6)))
        if dates:
            console.print(Padding(Text(output.printable(dates), "dim"), (0, 0, 0, 6)))


def show_scores(matches: Sequence[RecalledItem]) -> None:
    """Print matches with the parts of their scores in columns, and each item below its row."""
    console = output.stdout()
    names = list(dict.fromkeys(name for match in matches for name in match.parts))
    # A name of two words takes two lines, so all columns fit beside each other.
    over = ["", "", *(name.rpartition(" ")[0] for name in names)]
    heads = ["", "score", *(name.rpartition(" ")[2] for name in names)]
    rows = [
        [f"#{match.item.id}", f"{match.score:.3f}"]
        + [f"{match.parts[name]:.3f}" if name in match.parts else "-" for name in names]
        for match in matches
    ]
    widths = [max(map(len, column)) for column in zip(over, heads, *rows, strict=True)]
    for line in (over, heads):
        if any(line):
            console.print(Text(_aligned(line, widths), "bold"), soft_wrap=True)
    for match, row in zip(matches, rows, strict=True):
        item = match.item
        about = ", ".join(filter(None, [format_time(item.said_at), author(item), origin(item)]))
        console.print(Text(_aligned(row, widths)), soft_wrap=True)
        indent = (0, 0, 0, 2 + widths[0])
        console.print(Padding(Text(one_line(item.text, 2 * (console.width - 8))), indent))
        console.print(Padding(Text(about, "dim"), indent))


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))


def describe_sources(recollection: Recollection) -> str:
    """Return the sources of a recall, and which were skipped."""
    by = (
        f"words and meaning (embedder {recollection.embedder}" if recollection.embedder else "words"
    )
    if recollection.embedder:
        by += f", index {recollection.index or 'none'})"
    else:
        by += " alone"
    why = f"; {recollection.skipped}" if recollection.skipped else ""
    return f"found by {by} in {recollection.took_s * 1000:.0f} ms{why}"


def show_items(items: Sequence[MemoryItem]) -> None:
    """Print items in a table, one row each."""
    rows = [
        (f"#{item.id}", format_time(item.said_at)[4:], author(item), one_line(origin(item), 20))
        for item in items
    ]
    taken = sum(max(len(row[column]) for row in rows) + 2 for column in range(4))
    width = max(24, output.stdout().width - taken)
    texts = [one_line(item.text, width) for item in items]
    output.print_table(
        (">", "when", "who", "where", "what"),
        [(*row, text) for row, text in zip(rows, texts, strict=True)],
    )


def show_stats(figures: Mapping[str, Any]) -> None:
    """Print the size of memory, its embedder and its index."""
    first, last = figures["first_said_at"], figures["last_said_at"]
    kinds = ", ".join(count_of(count, kind) for kind, count in figures["kinds"].items())
    rows = [
        ("items", kinds or "none"),
        ("of them private", str(figures["private"] or 0)),
        ("users, sessions", f"{figures['users']}, {figures['sessions']}"),
    ]
    if first is not None:
        rows.append(("said from, to", f"{format_time(first)} to {format_time(last)}"))
    rows.append(("embedder", figures["embedder"] or "none: items are found by words alone"))
    rows.append(("index", figures["index"] or "none"))
    rows += [(f"vectors of {name}", str(count)) for name, count in figures["vectors"].items()]
    rows.append(("waiting for a vector", str(figures["waiting_for_a_vector"])))
    rows.append(("waiting for the index", str(figures["waiting_for_the_index"])))
    if figures["trouble"]:
        rows.append(("note", output.printable(str(figures["trouble"]))))
    output.print_table(("", ""), rows)


def describe_removed(removed: RemovedCounts) -> str:
    """Return the number of removed items, messages, vectors and sessions in words."""
    parts = [count_of(removed.items, "item"), count_of(removed.vectors, "vector")]
    if removed.messages:
        parts.insert(1, count_of(removed.messages, "message"))
    of = f" of {count_of(removed.sessions, 'session')}" if removed.sessions else ""
    return ", ".join(parts) + of


def show_receipt(receipt: ForgetReceipt, typed: int) -> None:
    """Print a receipt on stdout."""
    summary, remains = describe_receipt(receipt, typed)
    output.print_line(summary)
    output.print_line(Text(remains, "green" if receipt.certain else "red"))


def describe_receipt(receipt: ForgetReceipt, typed: int) -> tuple[str, str]:
    """Return what was forgotten, and whether every byte of it is gone.

    :param typed: the number of lines that were removed from the chat's history.
    """
    lines = f", {count_of(typed, 'typed line')}" if typed else ""
    summary = f"forgotten: {describe_removed(receipt.removed)}{lines}, in {receipt.took_s:.2f} s"
    if receipt.certain:
        return summary, "no byte of it is left in any of vanta's files"
    return summary, f"bytes of it may be left: {output.printable(receipt.why)}"


def count_of(count: int, noun: str) -> str:
    """Return a number with its noun in the singular or plural."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"
