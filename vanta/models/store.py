"""The model store: a folder with one `ID.gguf` for every fetched model.

A model with companions, such as a tokenizer, is a folder `ID` with all of its files. Everything
here blocks: call it from a thread. Invariant: a file under a model's name is complete and checked;
unfinished files live in `.fetch/ID/`. Only `pull` uses the network.
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
from vanta.models.entry import CompanionFile, ModelEntry, builtin_entries
from vanta.models.files import Progress, disk_errors, locked, quiet, write_whole
from vanta.models.header import SAFETENSORS, ModelHeader, check_magic, is_gguf, read_header
from vanta.models.recommended_sampling import CAREFUL, RecommendedSampling
from vanta.models.sources import FileSource, HubSource, ModelSource, PackageSource
from vanta.models.verification import Verification, verified
from vanta.models.wheel import WheelSource


def default_root(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the default folder: `models` in VANTA_DATA_DIR, or in the user's data folder.

    :param environ: environment variables.
    """
    data = environ.get("VANTA_DATA_DIR")
    if data:
        return Path(data).expanduser() / "models"
    return platformdirs.user_data_path("vanta", appauthor=False) / "models"


def builtin_sources() -> dict[str, ModelSource]:
    """Return vanta's own sources, by scheme."""
    sources: tuple[ModelSource, ...] = (FileSource(), PackageSource(), WheelSource(), HubSource())
    return {source.scheme: source for source in sources}


