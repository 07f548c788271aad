"""Texts to word pieces, with the model's own tokenizer.

Invariant: every string is a text, however long and whatever is in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from vanta.errors import EmbedderError
from vanta_embedders.architecture import VOCABULARY

MOST_CHARACTERS = 16_384
"""Of a text; a window of word pieces is shorter, unless the text is hardly one."""

FILE = "tokenizer.json"


class WordPieces:
    """The tokenizer of a model. longest: word pieces of a text that count."""

    def __init__(self, model: Path, longest: int) -> None:
        """model: the file of the weights, which the tokenizer's lies beside. Raises
        EmbedderError."""
        path = model.with_name(FILE)
        try:
            self._tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise EmbedderError(_lacking(path, error.strerror or str(error))) from error
        except Exception as error:  # the library raises nothing more narrow
            raise EmbedderError(_lacking(path, str(error))) from error
        if self._tokenizer.get_vocab_size() != VOCABULARY:
            raise EmbedderError(_lacking(path, "it is another model's"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(longest)

    def of(self, texts: Sequence[str], *, special: bool = True) -> list[list[int]]:
        """The ids of each text's pieces; special: with [CLS] and [SEP]."""
        cut = [_sound(text[:MOST_CHARACTERS]) for text in texts]
        found = self._tokenizer.encode_batch_fast(cut, add_special_tokens=special)
        return [encoding.ids for encoding in found]


def _sound(text: str) -> str:
    """Half a surrogate pair is no character; it becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _lacking(path: Path, why: str) -> str:
    return (
        f"the tokenizer {str(path)!r} cannot be used: {why}. It belongs to the model and lies "
        "beside it: fetch both with `vanta models pull all-minilm-l6-v2`."
    )
