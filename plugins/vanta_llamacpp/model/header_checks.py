"""The facts of a GGUF header about its model, and whether its sizes and shapes agree.

llama.cpp allocates by these numbers and indexes by them with few checks. What it asserts beyond
them is not repeated here: a file is tried in a child process before it is loaded, see `probe`.
Invariant: `facts_of` either returns numbers that agree with each other and with the tensors, or
raises `GgufError` naming the key.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from vanta.models import FILE_TYPES, Gguf, GgufArray, GgufError, kv_bytes

_STRINGS, _INT32S, _FLOATS = 8, 5, 6
_MOST = {"block_count": 512, "context_length": 1 << 31, "embedding_length": 1 << 20}
"""The layers are LLAMA_MAX_LAYERS (llama-hparams.h)."""
_HEADLESS = frozenset({"mamba", "mamba2"})
"""Architectures without attention: their files state 0 heads."""
_NO_POOLING = {0, 4}
_TOKEN_IDS = ("bos", "eos", "eot", "eom", "unknown", "seperator", "padding", "mask")  # sic
_VALUE, _LEAF, _WIDE = 1 << 31, 1 << 8, 1 << 9


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model as its file describes it.

    :param name: the model's name.
    :param architecture: llama.cpp's name of its architecture.
    :param window: tokens that it was trained for.
    :param layers: number of layers.
    :param parameters: number of weights.
    :param quantisation: how they are stored, such as "Q4_K_M".
    :param size: bytes of the file.
    :param chat_template: its own chat template, or None.
    :param kv_bytes_per_token: growth of the KV cache at 16 bits.
    :param vocabulary: number of tokens.
    :param encoder: it reads a text from both ends, as BERT does, and computes vectors only.
    :param pools: the file names a pooling, so that it computes vectors of whole texts.
    :param heads: attention heads of the layer that has most.
    :param header_bytes: bytes before the weights.
    """

    name: str
    architecture: str
    window: int
    layers: int
    parameters: int
    quantisation: str
    size: int
    chat_template: str | None
    kv_bytes_per_token: int = 0
    vocabulary: int | None = None
    encoder: bool = False
    pools: bool = False
    heads: int = 0
    header_bytes: int = 0

    def to_dict(self) -> dict[str, object]:
        """Return JSON-ready data, without the template's text."""
        return {
            "name": self.name,
            "architecture": self.architecture,
            "window": self.window,
            "layers": self.layers,
            "parameters": self.parameters,
            "quantisation": self.quantisation,
            "size_bytes": self.size,
            "encoder": self.encoder,
            "has_chat_template": self.chat_template is not None,
        }


def facts_of(header: Gguf) -> ModelFacts:
    """Return the facts of a model. Raises GgufError."""
    architecture = _text(header, "general.architecture")
    if architecture is None:
        raise GgufError("'general.architecture' is missing: not a model that can be run")
    if _number(header, "split.count", 1) > 1:
        raise GgufError("it is one part of a split model; merge it with llama-gguf-split --merge")
    numbers = {
        key: _between(header, f"{architecture}.{key}", 1, most) for key, most in _MOST.items()
    }
    heads = _check_heads(header, architecture, numbers["embedding_length"])
    _check_vocabulary(header, numbers["embedding_length"])
    _check_charsmap(header.charsmap)
    kind = _number(header, "general.file_type", -1)
    encoder = header.metadata.get(f"{architecture}.attention.causal") is False
    return ModelFacts(
        name=_text(header, "general.name") or architecture,
        architecture=architecture,
        window=numbers["context_length"],
        layers=numbers["block_count"],
        parameters=sum(math.prod(tensor.shape) for tensor in header.tensors.values()),
        quantisation=FILE_TYPES.get(kind, f"type {kind}"),
        size=header.file_size,
        chat_template=_text(header, "tokenizer.chat_template"),
        kv_bytes_per_token=0 if encoder else kv_bytes(header.metadata) or 0,
        vocabulary=header.tensors["token_embd.weight"].shape[1],
        encoder=encoder,
        pools=_number(header, f"{architecture}.pooling_type", 0) not in _NO_POOLING,
        heads=heads,
        header_bytes=header.header_bytes,
    )


def _text(header: Gguf, key: str) -> str | None:
    value = header.metadata.get(key)
    if value is not None and not isinstance(value, str):
        raise GgufError(f"{key!r} is {value!r}, not a string")
    return value


