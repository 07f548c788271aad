"""Memory on the terminal: items, scores, receipts.

Invariant: a text is shown without what would steer a terminal, and never taken for markup; times
are those of this machine.
"""

from __future__ import annotations

import datetime as dt
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.text import Text

from vanta.cli import output, tables

if TYPE_CHECKING:
    from vanta.memory.items import MemoryItem, Recalled, Recollection
    from vanta.memory.store.forgetting import Receipt, Removed

MOST_SHOWN = 600
"""Characters of a text that a search shows; `--json` has all."""


def clock(at: float) -> str:
    """A moment as a person reads it: `Tue 2026-11-17 14:03`."""
    try:
        return f"{dt.datetime.fromtimestamp(at):%a %Y-%m-%d %H:%M}"
    except (OverflowError, ValueError, OSError):
        return f"{at:g} s"


def who(item: MemoryItem) -> str:
    """Who said it, or what it is."""
    told = output.harmless(item.role or item.kind)
    return f"{told} (private)" if item.private else told


def where(item: MemoryItem) -> str:
    """Where it comes from: a place in a document, or a conversation."""
    return output.harmless(item.source or item.session)


def one_line(text: str, width: int) -> str:
    """A text as one line of at most `width` characters."""
    plain = " ".join(output.harmless(text[: 8 * width]).split())
    return plain if len(plain) <= width else plain[: width - 1].rstrip() + "…"


def show_found(found: Sequence[Recalled]) -> None:
    """What was recalled, best first: a line that says what it is, under it the text."""
    console = output.stdout()
    for recalled in found:
        item = recalled.item
        head = Text(f"{recalled.score:.2f}", "bold cyan")
        head.append(f"  {clock(item.said_at)}  {who(item)}", "none")
        if place := where(item):
            head.append(f"  {place}", "green")
        head.append(f"  #{item.id}", "dim")
        console.print(head, soft_wrap=True)
        text = textwrap.shorten(output.harmless(item.text), MOST_SHOWN, placeholder=" …")
        meant = "; ".join(f"{said} = {date}" for said, date in item.dates.items())
        console.print(Padding(Text(text), (0, 0, 0, 6)))
        if meant:
            console.print(Padding(Text(output.harmless(meant), "dim"), (0, 0, 0, 6)))


def show_scores(found: Sequence[Recalled]) -> None:
    """What was recalled with each part of its score in a column, which add up to it; under each
    what it is, and how it begins."""
    console = output.stdout()
    names = list(dict.fromkeys(name for recalled in found for name in recalled.parts))
    # A name of two words stands in two lines, so that all columns fit beside each other.
    over = ["", "", *(name.rpartition(" ")[0] for name in names)]
    heads = ["", "score", *(name.rpartition(" ")[2] for name in names)]
    rows = [
        [f"#{one.item.id}", f"{one.score:.3f}"]
        + [f"{one.parts[name]:.3f}" if name in one.parts else "-" for name in names]
        for one in found
    ]
    widths = [max(map(len, column)) for column in zip(over, heads, *rows, strict=True)]
    for line in (over, heads):
        if any(line):
            console.print(Text(_aligned(line, widths), "bold"), soft_wrap=True)
    for one, row in zip(found, rows, strict=True):
        item = one.item
        about = ", ".join(filter(None, [clock(item.said_at), who(item), where(item)]))
        console.print(Text(_aligned(row, widths)), soft_wrap=True)
        indent = (0, 0, 0, 2 + widths[0])
        console.print(Padding(Text(one_line(item.text, 2 * (console.width - 8))), indent))
        console.print(Padding(Text(about, "dim"), indent))


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))


def participants(recollection: Recollection) -> str:
    """Who took part in a recall, and who did not."""
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
    """Items in a table, a line each."""
    rows = [
        (f"#{item.id}", clock(item.said_at)[4:], who(item), one_line(where(item), 20))
        for item in items
    ]
    taken = sum(max(len(row[column]) for row in rows) + 2 for column in range(4))
    width = max(24, output.stdout().width - taken)
    texts = [one_line(item.text, width) for item in items]
    tables.show(
        (">", "when", "who", "where", "what"),
        [(*row, text) for row, text in zip(rows, texts, strict=True)],
    )


def show_stats(figures: Mapping[str, Any]) -> None:
    """What memory holds, and who takes part."""
    first, last = figures["first_said_at"], figures["last_said_at"]
    kinds = ", ".join(many(count, kind) for kind, count in figures["kinds"].items())
    rows = [
        ("items", kinds or "none"),
        ("of them private", str(figures["private"] or 0)),
        ("users, sessions", f"{figures['users']}, {figures['sessions']}"),
    ]
    if first is not None:
        rows.append(("said from, to", f"{clock(first)} to {clock(last)}"))
    rows.append(("embedder", figures["embedder"] or "none: words alone decide"))
    rows.append(("index", figures["index"] or "none"))
    rows += [(f"vectors of {name}", str(count)) for name, count in figures["vectors"].items()]
    rows.append(("waiting for a vector", str(figures["waiting_for_a_vector"])))
    rows.append(("waiting for the index", str(figures["waiting_for_the_index"])))
    if figures["trouble"]:
        rows.append(("note", output.harmless(str(figures["trouble"]))))
    tables.show(("", ""), rows)


def counted(removed: Removed) -> str:
    """What goes, in words."""
    told = [many(removed.items, "item"), many(removed.vectors, "vector")]
    if removed.messages:
        told.insert(1, many(removed.messages, "message"))
    of = f" of {many(removed.sessions, 'session')}" if removed.sessions else ""
    return ", ".join(told) + of


def show_receipt(receipt: Receipt, typed: int) -> None:
    """What `told` says, on stdout."""
    what, left = told(receipt, typed)
    tables.line(what)
    tables.line(Text(left, "green" if receipt.certain else "red"))


def told(receipt: Receipt, typed: int) -> tuple[str, str]:
    """What was forgotten, and whether every byte of it is gone. typed: lines of the chat's
    history."""
    lines = f", {many(typed, 'typed line')}" if typed else ""
    what = f"forgotten: {counted(receipt.removed)}{lines}, in {receipt.took_s:.2f} s"
    if receipt.certain:
        return what, "no byte of it is left in any file of vanta's"
    return what, f"bytes of it may be left: {output.harmless(receipt.why)}"


def many(count: int, what: str) -> str:
    """A number of things in words."""
    several = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{count} {what if count == 1 else several}"
