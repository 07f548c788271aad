"""The model store: a folder with one `ID.gguf` for every model that was fetched.

A model that has companions (a tokenizer...) is a folder `ID` with all of its files. Invariant:
what stands in the folder under a model's name is whole and was checked; everything
unfinished lives in `.fetch/ID/`. Nothing here uses the network but `pull`. Everything here blocks:
call it from a thread.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import platformdirs

from vanta.engine import ModelFile
from vanta.errors import ModelStoreError, UnknownName
from vanta.models import fit
from vanta.models.entry import Companion, ModelEntry, builtin_entries
from vanta.models.files import Progress, disk_errors, locked, quiet, write_whole
from vanta.models.header import SAFETENSORS, Header, check_magic, is_gguf, read_header
from vanta.models.sources import FileSource, HubSource, ModelSource, PackageSource
from vanta.models.verification import Verification, verified
from vanta.models.wheel import WheelSource


def default_root(environ: Mapping[str, str] = os.environ) -> Path:
    """Where models are kept: `models` in VANTA_DATA_DIR, or in the user's data folder."""
    data = environ.get("VANTA_DATA_DIR")
    if data:
        return Path(data).expanduser() / "models"
    return platformdirs.user_data_path("vanta", appauthor=False) / "models"


def builtin_sources() -> dict[str, ModelSource]:
    """The sources that vanta brings, by scheme."""
    sources: tuple[ModelSource, ...] = (FileSource(), PackageSource(), WheelSource(), HubSource())
    return {source.scheme: source for source in sources}


