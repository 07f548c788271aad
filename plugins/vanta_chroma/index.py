"""Chroma as a `VectorIndex`: requests to a child process, which is restarted if it ends.

Chroma holds the interpreter's lock while it writes, takes most of a second to import, and a damaged
file can crash it, so none of it is in this process. Invariant: a partition that crashes Chroma
twice is not opened again until it is wiped. Requests about other partitions are repeated; they only
take longer.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field, field_validator

from vanta import VectorIndexError, install_hint
from vanta.memory import IndexContext, Partition, VectorIndex
from vanta_chroma.child_channel import ChannelClosedError, ChildChannel
from vanta_chroma.frames import Frame, pack_rows, unpack_rows

if TYPE_CHECKING:
    from vanta.memory import Vectors

BATCH = 100
"""Maximum number of records in one request: other requests run between two of them."""

_MAX_STARTS = 4
_MAX_CRASHES = 2

StartChannel = Callable[[dict[str, Any], float], Awaitable[ChildChannel]]


class ChromaOptions(BaseModel):
    """`memory.index_options`: where the vectors are, and how long a request may take."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str | None = Field(
        default=None,
        description="a server started with `chroma run`, as http://HOST:PORT, for many processes; "
        "None: files that belong to this process alone",
    )
    trusted: bool = Field(
        default=False,
        description="whether a server on another machine may have the vectors of private turns",
    )
    timeout_s: float = Field(
        default=30.0,
        gt=0,
        le=3600,
        description="seconds that one request may take; the process that runs Chroma is ended then",
    )

    @field_validator("url")
    @classmethod
    def _require_host(cls, url: str | None) -> str | None:
        if url is not None:
            parts = urlsplit(url)
            more = parts.path.strip("/") or parts.query or parts.fragment or parts.username
            if parts.scheme not in {"http", "https"} or not parts.hostname or more:
                raise ValueError("must be a URL such as http://127.0.0.1:8000, with nothing more")
            _ = parts.port  # raises ValueError if it is not a number
        return url

    @property
    def may_have_private(self) -> bool:
        """Whether the vectors of private turns may be stored where these options point."""
        return self.trusted or self.url is None or _is_local(urlsplit(self.url).hostname or "")


