"""What can be derived again, kept on disk: whole and unchanged, or as if it were not there.

Invariant: a cache is never needed. A damaged file is taken for none, and one that cannot be written
is only said in the log.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from pathlib import Path

from vanta.models.files import write_whole

_log = logging.getLogger("vanta.embedders")
_DIGEST = 32


def kept(path: Path) -> bytes | None:
    """What `keep` wrote there; None if there is nothing, or nothing that is whole."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, body = content[:_DIGEST], content[_DIGEST:]
    if hashlib.sha256(body).digest() != digest:
        _log.warning("%s is damaged and is made anew", path)
        return None
    return body


def keep(path: Path, body: bytes) -> None:
    """Write `body` in one step, with its hash."""
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, (hashlib.sha256(body).digest(), body), partial=partial)
    except OSError as error:
        _log.warning("%s cannot be written (%s); it is made anew each time", path, error)
