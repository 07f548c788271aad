"""Which texts are computed together: of like length, so that little is padded.

Invariant: every text is in exactly one batch; a batch of more than one has at most the pieces that
were allowed, padding counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def batches(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Positions in `lengths`, shortest first, parted into batches of at most `most` pieces."""
    batch: list[int] = []
    for position in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and lengths[position] * (len(batch) + 1) > most:
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch
