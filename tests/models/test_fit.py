"""The memory verdict: its arithmetic, and what it says where a fact is missing."""

from __future__ import annotations

import mmap
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from vanta.models import ModelShape, attention_bytes, free_memory, judge, mapped_memory
from vanta.models.fit import estimated_size

SHAPE = ModelShape(file_bytes=100_000_000, kv_bytes_per_token=1_000, vocabulary=1_000, window=2_000)
NEED = 100_000_000 + 2_000 * 1_000 + 512 * 4 * 1_000


def test_the_verdict_turns_at_exactly_what_is_needed() -> None:
    assert judge(SHAPE, NEED).fits is True
    assert judge(SHAPE, NEED - 1).fits is False


def test_the_arithmetic_shows_every_term() -> None:
    shown = judge(SHAPE, 200_000_000).arithmetic
    assert shown == (
        "100.0 MB file + 2.0 MB KV cache (2000 tokens x 1000 bytes) + 2.0 MB buffers"
        " = 104.0 MB of 200.0 MB free"
    )


def test_an_unknown_fact_gives_no_verdict() -> None:
    assert judge(SHAPE, None).fits is None
    assert judge(ModelShape(None, 1, 1, 1), 10**12).fits is None
    assert "KV cache's size" in judge(ModelShape(1, None, 1, 1), 10**12).arithmetic


def test_layers_on_a_gpu_take_no_ram() -> None:
    """Neither do their weights nor their part of the KV cache."""
    some = judge(replace(SHAPE, layers=30, gpu_layers=10), 200_000_000)
    assert some.need_bytes == 66_666_667 + 1_333_334 + 512 * 4 * 1_000
    assert some.arithmetic == (
        "66.7 MB file (100.0 MB x 20/30 layers) + "
        "1.3 MB KV cache (2000 tokens x 1000 bytes x 20/30 layers) + 2.0 MB buffers"
        " = 70.0 MB of 200.0 MB free"
    )
    whole = replace(SHAPE, layers=30, gpu_layers=99, attention_bytes=10**9)
    assert judge(whole, None).need_bytes == 512 * 4 * 1_000
    assert judge(replace(whole, gpu_layers=29), None).need_bytes > 10**9  # type: ignore[operator]


def test_the_attention_matrix_is_among_the_buffers() -> None:
    """It grows with the window, and is not repeated for each layer."""
    matrix = attention_bytes(64, 131_072, 32)
    assert matrix == 64 * 131_072 * 32 * 4 + 64 * 131_072 * 32 * 2 + 64 * 131_072 * 4
    verdict = judge(replace(SHAPE, attention_bytes=matrix, layers=30), 10**9)
    assert verdict.need_bytes == NEED + matrix
    assert verdict.fits is False
    assert "1,646.2 MB buffers" in verdict.arithmetic


def test_an_estimated_size_is_labelled() -> None:
    assert estimated_size(8, "Q8_0") == 8
    assert estimated_size(8, "Q3_X") is None
    estimated = ModelShape(10**8, 1, 1, 1, measured=False)
    assert "file (estimated)" in judge(estimated, 10**9).arithmetic


def test_free_memory_is_what_the_system_says_and_a_container_leaves(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    cgroup = tmp_path / "sys/fs/cgroup"
    cgroup.mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    4 kB\n")
    assert free_memory(tmp_path) == 4096
    (cgroup / "memory.current").write_text("1000\n")
    (cgroup / "memory.max").write_text("max\n")
    assert free_memory(tmp_path) == 4096
    (cgroup / "memory.max").write_text("3000\n")
    assert free_memory(tmp_path) == 2000
    (cgroup / "memory.max").write_text("500\n")
    assert free_memory(tmp_path) == 0


@pytest.mark.parametrize(
    ("names", "prefix"),
    [
        (("memory.max", "memory.current", "memory.stat"), ""),
        (
            ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
            "total_",
        ),
    ],
    ids=["version 2", "version 1"],
)
def test_file_cache_of_a_container_is_free(
    tmp_path: Path, names: tuple[str, str, str], prefix: str
) -> None:
    """To hash a model fills it, and it is dropped when memory is wanted; tmpfs is not."""
    limit, usage, stat = (tmp_path / "sys/fs/cgroup" / name for name in names)
    limit.parent.mkdir(parents=True)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemAvailable:  99 kB\n")
    limit.write_text("10000\n")
    usage.write_text("9000\n")
    assert free_memory(tmp_path) == 1000
    counts = {"anon": 1000, "shmem": 500, "inactive_file": 4000, "active_file": 3000}
    stat.write_text("".join(f"{prefix}{name} {count}\n" for name, count in counts.items()))
    assert free_memory(tmp_path) == 8000
    stat.write_text(f"{prefix}inactive_file 99999\n")
    assert free_memory(tmp_path) == 10_000, "never more than the limit"
    stat.write_text("strange\n")
    assert free_memory(tmp_path) == 1000
    limit.write_text("9223372036854771712\n")
    assert free_memory(tmp_path) == 99 * 1024, "as good as none"


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not say")
def test_what_is_mapped_of_files_is_known(tmp_path: Path) -> None:
    """And 0 where the system does not say."""
    path, size = tmp_path / "file", 64_000_000
    path.write_bytes(b"x" * size)
    before = mapped_memory()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        assert data[:: mmap.PAGESIZE].count(b"x"[0])
        assert mapped_memory() - before > size // 2
    assert mapped_memory() - before < size // 2
    assert mapped_memory(tmp_path) == 0


@pytest.mark.parametrize("text", [b"", b"\xff\xff"])
def test_a_strange_meminfo_is_passed_over(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_bytes(text)
    found = free_memory(tmp_path)
    assert found is None or found > 0
