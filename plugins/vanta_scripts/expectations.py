"""Words of failure messages: quoted excerpts and lists of values."""

from __future__ import annotations

from collections.abc import Sequence

_EXCERPT = 160


def excerpt(text: str, around: tuple[int, int] = (0, 0)) -> str:
    """`text` quoted, cut to a length that a person reads; `around` is the part that matters."""
    if not text.strip():
        return "an empty reply" if not text else f"nothing but white space ({text[:20]!r})"
    begin = max(0, min(around[0] - _EXCERPT // 4, len(text) - _EXCERPT))
    part = text[begin : begin + _EXCERPT]
    cut = f"{'…' if begin else ''}{part}{'…' if begin + _EXCERPT < len(text) else ''}"
    return repr(cut)


def listed(values: Sequence[str], last: str) -> str:
    """`'a', 'b' or 'c'`; last: the word before the last one."""
    quoted = [repr(value) for value in values]
    return f" {last} ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))
