"""The machine of a run, as far as it affects the figures, and the resources of this process.

Invariant: nothing identifies the machine. Counts of tasks, threads and sockets are of this process
alone; the count of sockets is None on systems without `/proc`.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

_DESCRIPTORS = Path("/proc/self/fd")
_LIBRARIES = (
    "vanta-runtime",
    "anyio",
    "sqlalchemy",
    "pydantic",
    "openai",
    "httpx2",
    "h11",
    "llama-cpp-python",
)


def machine() -> dict[str, Any]:
    """Return the system, processor, cores that this process may use, memory, and load average."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": cores(),
        "memory_bytes": _memory(),
        "load_1_min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of the libraries under test; None if not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in _LIBRARIES}}


def commit() -> str | None:
    """Return the commit of the checkout, with "+" after it if files differ; None without one."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        name = git("rev-parse", "--short", "HEAD")
        return name + "+" * bool(git("status", "--porcelain", "--untracked-files=no", "."))
    except (OSError, subprocess.CalledProcessError):
        return None


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def resident_bytes() -> int:
    """Return the resident memory of this process in bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


@contextmanager
def taken_core() -> Iterator[int]:
    """Keep one core busy with another process; yield the number of all cores."""
    spinner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield cores()
    finally:
        spinner.kill()
        spinner.wait()


@dataclass(slots=True)
class Leaks:
    """The increase of each resource; sockets is None if they cannot be counted."""

    tasks: int = 0
    threads: int = 0
    sockets: int | None = 0


def count_tasks() -> int:
    """Return the number of tasks of the running event loop."""
    return len(anyio.get_running_tasks())


def count_threads() -> int:
    """Return the number of Python threads of this process."""
    return len(threading.enumerate())


def count_sockets() -> int | None:
    """Return the number of open sockets of this process, or None if it is not known."""
    if not _DESCRIPTORS.is_dir():
        return None
    return sum(_is_socket(entry) for entry in _DESCRIPTORS.iterdir())


def _is_socket(descriptor: Path) -> bool:
    try:
        return str(descriptor.readlink()).startswith("socket:")
    except OSError:  # the descriptor of the listing itself is closed by now
        return False


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
