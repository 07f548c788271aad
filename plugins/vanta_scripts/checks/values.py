"""The value types of expectations, and how values read in failure messages.

Invariant: wherever a list of texts is allowed, a single text counts as a list of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

_EXCERPT = 160


def as_tuple(value: Any) -> Any:
    """Return a list as a tuple, and anything else as a tuple of one."""
    return tuple(value) if isinstance(value, list) else (value,)


Text = Annotated[str, Field(min_length=1)]
"""A text that is not empty."""

ONE_OR_MANY = BeforeValidator(as_tuple, json_schema_input_type=Text | list[Text])
"""Accepts a single text for a list of texts."""

Texts = Annotated[tuple[Text, ...], ONE_OR_MANY, Field(min_length=1)]
"""One or more texts."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A limit above 0."""

NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""A limit of 0 or more."""


def excerpt(text: str, around: tuple[int, int] = (0, 0)) -> str:
    """Return `text` quoted and cut to a readable length.

    :param text: the text of a reply, an error or a memory.
    :param around: begin and end of the part that must stay visible, in characters.
    :returns: at most 160 characters in quotes, with an ellipsis at each cut; words for a text
        without any visible character.
    """
    if not text.strip():
        return "an empty reply" if not text else f"only white space ({text[:20]!r})"
    begin = max(0, min(around[0] - _EXCERPT // 4, len(text) - _EXCERPT))
    part = text[begin : begin + _EXCERPT]
    cut = f"{'…' if begin else ''}{part}{'…' if begin + _EXCERPT < len(text) else ''}"
    return repr(cut)


def listed(values: Sequence[str], conjunction: str) -> str:
    """Return `'a', 'b' or 'c'`.

    :param values: at least one value.
    :param conjunction: the word before the last value.
    """
    quoted = [repr(value) for value in values]
    return f" {conjunction} ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))
