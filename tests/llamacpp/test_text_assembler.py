"""Test that bytes of tokens become whole characters, without any part of a stop string."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vanta.messages import TokenLogprob
from vanta_llamacpp.sampling import AssembledText, TextAssembler


def shown(pieces: list[bytes], stops: tuple[str, ...] = ()) -> tuple[str, str | None]:
    """Return the text of `pieces`, and the stop string that ended it."""
    assembler = TextAssembler(stops)
    text = ""
    for piece in pieces:
        text += assembler.add(piece).text
        if assembler.stopped:
            break
    return text + assembler.finish().text, assembler.stopped


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """Return `data` in pieces of the given sizes, the rest as one."""
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


def test_a_stop_string_across_tokens_does_not_leak() -> None:
    """Its beginning is held until it is complete."""
    assembler = TextAssembler(("<END>",))
    assert assembler.add(b"hi <E").text == "hi "
    assert assembler.add(b"N").text == ""
    assert assembler.add(b"D> more").text == ""
    assert assembler.stopped == "<END>"
    assert assembler.finish() == AssembledText()


def test_the_beginning_of_a_stop_string_alone_is_text() -> None:
    """It is released later, in full."""
    assert shown([b"a<E", b"N", b"X"], ("<END>",)) == ("a<ENX", None)
    assert shown([b"a<E"], ("<END>",)) == ("a<E", None)


def test_the_earliest_of_several_stops_wins() -> None:
    """If two are complete at once."""
    assert shown([b"one two three"], ("three", "two")) == ("one ", "two")


def test_a_character_of_several_tokens_is_released_whole() -> None:
    assembler = TextAssembler()
    smile = "🙂".encode()
    assert [assembler.add(smile[at : at + 1]).text for at in range(4)] == ["", "", "", "🙂"]


def test_an_incomplete_character_is_dropped() -> None:
    """The answer ends inside it."""
    assert shown(["é🙂".encode()[:-1]]) == ("é", None)


@given(
    text=st.text(alphabet="ab<é🙂", max_size=40),
    stop=st.text(alphabet="ab<é", min_size=1, max_size=4),
    sizes=st.lists(st.integers(0, 5), max_size=30),
)
def test_text_is_the_same_however_tokens_cut_it(text: str, stop: str, sizes: list[int]) -> None:
    """Everything before the first stop string, and nothing after."""
    expected, met, _ = text.partition(stop)
    assert shown(cut(text.encode(), sizes), (stop,)) == (expected, met or None)


@given(
    text=st.text(alphabet="ab<é🙂", max_size=40),
    stop=st.text(alphabet="ab<é", min_size=1, max_size=4),
    sizes=st.lists(st.integers(1, 5), max_size=30),
)
def test_logprobs_accompany_their_text(text: str, stop: str, sizes: list[int]) -> None:
    """In order, none twice, and none of a token that was cut off entirely."""
    assembler = TextAssembler((stop,))
    pieces = [piece for piece in cut(text.encode(), sizes) if piece]
    logprobs: list[TokenLogprob] = []
    shown_chars = 0
    for number, piece in enumerate(pieces):
        out = assembler.add(piece, TokenLogprob(str(number), -1.0))
        logprobs.extend(out.logprobs)
        shown_chars += len(out.text)
        if assembler.stopped:
            break
    logprobs.extend(assembler.finish().logprobs)
    assert [entry.token for entry in logprobs] == [str(number) for number in range(len(logprobs))]
    if assembler.stopped is None:
        assert len(logprobs) == len(pieces)
    else:
        assert len(b"".join(pieces[: len(logprobs)])) >= len(text.partition(stop)[0].encode())
