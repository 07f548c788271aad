"""The record of trusted project folders: a file of the user, whatever `data_dir` is.

Invariant: the file is readable and writable by its owner alone, is replaced whole under a lock, and
a file that another user can write counts as empty.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from vanta.errors import ConfigError
from vanta.files import exclusive, parse_json, private_folder, read_file, write_private

VERSION = 1
_MOST_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class TrustedFolder:
    """One folder that a person has trusted.

    :param folder: its path, links resolved.
    :param files: the SHA-256 of each file that counted then, by its path in the folder.
    :param trusted_at: when, in seconds since the epoch.
    """

    folder: Path
    files: Mapping[str, str] = field(default_factory=dict)
    trusted_at: float = 0.0


def trust_file() -> Path:
    """Return the path of the record, which need not exist."""
    return platformdirs.user_data_path("vanta", appauthor=False) / "trust.json"


def trusted_folders() -> dict[Path, TrustedFolder]:
    """Return the trusted folders by path. Blocking.

    :raises ConfigError: if the record is damaged, or others can write it.
    """
    path = trust_file()
    try:
        _require_own(path)
        data = parse_json(read_file(path, _MOST_BYTES))
        return {Path(item["folder"]): _folder(item) for item in _items(data)}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(
            f"the record of trusted folders {str(path)!r} cannot be used: {error.strerror}. Make "
            "it a file of your own (chmod 600), or remove it and trust the folders again."
        ) from None
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            f"the record of trusted folders {str(path)!r} is damaged ({error}). Remove it, and "
            "trust the folders again."
        ) from None


def add_trust(trusted: TrustedFolder) -> None:
    """Record a folder; an earlier entry of it is replaced. Blocking.

    :raises ConfigError: if the record is damaged or cannot be written.
    """

    def change(folders: dict[Path, TrustedFolder]) -> None:
        folders[trusted.folder] = trusted

    _change(change)


def revoke_trust(folder: Path | None) -> tuple[Path, ...]:
    """Remove a folder from the record, or all of them. Blocking.

    :param folder: its path, links resolved; None for all.
    :returns: the folders that were removed.
    :raises ConfigError: if the record is damaged or cannot be written.
    """
    removed: list[Path] = []

    def change(folders: dict[Path, TrustedFolder]) -> None:
        removed.extend(path for path in folders if folder in (None, path))
        for path in removed:
            del folders[path]

    _change(change)
    return tuple(removed)


def _change(change: Callable[[dict[Path, TrustedFolder]], None]) -> None:
    path = trust_file()
    try:
        private_folder(path.parent)
        with exclusive(path.with_suffix(".lock")):
            folders = trusted_folders()
            change(folders)
            items = [
                {"folder": str(item.folder), "files": dict(item.files), "at": item.trusted_at}
                for item in folders.values()
            ]
            write_private(path, json.dumps({"version": VERSION, "folders": items}, indent=1))
    except OSError as error:
        raise ConfigError(
            f"the record of trusted folders {str(path)!r} cannot be written: "
            f"{error.strerror or error}. Make its folder writable and try again."
        ) from error


def _items(data: Any) -> list[dict[str, Any]]:
    if data["version"] != VERSION:
        raise ValueError(f"version {data['version']!r}")
    return list(data["folders"])


def _folder(item: dict[str, Any]) -> TrustedFolder:
    files = {str(name): str(digest) for name, digest in item["files"].items()}
    return TrustedFolder(Path(item["folder"]), files, float(item.get("at", time.time())))


def _require_own(path: Path) -> None:
    """Raise OSError if another user owns the record or can write it."""
    status = path.lstat()
    if sys.platform == "win32":
        return
    if not stat.S_ISREG(status.st_mode):
        raise OSError(22, "it is not a regular file", str(path))
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise PermissionError(1, "another user can change it", str(path))
