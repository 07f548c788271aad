"""Deltas fold into one answer, whatever indexes an engine gives its tool calls."""

from __future__ import annotations

import pytest

from vanta import CallNumbering, Delta, Fold, ToolCall, ToolCallPart


def folded(*parts: ToolCallPart) -> tuple[ToolCall, ...]:
    fold = Fold()
    for part in parts:
        fold.add(Delta(tool_calls=(part,)))
    return fold.completion().tool_calls


def test_a_new_id_begins_a_new_call_though_its_index_is_the_same() -> None:
    calls = folded(
        ToolCallPart(0, "A1", "weather", "{"),
        ToolCallPart(0, "", "", "}"),
        ToolCallPart(0, "B2", "clock", "[]"),
    )
    assert calls == (ToolCall("A1", "weather", "{}"), ToolCall("B2", "clock", "[]"))


def test_an_id_that_is_repeated_continues_its_call() -> None:
    calls = folded(ToolCallPart(0, "A1", "weather", "{"), ToolCallPart(0, "A1", "", "}"))
    assert calls == (ToolCall("A1", "weather", "{}"),)


def test_an_id_may_come_after_the_first_part() -> None:
    calls = folded(ToolCallPart(2, "", "weather", "{"), ToolCallPart(2, "A1", "", "}"))
    assert calls == (ToolCall("A1", "weather", "{}"),)


@pytest.mark.parametrize(
    ("fragments", "numbers"),
    [
        (
            [(None, "A", True), (None, "", False), (None, "B", True), (None, "", False)],
            [0, 0, 1, 1],
        ),
        ([(0, "A", False), (1, "B", False), (0, "", False), (1, "", False)], [0, 1, 0, 1]),
        ([(5, "A", False), (5, "B", False), (5, "", False)], [0, 1, 1]),
        ([(None, "", True), (None, "", True), (None, "", False)], [0, 1, 1]),
        ([(None, "", False)], [0]),
        ([(0, "A", False), (None, "", False), (7, "A", False), (7, "", False)], [0, 0, 0, 0]),
    ],
)
def test_fragments_are_numbered_by_the_call_that_they_belong_to(
    fragments: list[tuple[int | None, str, bool]], numbers: list[int]
) -> None:
    numbering = CallNumbering()
    assert [
        numbering.number(index, call_id, begins=begins) for index, call_id, begins in fragments
    ] == numbers
