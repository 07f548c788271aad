"""Text to tokens and back, by the model's own tokenizer.

llama.cpp's tokenizer only reads the vocabulary, so any thread can use it while the worker decodes.
Invariant: no call reaches a vocabulary whose model was freed, and text of a user never becomes a
control token: `defuse` marks the text of such tokens, and `tokenize` splits it at the marks.
"""

from __future__ import annotations

import ctypes
import functools
import re
import threading
from collections.abc import Mapping
from typing import Any

from vanta.normalising import CALL_TOKENS, REASONING_TOKENS
from vanta_llamacpp.errors import Faults
from vanta_llamacpp.model.native import quick

_CONTROL = 1 << 3 | 1 << 0  # and the unknown token, which is parsed from text as well
PYTHON = "<|python_tag|>"
MARKS = REASONING_TOKENS | CALL_TOKENS
"""Texts that begin or end a reasoning or a tool call; control tokens of some models."""
_AROUND_THOUGHTS = {mark.encode() for mark in REASONING_TOKENS}
_MARK = "\ufdd0"
"""A Unicode noncharacter, "intended for process-internal use": no exchanged text contains it."""


class Vocabulary:
    """The vocabulary of one loaded model."""

    def __init__(self, lib: Any, native: Any, faults: Faults) -> None:
        self._lib = lib
        self._native = native
        self._faults = faults
        self._open = True
        self._lock = threading.Lock()
        self.size = int(lib.llama_vocab_n_tokens(native))
        self.bos = self._text_of(lib.llama_vocab_bos(native))
        self.eos = self._text_of(lib.llama_vocab_eos(native))
        self._first = lib.llama_vocab_bos(native) if lib.llama_vocab_get_add_bos(native) else -1
        self._pieces: dict[int, bytes] = {}
        self._marks: dict[int, bytes] = {}
        self._controls = frozenset(self._control_texts())
        self._control = _any_of(list(self._controls))

    @property
    def native(self) -> Any:
        """The pointer, for the worker only."""
        return self._native

    def is_control(self, text: str) -> bool:
        """Return whether `text` is a control token of this vocabulary."""
        return text in self._controls

    def defuse(self, text: str) -> str:
        """Return `text` with a mark inside each control token's text, where `tokenize` splits."""
        clean = text.replace(_MARK, "")
        if self._control is None:
            return clean
        return self._control.sub(lambda match: match[0][0] + _MARK + match[0][1:], clean)

    def tokenize(self, text: str, *, start: bool = True) -> list[int]:
        """Return the tokens of `text`, control tokens included. Safe in any thread.

        `start` prepends the model's start token if the text lacks it.
        """
        with self._lock:
            if not self._open:
                raise self._faults.not_loaded("the model was released while in use")
            tokens = [token for part in text.split(_MARK) for token in self._tokens(part)]
        if start and self._first >= 0 and tokens[:1] != [self._first]:
            tokens.insert(0, self._first)
        return tokens

    def tokenize_whole(self, text: str) -> list[int]:
        """Return the tokens of `text` as a document, with the model's tokens around it.

        No text becomes a control token. Safe in any thread.
        """
        with self._lock:
            if not self._open:
                raise self._faults.not_loaded("the model was released while in use")
            return self._tokens(text, document=True)

    def _tokens(self, text: str, *, document: bool = False) -> list[int]:
        data = text.encode("utf-8", "replace")
        room = len(data) + 8
        buffer = (ctypes.c_int32 * room)()
        count = self._lib.llama_tokenize(
            self._native, data, len(data), buffer, room, document, not document
        )
        if count < 0:
            raise self._faults.broken(f"the tokenizer failed on {len(data)} bytes of text")
        return buffer[:count]

    def piece(self, token: int, *, calls: bool = False, thoughts: bool = False) -> bytes:
        """Return the bytes that `token` adds to an answer; none for a control token.

        `calls` includes the tokens around a tool call, `thoughts` those around reasoning.
        """
        mark = self._marks.get(token)
        if mark is not None and (thoughts if mark in _AROUND_THOUGHTS else calls):
            return mark
        known = self._pieces.get(token)
        if known is None:
            known = self._pieces[token] = self._piece(token, special=False)
        return known

    @functools.cached_property
    def closers(self) -> Mapping[str, int]:
        """The tokens that end an answer ("") and JSON values, and a letter (`z`) to compare with.

        A vocabulary may lack any of them.
        """
        end = self._lib.llama_vocab_eos(self._native)
        closers = {"": end} if end >= 0 else {}
        for text in ('"', "}", "]", "z"):
            token = (self.tokenize(text, start=False) or [-1])[-1]
            if token >= 0 and self.piece(token).strip() == text.encode():
                closers[text] = token
        return closers

    def is_end(self, token: int) -> bool:
        """Return whether `token` ends a generation."""
        return bool(self._lib.llama_vocab_is_eog(self._native, token))

    def close(self) -> None:
        """Refuse further calls; waits for the running one."""
        with self._lock:
            self._open = False

    def _piece(self, token: int, *, special: bool) -> bytes:
        for room in (64, 65_536):
            buffer = ctypes.create_string_buffer(room)
            size = self._lib.llama_token_to_piece(self._native, token, buffer, room, 0, special)
            if size >= 0:
                return buffer.raw[:size]
        return b""

    def _text_of(self, token: int) -> str:
        return self._piece(token, special=True).decode("utf-8", "replace") if token >= 0 else ""

    def _control_texts(self) -> list[str]:
        attributes = quick(self._lib.llama_vocab_get_attr)
        controls = [
            (token, self._text_of(token))
            for token in range(self.size)
            if attributes(self._native, token) & _CONTROL
        ]
        self._marks |= {token: text.encode() for token, text in controls if text in MARKS}
        return [text for _, text in controls if len(text) > 1]


def _any_of(texts: list[str]) -> re.Pattern[str] | None:
    longest_first = sorted(texts, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if texts else None