class ModelStore:
    """Finds, fetches, lists and verifies models.

    :param root: the folder; created when first needed.
    :param entries: the registry, by id; None: vanta's own.
    :param sources: sources by scheme; None: vanta's own.
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
        self._recommended: dict[tuple[str, int], RecommendedSampling] = {}

    def entry(self, ref: str) -> ModelEntry:
        """Return an entry of the registry.

        :param ref: its id or an alias.
        :raises UnknownName: with the nearest name.
        """
        if ref in self.entries:
            return self.entries[ref]
        names = {alias: entry for entry in self.entries.values() for alias in entry.aliases}
        if ref in names:
            return names[ref]
        known = [*self.entries, *names]
        raise UnknownName("model", ref, known, hint="A path to a .gguf file works as well.")

    def path_of(self, entry: ModelEntry) -> Path:
        """Return where the store keeps, or would keep, the file of an entry.

        :param entry: a model.
        """
        return self.root / entry.file

    def find(self, ref: str) -> ModelFile:
        """Return a model on this disk, without network.

        :param ref: an id, an alias, or the path of a file.
        :raises UnknownName: if the registry does not have it.
        :raises ModelStoreError: with the command that fetches or repairs the file.
        """
        if self._is_file(ref):
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

    def recommended_sampling(self, ref: str) -> RecommendedSampling:
        """Return what a model's entry or file recommends, otherwise `CAREFUL`. Never raises.

        Blocks when it is first called for a file.

        :param ref: an id, an alias, or the path of a file.
        """
        try:
            key = (ref, Path(ref).expanduser().stat().st_mtime_ns)
        except (OSError, RuntimeError, ValueError):
            return self._recommendation(ref)
        if key not in self._recommended:
            self._recommended[key] = self._recommendation(ref)
        return self._recommended[key]

    def _recommendation(self, ref: str) -> RecommendedSampling:
        try:
            entry = None if self._is_file(ref) else self.entry(ref)
            if entry and entry.sampling:
                return entry.sampling
            path = Path(ref).expanduser() if entry is None else self._locate(entry)
            header = read_header(path) if path and path.is_file() and is_gguf(path) else None
        except (ModelStoreError, UnknownName, OSError, RuntimeError):
            return CAREFUL
        return (header and header.sampling) or CAREFUL

    def pull(self, ref: str, progress: Progress = quiet) -> ModelFile:
        """Ensure that a model is present and intact, and fetch it otherwise. Blocking.

        Other processes that pull the same model wait.

        :param ref: an id or an alias.
        :param progress: called as the work proceeds; raising from it stops the work safely.
        :raises UnknownName: if the registry does not have it.
        :raises ModelStoreError: if it cannot be fetched.
        """
        entry = self.entry(ref)
        with disk_errors(self.root, f"fetching model {entry.id!r}"), self._locked(entry, progress):
            path = self._sound(entry, progress)
            if path is None:
                path = self._source(entry).fetch(entry, self, progress)
            shutil.rmtree(self._staging(entry), ignore_errors=True)
        return ModelFile(entry.id, path, entry.to_dict())

    def keep(self, entry: ModelEntry, chunks: Iterable[bytes], progress: Progress = quiet) -> Path:
        """Store the model's file. See `ModelFolder.keep`.

        :param entry: the model.
        :param chunks: the bytes of its file.
        :param progress: called as the work proceeds.
        """
        return self._keep(entry, entry, self.path_of(entry), chunks, progress)

    def keep_companion(
        self,
        entry: ModelEntry,
        companion: CompanionFile,
        chunks: Iterable[bytes],
        progress: Progress = quiet,
    ) -> Path:
        """Store a companion of the model. See `ModelFolder.keep_companion`.

        :param entry: the model.
        :param companion: the file beside it.
        :param chunks: the bytes of that file.
        :param progress: called as the work proceeds.
        """
        target = self.path_of(entry).with_name(companion.name)
        return self._keep(entry, companion, target, chunks, progress)

    def staging(self, entry: ModelEntry) -> Path:
        """Return a folder for unfinished files. See `ModelFolder.staging`.

        :param entry: the model.
        """
        folder = self._staging(entry)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def lock_of(self, entry: ModelEntry) -> int:
        """Return the descriptor of the lock that `pull` holds. See `ModelFolder.lock_of`.

        :param entry: the model.
        :raises ModelStoreError: outside `pull`.
        """
        if entry.id not in self._locks:
            raise ModelStoreError(f"model {entry.id!r} is not being pulled. Call ModelStore.pull.")
        return self._locks[entry.id]

    def list(self) -> list[dict[str, Any]]:
        """Return every model of the registry, as JSON-ready data."""
        free = fit.free_memory()
        return [self._listed(self.entries[name], free) for name in sorted(self.entries)]

    def info(self, ref: str, *, window: int | None = None) -> dict[str, Any]:
        """Return everything known about one model, as JSON-ready data; its file takes precedence.

        :param ref: an id, an alias, or the path of a file.
        :param window: tokens of window for the memory verdict; None: the default.
        :raises UnknownName: if the registry does not have it.
        :raises ModelStoreError: if the file is broken.
        """
        if self._is_file(ref):
            file = _file_at(Path(ref).expanduser())
            entry = ModelEntry(id="file", source=f"file:{file.path}")
            return {"id": file.id, "present": True, **self._facts(entry, file.path, window)}
        entry = self.entry(ref)
        path, hint = self._whereabouts(entry)
        facts = self._facts(entry, path, window)
        return {**entry.to_dict(), "present": path is not None, "hint": hint, **facts}

    def verify(self, ref: str, progress: Progress = quiet) -> Verification:
        """Compare the file of a model with the registry, hash included. Blocking.

        :param ref: an id, an alias, or the path of a file.
        :param progress: called as the work proceeds.
        :raises UnknownName: if the registry does not have it.
        :raises ModelStoreError: if the file cannot be read.
        """
        if self._is_file(ref):
            file = _file_at(Path(ref).expanduser())
            anonymous = ModelEntry(id="file", source=f"file:{file.path}")
            return replace(verified(anonymous, file.path, progress), id=file.id)
        entry = self.entry(ref)
        path, hint = self._whereabouts(entry)
        if path is None:
            command = f"vanta models pull {entry.id}" if self._can_fetch(entry) else ""
            return Verification(entry.id, "missing", hint, fix=command)
        with disk_errors(self.root, f"reading model {entry.id!r}"):
            return verified(entry, path, progress)

    def _is_file(self, ref: str) -> bool:
        return ref not in self.entries and _is_path(ref)

    def _keep(
        self,
        entry: ModelEntry,
        facts: ModelEntry | CompanionFile,
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
        """Return the file, or None and what to do about it."""
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
        """Return the file if it is intact. A damaged one is removed, but only from the store."""
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
        advice = f"Run `vanta models pull {entry.id}`"
        if not file.is_file():
            raise ModelStoreError(f"model {entry.id!r}: {str(file)!r} is missing. {advice}")
        size = file.stat().st_size
        if expected not in {None, size}:
            raise ModelStoreError(
                f"model {entry.id!r}: {str(file)!r} has {size} bytes where {expected} are "
                f"expected: it is damaged. {advice}"
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
            "sampling": _sampling_facts(entry, header),
        }


def _sampling_facts(entry: ModelEntry, header: ModelHeader | None) -> dict[str, Any] | None:
    """Return the recommended sampling and its source; None for a model that generates no text."""
    if entry.capabilities and not {"chat", "code"} & set(entry.capabilities):
        return None
    recommended = entry.sampling or (header and header.sampling) or CAREFUL
    return {**recommended.values(), "source": recommended.source}


def _shape(
    entry: ModelEntry, size: int | None, header: ModelHeader | None, window: int | None
) -> fit.ModelShape:
    limit = (header and header.window) or entry.window or fit.DEFAULT_WINDOW
    return fit.ModelShape(
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
    """Return a model outside the registry; its id is its path."""
    try:
        missing = not path.is_file()
    except OSError as error:
        raise ModelStoreError(
            f"the model file {str(path)!r} cannot be read: {error.strerror}. Check its permissions."
        ) from error
    if missing:
        raise ModelStoreError(
            f"the model file {str(path)!r} does not exist. Check the path, or choose a model "
            "of the registry: `vanta models list`"
        )
    check_magic(path)
    return ModelFile(str(path), path)
