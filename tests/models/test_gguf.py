"""The reader of a GGUF header: what is right passes, what is wrong is named."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.models.ggufs import gguf, metadata, tensor, write
from vanta.models.gguf import BLOCKS, GgufError, read
from vanta_llamacpp.model.header_checks import ModelFacts, facts_of

WHOLE = gguf()


def facts(folder: Path, content: bytes) -> ModelFacts:
    """What a file with `content` says of its model."""
    return facts_of(read(write(folder, content)))


def fault(folder: Path, content: bytes) -> str:
    """Why a file with `content` is refused."""
    with pytest.raises(GgufError) as raised:
        facts(folder, content)
    return str(raised.value)


def test_the_real_model_is_read(smollm2_path: Path) -> None:
    """Names, window, quantisation and template come from the file."""
    found = facts_of(read(smollm2_path))
    assert found.architecture == "llama"
    assert (found.window, found.layers, found.parameters) == (8192, 30, 134_515_008)
    assert found.quantisation == "Q4_1"
    assert found.chat_template is not None
    assert "<|im_start|>" in found.chat_template


def test_a_small_file_is_read(tmp_path: Path) -> None:
    """The file that the wrong ones below differ from is right."""
    assert facts(tmp_path, WHOLE).name == "Tiny"


def test_every_truncation_is_a_fault(tmp_path: Path) -> None:
    """Wherever it is cut: inside the header and inside the weights."""
    last_byte_of_weights = len(WHOLE)
    for length in [*range(0, 2400, 7), last_byte_of_weights - 4000, last_byte_of_weights - 1]:
        assert fault(tmp_path, WHOLE[:length])


def test_truncations_of_the_real_model_are_faults(smollm2_path: Path, tmp_path: Path) -> None:
    """In the vocabulary, in the merges, in the list of tensors, in the weights."""
    with smollm2_path.open("rb") as file:
        head = file.read(2_400_000)
    for length in (4, 23, 24, 100, 5_000, 100_000, 900_000, 1_500_000, 2_400_000):
        assert fault(tmp_path, head[:length])


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(at=st.integers(0, 2_200), data=st.binary(min_size=1, max_size=8))
def test_flipped_bytes_are_read_or_refused(tmp_path: Path, at: int, data: bytes) -> None:
    """Nothing but GgufError comes out, whatever stands in the header."""
    changed = WHOLE[:at] + data + WHOLE[at + len(data) :]
    with contextlib.suppress(GgufError):
        assert facts(tmp_path, changed).window > 0


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "empty"),
        (b"PK\x03\x04" + b"\0" * 100, "not GGUF"),
        (b"GG", "not GGUF"),
        (gguf(version=1), "version 1"),
        (gguf(version=0x03000000), "version"),
        (gguf(counts=(2, 1 << 60)), "metadata pairs"),
        (gguf(counts=(1 << 40, 10)), "tensors"),
        (gguf(pairs=metadata(general__alignment=33)), "alignment"),
        (gguf(pairs=metadata(general__alignment=0)), "alignment"),
        (gguf(pairs=metadata(general__architecture=None)), "general.architecture"),
        (gguf(pairs=metadata(general__architecture=7)), "general.architecture"),
        (gguf(pairs=metadata(llama__block_count=0)), "block_count"),
        (gguf(pairs=metadata(llama__block_count=0xFFFFFFFF)), "block_count"),
        (gguf(pairs=metadata(llama__context_length=None)), "context_length"),
        (gguf(pairs=metadata(llama__attention__head_count=0)), "head_count"),
        (gguf(pairs=metadata(tokenizer__ggml__tokens=None)), "tokens"),
        (gguf(pairs=metadata(tokenizer__ggml__token_type=[1, 2])), "token_type"),
        (gguf(pairs=metadata(tokenizer__ggml__merges=[1, 2])), "merges"),
        (gguf(pairs=metadata(tokenizer__ggml__bos_token_id=70)), "bos_token_id"),
        (gguf(pairs=metadata(llama__embedding_length=64)), "token_embd.weight"),
        (gguf(pairs=metadata(tokenizer__chat_template=1)), "chat_template"),
        (gguf(pairs=metadata(split__count=3)), "split"),
        (gguf(tensors=[tensor("a", (33,), 2, 0)]), "impossible"),
        (gguf(tensors=[tensor("a", (0,), 0, 0)]), "impossible"),
        (gguf(tensors=[tensor("a", (32,), 99, 0)]), "type 99"),
        (gguf(tensors=[tensor("a", (32,) * 5, 0, 0)]), "5 dimensions"),
        (gguf(tensors=[tensor("a", (32,), 0, 1)]), "alignment"),
        (gguf(tensors=[tensor("a", (32,), 0, 1 << 40)]), "ends at"),
        (gguf(tensors=[tensor("a", (1 << 40, 1 << 40), 0, 0)]), "ends at"),
        (gguf(tensors=[tensor("a", (32,), 0, 0), tensor("b", (32,), 0, 64)]), "overlap"),
        (gguf(tensors=[tensor("a", (32,), 0, 0)] * 2), "duplicated"),
        (gguf(tensors=[tensor("n" * 64, (32,), 0, 0)]), "length"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: bytes, named: str) -> None:
    """The message names the fault."""
    assert named in fault(tmp_path, content)


def test_a_key_twice_is_a_fault(tmp_path: Path) -> None:
    """llama.cpp would take one of them."""
    same = b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + 2 * (b"\1" + b"\0" * 7 + b"k\4\0\0\0\0\0\0\0")
    assert "is duplicated" in fault(tmp_path, same)


def test_an_array_that_claims_too_much_is_a_fault(tmp_path: Path) -> None:
    """It is not believed, and nothing is allocated for it."""
    huge = struct.pack("<IIQ", 9, 8, 1 << 61)
    content = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + b"\1" + b"\0" * 7 + b"k" + huge + b"\0" * 64
    assert "items" in fault(tmp_path, content)


def test_a_nested_array_is_a_fault(tmp_path: Path) -> None:
    """GGUF has none."""
    nested = struct.pack("<IIQ", 9, 9, 1)
    content = (
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + b"\1" + b"\0" * 7 + b"k" + nested + b"\0" * 64
    )
    assert "array of the type 9" in fault(tmp_path, content)


def test_a_directory_is_a_fault(tmp_path: Path) -> None:
    """It cannot be read as a file."""
    with pytest.raises(GgufError, match="cannot be read"):
        read(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_a_file_without_permission_is_a_fault(tmp_path: Path) -> None:
    """The reason is the system's."""
    path = write(tmp_path, WHOLE)
    path.chmod(0)
    with pytest.raises(GgufError, match="cannot be read"):
        read(path)


def test_block_sizes_are_those_of_the_library() -> None:
    """Else a tensor could pass and lie."""
    from llama_cpp._ggml import libggml

    libggml.ggml_type_size.restype = ctypes.c_size_t
    libggml.ggml_blck_size.restype = ctypes.c_int64
    for kind, block in BLOCKS.items():
        assert (libggml.ggml_blck_size(kind), libggml.ggml_type_size(kind)) == block
