"""Finds script files.

Invariant: a file that is named is taken whatever its name; in a folder, scripts are the files that
end in `.yaml` or `.yml` and nothing hidden is looked at; the order is that of the names.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from vanta.errors import ScriptError

_ENDINGS = (".yaml", ".yml")


def find_scripts(paths: Iterable[Path]) -> list[Path]:
    """The script files at `paths`, folders looked through; each once. Blocking.

    Raises ScriptError for a folder without a script.
    """
    found: dict[Path, None] = {}
    for path in paths:
        inside = sorted(_inside(path)) if path.is_dir() else [path]
        if not inside:
            raise ScriptError(
                f"{path}: there is no script in this folder. Scripts end in .yaml or .yml."
            )
        found |= dict.fromkeys(inside)
    return list(found)


def _inside(folder: Path) -> Iterator[Path]:
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "__"))]
        yield from (
            Path(here, name)
            for name in files
            if name.endswith(_ENDINGS) and not name.startswith(".")
        )
