"""What a GGUF header says of its model, and whether it makes sense.

llama.cpp divides by and allocates from these numbers with few checks; some nonsense ends the
process. Invariant: `facts_of` either returns numbers that agree with each other and with the
tensors, or raises `GgufFault` naming the key.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from vanta.models.gguf import Array, Gguf, GgufFault
from vanta.models.header import kv_bytes
from vanta.models.quantisation import FILE_TYPES

_STRINGS, _INT32S, _FLOATS = 8, 5, 6
_MOST = {"block_count": 4096, "context_length": 1 << 31, "embedding_length": 1 << 20}
_TOKEN_IDS = ("bos", "eos", "eot", "eom", "unknown", "seperator", "padding", "mask")  # sic
_BERT_IDS = {"bos": 101, "unknown": 100, "seperator": 102, "mask": 103}
"""What llama.cpp takes where a BERT file does not say (llama-vocab.cpp)."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model as its file describes it. window in tokens, size in bytes. kv_bytes_per_token: at
    16 bits. encoder: it reads a text from both ends, as BERT does: vectors come out, no answers."""

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

    def to_dict(self) -> dict[str, object]:
        """JSON-ready, without the template's text."""
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
    """The model that `header` describes. Raises GgufFault."""
    architecture = _text(header, "general.architecture")
    if architecture is None:
        raise GgufFault("'general.architecture' is missing: not a model that can be run")
    if _number(header, "split.count", 1) > 1:
        raise GgufFault("it is one part of a split model; merge it with llama-gguf-split --merge")
    numbers = {
        key: _between(header, f"{architecture}.{key}", 1, most) for key, most in _MOST.items()
    }
    _check_heads(header, architecture, numbers["embedding_length"])
    _check_vocabulary(header, numbers["embedding_length"])
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
    )


def _text(header: Gguf, key: str) -> str | None:
    value = header.metadata.get(key)
    if value is not None and not isinstance(value, str):
        raise GgufFault(f"{key!r} is {value!r}, not a string")
    return value


def _number(header: Gguf, key: str, default: int) -> int:
    value = header.metadata.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise GgufFault(f"{key!r} is {value!r}, not a whole number")
    return value


def _between(header: Gguf, key: str, least: int, most: int) -> int:
    value = _number(header, key, least - 1)
    if key not in header.metadata:
        raise GgufFault(f"{key!r} is missing")
    if not least <= value <= most:
        raise GgufFault(f"{key!r} is {value}; {least} to {most} make sense")
    return value


def _check_heads(header: Gguf, architecture: str, embedding: int) -> None:
    """Heads may be given once or layer by layer (0 for a layer without attention)."""
    for key in ("attention.head_count", "attention.head_count_kv"):
        full = f"{architecture}.{key}"
        value = header.metadata.get(full)
        items = value.items if isinstance(value, Array) else (value,)
        for item in items:
            if item is None:
                continue
            if not isinstance(item, int) or not 0 <= item <= embedding:
                raise GgufFault(f"{full!r} is {item!r}; 0 to {embedding} make sense")
        if not isinstance(value, Array) and value == 0 and key == "attention.head_count":
            raise GgufFault(f"{full!r} is 0")


def _check_vocabulary(header: Gguf, embedding: int) -> None:
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, Array) or tokens.type != _STRINGS or not tokens.count:
        raise GgufFault("'tokenizer.ggml.tokens' is no list of strings: the vocabulary is missing")
    for key, kind in (("token_type", _INT32S), ("scores", _FLOATS)):
        beside = header.metadata.get(f"tokenizer.ggml.{key}")
        if beside is not None and (
            not isinstance(beside, Array) or (beside.type, beside.count) != (kind, tokens.count)
        ):
            raise GgufFault(f"'tokenizer.ggml.{key}' does not fit the {tokens.count} tokens")
    merges = header.metadata.get("tokenizer.ggml.merges")
    if merges is not None and (not isinstance(merges, Array) or merges.type != _STRINGS):
        raise GgufFault("'tokenizer.ggml.merges' is no list of strings")
    usual = _BERT_IDS if header.metadata.get("tokenizer.ggml.model") == "bert" else {}
    for name in _TOKEN_IDS:
        key = f"tokenizer.ggml.{name}_token_id"
        found = _number(header, key, usual.get(name, 0))
        if not 0 <= found < tokens.count:
            raise GgufFault(f"{key!r} is {found}, beyond {tokens.count} tokens")
    embeddings = header.tensors.get("token_embd.weight")
    if embeddings is None or embeddings.shape[:2] != (embedding, tokens.count):
        shape = embeddings.shape if embeddings else None
        raise GgufFault(
            f"the tensor 'token_embd.weight' has the shape {shape}; "
            f"{(embedding, tokens.count)} was expected"
        )