class ModelStore:
    """Finds, fetches, lists and verifies models.

    root: the folder (made when first needed). entries: the registry, by id. sources: by scheme.
    """

    def __init__(
        self,
        root: Path,
        entries: Mapping[str, ModelEntry] | None = None,
        sources: Mapping[str, ModelSource] | None = None,
    ) -> None:
        self.root = root
        self.entries = builtin_entries() if entries is None else entries
        self.sources = builtin_sources() if sources is None else sources
        self._locks: dict[str, int] = {}

    def entry(self, ref: str) -> ModelEntry:
        """The registry's entry with that id or alias; raises UnknownName with the nearest."""
        if ref in self.entries:
            return self.entries[ref]
        names = {alias: entry for entry in self.entries.values() for alias in entry.aliases}
        if ref in names:
            return names[ref]
        known = [*self.entries, *names]
        raise UnknownName("model", ref, known, hint="A path to a .gguf file would do as well.")

    def path_of(self, entry: ModelEntry) -> Path:
        """Where the store keeps (or would keep) the file of an entry."""
        return self.root / entry.file

    def find(self, ref: str) -> ModelFile:
        """The model `ref` (an id, an alias, or a path to a file) on this disk; no network.

        Raises UnknownName, or ModelStoreError with the command that brings or mends the file.
        """
        if ref not in self.entries and _is_path(ref):
            return _file_at(Path(ref).expanduser())
        entry = self.entry(ref)
        path = self._locate(entry)
        if path is None:
            raise ModelStoreError(
                f"model {entry.id!r} is not downloaded yet: run `vanta models pull {entry.id}`"
            )
        with disk_errors(self.root, f"reading model {entry.id!r}"):
            self._require_size(entry, path)
            check_magic(path)
        return ModelFile(entry.id, path, entry.to_dict())

    def pull(self, ref: str, progress: Progress = quiet) -> ModelFile:
        """Make sure that a model is here and right, fetching it where it is not. Blocking.

        Other processes that pull the same model wait. What `progress` raises stops the work and
        leaves nothing half-valid. Raises UnknownName, ModelStoreError.
        """
        entry = self.entry(ref)
        with disk_errors(self.root, f"fetching model {entry.id!r}"), self._locked(entry, progress):
            path = self._sound(entry, progress)
            if path is None:
                path = self._source(entry).fetch(entry, self, progress)
            shutil.rmtree(self._staging(entry), ignore_errors=True)
        return ModelFile(entry.id, path, entry.to_dict())

    def keep(self, entry: ModelEntry, chunks: Iterable[bytes], progress: Progress = quiet) -> Path:
        """Store `chunks` as the model's file, checked against size and hash; for sources.

        Its companions come first, so that a model that is there is whole.
        """
        return self._keep(entry, entry, self.path_of(entry), chunks, progress)

    def keep_companion(
        self,
        entry: ModelEntry,
        companion: Companion,
        chunks: Iterable[bytes],
        progress: Progress = quiet,
    ) -> Path:
        """Store `chunks` as a companion of the model, checked as `keep` does; for sources."""
        target = self.path_of(entry).with_name(companion.name)
        return self._keep(entry, companion, target, chunks, progress)

    def staging(self, entry: ModelEntry) -> Path:
        """A folder for what is unfinished, on the store's disk; for sources."""
        folder = self._staging(entry)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def lock_of(self, entry: ModelEntry) -> int:
        """The descriptor of the lock that `pull` holds; a source's child processes share it."""
        if entry.id not in self._locks:
            raise ModelStoreError(
                f"model {entry.id!r} is fetched without ModelStore.pull; use that."
            )
        return self._locks[entry.id]

    def list(self) -> list[dict[str, Any]]:
        """Every model of the registry, as JSON-ready data."""
        free = fit.free_memory()
        return [self._listed(self.entries[name], free) for name in sorted(self.entries)]

    def info(self, ref: str, *, window: int | None = None) -> dict[str, Any]:
        """All that is known of one model, as JSON-ready data; what its file says counts most.

        window: tokens that the memory verdict is for. Raises UnknownName, ModelStoreError.
        """
        if ref not in self.entries and _is_path(ref):
            found = _file_at(Path(ref).expanduser())
            entry = ModelEntry(id="file", source=f"file:{found.path}")
            return {"id": found.id, "present": True, **self._facts(entry, found.path, window)}
        entry = self.entry(ref)
        path, hint = self._whereabouts(entry)
        facts = self._facts(entry, path, window)
        return {**entry.to_dict(), "present": path is not None, "hint": hint, **facts}

    def verify(self, ref: str, progress: Progress = quiet) -> Verification:
        """Hash the file of a model and hold it against the registry; raises UnknownName."""
        if ref not in self.entries and _is_path(ref):
            found = _file_at(Path(ref).expanduser())
            anonymous = ModelEntry(id="file", source=f"file:{found.path}")
            return replace(verified(anonymous, found.path, progress), id=found.id)
        entry = self.entry(ref)
        path, hint = self._whereabouts(entry)
        if path is None:
            mend = f"vanta models pull {entry.id}" if self._can_fetch(entry) else ""
            return Verification(entry.id, "missing", hint, mend=mend)
        with disk_errors(self.root, f"reading model {entry.id!r}"):
            return verified(entry, path, progress)

    def _keep(
        self,
        entry: ModelEntry,
        facts: ModelEntry | Companion,
        target: Path,
        chunks: Iterable[bytes],
        progress: Progress,
    ) -> Path:
        target.parent.mkdir(exist_ok=True)
        write_whole(
            target,
            chunks,
            partial=self.staging(entry) / "model.partial",
            size=facts.size_bytes,
            sha256=facts.sha256,
            progress=progress,
        )
        return target

    def _locate(self, entry: ModelEntry) -> Path | None:
        kept = self.path_of(entry)
        with disk_errors(self.root, f"looking for model {entry.id!r}"):
            return kept if kept.is_file() else self._source(entry).find(entry, self)

    def _whereabouts(self, entry: ModelEntry) -> tuple[Path | None, str]:
        """Where the file is, or None and what to do about it."""
        try:
            path = self._locate(entry)
        except ModelStoreError as error:
            return None, str(error)
        return path, "" if path else f"not downloaded yet: run `vanta models pull {entry.id}`"

    def _can_fetch(self, entry: ModelEntry) -> bool:
        try:
            return self._source(entry).find(entry, self) is None
        except ModelStoreError:
            return False

    def _source(self, entry: ModelEntry) -> ModelSource:
        if entry.scheme not in self.sources:
            raise UnknownName(
                "model source", entry.scheme, self.sources, hint=f"({entry.source!r})"
            )
        return self.sources[entry.scheme]

    def _sound(self, entry: ModelEntry, progress: Progress) -> Path | None:
        """The file if it is here and right; a wrong one is removed from the store, nowhere else."""
        kept = self.path_of(entry)
        if kept.is_file():
            if verified(entry, kept, progress).status != "corrupt":
                return kept
            kept.unlink()
        path = self._source(entry).find(entry, self)
        right = path is not None and verified(entry, path, progress).status != "corrupt"
        return path if right else None

    def _require_size(self, entry: ModelEntry, path: Path) -> None:
        self._require(entry, path, entry.size_bytes)
        for companion in entry.companions:
            self._require(entry, path.with_name(companion.name), companion.size_bytes)

    def _require(self, entry: ModelEntry, file: Path, expected: int | None) -> None:
        mend = f"Run `vanta models pull {entry.id}`"
        if not file.is_file():
            raise ModelStoreError(f"model {entry.id!r}: {str(file)!r} is missing. {mend}")
        size = file.stat().st_size
        if expected not in {None, size}:
            raise ModelStoreError(
                f"model {entry.id!r}: {str(file)!r} has {size} bytes where {expected} are "
                f"expected: it is damaged. {mend}"
            )

    def _staging(self, entry: ModelEntry) -> Path:
        return self.root / ".fetch" / entry.id

    @contextmanager
    def _locked(self, entry: ModelEntry, progress: Progress) -> Iterator[None]:
        folder = self.root / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / entry.id, lambda: progress(0, None, "waiting")) as descriptor:
            self._locks[entry.id] = descriptor
            try:
                yield
            finally:
                del self._locks[entry.id]

    def _listed(self, entry: ModelEntry, free: int | None) -> dict[str, Any]:
        path, hint = self._whereabouts(entry)
        size = path.stat().st_size if path else entry.size_bytes
        verdict = fit.judge(_shape(entry, size, None, None), free)
        return {
            "id": entry.id,
            "present": path is not None,
            "path": str(path) if path else None,
            "size_bytes": size,
            "source": entry.source,
            "licence": entry.licence,
            "window": entry.window,
            "quantisation": entry.quantisation,
            "description": entry.description,
            "memory": verdict.to_dict(),
            "hint": hint,
        }

    def _facts(self, entry: ModelEntry, path: Path | None, window: int | None) -> dict[str, Any]:
        header = read_header(path) if path and is_gguf(path) else None
        size = path.stat().st_size if path else entry.size_bytes
        verdict = fit.judge(_shape(entry, size, header, window), fit.free_memory())
        return {
            "path": str(path) if path else None,
            "size_bytes": size,
            "window": (header and header.window) or entry.window,
            "architecture": header.architecture if header else None,
            "memory": verdict.to_dict(),
        }


