"""Functions that scripts of this folder call by `python`."""

from __future__ import annotations

import anyio.lowlevel

from vanta.expectations import CheckedTurn


def is_short(seen: CheckedTurn) -> str | None:
    words = len(seen.reply.text.split())
    return None if words < 12 else f"a reply of {words} words"


async def is_kind(seen: CheckedTurn) -> bool:
    await anyio.lowlevel.checkpoint()
    return "Nice to meet you" in seen.reply.text
