"""Natural text in any language: folding, segmentation into terms, function words, answers compared.

Memory, agreement, takeover and the router share this one segmentation. Invariant: it is pure, and
the same in every process; a change to the terms of a text changes `SEGMENTATION`, so that stored
terms are made again.
"""

from vanta.language.folding import clusters, find_folded, fold, marks
from vanta.language.function_words import (
    calendar_words,
    language_of,
    persons_in,
    without_function_words,
)
from vanta.language.negation import contradicts
from vanta.language.numerals import NUMERALS, day_halves, numbers_in
from vanta.language.segmentation import (
    SEGMENTATION,
    SHORTEST_PART,
    STEM,
    Token,
    comparable,
    is_unspaced,
    parts,
    related_keys,
    terms,
    tokens,
)
from vanta.language.writing import LATIN, writing_of

__all__ = [
    "LATIN",
    "NUMERALS",
    "SEGMENTATION",
    "SHORTEST_PART",
    "STEM",
    "Token",
    "calendar_words",
    "clusters",
    "comparable",
    "contradicts",
    "day_halves",
    "find_folded",
    "fold",
    "is_unspaced",
    "language_of",
    "marks",
    "numbers_in",
    "parts",
    "persons_in",
    "related_keys",
    "terms",
    "tokens",
    "without_function_words",
    "writing_of",
]
