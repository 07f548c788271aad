"""Chroma as a `VectorIndex`: requests to a process that runs it, which is started anew if it ends.

Chroma holds the interpreter while it writes, is loaded in the better part of a second, and a
damaged file can crash it: so none of it is in this process. Invariant: a partition that crashes
Chroma twice is not opened again before it is wiped; requests about others are asked again, and
notice nothing but the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import anyio

from vanta import install_hint
from vanta.errors import VectorIndexError
from vanta.memory.index import IndexContext, Partition, VectorIndex
from vanta_chroma.child_channel import Channel, ChannelClosed
from vanta_chroma.frames import Frame, pack_rows, unpack_rows

if TYPE_CHECKING:
    from vanta.memory.index import Vectors
    from vanta_chroma.options import ChromaOptions

BATCH = 100
"""Records in one request: between two of them others have their turn."""
_STARTS = 4
_STRIKES = 2


class ChromaIndex(VectorIndex):
    """Vectors in Chroma, embedded (a process of our own, which owns the folder) or on a server."""

    name = "chroma"

    def __init__(self, options: ChromaOptions, context: IndexContext) -> None:
        self._options = options
        self._folder = context.folder
        self._channel: Channel | None = None
        self._starting = anyio.Lock()
        self._broken: dict[str, str] = {}
        self._words = ""
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The number of the process that runs Chroma; None while there is none."""
        return None if self._channel is None else self._channel.pid

    async def load(self) -> None:
        """Start the process and let it load Chroma and own the folder."""
        await self._ask(None, {"op": "load"})

    async def upsert(self, partition: Partition, ids: Sequence[int], vectors: Vectors) -> None:
        """Put vectors in, a batch at a time; of an id that comes twice the last one counts."""
        _require_shape(partition, vectors, len(ids))
        last = {one: row for row, one in enumerate(ids)}
        unique, rows = list(last), list(last.values())
        for start in range(0, len(unique), BATCH):
            batch = vectors[rows[start : start + BATCH]]
            body = pack_rows(unique[start : start + BATCH], batch)
            await self._ask(partition, {"op": "upsert"}, body)

    async def delete(self, partition: Partition, ids: Sequence[int]) -> None:
        """Take ids out, a batch at a time."""
        for start in range(0, len(ids), BATCH):
            body = _ids(ids[start : start + BATCH])
            await self._ask(partition, {"op": "delete"}, body)

    async def search(
        self, partition: Partition, vectors: Vectors, limit: int
    ) -> list[list[tuple[int, float]]]:
        """The nearest, by Chroma's approximate search."""
        _require_shape(partition, vectors, len(vectors))
        if not len(vectors) or limit < 1:
            return [[] for _ in vectors]
        reply = await self._ask(partition, {"op": "search", "limit": limit}, _bytes(vectors))
        ids, cosines = unpack_rows(reply.body, 1)
        pairs = iter(zip(ids.tolist(), cosines[:, 0].tolist(), strict=True))
        return [[next(pairs) for _ in range(count)] for count in reply.head["counts"]]

    async def ids(self, partition: Partition) -> frozenset[int]:
        """All ids of a partition."""
        reply = await self._ask(partition, {"op": "ids"})
        return frozenset(unpack_rows(reply.body, 0)[0].tolist())

    async def wipe(self, partition: Partition) -> bool:
        """Remove the partition's folder, without opening what is in it."""
        reply = await self._ask(partition, {"op": "wipe"})
        self._broken.pop(partition.key, None)
        return bool(reply.head["certain"])

    async def aclose(self) -> None:
        """End the process; it is gone when this returns."""
        self._closed = True
        with anyio.CancelScope(shield=True):
            async with self._starting:
                await self._bury()

    async def _ask(
        self, partition: Partition | None, head: dict[str, Any], body: bytes = b""
    ) -> Frame:
        """The reply to a request, from a second process if the first one ends over it."""
        strikes = 0
        words = "it ended each time before it was asked"
        if partition is not None:
            head = {**head, **self._admitted(partition, head["op"])}
        for _ in range(_STARTS):
            channel = await self._ready()
            try:
                reply = await channel.ask(head, body)
                if "last" in reply.head:
                    await self._buried(channel)
                return _sound(reply)
            except ChannelClosed as closed:
                words = await self._buried(channel)
                strikes += closed.at_work
            if strikes >= _STRIKES:
                break
        raise self._gave_up(partition, head["op"], words, guilty=strikes >= _STRIKES)

    def _admitted(self, partition: Partition, op: str) -> dict[str, Any]:
        """The partition as the process knows it. Raises VectorIndexError for one that may not be
        opened."""
        if op != "wipe" and partition.key in self._broken:
            raise VectorIndexError(self._broken[partition.key])
        if partition.private and not self._options.may_have_private:
            raise VectorIndexError(
                f"the vectors of private turns do not go to {self._options.url!r}, which is "
                "another machine; recall of private turns works without them. Set "
                "memory.index_options.trusted if it may have them.",
                owned=True,
            )
        return {"key": partition.key, "dimension": partition.dimension}

    async def _ready(self) -> Channel:
        """A process that can be asked; started if there is none."""
        async with self._starting:
            if self._closed:
                raise VectorIndexError("the index is closed. Open memory again.")
            if self._channel is None or not self._channel.usable:
                await self._bury()
                self._channel = await self._started()
            return self._channel

    async def _started(self) -> Channel:
        folder = str(self._folder.absolute())
        settings = {"folder": folder, "url": self._options.url}
        try:
            return await Channel.start(settings, self._options.timeout_s)
        except OSError as error:
            raise VectorIndexError(
                f"the process that runs Chroma could not be started: {error}. Recall works "
                "without vectors; see that this Python can start processes."
            ) from error

    async def _buried(self, channel: Channel) -> str:
        """Let nobody ask `channel` again; its last words."""
        async with self._starting:
            if self._channel is channel:
                await self._bury()
            return self._words

    async def _bury(self) -> None:
        """End the process, if there is one, whoever is cancelled; to be called under the lock."""
        with anyio.CancelScope(shield=True):
            channel, self._channel = self._channel, None
            if channel is not None:
                await channel.aclose()
                self._words = await channel.last_words()

    def _gave_up(
        self, partition: Partition | None, op: str, words: str, *, guilty: bool
    ) -> VectorIndexError:
        """The error for a request that has no answer. guilty: the process ended over it."""
        why = f"the process that runs Chroma ended again and again over {op!r}: {words}. "
        if partition is None:
            why += "Recall works without vectors. "
            return VectorIndexError(f"{why}Reinstall Chroma: {install_hint('chroma')}.")
        why += (
            f"The vectors in {str(self._folder / partition.key)!r} are built again from the store."
        )
        if guilty and self._options.url is None and op != "wipe":
            self._broken[partition.key] = why
        return VectorIndexError(why)


def _sound(reply: Frame) -> Frame:
    """The reply, unless it is an error. Raises VectorIndexError."""
    if "error" in reply.head:
        raise VectorIndexError(reply.head["error"], owned=reply.head["owned"])
    return reply


def _require_shape(partition: Partition, vectors: Vectors, count: int) -> None:
    if vectors.shape != (count, partition.dimension):
        raise VectorIndexError(
            f"{count} vectors of {partition.dimension} were expected and an array of shape "
            f"{vectors.shape} came. Rebuild the index with the embedder that is configured."
        )


def _bytes(vectors: Vectors) -> bytes:
    import numpy as np

    return np.ascontiguousarray(vectors, "<f4").tobytes()


def _ids(ids: Sequence[int]) -> bytes:
    import numpy as np

    return np.asarray(ids, "<i8").tobytes()
