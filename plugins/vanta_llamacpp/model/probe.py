"""Tries an unknown model file in a child process before this process loads it.

llama.cpp asserts many things about a file, and a failed assertion ends the process. So a file with
an unknown digest is first loaded by a child (see `probe_child`), which tokenizes, computes a few
tokens and looks at the numbers. Files that passed are remembered by digest and build of llama.cpp;
files whose SHA-256 the registry knows were checked when they were fetched and are not tried.
Invariant: no child outlives its `probe` call.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from vanta import ModelFile
from vanta.files import open_file
from vanta.models import default_root
from vanta_llamacpp.model.header_checks import ModelFacts
from vanta_llamacpp.model.kv_disk import fingerprint

_SCRIPT = Path(__file__).with_name("probe_child.py")
_POLL_S = 0.05
_LEAST_S = 60.0
_BYTES_PER_S = 20_000_000
_OWN_BYTES = 6 << 30
"""Address space of an interpreter with the library, its threads' stacks and buffers."""
_TAIL = 4096
_tried: set[str] = set()


class ProbeError(Exception):
    """The file is not fit for use, in words for the error message."""


class ProbeStopped(Exception):  # noqa: N818 - nothing is wrong with the file
    """The probe was ended because nothing needs its result any more."""


@dataclass(frozen=True, slots=True)
class Probe:
    """How files are tried.

    :param build: identifies the build of llama.cpp: another build asserts other things.
    :param plain_attention: compute without flash attention.
    :param folder: where digests of files that passed are kept.
    :param command: the child's command line.
    :param seconds: time limit; None: by the size of the file.
    """

    build: str
    plain_attention: bool
    folder: Path | None = None
    command: Sequence[str] = (sys.executable, "-P", str(_SCRIPT))
    seconds: float | None = None

    def check(self, file: ModelFile, facts: ModelFacts, keep_going: Callable[[], bool]) -> None:
        """Try `file` unless it is known. Blocking.

        :raises ProbeError: if the child crashes, hangs, or finds the file unfit.
        :raises ProbeStopped: soon after `keep_going` returns False.
        """
        if _is_verified(file):
            return
        digest = _digest(file.path, facts.header_bytes, self.build)
        mark = self._folder() / digest
        if digest in _tried or mark.exists():
            return
        self._try(file.path, facts, keep_going)
        _tried.add(digest)
        with contextlib.suppress(OSError):  # then it is tried again by the next process
            mark.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            mark.touch(mode=0o600)

    def _folder(self) -> Path:
        return default_root() / ".probed" if self.folder is None else self.folder

    def _try(self, path: Path, facts: ModelFacts, keep_going: Callable[[], bool]) -> None:
        seconds = self.seconds or _LEAST_S + facts.size / _BYTES_PER_S
        task = {
            "paths": [str(Path(entry).absolute()) for entry in sys.path],
            "file": os.fspath(path.absolute()),
            "encoder": facts.encoder,
            "pools": facts.pools,
            "window": facts.window,
            "plain_attention": self.plain_attention,
            "seconds": seconds,
            "memory_bytes": 3 * facts.size + _OWN_BYTES,
        }
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            try:
                status = self._run(task, output, errors, seconds, keep_going)
            except OSError as error:
                raise ProbeError(f"no process could be started to try it: {error}") from error
            _judge(status, output, errors, seconds)

    def _run(
        self,
        task: dict[str, Any],
        output: IO[bytes],
        errors: IO[bytes],
        seconds: float,
        keep_going: Callable[[], bool],
    ) -> int | None:
        """Return the child's exit status, None if it took too long. The child is gone then."""
        with subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=errors,
            env={**os.environ, "GGML_NO_BACKTRACE": "1", "CUDA_VISIBLE_DEVICES": ""},
        ) as child:
            try:
                with contextlib.suppress(BrokenPipeError):
                    assert child.stdin is not None  # noqa: S101 - a pipe was requested
                    child.stdin.write(json.dumps(task).encode() + b"\n")
                    child.stdin.flush()
                for _ in range(int((seconds + 5) / _POLL_S)):
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        return child.wait(_POLL_S)
                    if not keep_going():
                        raise ProbeStopped
                return None
            finally:
                child.kill()


def _judge(status: int | None, output: IO[bytes], errors: IO[bytes], seconds: float) -> None:
    output.seek(0)
    line = output.read(1 << 16)
    if status == 0 and line.endswith(b"\n"):
        fault = json.loads(line)["fault"]
        if fault is not None:
            raise ProbeError(fault)
        return
    errors.seek(max(0, errors.seek(0, 2) - _TAIL))
    words = errors.read().decode("utf-8", "replace").strip().splitlines()
    if status is None or any(word.startswith("Timeout (") for word in words):
        raise ProbeError(f"it keeps llama.cpp busy for more than {seconds:g} s")
    reasons = [word for word in words if "ASSERT" in word or "what()" in word] or words[-1:]
    reason = f": {reasons[0].strip()}" if reasons else ""
    raise ProbeError(f"llama.cpp ended the process that tried it (exit status {status}){reason}")


def _is_verified(file: ModelFile) -> bool:
    """Return whether the registry vouches for the file: its hash was checked with the fetch."""
    size = file.details.get("size_bytes")
    return bool(file.details.get("sha256")) and file.path.stat().st_size == size


def _digest(path: Path, header_bytes: int, build: str) -> str:
    """Digest all bytes before the weights, which assertions are about, and samples of the rest."""
    digest = hashlib.blake2b(fingerprint(path, build), digest_size=32)
    with open_file(path, 1 << 42) as file:
        digest.update(file.read(header_bytes))
    return digest.hexdigest()
