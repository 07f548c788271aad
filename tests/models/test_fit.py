"""The memory verdict: its arithmetic, and what it says where a fact is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from vanta.models import free_memory
from vanta.models.fit import Shape, estimated_size, judge

SHAPE = Shape(file_bytes=100_000_000, kv_bytes_per_token=1_000, vocabulary=1_000, window=2_000)
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
    assert judge(Shape(None, 1, 1, 1), 10**12).fits is None
    assert "KV cache's size" in judge(Shape(1, None, 1, 1), 10**12).arithmetic


def test_an_estimated_size_is_labelled() -> None:
    assert estimated_size(8, "Q8_0") == 8
    assert estimated_size(8, "Q3_X") is None
    estimated = Shape(10**8, 1, 1, 1, measured=False)
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


@pytest.mark.parametrize("text", [b"", b"\xff\xff"])
def test_a_strange_meminfo_is_passed_over(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_bytes(text)
    found = free_memory(tmp_path)
    assert found is None or found > 0
