"""Compares a model's file and its companions with the registry: size first, then the hash.

Invariant: "ok" means that every byte was read and its hash is the known one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from vanta.models.entry import CompanionFile, ModelEntry
from vanta.models.files import Progress, quiet, sha256_of
from vanta.models.gguf import GgufError, read
from vanta.models.header import is_gguf


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of checking a model's file.

    :param id: the model.
    :param status: "ok" (size and hash match the registry), "corrupt", "missing", or "unknown" (the
        registry has no hash).
    :param detail: the reason, for people.
    :param path: the file, or None if it is missing.
    :param size_bytes: its size, or None if it is missing.
    :param sha256: its hash, or None if it was not computed.
    :param fix: the command that repairs it, or "".
    """

    id: str
    status: Literal["ok", "corrupt", "missing", "unknown"]
    detail: str
    path: Path | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    fix: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-ready data."""
        return {
            "id": self.id,
            "status": self.status,
            "detail": self.detail,
            "path": str(self.path) if self.path else None,
            "size_bytes": self.size_bytes,
            "sha256": self.sha256,
            "fix": self.fix,
        }


def verified(entry: ModelEntry, path: Path, progress: Progress = quiet) -> Verification:
    """Compare the file at `path` and its companions with the registry. Raises OSError.

    Returns the first result that is not "ok".
    """
    result = _verified(entry, path, progress)
    for companion in entry.companions:
        if result.status == "ok":
            result = replace(result, **_of_companion(entry, companion, path, progress))
    return result


def _of_companion(
    entry: ModelEntry, companion: CompanionFile, path: Path, progress: Progress
) -> dict[str, Any]:
    beside = path.with_name(companion.name)
    fix = f"vanta models pull {entry.id}"
    if not beside.is_file():
        return {"status": "corrupt", "detail": f"{str(beside)!r} is missing", "fix": fix}
    facts = replace(entry, size_bytes=companion.size_bytes, sha256=companion.sha256)
    result = _verified(facts, beside, progress)
    return {"status": result.status, "detail": result.detail, "fix": result.fix}


def _verified(entry: ModelEntry, path: Path, progress: Progress) -> Verification:
    size = path.stat().st_size
    fix = f"vanta models pull {entry.id}"
    if entry.size_bytes is not None and size != entry.size_bytes:
        why = f"{str(path)!r} has {size} bytes where {entry.size_bytes} are expected"
        return Verification(entry.id, "corrupt", why, path, size, None, fix)
    actual = sha256_of(path, progress)
    if entry.sha256 is None:
        problem = _problem(path)
        if problem:
            return Verification(entry.id, "corrupt", problem, path, size, actual)
        why = f"the registry has no sha256 for {entry.id!r}; the file's is {actual}"
        return Verification(entry.id, "unknown", why, path, size, actual)
    if actual != entry.sha256:
        why = f"{str(path)!r} has the sha256 {actual} where {entry.sha256} is expected"
        return Verification(entry.id, "corrupt", why, path, size, actual, fix)
    return Verification(entry.id, "ok", "size and sha256 are as expected", path, size, actual)


def _problem(path: Path) -> str | None:
    """Return what is wrong with the header of a file without a known hash, or None."""
    if not is_gguf(path):
        return None
    try:
        read(path)
    except GgufError as error:
        return f"{str(path)!r} is not a sound GGUF file: {error}"
    return None
