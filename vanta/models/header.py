"""The header of a model file: enough to judge the model without loading it.

Invariant: a broken file raises a ModelStoreError that names it; a fact that the file does not state
is None and never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vanta.errors import ModelStoreError
from vanta.files import open_file
from vanta.models.gguf import MAGIC, MOST_BYTES, GgufArray, GgufError, Value, read
from vanta.models.recommended_sampling import RecommendedSampling, sampling_of_file

SAFETENSORS = ".safetensors"
"""The suffix of models that an embedder reads; engines read GGUF."""


@dataclass(frozen=True, slots=True)
class ModelHeader:
    """What a GGUF file states about its model; None where it does not.

    :param architecture: llama.cpp's name of its architecture.
    :param name: the model's name.
    :param window: tokens that the model was trained for.
    :param layers: number of layers.
    :param kv_bytes_per_token: growth of the KV cache at 16 bits.
    :param vocabulary: number of tokens.
    :param sampling: the sampling that the file recommends.
    """

    architecture: str
    name: str | None
    window: int | None
    layers: int | None
    kv_bytes_per_token: int | None
    vocabulary: int | None
    sampling: RecommendedSampling | None = None


def is_gguf(path: Path) -> bool:
    """Return whether `path` names a GGUF file, as every model file does except safetensors."""
    return path.suffix != SAFETENSORS


def check_magic(path: Path) -> None:
    """Raise ModelStoreError unless `path` begins as a GGUF file does, or is of another format.

    Reads four bytes.
    """
    if not is_gguf(path):
        return
    try:
        with open_file(path, MOST_BYTES) as file:
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


def read_header(path: Path) -> ModelHeader:
    """Return what a file states about its model.

    :param path: a GGUF file.
    :raises ModelStoreError: if it is not sound GGUF.
    """
    check_magic(path)
    try:
        return _header(read(path).metadata, path.name)
    except GgufError as error:
        raise ModelStoreError(
            f"the header of {str(path)!r} is broken: {error}. The file is damaged or cut off; "
            "fetch or copy it again."
        ) from error


def _unreadable(path: Path, error: OSError) -> ModelStoreError:
    return ModelStoreError(
        f"the model file {str(path)!r} cannot be read: {error.strerror}. Check the path and its "
        "permissions."
    )


def _header(metadata: Mapping[str, Value], file: str) -> ModelHeader:
    architecture = str(metadata.get("general.architecture", ""))
    name, tokens = metadata.get("general.name"), metadata.get("tokenizer.ggml.tokens")
    return ModelHeader(
        architecture=architecture,
        name=name if isinstance(name, str) else None,
        window=_number(metadata, f"{architecture}.context_length"),
        layers=_number(metadata, f"{architecture}.block_count"),
        kv_bytes_per_token=kv_bytes(metadata),
        vocabulary=tokens.count
        if isinstance(tokens, GgufArray)
        else _number(metadata, f"{architecture}.vocab_size"),
        sampling=sampling_of_file(metadata, repr(file)),
    )


def kv_bytes(metadata: Mapping[str, Value]) -> int | None:
    """Return the growth of a KV cache with every token.

    Two bytes for every key and value of every KV head of every layer.

    :param metadata: of a GGUF header.
    :returns: bytes at 16 bits per number, or None if the header does not state enough.
    """
    architecture = metadata.get("general.architecture", "")

    def number(key: str, default: int = 0) -> int:
        value = _number(metadata, f"{architecture}.{key}")
        return default if value is None else value

    layers, heads, width = (
        number("block_count"),
        number("attention.head_count"),
        number("embedding_length"),
    )
    if not layers or not heads or not width:
        return None
    per_head = width // heads
    both = number("attention.key_length", per_head) + number("attention.value_length", per_head)
    per_layer = metadata.get(f"{architecture}.attention.head_count_kv")
    if isinstance(per_layer, GgufArray):
        return 2 * both * sum(item for item in per_layer.items if isinstance(item, int))
    return 2 * both * layers * number("attention.head_count_kv", heads)


def _number(metadata: Mapping[str, Value], key: str) -> int | None:
    value = metadata.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
