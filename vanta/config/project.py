"""The project folder: the files by which a folder can change what vanta does, and their trust.

A project is a working directory with a `vanta.toml`, an `.mcp.json` or templates in
`.vanta/templates`.
Invariant: the bytes that are parsed are those whose digest was compared. Looking at a folder runs
no code, follows no link out of it, and reads a limited number of bytes.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vanta.config import layers
from vanta.config.layers import Origin, Setting
from vanta.config.mcp_file import SHARED_FILE, shared_settings
from vanta.config.trust_store import TrustedFolder
from vanta.errors import ConfigError
from vanta.files import read_file

PROJECT_FILE = Path("vanta.toml")
TEMPLATES = Path(".vanta", "templates")
_FITTED = ("router.json", "gate.json")
_MOST_FILES = 1000
_MOST_SETTINGS = 5000
_MOST_BYTES = 1 << 25


@dataclass(frozen=True, slots=True)
class ProjectFolder:
    """A folder with a configuration or templates.

    :param path: the folder, links resolved.
    :param content: the bytes of its `vanta.toml`, or None.
    :param servers: the bytes of its `.mcp.json`, or None.
    """

    path: Path
    content: bytes | None
    servers: bytes | None = None

    @property
    def has_templates(self) -> bool:
        """Whether it has templates of its own, which are not read before it is trusted."""
        return _is_folder(self.path / TEMPLATES)

    @property
    def templates_setting(self) -> Setting:
        """A setting that stands for the templates in lists of what does not count."""
        return Setting((str(TEMPLATES),), None, Origin("file", str(TEMPLATES)))

    def settings(self) -> list[Setting]:
        """Return the settings of both files; `vanta.toml` stands above. Raises ConfigError."""
        shared = [] if self.servers is None else shared_settings(self.servers)
        if self.content is None:
            return shared
        text = layers.decode(PROJECT_FILE, self.content)
        return [*shared, *layers.from_text(PROJECT_FILE, text, _MOST_SETTINGS)]

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each file that counts, by its path in the folder. Blocking.

        :raises ConfigError: if a file cannot be read, or there are too many.
        """
        files: dict[str, str] = {}
        if self.content is not None:
            files[str(PROJECT_FILE)] = _digest(self.content)
        if self.servers is not None:
            files[str(SHARED_FILE)] = _digest(self.servers)
        for path in self._other_files():
            files[path.relative_to(self.path).as_posix()] = _digest(_read(path, _MOST_BYTES))
            if len(files) > _MOST_FILES:
                raise ConfigError(
                    f"{str(self.path)!r} has more than {_MOST_FILES} templates. Remove some, or "
                    "work in another folder."
                )
        return files

    def as_trusted(self) -> TrustedFolder:
        """Return the entry that records trust in the folder as it is now. Raises ConfigError."""
        return TrustedFolder(self.path, self.digests(), time.time())

    def _other_files(self) -> Iterator[Path]:
        """Yield the templates, and what a data directory inside the project adds."""
        yield from _templates(self.path / TEMPLATES)
        data_dir = self._data_dir()
        if data_dir is None or not data_dir.is_relative_to(self.path):
            return
        if data_dir / "templates" != self.path / TEMPLATES:
            yield from _templates(data_dir / "templates")
        yield from (data_dir / name for name in _FITTED if (data_dir / name).is_file())

    def _data_dir(self) -> Path | None:
        if self.content is None:
            return None
        text = layers.decode(PROJECT_FILE, self.content)
        settings = layers.from_text(self.path / PROJECT_FILE, text, _MOST_SETTINGS)
        values = [item.value for item in settings if item.key == ("data_dir",)]
        return Path(os.path.normpath(str(values[0]))) if values else None


def find_project(folder: Path) -> ProjectFolder | None:
    """Return the project in a folder, or None if there is none. Blocking.

    :param folder: the folder itself; the folders above it are not searched.
    :raises ConfigError: if its `vanta.toml` or its `.mcp.json` cannot be read.
    """
    try:
        path = folder.resolve()
    except (OSError, RuntimeError):  # it no longer exists, or its links form a circle
        return None
    content, servers = (
        _read(path / name, layers.MAX_FILE_BYTES) if os.path.lexists(path / name) else None
        for name in (PROJECT_FILE, SHARED_FILE)
    )
    is_project = content is not None or servers is not None or _is_folder(path / TEMPLATES)
    return ProjectFolder(path, content, servers) if is_project else None


def _templates(folder: Path) -> Iterator[Path]:
    """Yield the templates in a folder of the project; links to folders are not followed."""
    pending = [folder] if _is_folder(folder) else []
    seen = 0
    while pending:
        try:
            entries = sorted(os.scandir(pending.pop()), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            seen += 1
            if seen > 10 * _MOST_FILES:
                raise ConfigError(
                    f"{str(folder)!r} has too many files. Remove some, or work in another folder."
                )
            if entry.is_dir(follow_symlinks=False):
                pending.append(Path(entry.path))
            elif entry.name.endswith(".j2"):
                yield Path(entry.path)


def _is_folder(path: Path) -> bool:
    """Return whether a path is a folder, and neither it nor the one above it is a link."""
    try:
        return all(stat.S_ISDIR(item.lstat().st_mode) for item in (path.parent, path))
    except OSError:
        return False


def _read(path: Path, most_bytes: int) -> bytes:
    try:
        return read_file(path, most_bytes)
    except OSError as error:
        raise ConfigError(
            f"the project's file {str(path)!r} cannot be read: {error.strerror}. Check it, or "
            "work in another folder."
        ) from None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
