"""The published files of all-MiniLM-L6-v2: its architecture, its weights and its tokenizer.

A BERT of six layers (https://arxiv.org/abs/2002.10957) in a safetensors file
(https://github.com/huggingface/safetensors#format: eight bytes with the header's length, the header
as JSON, then the data). Invariant: weights without exactly these names and shapes are refused,
since the graph is built for them alone. The tensors are mapped, read-only, and lie wholly inside
the file. Any string can be tokenized, whatever its length and content.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from vanta import EmbedderError
from vanta.files import open_file, parse_json, read_text
from vanta.text import well_formed

_MOST_TOKENIZER_BYTES = 1 << 26

WIDTH = 384
LAYERS = 6
HEADS = 12
INNER = 1536
VOCABULARY = 30_522
POSITIONS = 512
EPSILON = 1e-12
"""The epsilon of every layer norm."""

WINDOW = 256
"""Word pieces of a text that count, including [CLS] and [SEP], as the model was published."""

REVISION = "1"
"""The graph's revision: it changes with anything that changes a vector or the names below."""

PIECES, MASK, VECTORS = "pieces", "mask", "vectors"
"""The graph's inputs, int64 ids and an int32 mask (zeros for padding), both (texts, pieces), and
its output, float32 (texts, WIDTH)."""

MAX_CHARACTERS = 16_384
"""Characters of a text that are tokenized; a window of word pieces is shorter for any language."""

TOKENIZER_FILE = "tokenizer.json"

_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 1 << 24
_PULL = "`vanta models pull all-minilm-l6-v2`"

TensorShape = tuple[int, ...]
Tensors = Mapping[str, npt.NDArray[np.float32]]


class WeightsError(Exception):
    """A problem with a weights file; it becomes an EmbedderError that names the file."""


def tensor_shapes() -> Mapping[str, TensorShape]:
    """Return the shape of each tensor that the graph needs, by its name in the weights."""
    embeddings = {
        "embeddings.word_embeddings.weight": (VOCABULARY, WIDTH),
        "embeddings.position_embeddings.weight": (POSITIONS, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        **_norm("embeddings.LayerNorm"),
    }
    layers = (tensor for number in range(LAYERS) for tensor in _layer(layer_prefix(number)))
    return {**embeddings, **dict(layers)}


def layer_prefix(number: int) -> str:
    """Return the prefix of the names of a layer's tensors."""
    return f"encoder.layer.{number}."


def _layer(prefix: str) -> Iterator[tuple[str, TensorShape]]:
    for part in ("query", "key", "value"):
        yield from _linear(f"{prefix}attention.self.{part}", WIDTH, WIDTH)
    yield from _linear(f"{prefix}attention.output.dense", WIDTH, WIDTH)
    yield from _norm(f"{prefix}attention.output.LayerNorm").items()
    yield from _linear(f"{prefix}intermediate.dense", INNER, WIDTH)
    yield from _linear(f"{prefix}output.dense", WIDTH, INNER)
    yield from _norm(f"{prefix}output.LayerNorm").items()


def _linear(name: str, outputs: int, inputs: int) -> Iterator[tuple[str, TensorShape]]:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def _norm(name: str) -> dict[str, TensorShape]:
    return {f"{name}.weight": (WIDTH,), f"{name}.bias": (WIDTH,)}


def map_weights(path: Path) -> Tensors:
    """Map the tensors of `tensor_shapes` in a safetensors file into memory.

    Nothing is read before it is used. Raises EmbedderError, OSError.
    """
    try:
        with open_file(path, 1 << 42) as file:
            content = np.memmap(file, dtype=np.uint8, mode="r")
        header, start = _read_header(content)
        data = content[start:]
        return {name: _tensor(data, header, name, s) for name, s in tensor_shapes().items()}
    except (WeightsError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise EmbedderError(
            f"{str(path)!r} does not contain the weights of all-MiniLM-L6-v2: {error}. Check the "
            f"file with `vanta models verify`, or download it with {_PULL}."
        ) from error


def _read_header(content: npt.NDArray[np.uint8]) -> tuple[dict[str, Any], int]:
    length = int.from_bytes(content[:_LENGTH_BYTES].tobytes(), "little")
    if not 0 < length <= min(_MAX_HEADER_BYTES, content.size - _LENGTH_BYTES):
        raise WeightsError("it is not a safetensors file, or it is cut off")
    start = _LENGTH_BYTES + length
    header: dict[str, Any] = parse_json(content[_LENGTH_BYTES:start].tobytes())
    return header, start


def _tensor(
    data: npt.NDArray[np.uint8], header: Mapping[str, Any], name: str, shape: TensorShape
) -> npt.NDArray[np.float32]:
    entry = header.get(name)
    if entry is None:
        raise WeightsError(f"there is no tensor {name!r}")
    if entry["dtype"] != "F32" or tuple(entry["shape"]) != shape:
        raise WeightsError(f"{name!r} is {entry['dtype']} {entry['shape']}, not F32 {list(shape)}")
    begin, end = entry["data_offsets"]
    if not 0 <= begin <= end <= data.size or end - begin != 4 * math.prod(shape):
        raise WeightsError(f"{name!r} is cut off")
    return data[begin:end].view("<f4").reshape(shape)


class WordPieceTokenizer:
    """The model's own tokenizer, limited to `max_pieces` word pieces per text."""

    def __init__(self, model: Path, max_pieces: int) -> None:
        """model: the weights; the tokenizer is beside that file. Raises EmbedderError."""
        path = model.with_name(TOKENIZER_FILE)
        try:
            self._tokenizer = Tokenizer.from_str(read_text(path, _MOST_TOKENIZER_BYTES))
        except OSError as error:
            raise _tokenizer_error(path, error.strerror or str(error)) from error
        except Exception as error:  # the library raises no narrower type
            raise _tokenizer_error(path, str(error)) from error
        if self._tokenizer.get_vocab_size() != VOCABULARY:
            raise _tokenizer_error(path, "it belongs to another model")
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_pieces)

    def encode(self, texts: Sequence[str], *, special: bool = True) -> list[list[int]]:
        """Return the ids of each text's word pieces. special: add [CLS] and [SEP]."""
        clean = [well_formed(text[:MAX_CHARACTERS]) for text in texts]
        encodings = self._tokenizer.encode_batch_fast(clean, add_special_tokens=special)
        return [encoding.ids for encoding in encodings]


def _tokenizer_error(path: Path, problem: str) -> EmbedderError:
    return EmbedderError(
        f"the tokenizer {str(path)!r} cannot be used: {problem}. It belongs to the model and must "
        f"be beside it: download both with {_PULL}."
    )
