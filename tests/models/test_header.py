"""Reading the header of GGUF files: real ones, and ones that lie."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vanta.errors import ModelStoreError
from vanta.models import read_header

UINT32, STRING, ARRAY = 4, 8, 9


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def key(name: str, value: int | str | list[int] | list[str]) -> bytes:
    match value:
        case str():
            return text(name) + struct.pack("<I", STRING) + text(value)
        case int():
            return text(name) + struct.pack("<II", UINT32, value)
        case [str(), *_]:
            body = b"".join(text(str(item)) for item in value)
            return text(name) + struct.pack("<IIQ", ARRAY, STRING, len(value)) + body
        case _:
            return (
                text(name)
                + struct.pack("<IIQ", ARRAY, UINT32, len(value))
                + struct.pack(f"<{len(value)}I", *value)
            )


def gguf(*keys: bytes, version: int = 3, count: int | None = None) -> bytes:
    number = len(keys) if count is None else count
    return b"GGUF" + struct.pack("<IQQ", version, 0, number) + b"".join(keys)


MODEL = (
    key("general.architecture", "tiny"),
    key("general.name", "Tiny"),
    key("tiny.context_length", 2048),
    key("tiny.block_count", 4),
    key("tiny.embedding_length", 64),
    key("tiny.attention.head_count", 8),
)


def test_the_real_models_header_is_read(smollm2_path: Path) -> None:
    header = read_header(smollm2_path)
    assert (header.architecture, header.window, header.layers) == ("llama", 8192, 30)
    assert header.kv_bytes_per_token == 2 * 2 * 30 * 3 * 64
    assert header.vocabulary == 49152


def test_kv_heads_widths_and_layers_that_differ_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf(*MODEL))
    assert read_header(path).kv_bytes_per_token == 2 * 4 * 8 * (8 + 8)
    path.write_bytes(gguf(*MODEL, key("tiny.attention.head_count_kv", [1, 2, 1, 0])))
    assert read_header(path).kv_bytes_per_token == 2 * 4 * (8 + 8)
    wide = (key("tiny.attention.key_length", 32), key("tiny.attention.value_length", 16))
    path.write_bytes(gguf(*MODEL, *wide, key("tiny.attention.head_count_kv", 2)))
    assert read_header(path).kv_bytes_per_token == 2 * 4 * 2 * (32 + 16)


def test_a_header_that_says_little_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf(key("tokenizer.ggml.tokens", ["a", "b"])))
    header = read_header(path)
    assert (header.architecture, header.window, header.kv_bytes_per_token) == ("", None, None)
    assert header.vocabulary == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04 a zip", "is not a GGUF file"),
        (gguf(*MODEL)[:-3], "but the file ends at"),
        (gguf(version=9), "version 9 is not one of"),
        (gguf(count=1 << 60), "claims 1152921504606846976 metadata pairs"),
        (gguf(text("k") + struct.pack("<IQ", STRING, 1 << 50)), "needs 1125899906842624 bytes"),
        (gguf(text("k") + struct.pack("<IIQ", ARRAY, 4, 1 << 50)), "claims 1125899906842624 items"),
        (gguf(text("k") + struct.pack("<IIQ", ARRAY, ARRAY, 1)), "array of the type 9"),
        (gguf(text("k") + struct.pack("<I", 77) + bytes(8)), "type 77"),
    ],
)
def test_a_header_that_lies_is_a_clear_error(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelStoreError, match=message):
        read_header(path)


def test_a_file_that_cannot_be_read_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ModelStoreError, match="cannot be read"):
        read_header(tmp_path)


@given(cut=st.integers(4, 400), noise=st.binary(max_size=60))
def test_no_damage_raises_anything_else(
    tmp_path_factory: pytest.TempPathFactory, cut: int, noise: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.gguf"
    path.write_bytes(gguf(*MODEL, key("tiny.attention.head_count_kv", [1, 2]))[:cut] + noise)
    why = "damaged.gguf"
    try:
        read_header(path)
    except ModelStoreError as error:
        why = str(error)
    assert "damaged.gguf" in why