def _number(header: Gguf, key: str, default: int) -> int:
    value = header.metadata.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise GgufError(f"{key!r} is {value!r}, not a whole number")
    return value


def _between(header: Gguf, key: str, least: int, most: int) -> int:
    if key not in header.metadata:
        raise GgufError(f"{key!r} is missing")
    value = _number(header, key, 0)
    if not least <= value <= most:
        raise GgufError(f"{key!r} must be between {least} and {most}, not {value}")
    return value


def _check_heads(header: Gguf, architecture: str, embedding: int) -> int:
    """Check heads, given once or layer by layer; return those of the layer that has most."""
    counts = [0]
    for name in ("attention.head_count", "attention.head_count_kv"):
        key = f"{architecture}.{name}"
        value = header.metadata.get(key)
        items = value.items if isinstance(value, GgufArray) else () if value is None else (value,)
        for item in items:
            if not isinstance(item, int) or not 0 <= item <= embedding:
                raise GgufError(f"{key!r} must be between 0 and {embedding}, not {item!r}")
            counts += [item] if name == "attention.head_count" else []
        if value == 0 and name == "attention.head_count" and architecture not in _HEADLESS:
            raise GgufError(f"{key!r} is 0")
    return max(counts)


def _check_vocabulary(header: Gguf, embedding: int) -> None:
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, GgufArray) or tokens.type != _STRINGS or not tokens.count:
        raise GgufError(
            "'tokenizer.ggml.tokens' is not a list of strings: the vocabulary is missing"
        )
    for key, kind in (("token_type", _INT32S), ("scores", _FLOATS)):
        values = header.metadata.get(f"tokenizer.ggml.{key}")
        if values is not None and (
            not isinstance(values, GgufArray) or (values.type, values.count) != (kind, tokens.count)
        ):
            raise GgufError(f"'tokenizer.ggml.{key}' does not fit the {tokens.count} tokens")
    merges = header.metadata.get("tokenizer.ggml.merges")
    if merges is not None and (not isinstance(merges, GgufArray) or merges.type != _STRINGS):
        raise GgufError("'tokenizer.ggml.merges' is not a list of strings")
    for name in _TOKEN_IDS:
        key = f"tokenizer.ggml.{name}_token_id"
        token = _number(header, key, 0)
        if not 0 <= token < tokens.count:
            raise GgufError(f"{key!r} is {token}, beyond {tokens.count} tokens")
    embeddings = header.tensors.get("token_embd.weight")
    if embeddings is None or embeddings.shape[:2] != (embedding, tokens.count):
        shape = embeddings.shape if embeddings else None
        raise GgufError(
            f"the tensor 'token_embd.weight' has the shape {shape}; "
            f"{(embedding, tokens.count)} was expected"
        )


def _check_charsmap(charsmap: bytes) -> None:
    """Check all indexes of SentencePiece's table of normalisations.

    It is a tree in an array ("XOR-compressed compact double array", Kanda 2018), followed by the
    texts that its leaves point to, each ended by a zero. Which texts reach a broken index cannot be
    tried out, and llama.cpp finds it in the middle of a text.
    """
    if not charsmap:
        return
    key = "'tokenizer.ggml.precompiled_charsmap'"
    if len(charsmap) < 4:
        raise GgufError(f"{key} has {len(charsmap)} bytes, too few for its own size")
    (size,) = struct.unpack_from("<I", charsmap)
    texts = charsmap[4 + size :]
    if not texts:
        raise GgufError(f"{key} claims a tree of {size} bytes, and has {len(charsmap)} in total")
    if texts[-1]:
        raise GgufError(f"{key} has a last text that does not end")
    units = struct.unpack_from(f"<{size // 4}I", charsmap, 4)
    for number, unit in enumerate(units):
        if number and (unit & _VALUE or not unit & 0xFF):
            continue
        children = number ^ (unit >> 10 << (8 if unit & _WIDE else 0)) & 0xFFFF_FFFF
        if children | 0xFF >= len(units):
            raise GgufError(
                f"{key} has a tree of {len(units)} units, and unit {number} points to {children}"
            )
        text = units[children] & ~_VALUE
        if number and unit & _LEAF and text >= len(texts):
            raise GgufError(
                f"{key} has {len(texts)} bytes of texts, and unit {number} points to byte {text}"
            )
