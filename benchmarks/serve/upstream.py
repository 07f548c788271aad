"""A server with one answer to everything, whole or cut in the middle, in a process of its own.

    python -m benchmarks.serve.upstream TEXT [CUT_AFTER]

Prints its base URL and ends with its standard input. With CUT_AFTER the connection breaks after so
many tokens. Asked to continue an answer, it repeats the whole text, as many models do: what was
shown before must not appear twice.
"""

from __future__ import annotations

import sys

import anyio
import anyio.to_thread

from vanta.testing import Behaviour, Upstream


async def main(text: str, cut_after: int | None) -> None:
    """Serve until the standard input ends."""
    answer = Behaviour.answer(text)
    behaviour = answer if cut_after is None else Behaviour.cut(cut_after, text)
    async with Upstream(behaviour, models=("m",)) as upstream:
        print(upstream.base_url, flush=True)
        await anyio.to_thread.run_sync(sys.stdin.read)


if __name__ == "__main__":
    _, text, *rest = sys.argv
    anyio.run(main, text, int(rest[0]) if rest else None)
