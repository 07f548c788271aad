"""Functions that the tests' scripts call by `python: module:function`."""

from __future__ import annotations

import anyio.lowlevel

from vanta.expectations import CheckedTurn

NUMBER = 1


def says_ada(seen: CheckedTurn) -> str | None:
    return None if "Ada" in seen.reply.text else "there is no Ada in it"


async def waits(seen: CheckedTurn) -> str | None:
    await anyio.lowlevel.checkpoint()
    return says_ada(seen)


def says_true(_seen: CheckedTurn) -> bool:
    return True


def says_false(_seen: CheckedTurn) -> bool:
    return False
