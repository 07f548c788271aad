"""Reasoning inside an answer: found by its marks, however they are cut, at the beginning only."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vanta.messages import Delta, Fold, Message, TokenLogprob
from vanta.normalising import (
    ReasoningFilter,
    ReasoningSplitter,
    SplitText,
    arranged,
    open_answer,
    quoted_marks,
    reasoning_end,
    without_reasoning,
)
from vanta.normalising.reasoning import MAX_HELD, MAX_MARKS

HARMONY = (
    "<|channel|>analysis<|message|>Sum.<|end|><|start|>assistant<|channel|>final<|message|>Four."
)
MARKED = {
    "DeepSeek and Qwen": "<think>\nSum.</think>\n\nFour.",
    "capitals": "<Think>Sum.</THINK>Four.",
    "after white space": "\n  <think>Sum.</think>\nFour.",
    "a prompted model": "<thinking>Sum.</thinking>\nFour.",
    "Gemini": "<thought>Sum.</thought>Four.",
    "Seed": "<seed:think>Sum.</seed:think>Four.",
    "Magistral": "[THINK]Sum.[/THINK]Four.",
    "Kimi": "◁think▷Sum.◁/think▷Four.",
    "Cohere": "<|START_THINKING|>Sum.<|END_THINKING|><|START_RESPONSE|>Four.<|END_RESPONSE|>",
    "OpenThinker": (
        "<|begin_of_thought|>Sum.<|end_of_thought|>\n\n"
        "<|begin_of_solution|>Four.<|end_of_solution|>"
    ),
    "Gemma": "<|channel>thought\nSum.<channel|>Four.",
    "MedGemma": "<unused94>thought\nSum.<unused95>Four.",
    "gpt-oss": HARMONY,
    "gpt-oss with its end": f"{HARMONY}<|return|>",
    "gpt-oss from the first token": f"<|start|>assistant{HARMONY}",
    "closed twice": "<think>Sum.</think>\n</think>\n\nFour.",
    "two in a row": "<think>Su</think>\n<think>m.</think>\n\nFour.",
}
PLAIN = [
    "",
    " ",
    "Four.",
    "<",
    "<thin",
    "<thinker>no mark</thinker>",
    "Use <think> and </think>.",
    "```html\n<think>x</think>\n```",
    "    <b>code</b>",
    "[THIN] paper",
    "[Think] of a poem.",
    " " * 300 + "<think>late",
    "İstanbul <think>",
]


def split(
    text: str, cuts: list[int] | None = None, **options: bool | str | frozenset[str]
) -> SplitText:
    """Split a text that arrives in pieces."""
    splitter = ReasoningSplitter(**options)  # type: ignore[arg-type]
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts or []), len(text)]
    piece = SplitText()
    for start, end in itertools.pairwise(edges):
        piece += splitter.add(text[start:end])
    return piece + splitter.finish()


@pytest.mark.parametrize("text", MARKED.values(), ids=MARKED)
def test_reasoning_of_every_family_is_split_off_and_its_marks_are_dropped(text: str) -> None:
    piece = split(text)
    assert piece.text == "Four."
    assert piece.reasoning.strip() == "Sum."


@pytest.mark.parametrize("text", PLAIN)
def test_a_text_without_a_mark_at_its_beginning_passes_unchanged(text: str) -> None:
    assert split(text) == SplitText(text)


def test_a_channel_without_a_message_is_text() -> None:
    assert split("<|channel|>" + 300 * "x") == SplitText(300 * "x")


@given(
    text=st.sampled_from([*MARKED.values(), *PLAIN, "<think>without an end"]),
    cuts=st.lists(st.integers(0, 400), max_size=30),
)
def test_the_cuts_make_no_difference(text: str, cuts: list[int]) -> None:
    assert split(text, cuts) == split(text)


@given(st.text(alphabet="<think>/[]THINK|chanelmsgo \n", max_size=80), st.booleans())
def test_no_text_is_lost_or_invented(text: str, continues: bool) -> None:
    piece = split(text, list(range(80)), continues=continues)
    assert len(piece.text) + len(piece.reasoning) <= len(text)
    if continues:
        assert piece == SplitText(text)


QUESTIONS = ("Explain the tag <think>.", "What does [THINK] mean? And ◁think▷, <thinking>?")
QUOTED = quoted_marks(Message("user", text) for text in QUESTIONS)


@pytest.mark.parametrize(
    "text",
    [
        "<think> is a tag of reasoning models.",
        "<think> and </think> enclose what a model thinks.",
        "<think>…</think> encloses what a model thinks.",
        "<think>`, as in `<think>`, is a tag.",
        "<think>, as a tag, is old.",
        "[THINK] marks the beginning of a reasoning of Magistral.",
        "<THINK> (in any case) is a tag.",
        "<think>是推理模型的标签。",
        "◁think▷ 是标签",
        "<thinking> is",
        "<think>",
        "<think> ",
    ],
)
def test_an_answer_that_begins_with_a_mark_of_the_question_is_text(text: str) -> None:
    for cuts in ([], list(range(len(text)))):
        assert split(text, cuts, quoted=QUOTED) == SplitText(text)


@pytest.mark.parametrize("text", MARKED.values(), ids=MARKED)
def test_reasoning_about_a_mark_is_still_reasoning(text: str) -> None:
    every = quoted_marks([Message("user", text)])
    for cuts in ([], list(range(len(text)))):
        piece = split(text, cuts, quoted=every | QUOTED)
        assert (piece.text, piece.reasoning.strip()) == ("Four.", "Sum.")


def test_reasoning_that_begins_with_a_capital_after_a_space_is_reasoning() -> None:
    piece = split("<think> Okay.</think>\nIt is a tag.", quoted=QUOTED)
    assert piece == SplitText("It is a tag.", " Okay.")


def test_only_marks_of_users_count_as_quoted() -> None:
    messages = [Message("system", "Use <think>."), Message("assistant", "[THINK]x[/THINK]y")]
    assert quoted_marks(messages) == frozenset()
    assert quoted_marks([*messages, Message("user", "Explain <THINK>.")]) == {"<think>"}


def test_an_answer_about_a_mark_stays_in_the_history() -> None:
    question, answer = Message("user", "Explain <think>."), "<think> is a tag."
    again = Message("user", "More?")
    messages = (question, Message("assistant", answer), again)
    assert arranged(messages) == messages
    reasoned = (question, Message("assistant", "<think>\nSum.</think>\nFour."), again)
    assert arranged(reasoned)[1].content == "Four."


def test_reasoning_without_an_end_is_no_answer() -> None:
    assert split("<think>for ever") == SplitText("", "for ever")
    assert split("[THINK]") == SplitText()


def test_the_indentation_of_code_after_reasoning_stays() -> None:
    assert split("<think>x</think>\n\n    return 4\n").text == "    return 4\n"


def test_an_answer_that_begins_inside_reasoning() -> None:
    assert split("Sum.</think>\n\nFour.", inside="</think>") == SplitText("Four.", "Sum.")


def test_a_continuation_of_an_answer_has_no_marks() -> None:
    assert split("<think> is a tag", continues=True) == SplitText("<think> is a tag")


def test_what_a_prompt_has_opened() -> None:
    assert reasoning_end("<|im_start|>assistant\n<think>\n") == "</think>"
    assert reasoning_end("[/INST][THINK]") == "[/THINK]"
    assert reasoning_end("<|im_start|>assistant\n") == ""


def test_a_prompt_is_closed_before_a_given_beginning_of_the_answer() -> None:
    assert open_answer("a\n<think>\n") == "a\n<think>\n\n</think>\n\n"
    assert open_answer("<|start|>assistant").endswith("<|channel|>final<|message|>")
    assert open_answer("assistant\n") == "assistant\n"


def test_earlier_answers_lose_their_reasoning() -> None:
    assert without_reasoning("<think>Sum.</think>\n\nFour.") == "Four."
    assert without_reasoning("Four. <think>") == "Four. <think>"


def filtered(*deltas: Delta) -> list[Delta]:
    sieve = ReasoningFilter()
    passed = [sieve.feed(delta) for delta in deltas]
    return [delta for delta in [*passed, sieve.finish()] if delta is not None]


def test_a_filter_moves_reasoning_and_drops_its_logprobs() -> None:
    words = ("<th", "ink>", "Sum", "</think>", "Four", ".")
    deltas = [Delta(text=word, logprobs=(TokenLogprob(word, -1.0),)) for word in words]
    fold = Fold()
    for delta in filtered(*deltas, Delta(finish_reason="length")):
        fold.add(delta)
    answer = fold.completion()
    assert (answer.text, answer.reasoning, answer.finish_reason) == ("Four.", "Sum", "length")
    assert [item.token for item in answer.logprobs] == ["Four", "."]


def test_a_filter_delivers_what_it_held_at_the_end() -> None:
    assert filtered(Delta(text="<thin")) == [Delta(text="<thin")]
    assert filtered(Delta(text="<thin"), Delta(finish_reason="stop")) == [
        Delta(text="<thin", finish_reason="stop")
    ]


def test_deltas_without_marks_are_the_same_objects() -> None:
    first, second = Delta(text="Four"), Delta(text=" <think>")
    assert [id(delta) for delta in filtered(first, second)][1] == id(second)


@pytest.mark.parametrize("opening", ["", "<think>", "<|channel|>", "<think>x</think>"])
def test_the_time_is_linear_and_little_is_held_back(opening: str) -> None:
    splitter = ReasoningSplitter()
    splitter.add(opening)
    fed, returned, start = 0, 0, time.process_time()
    for _ in range(100_000):
        piece = splitter.add("  <")
        fed, returned = fed + 3, returned + len(piece.text) + len(piece.reasoning)
    assert fed - returned <= MAX_HELD + 3
    assert time.process_time() - start < 5.0


@pytest.mark.parametrize("marks", ["</think>", "<think></think>", "<|channel|>final<|message|>"])
def test_the_time_of_many_marks_in_one_piece_is_linear(marks: str) -> None:
    def seconds(count: int) -> float:
        splitter, start = ReasoningSplitter(), time.process_time()
        splitter.add("<think>x</think>" + marks * count)
        return time.process_time() - start

    assert seconds(120_000) < 30 * max(seconds(10_000), 0.02)


@pytest.mark.parametrize("marks", ["</think>", "<think></think>", "<|channel|>final<|message|>"])
def test_many_marks_cost_no_more_than_words(marks: str) -> None:
    splitter, start = ReasoningSplitter(), time.process_time()
    splitter.add("<think>x</think>" + marks * 60_000 + "end")
    assert time.process_time() - start < 0.2


@pytest.mark.parametrize("size", [1, 5, 10_000])
def test_what_follows_too_many_marks_is_text(size: int) -> None:
    text = "<think>" + "</think>" * (MAX_MARKS + 50) + "end"
    pieces = split(text, list(range(size, len(text), size)))
    assert pieces == SplitText("</think>" * 50 + "end", "")
