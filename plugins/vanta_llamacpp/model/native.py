"""The only access to the native library: import, set-up once per process, logs, abort flag.

Invariant: nothing native is loaded before `library()` is called, and llama.cpp never writes to the
terminal: its log goes to the logger "vanta.llamacpp" at DEBUG.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_log = logging.getLogger("vanta.llamacpp")
_ERROR_LEVEL = 3
_SAMPLES, _SAMPLE_S = 5, 0.001
_OMP_PAUSE_SOFT = 1
_setup = threading.Lock()
_ready: dict[str, Any] = {}


class _Listener(threading.local):
    """Where the log lines of this thread are also kept while they are captured."""

    lines: list[tuple[int, str]] | None = None


_listener = _Listener()


def library() -> Any:
    """Return the module `llama_cpp.llama_cpp`, set up. Raises ImportError if it is missing."""
    with _setup:
        if "lib" not in _ready:
            from llama_cpp import llama_cpp as lib

            callback = lib.llama_log_callback(_on_log)
            lib.llama_log_set(callback, None)
            lib.llama_backend_init()
            _ready.update(lib=lib, callback=callback)
        return _ready["lib"]


def _on_log(level: int, text: bytes | None, _data: object) -> None:
    if _listener.lines is None and not _log.isEnabledFor(logging.DEBUG):
        return
    line = (text or b"").decode("utf-8", "replace").rstrip("\n")
    if _listener.lines is not None:
        _listener.lines.append((level, line))
    if line.strip(" ."):
        _log.debug("%s", line)


@contextmanager
def captured_log() -> Iterator[list[tuple[int, str]]]:
    """Capture what llama.cpp logs in this thread, as (level, line)."""
    lines: list[tuple[int, str]] = []
    _listener.lines = lines
    try:
        yield lines
    finally:
        _listener.lines = None


def first_error(lines: list[tuple[int, str]]) -> str:
    """Return the first error of a captured log, in llama.cpp's words."""
    errors = [line for level, line in lines if level == _ERROR_LEVEL and line.strip()]
    return errors[0].strip() if errors else "llama.cpp gave no reason"


def build(lib: Any) -> str:
    """Return the build of llama.cpp and its features: equal builds compute equal bits."""
    version = getattr(sys.modules.get("llama_cpp"), "__version__", "")
    return f"{version} {lib.llama_print_system_info().decode('utf-8', 'replace')}"


def built_with_amx(lib: Any) -> bool:
    """Return whether llama.cpp was built for the AMX tiles of this machine's processor."""
    return b"AMX_INT8 = 1" in lib.llama_print_system_info()


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def others_running(loadavg: Path = Path("/proc/loadavg")) -> int:
    """Return how many other threads want a core, over a few milliseconds; 0 if unknown.

    On Linux: the fourth field of proc(5)'s loadavg, minus this thread.
    """
    counts: list[int] = []
    try:
        for _ in range(_SAMPLES):
            counts.append(int(loadavg.read_text(encoding="ascii").split()[3].partition("/")[0]))
            time.sleep(_SAMPLE_S)
    except (OSError, ValueError, IndexError):
        return 0
    return max(0, sorted(counts)[_SAMPLES // 2] - 1)


def quick(function: Any) -> Any:
    """Return a function of the library that keeps the interpreter's lock while it runs.

    For functions that take no time and are called thousands of times: in a busy program each
    release of the lock costs a switch interval (5 ms).
    """
    kind = ctypes.PYFUNCTYPE(function.restype, *function.argtypes)
    return kind(ctypes.cast(function, ctypes.c_void_p).value or 0)


def release_helpers(lib: Any) -> None:
    """End the threads that compute for this one; the next step restarts them (some 50 us).

    OpenMP keeps a team for each thread that ever computed. Once all teams together have more
    threads than there are cores, libgomp makes them sleep at barriers instead of spinning (team.c,
    gomp_throttled_spin_count_var): a small model's steps take 1.6 times as long, even though all
    other teams are idle. Other libraries, and builds without OpenMP, lack this call.
    """
    release = getattr(lib._lib, "omp_pause_resource_all", None)  # noqa: SLF001 - the CDLL itself
    if release is not None:
        release(_OMP_PAUSE_SOFT)


class AbortFlag:
    """A flag that any thread can set to end a running `llama_decode` at its next graph node.

    llama.cpp calls its abort callback once per node, some thousand times per token. A Python
    callback would take the interpreter lock each time, so the callback is C's `strlen` on a buffer
    of two bytes: 0 (continue) while the first is zero, 1 (abort) otherwise.
    """

    def __init__(self) -> None:
        self._buffer = ctypes.create_string_buffer(2)

    def set(self) -> None:
        """Abort the running decode, if any."""
        self._buffer[0] = b"\x01"

    def clear(self) -> None:
        """Let decodes run again."""
        self._buffer[0] = b"\x00"

    def install(self, lib: Any, context: Any) -> None:
        """Make `context` check this flag; the flag must outlive it."""
        libc = ctypes.cdll.msvcrt if sys.platform == "win32" else ctypes.CDLL(None)
        callback = ctypes.cast(libc.strlen, lib.ggml_abort_callback)
        lib.llama_set_abort_callback(context, callback, ctypes.cast(self._buffer, ctypes.c_void_p))
