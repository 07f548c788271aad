"""Bytes of tokens become text: whole characters, and no part of a stop string gets out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vanta.messages import TokenLogprob
from vanta_llamacpp.sampling.stops import Piece, TextAssembler


def shown(pieces: list[bytes], stops: tuple[str, ...] = ()) -> tuple[str, str | None]:
    """What a reader gets of `pieces`, and the stop string that was met."""
    assembler = TextAssembler(stops)
    text = ""
    for piece in pieces:
        text += assembler.add(piece).text
        if assembler.stopped:
            break
    return text + assembler.finish().text, assembler.stopped


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """`data` in pieces of the given sizes, the rest as one."""
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


def test_a_stop_string_across_tokens_does_not_leak() -> None:
    """Its beginning is held back until it is whole."""
    assembler = TextAssembler(("<END>",))
    assert assembler.add(b"hi <E").text == "hi "
    assert assembler.add(b"N").text == ""
    assert assembler.add(b"D> more").text == ""
    assert assembler.stopped == "<END>"
    assert assembler.finish() == Piece()


def test_what_only_looked_like_a_stop_string_is_shown() -> None:
    """Later, but in full."""
    assert shown([b"a<E", b"N", b"X"], ("<END>",)) == ("a<ENX", None)
    assert shown([b"a<E"], ("<END>",)) == ("a<E", None)


def test_the_earliest_of_several_stops_wins() -> None:
    """Where two are complete at once."""
    assert shown([b"one two three"], ("three", "two")) == ("one ", "two")


def test_a_character_comes_whole() -> None:
    """Its bytes may be in several tokens."""
    assembler = TextAssembler()
    smile = "🙂".encode()
    assert [assembler.add(smile[at : at + 1]).text for at in range(4)] == ["", "", "", "🙂"]


def test_a_character_that_never_became_whole_is_left_out() -> None:
    """The answer was cut inside it."""
    assert shown(["é🙂".encode()[:-1]]) == ("é", None)


@given(
    text=st.text(alphabet="ab<é🙂", max_size=40),
    stop=st.text(alphabet="ab<é", min_size=1, max_size=4),
    sizes=st.lists(st.integers(0, 5), max_size=30),
)
def test_text_is_the_same_however_tokens_cut_it(text: str, stop: str, sizes: list[int]) -> None:
    """All up to the first stop string, nothing of it and nothing after."""
    expected, met, _ = text.partition(stop)
    assert shown(cut(text.encode(), sizes), (stop,)) == (expected, met or None)


@given(
    text=st.text(alphabet="ab<é🙂", max_size=40),
    stop=st.text(alphabet="ab<é", min_size=1, max_size=4),
    sizes=st.lists(st.integers(1, 5), max_size=30),
)
def test_logprobs_go_with_their_text(text: str, stop: str, sizes: list[int]) -> None:
    """In order, none twice, and none of a token that was cut off whole."""
    assembler = TextAssembler((stop,))
    pieces = [piece for piece in cut(text.encode(), sizes) if piece]
    got: list[TokenLogprob] = []
    shown_chars = 0
    for number, piece in enumerate(pieces):
        out = assembler.add(piece, TokenLogprob(str(number), -1.0))
        got.extend(out.logprobs)
        shown_chars += len(out.text)
        if assembler.stopped:
            break
    got.extend(assembler.finish().logprobs)
    assert [entry.token for entry in got] == [str(number) for number in range(len(got))]
    if assembler.stopped is None:
        assert len(got) == len(pieces)
    else:
        assert len(b"".join(pieces[: len(got)])) >= len(text.partition(stop)[0].encode())
