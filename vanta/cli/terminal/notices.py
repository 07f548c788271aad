"""Notes that are printed once a day, although each command finds the reason for them again.

Each note of a day is an empty file in `notices/` of the data directory. Its creation is the claim,
which one of several processes wins, so there is no lock to hold and no file to parse. A note whose
text has changed is another note. Invariant: if that cannot be recorded, the note is printed.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from pathlib import Path

_FOLDER = "notices"
_NAME = re.compile(r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})-[0-9a-f]{16}")


def claim_notice(data_dir: Path, text: str, day: str = "") -> bool:
    """Return whether this process is the first one today to print a note.

    :param data_dir: the data directory, which is created if it does not exist.
    :param text: the whole note.
    :param day: the day as YYYY-MM-DD; "" for today, local time.
    """
    today = day or time.strftime("%Y-%m-%d")
    digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]
    folder = data_dir / _FOLDER
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(folder / f"{today}-{digest}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    except (OSError, ValueError):
        return True
    _remove_earlier(folder, today)
    return True


def _remove_earlier(folder: Path, today: str) -> None:
    """Remove the files of other days; another process may do the same at the same time."""
    for file in folder.iterdir():
        match = _NAME.fullmatch(file.name)
        if match and match["day"] != today:
            try:
                file.unlink(missing_ok=True)
            except OSError:
                return
