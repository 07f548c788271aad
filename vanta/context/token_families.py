"""Families of tokenizers, and what each charges for a text, for models whose tokenizer is absent.

Placeholder.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenFamily:
    """A family.

    :param name: its name.
    """

    name: str
    weights: tuple[float, ...]
    margin: float


def family_of(model: str) -> TokenFamily | None:
    """Return the family of a model."""
    return None
