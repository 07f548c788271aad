"""The types of what scripts give to expectations.

Invariant: one text may stand for a list of one, wherever a list of texts is wanted.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field


def many(value: Any) -> Any:
    """A list as a tuple, anything else as a tuple of one."""
    return tuple(value) if isinstance(value, list) else (value,)


Text = Annotated[str, Field(min_length=1)]
ONE_OR_MANY = BeforeValidator(many, json_schema_input_type=Text | list[Text])
Texts = Annotated[tuple[Text, ...], ONE_OR_MANY, Field(min_length=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