class ChromaIndex(VectorIndex):
    """Vectors in Chroma: embedded, in a child process that owns the folder, or on a server.

    start_channel: starts a child process, given its settings and the time limit of a request.
    """

    name = "chroma"

    def __init__(
        self,
        options: ChromaOptions,
        context: IndexContext,
        *,
        start_channel: StartChannel = ChildChannel.start,
    ) -> None:
        self._options = options
        self._folder = context.folder
        self._start_channel = start_channel
        self._channel: ChildChannel | None = None
        self._starting = anyio.Lock()
        self._broken: dict[str, str] = {}
        self._post_mortem = ""
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The pid of the child process, None if it is not running."""
        return None if self._channel is None else self._channel.pid

    async def load(self) -> None:
        """Start the child process and let it import Chroma and lock the folder."""
        await self._request(None, {"op": "load"})

    async def upsert(self, partition: Partition, ids: Sequence[int], vectors: Vectors) -> None:
        """Put vectors in, in batches; of an id that occurs twice, the last vector counts."""
        _require_shape(partition, vectors, len(ids))
        last_row = {item_id: row for row, item_id in enumerate(ids)}
        unique, rows = list(last_row), list(last_row.values())
        for start in range(0, len(unique), BATCH):
            batch = vectors[rows[start : start + BATCH]]
            body = pack_rows(unique[start : start + BATCH], batch)
            await self._request(partition, {"op": "upsert"}, body)

    async def delete(self, partition: Partition, ids: Sequence[int]) -> None:
        """Remove ids, in batches."""
        for start in range(0, len(ids), BATCH):
            body = _id_bytes(ids[start : start + BATCH])
            await self._request(partition, {"op": "delete"}, body)

    async def search(
        self, partition: Partition, vectors: Vectors, limit: int
    ) -> list[list[tuple[int, float]]]:
        """Return the nearest neighbours by Chroma's approximate search."""
        _require_shape(partition, vectors, len(vectors))
        if not len(vectors) or limit < 1:
            return [[] for _ in vectors]
        head = {"op": "search", "limit": limit}
        reply = await self._request(partition, head, _vector_bytes(vectors))
        ids, cosines = unpack_rows(reply.body, 1)
        pairs = iter(zip(ids.tolist(), cosines[:, 0].tolist(), strict=True))
        return [[next(pairs) for _ in range(count)] for count in reply.head["counts"]]

    async def ids(self, partition: Partition) -> frozenset[int]:
        """Return all ids of a partition."""
        reply = await self._request(partition, {"op": "ids"})
        return frozenset(unpack_rows(reply.body, 0)[0].tolist())

    async def wipe(self, partition: Partition) -> bool:
        """Remove the partition's folder without opening its files."""
        reply = await self._request(partition, {"op": "wipe"})
        self._broken.pop(partition.key, None)
        return bool(reply.head["certain"])

    async def aclose(self) -> None:
        """End the child process and wait until it is gone."""
        self._closed = True
        with anyio.CancelScope(shield=True):
            async with self._starting:
                await self._close_channel()

    async def _request(
        self, partition: Partition | None, head: dict[str, Any], body: bytes = b""
    ) -> Frame:
        """Return the reply to a request; a second process gets it if the first one crashes."""
        crashes = 0
        post_mortem = "it ended each time before the request was sent"
        if partition is not None:
            head = {**head, **self._admit(partition, head["op"])}
        for _ in range(_MAX_STARTS):
            channel = await self._ready()
            try:
                reply = await channel.request(head, body)
                if "last" in reply.head:
                    await self._retire(channel)
                return _checked(reply)
            except ChannelClosedError as closed:
                post_mortem = await self._retire(channel)
                crashes += closed.was_busy
            if crashes >= _MAX_CRASHES:
                break
        raise await self._crash_error(
            partition, head["op"], post_mortem, is_guilty=crashes >= _MAX_CRASHES
        )

    def _admit(self, partition: Partition, operation: str) -> dict[str, Any]:
        """Return the partition's fields of a request. Raises VectorIndexError if it is refused."""
        if operation != "wipe" and partition.key in self._broken:
            raise VectorIndexError(self._broken[partition.key])
        if partition.private and not self._options.may_have_private:
            raise VectorIndexError(
                f"the vectors of private turns are not sent to {self._options.url!r}, which is "
                "another machine; recall of private turns works without them. Set "
                "memory.index_options.trusted if it may have them.",
                owned=True,
            )
        return {"key": partition.key, "dimension": partition.dimension}

    async def _ready(self) -> ChildChannel:
        """Return a channel that takes requests; a process is started if there is none."""
        async with self._starting:
            if self._closed:
                raise VectorIndexError("the index is closed. Open memory again.")
            if self._channel is None or not self._channel.is_usable:
                await self._close_channel()
                self._channel = await self._started()
            return self._channel

    async def _started(self) -> ChildChannel:
        settings = {"folder": str(self._folder.absolute()), "url": self._options.url}
        try:
            return await self._start_channel(settings, self._options.timeout_s)
        except OSError as error:
            raise VectorIndexError(
                f"the process that runs Chroma could not be started: {error}. Recall works "
                "without vectors; check that this Python can start processes."
            ) from error

    async def _retire(self, channel: ChildChannel) -> str:
        """Close `channel`, unless that is done, and return how its process ended."""
        async with self._starting:
            if self._channel is channel:
                await self._close_channel()
            return self._post_mortem

    async def _close_channel(self) -> None:
        """End the child process, if any, even if the caller is cancelled. Requires the lock."""
        with anyio.CancelScope(shield=True):
            channel, self._channel = self._channel, None
            if channel is not None:
                await channel.aclose()
                self._post_mortem = await channel.post_mortem()

    async def _crash_error(
        self, partition: Partition | None, operation: str, post_mortem: str, *, is_guilty: bool
    ) -> VectorIndexError:
        """Return the error for a request without an answer. is_guilty: it crashed the process."""
        problem = f"the process that runs Chroma ended repeatedly on {operation!r}: {post_mortem}. "
        if partition is None:
            hint = await anyio.to_thread.run_sync(install_hint, "chroma")
            problem += f"Recall works without vectors. Reinstall Chroma: {hint}."
            return VectorIndexError(problem)
        folder = str(self._folder / partition.key)
        problem += f"The vectors in {folder!r} are rebuilt from the store."
        if is_guilty and self._options.url is None and operation != "wipe":
            self._broken[partition.key] = problem
        return VectorIndexError(problem)


def _checked(reply: Frame) -> Frame:
    """Return the reply. Raises VectorIndexError if it reports an error."""
    if "error" in reply.head:
        raise VectorIndexError(reply.head["error"], owned=reply.head["owned"])
    return reply


def _require_shape(partition: Partition, vectors: Vectors, count: int) -> None:
    expected = (count, partition.dimension)
    if vectors.shape != expected:
        raise VectorIndexError(
            f"the vectors must have the shape {expected}, not {vectors.shape}. Rebuild the index "
            "with the configured embedder."
        )


def _is_local(host: str) -> bool:
    """Return whether a host is certainly this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _vector_bytes(vectors: Vectors) -> bytes:
    import numpy as np

    return np.ascontiguousarray(vectors, "<f4").tobytes()


def _id_bytes(ids: Sequence[int]) -> bytes:
    import numpy as np

    return np.asarray(ids, "<i8").tobytes()
