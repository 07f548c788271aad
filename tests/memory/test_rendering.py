"""What a prompt shows of memories: whole items, short headers, dates that read right later."""

from __future__ import annotations

import datetime as dt

import pytest

from vanta.memory.items import SUPERSEDED, MemoryItem
from vanta.memory.rendering import day_of, render_block, render_header, render_line

MAY_8 = dt.datetime(2023, 5, 8, 13, 56, tzinfo=dt.UTC).timestamp()
DAY_S = 24 * 3600.0


def said(text: str, *, at: float = MAY_8, **fields: object) -> MemoryItem:
    """A message of the user."""
    given = {"role": "user", "kind": "message"} | fields
    return MemoryItem(1, "ada", "s", "t", text=text, said_at=at, **given)  # type: ignore[arg-type]


def test_a_line_tells_who_said_it_and_the_text_on_one_line() -> None:
    assert render_line(said("I have\n\n  a cat", role="assistant")) == "assistant: I have a cat"


def test_a_document_and_a_fact_are_named_by_their_source_or_kind() -> None:
    assert render_line(
        said("30 days", role="", source="handbook.md, Holidays", kind="document")
    ) == ("handbook.md, Holidays: 30 days")
    assert render_line(said("Ada is a nurse", role="", kind="fact")) == "fact: Ada is a nurse"
    superseded = said("Ada lives in Porto", role="", kind="fact", tags=(SUPERSEDED,))
    assert render_line(superseded) == "fact (no longer so): Ada lives in Porto"


@pytest.mark.parametrize(
    ("meant", "shown"),
    [
        ("2023-05-07", "[7 May]"),
        ("2022-12-31", "[31 Dec 2022]"),
        ("2023-05-01/2023-05-07", "[1 May - 7 May]"),
        ("2023-04", "[Apr 2023]"),
        ("2022", "[2022]"),
        ("2023", "[2023]"),
        ("0099", "[0099]"),
        ("some day", "[some day]"),
    ],
)
def test_a_date_is_said_behind_the_words_that_meant_it(meant: str, shown: str) -> None:
    item = said("It was back  then, back then.", dates={"back then": meant})
    assert render_line(item) == f"user: It was back then {shown}, back then."


def test_words_that_are_not_in_the_text_change_nothing() -> None:
    assert (
        render_line(said("It was fun.", dates={"yesterday": "2023-05-07"})) == "user: It was fun."
    )


def test_a_block_has_a_header_for_each_day() -> None:
    items = [said("a"), said("b"), said("c", at=MAY_8 + DAY_S)]
    assert render_block(items) == "8 May 2023:\nuser: a\nuser: b\n9 May 2023:\nuser: c"
    assert render_header(day_of(items[0])) == "8 May 2023:"
    assert render_block([]) == ""
