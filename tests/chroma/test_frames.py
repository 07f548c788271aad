"""Frames come out as they went in, whatever the pieces in which they come."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.chroma.support import vectors
from vanta_chroma.frames import Cutter, Frame, pack_rows, unpack_rows

HEADS = st.dictionaries(st.text(max_size=5), st.integers() | st.text() | st.none(), max_size=3)
FRAMES = st.lists(st.builds(Frame, HEADS, st.binary(max_size=50)), max_size=5)


@given(FRAMES, st.lists(st.integers(0, 400), max_size=10))
def test_frames_are_whole_and_once(frames: list[Frame], cuts: list[int]) -> None:
    stream = b"".join(frame.packed() for frame in frames)
    edges = [0, *sorted(cuts), max([len(stream), *cuts])]
    cutter = Cutter()
    found: list[Any] = []
    for start, end in pairwise(edges):
        found += cutter.feed(stream[start:end])
    assert found == frames


def test_ids_and_rows_come_out_as_they_went_in() -> None:
    rows = vectors(7)
    ids, values = unpack_rows(pack_rows([0, 1, 2**53 + 1, 2**63 - 1, 4, 5, 6], rows), 16)
    assert ids.tolist() == [0, 1, 2**53 + 1, 2**63 - 1, 4, 5, 6]
    assert (values == rows).all()
