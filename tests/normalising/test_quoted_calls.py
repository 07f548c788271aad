"""Calls that stand in the text of the request are quoted by an answer, not made."""

from __future__ import annotations

import pytest

from vanta.engine import GenerationRequest, Tool
from vanta.messages import Delta, Fold, Message, ToolCall
from vanta.normalising import CallFilter, QuotedCalls, quoted_calls
from vanta.scheduling.leg import AnswerFilter

SEND = Tool("send", "", {"type": "object", "properties": {"to": {"type": "string"}}})
BARE = '{"name": "send", "arguments": {"to": "Eve"}}'
NOTATIONS = [
    f"<tool_call>\n{BARE}\n</tool_call>",
    f"<tool_call>{BARE}",
    '<function=send>{"to": "Eve"}</function>',
    "<function=send>\n<parameter=to>\nEve\n</parameter>\n</function>",
    f"[TOOL_CALLS][{BARE}]",
    '[TOOL_CALLS]send[ARGS]{"to": "Eve"}',
    f"<|python_tag|>{BARE}",
    '<|channel|>commentary to=functions.send<|message|>{"to": "Eve"}<|call|>',
    '<|tool_call_start|>[send(to="Eve")]<|tool_call_end|>',
    BARE,
]
"""A call in the notations of several families, as a document may have it."""


def answer(text: str, quoted: QuotedCalls, *, step: int = 0) -> tuple[str, list[str]]:
    """Return the text and the arguments of the calls of an answer that comes in pieces."""
    content, fold = CallFilter([SEND], None, quoted=quoted), Fold()
    step = step or len(text)
    for begin in range(0, len(text), step):
        if (kept := content.feed(Delta(text[begin : begin + step]))) is not None:
            fold.add(kept)
    if (rest := content.finish()) is not None:
        fold.add(rest)
    whole = fold.completion()
    return whole.text, [call.arguments for call in whole.tool_calls]


@pytest.mark.parametrize("step", [0, 1, 7])
@pytest.mark.parametrize("role", ["user", "tool"])
@pytest.mark.parametrize("call", NOTATIONS)
def test_a_call_of_the_request_is_text_in_the_answer(call: str, role: str, step: int) -> None:
    results = {"tool_call_id": "c1"} if role == "tool" else {}
    given = Message(role, f"What does this do?\n{call}", **results)  # type: ignore[arg-type]
    quoted = quoted_calls([given], must_call=False)
    assert answer(call, quoted, step=step) == (call, [])


@pytest.mark.parametrize("call", NOTATIONS)
def test_another_call_in_the_same_notation_counts(call: str) -> None:
    quoted = quoted_calls([Message("user", f"What does this do? {call}")], must_call=False)
    _, calls = answer(call.replace("Eve", "Anna"), quoted)
    assert len(calls) == 1
    assert "Anna" in calls[0]


def test_white_space_makes_no_other_call_of_a_quotation() -> None:
    text = '<tool_call>{ "name":"send",\n "arguments":{"to":"Eve"} }</tool_call>'
    quoted = quoted_calls([Message("user", f"`{text}`")], must_call=False)
    assert answer(NOTATIONS[0], quoted) == (NOTATIONS[0], [])


def test_what_follows_a_quotation_may_be_a_call() -> None:
    quoted = quoted_calls([Message("user", NOTATIONS[0])], must_call=False)
    text = f"{NOTATIONS[0]}\nI write to Anna instead.\n{NOTATIONS[0].replace('Eve', 'Anna')}"
    shown, calls = answer(text, quoted)
    assert shown.startswith(f"{NOTATIONS[0]}\nI write to Anna instead.")
    assert calls == ['{"to": "Anna"}']


@pytest.mark.parametrize(
    "message",
    [
        Message("system", NOTATIONS[0]),
        Message("assistant", NOTATIONS[0]),
        Message("assistant", "", tool_calls=(ToolCall("c1", "send", '{"to": "Eve"}'),)),
    ],
)
def test_the_prompt_and_the_models_own_calls_are_not_quoted(message: Message) -> None:
    quoted = quoted_calls([message, Message("user", "Go on.")], must_call=False)
    assert answer(NOTATIONS[0], quoted) == ("", ['{"to": "Eve"}'])


@pytest.mark.parametrize(("choice", "count"), [("auto", 0), ("required", 1), ("send", 1)])
def test_an_answer_that_has_to_call_cannot_quote(choice: str, count: int) -> None:
    request = GenerationRequest(
        (Message("user", f"Do this: {NOTATIONS[0]}"),), tools=(SEND,), tool_choice=choice
    )
    content, fold = AnswerFilter(request), Fold()
    for delta in (Delta(NOTATIONS[0]), Delta(finish_reason="stop")):
        if (kept := content.feed(delta)) is not None:
            fold.add(kept)
    assert len(fold.completion().tool_calls) == count
