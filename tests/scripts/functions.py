"""Functions that the tests' scripts call by `python: module:function`."""

from __future__ import annotations

import anyio.lowlevel

from vanta.expectations import Seen

NUMBER = 1


def says_ada(seen: Seen) -> str | None:
    return None if "Ada" in seen.reply.text else "there is no Ada in it"


async def waits(seen: Seen) -> str | None:
    await anyio.lowlevel.checkpoint()
    return says_ada(seen)


def says_true(_seen: Seen) -> bool:
    return True


def says_false(_seen: Seen) -> bool:
    return False
