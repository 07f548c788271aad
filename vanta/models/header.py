"""What the header of a GGUF file says of its model: enough to judge it without loading it.

Invariant: what is wrong with a file is a ModelStoreError that names it; a fact that the file does
not tell is None and never made up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vanta.errors import ModelStoreError
from vanta.models.gguf import MAGIC, Array, GgufFault, Value, read

SAFETENSORS = ".safetensors"
"""The suffix of models that an embedder reads; engines read GGUF."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a GGUF file says of its model; None where it does not say.

    window: tokens that the model was trained for. kv_bytes_per_token: the KV cache's growth with
    every token, at 16 bits. vocabulary: tokens.
    """

    architecture: str
    name: str | None
    window: int | None
    layers: int | None
    kv_bytes_per_token: int | None
    vocabulary: int | None


def is_gguf(path: Path) -> bool:
    """Whether `path` is meant to be a GGUF file: all are but those of the safetensors format."""
    return path.suffix != SAFETENSORS


def check_magic(path: Path) -> None:
    """Raise ModelStoreError unless `path` begins as a GGUF file does. Reads four bytes; a file that
    is not meant to be one passes."""
    if not is_gguf(path):
        return
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise _unreadable(path, error) from error
    if not magic:
        raise ModelStoreError(f"the model file {str(path)!r} is empty. Fetch or copy it again.")
    if magic != MAGIC:
        raise ModelStoreError(
            f"{str(path)!r} is not a GGUF file (it begins with {magic!r}). llama.cpp reads GGUF "
            "only: take a file whose name ends in .gguf, or convert the model with "
            "llama.cpp's own tools."
        )


def read_header(path: Path) -> Header:
    """What the file says of its model. Raises ModelStoreError for a file that is no sound GGUF."""
    check_magic(path)
    try:
        return _header(read(path).metadata)
    except GgufFault as error:
        raise ModelStoreError(
            f"the header of {str(path)!r} is broken: {error}. The file is damaged or cut off; "
            "fetch or copy it again."
        ) from error


def _unreadable(path: Path, error: OSError) -> ModelStoreError:
    return ModelStoreError(
        f"the model file {str(path)!r} cannot be read: {error.strerror}. Check the path and its "
        "permissions."
    )


def _header(metadata: Mapping[str, Value]) -> Header:
    architecture = str(metadata.get("general.architecture", ""))
    name, tokens = metadata.get("general.name"), metadata.get("tokenizer.ggml.tokens")
    return Header(
        architecture=architecture,
        name=name if isinstance(name, str) else None,
        window=_number(metadata, f"{architecture}.context_length"),
        layers=_number(metadata, f"{architecture}.block_count"),
        kv_bytes_per_token=kv_bytes(metadata),
        vocabulary=tokens.count
        if isinstance(tokens, Array)
        else _number(metadata, f"{architecture}.vocab_size"),
    )


def kv_bytes(metadata: Mapping[str, Value]) -> int | None:
    """Two bytes for every key and value of every KV head of every layer; None where not said."""
    architecture = metadata.get("general.architecture", "")

    def number(key: str, default: int = 0) -> int:
        found = _number(metadata, f"{architecture}.{key}")
        return default if found is None else found

    layers, heads, width = (
        number("block_count"),
        number("attention.head_count"),
        number("embedding_length"),
    )
    if not layers or not heads or not width:
        return None
    per_head = width // heads
    both = number("attention.key_length", per_head) + number("attention.value_length", per_head)
    each_layer = metadata.get(f"{architecture}.attention.head_count_kv")
    if isinstance(each_layer, Array):
        return 2 * both * sum(item for item in each_layer.items if isinstance(item, int))
    return 2 * both * layers * number("attention.head_count_kv", heads)


def _number(metadata: Mapping[str, Value], key: str) -> int | None:
    value = metadata.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