def _shape(
    entry: ModelEntry, size: int | None, header: Header | None, window: int | None
) -> fit.Shape:
    limit = (header and header.window) or entry.window or fit.DEFAULT_WINDOW
    return fit.Shape(
        file_bytes=size or fit.estimated_size(entry.parameters, entry.quantisation),
        kv_bytes_per_token=(header and header.kv_bytes_per_token) or entry.kv_bytes_per_token,
        vocabulary=(header and header.vocabulary) or entry.vocabulary,
        window=window or min(limit, fit.DEFAULT_WINDOW),
        measured=size is not None,
    )


def _is_path(ref: str) -> bool:
    return (
        ref.endswith((".gguf", SAFETENSORS)) or os.sep in ref or "/" in ref or ref.startswith("~")
    )


def _file_at(path: Path) -> ModelFile:
    """A model that is no entry of the registry: its id is its path."""
    try:
        missing = not path.is_file()
    except OSError as error:
        raise ModelStoreError(
            f"the model file {str(path)!r} cannot be read: {error.strerror}. Check its permissions."
        ) from error
    if missing:
        raise ModelStoreError(
            f"there is no model file {str(path)!r}. Check the path, or take a model of the "
            "registry: `vanta models list`"
        )
    check_magic(path)
    return ModelFile(str(path), path)
