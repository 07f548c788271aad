"""Frames are decoded as they were encoded, however the stream is split."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.chroma.support import vectors
from vanta_chroma.frames import Frame, FrameDecoder, pack_rows, unpack_rows

HEADS = st.dictionaries(st.text(max_size=5), st.integers() | st.text() | st.none(), max_size=3)
FRAMES = st.lists(st.builds(Frame, HEADS, st.binary(max_size=50)), max_size=5)


@given(FRAMES, st.lists(st.integers(0, 400), max_size=10))
def test_each_frame_is_decoded_once_and_whole(frames: list[Frame], cuts: list[int]) -> None:
    stream = b"".join(frame.packed() for frame in frames)
    edges = [0, *sorted(cuts), max([len(stream), *cuts])]
    decoder = FrameDecoder()
    decoded: list[Any] = []
    for start, end in pairwise(edges):
        decoded += decoder.feed(stream[start:end])
    assert decoded == frames


def test_ids_and_rows_survive_packing() -> None:
    rows = vectors(7)
    ids, values = unpack_rows(pack_rows([0, 1, 2**53 + 1, 2**63 - 1, 4, 5, 6], rows), 16)
    assert ids.tolist() == [0, 1, 2**53 + 1, 2**63 - 1, 4, 5, 6]
    assert (values == rows).all()
