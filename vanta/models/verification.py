"""Holding a model's file, and its companions, against the registry: the size, then the hash.

Invariant: "ok" is only said where every byte was read and held against a known hash.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from vanta.models.entry import Companion, ModelEntry
from vanta.models.files import Progress, quiet, sha256_of
from vanta.models.gguf import GgufFault, read
from vanta.models.header import is_gguf


@dataclass(frozen=True, slots=True)
class Verification:
    """What a check of a model's file found.

    status: "ok" (size and hash are as the registry says), "corrupt", "missing", or "unknown" (the
    registry has no hash to hold the file against). mend: the command that mends it, or "".
    """

    id: str
    status: Literal["ok", "corrupt", "missing", "unknown"]
    detail: str
    path: Path | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    mend: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON-ready data."""
        return {
            "id": self.id,
            "status": self.status,
            "detail": self.detail,
            "path": str(self.path) if self.path else None,
            "size_bytes": self.size_bytes,
            "sha256": self.sha256,
            "mend": self.mend,
        }


def verified(entry: ModelEntry, path: Path, progress: Progress = quiet) -> Verification:
    """Hold the file at `path`, and what lies beside it, against what the registry says of them.

    The first that is not "ok" is what is told. Raises OSError.
    """
    found = _verified(entry, path, progress)
    for companion in entry.companions:
        if found.status == "ok":
            found = replace(found, **_of_companion(entry, companion, path, progress))
    return found


def _of_companion(
    entry: ModelEntry, companion: Companion, path: Path, progress: Progress
) -> dict[str, Any]:
    beside = path.with_name(companion.name)
    mend = f"vanta models pull {entry.id}"
    if not beside.is_file():
        return {"status": "corrupt", "detail": f"{str(beside)!r} is missing", "mend": mend}
    facts = replace(entry, size_bytes=companion.size_bytes, sha256=companion.sha256)
    found = _verified(facts, beside, progress)
    return {"status": found.status, "detail": found.detail, "mend": found.mend}


def _verified(entry: ModelEntry, path: Path, progress: Progress) -> Verification:
    size = path.stat().st_size
    mend = f"vanta models pull {entry.id}"
    if entry.size_bytes is not None and size != entry.size_bytes:
        why = f"{str(path)!r} has {size} bytes where {entry.size_bytes} are expected"
        return Verification(entry.id, "corrupt", why, path, size, None, mend)
    actual = sha256_of(path, progress)
    if entry.sha256 is None:
        fault = _fault(path)
        if fault:
            return Verification(entry.id, "corrupt", fault, path, size, actual)
        why = f"the registry has no sha256 for {entry.id!r}; the file's is {actual}"
        return Verification(entry.id, "unknown", why, path, size, actual)
    if actual != entry.sha256:
        why = f"{str(path)!r} has the sha256 {actual} where {entry.sha256} is expected"
        return Verification(entry.id, "corrupt", why, path, size, actual, mend)
    return Verification(entry.id, "ok", "size and sha256 are as expected", path, size, actual)


def _fault(path: Path) -> str | None:
    """What our reader finds wrong with a file that has no hash to be held against."""
    if not is_gguf(path):
        return None
    try:
        read(path)
    except GgufFault as error:
        return f"{str(path)!r} is no sound GGUF file: {error}"
    return None
