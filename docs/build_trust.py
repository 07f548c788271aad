"""Write the table of keys in docs/trust.md from `vanta.config.RULES`.

Usage: `python docs/build_trust.py` (or `make docs`). Invariant: the table is a function of the
rules alone; `tests/docs/test_trust_page.py` compares it with the page.
"""

from __future__ import annotations

from pathlib import Path

from vanta.config import RULES

PAGE = Path(__file__).with_name("trust.md")
BEGIN, END = "<!-- rules -->\n", "<!-- end of rules -->\n"


def table() -> str:
    """Return the table of all keys as Markdown."""
    rows = [f"| `{'.'.join(rule.pattern)}` | {rule.effect} | {rule.reason} |" for rule in RULES]
    return "\n".join(["| key | in an untrusted project | why |", "| --- | --- | --- |", *rows, ""])


def page(text: str) -> str:
    """Return the page with the present table.

    text: the page as it is.
    """
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}{table()}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
