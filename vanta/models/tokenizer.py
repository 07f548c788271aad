"""What of a GGUF file's tokenizer can end the process once a text is read with it.

llama.cpp checks little of a vocabulary when it loads one: a byte without a token, or a table of
normalisations that points outside itself, is an exception in the middle of a text, and nobody
catches that. Invariant: where `fault_of` finds nothing, no text makes llama.cpp's tokenizer throw
for want of a byte's token or for what the table says.

Source: llama.cpp's src/llama-vocab.cpp (byte_to_token, token_to_byte, and the sessions of the
tokenizers).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

MOST_CHARSMAP = 1 << 24
"""Bytes; those of SentencePiece's own rules have some 300,000."""
_IN_TEXT = tuple({*range(256)} - {0xC0, 0xC1, *range(0xF5, 256)})
"""The bytes that UTF-8 knows."""
_BYTE = 6
_VALUE, _LEAF, _WIDE = 1 << 31, 1 << 8, 1 << 9


def _hex(byte: int) -> bytes:
    return b"<0x%02X>" % byte


def _escaped(byte: int) -> bytes:
    return repr(bytes([byte]))[2:-1].encode()


SPELLINGS = frozenset(
    spelling for byte in range(256) for spelling in (bytes([byte]), _hex(byte), _escaped(byte))
)
"""All that a token that stands for one byte may look like."""


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """What is kept of a tokenizer's long arrays. byte_tokens: those of SPELLINGS that are tokens.
    types: the types that tokens have. charsmap: SentencePiece's table of normalisations, as it
    stands in the file."""

    byte_tokens: frozenset[bytes] = frozenset()
    types: frozenset[int] = frozenset()
    charsmap: bytes = b""


def fault_of(model: str | None, tokenizer: Tokenizer) -> str | None:
    """What is wrong with the tokenizer of a file, in words; None if nothing is. model: what the
    file calls its kind: 'llama' (SentencePiece), 't5' (unigrams), 'gpt2', 'bert', 'rwkv'..."""
    if model == "llama":
        return _missing(tokenizer, _IN_TEXT, _hex)
    if model == "rwkv":
        return _missing(tokenizer, tuple(range(256)), _escaped)
    if model == "bert" and _BYTE in tokenizer.types:
        return f"'tokenizer.ggml.token_type' has the type {_BYTE} (byte), which word pieces lack"
    if model == "t5" and tokenizer.charsmap:
        fault = _charsmap_fault(tokenizer.charsmap)
        return fault and f"'tokenizer.ggml.precompiled_charsmap' {fault}"
    return None


def _missing(
    tokenizer: Tokenizer, needed: tuple[int, ...], spelled: Callable[[int], bytes]
) -> str | None:
    for byte in needed:
        if not {spelled(byte), bytes([byte])} & tokenizer.byte_tokens:
            return f"'tokenizer.ggml.tokens' has no token for the byte 0x{byte:02X}"
    return None


def _charsmap_fault(charsmap: bytes) -> str | None:
    """The table is a tree in an array ("XOR-compressed compact double array", Kanda 2018), then
    the texts that its leaves point to, each ended by a zero."""
    if len(charsmap) < 4:
        return f"has {len(charsmap)} bytes, too few for its own size"
    (size,) = struct.unpack_from("<I", charsmap)
    texts = charsmap[4 + size :]
    if not texts:
        return f"says that {size} bytes are its tree, and has {len(charsmap)} in all"
    if texts[-1]:
        return "has a last text that does not end"
    return _tree_fault(struct.unpack_from(f"<{size // 4}I", charsmap, 4), len(texts))


def _tree_fault(units: tuple[int, ...], texts: int) -> str | None:
    """Whichever of the units a text may lead to: its children are units, its text is a text."""
    for number, unit in enumerate(units):
        if number and (unit & _VALUE or not unit & 0xFF):
            continue
        children = number ^ (unit >> 10 << (8 if unit & _WIDE else 0)) & 0xFFFF_FFFF
        if children | 0xFF >= len(units):
            return f"has a tree of {len(units)} units, and unit {number} points to {children}"
        text = units[children] & ~_VALUE
        if number and unit & _LEAF and text >= texts:
            return f"has {texts} bytes of texts, and unit {number} points to byte {text}"
    return None
