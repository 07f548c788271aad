"""The limits that the operating system sets this process, as far as they decide whether it starts.

Native libraries take a refusal badly: with too little address space OpenBLAS raises Ctrl-C's signal
and others end the process, and without threads a turn waits for its deadline. So the limit is
looked at before they are loaded. Invariant: nothing here fails; an unknown limit counts as none.
"""

from __future__ import annotations

import sys
from pathlib import Path

from vanta.errors import UsageError

NEEDED_BYTES = 512_000_000
"""Address space that an interpreter with vanta's libraries and its threads still needs."""


def address_space_left(root: Path = Path("/")) -> int | None:
    """Return the bytes of address space that this process may still use, None without a limit.

    :param root: where `proc` is mounted.
    """
    limit = _address_space_limit()
    if limit is None:
        return None
    try:
        pages = int((root / "proc/self/statm").read_text("ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return limit
    return max(0, limit - pages * _page_bytes())


def require_address_space(needed: int = NEEDED_BYTES) -> None:
    """Check that the libraries of a runtime can be loaded.

    :param needed: bytes.
    :raises UsageError: if the limit of this process leaves less.
    """
    left = address_space_left()
    if left is not None and left < needed:
        limit = _address_space_limit() or 0
        raise UsageError(
            f"this process may use {limit / 1e6:,.0f} MB of address space ('ulimit -v'), of which "
            f"{left / 1e6:,.0f} MB are left; vanta needs {needed / 1e6:,.0f} MB, and a local model "
            "its size in addition. Raise the limit: `ulimit -v unlimited`, or the limit of the "
            "service or container that started it."
        )


def _address_space_limit() -> int | None:
    if sys.platform == "win32":
        return None
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _page_bytes() -> int:
    import resource

    return resource.getpagesize()
