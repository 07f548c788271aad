"""The partitions on a server (`chroma run`), by Chroma's asynchronous HTTP client.

Runs in the process that the index starts, on asyncio, many requests at once. Invariant: a
collection has the name of its partition and holds ids and vectors, nothing else; one that another
process has removed meanwhile is found anew, or is not there.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from vanta.errors import VectorIndexError
from vanta_chroma.partition import BATCH, GRAPH, pairs, quiet_settings

if TYPE_CHECKING:
    from vanta_chroma.frames import Ids, Vectors

_PREFIX = "vanta-"
_PAGE = 10_000
_Result = TypeVar("_Result")


class Remote:
    """All partitions on the server at `url`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Any = None
        self._collections: dict[str, Any] = {}

    async def load(self) -> None:
        """Reach the server."""
        await self._reached()

    async def upsert(self, key: str, _dimension: int, ids: Ids, vectors: Vectors) -> None:
        """Put vectors in; those that are there are taken out first, as in an open partition."""

        async def work(collection: Any) -> None:
            for start in range(0, len(ids), BATCH):
                names = [str(one) for one in ids[start : start + BATCH].tolist()]
                there = await collection.get(ids=names, include=[])
                if there["ids"]:
                    await collection.delete(ids=there["ids"])
                await collection.upsert(ids=names, embeddings=vectors[start : start + BATCH])

        await self._within(key, work, None, create=True)

    async def delete(self, key: str, _dimension: int, ids: Ids) -> None:
        """Take ids out."""

        async def work(collection: Any) -> None:
            for start in range(0, len(ids), BATCH):
                names = [str(one) for one in ids[start : start + BATCH].tolist()]
                await collection.delete(ids=names)

        await self._within(key, work, None)

    async def search(
        self, key: str, _dimension: int, vectors: Vectors, limit: int
    ) -> list[list[tuple[int, float]]]:
        """The nearest of a partition for each row."""

        async def work(collection: Any) -> list[list[tuple[int, float]]]:
            found = await collection.query(
                query_embeddings=vectors, n_results=limit, include=["distances"]
            )
            return pairs(found)

        return await self._within(key, work, [[] for _ in vectors])

    async def ids(self, key: str, _dimension: int) -> list[int]:
        """All ids of a partition."""

        async def work(collection: Any) -> list[int]:
            found: list[int] = []
            while True:
                page = await collection.get(limit=_PAGE, offset=len(found), include=[])
                found += [int(one) for one in page["ids"]]
                if len(page["ids"]) < _PAGE:
                    return found

        return await self._within(key, work, [])

    async def wipe(self, key: str) -> bool:
        """Remove a partition; what is left in the server's files only the server knows."""
        from chromadb.errors import NotFoundError

        client = await self._reached()
        self._collections.pop(key, None)
        with suppress(NotFoundError):
            await self._told(client.delete_collection(_PREFIX + key))
        return False

    async def _within(
        self,
        key: str,
        work: Callable[[Any], Awaitable[_Result]],
        missing: _Result,
        *,
        create: bool = False,
    ) -> _Result:
        """What `work` makes of the collection of `key`; `missing` if there is none."""
        from chromadb.errors import NotFoundError

        for _ in range(3):
            try:
                return await self._told(work(await self._collection(key, create=create)))
            except NotFoundError:
                if self._collections.pop(key, None) is None and not create:
                    break
        return missing

    async def _collection(self, key: str, *, create: bool) -> Any:
        if key not in self._collections:
            client = await self._reached()
            if create:
                made = client.get_or_create_collection(
                    _PREFIX + key, embedding_function=None, configuration={"hnsw": dict(GRAPH)}
                )
            else:
                made = client.get_collection(_PREFIX + key, embedding_function=None)
            self._collections[key] = await self._told(made)
        return self._collections[key]

    async def _reached(self) -> Any:
        if self._client is None:
            import chromadb

            parts = urlsplit(self._url)
            host = parts.hostname or ""
            os.environ["NO_PROXY"] = ",".join(filter(None, (os.environ.get("NO_PROXY"), host)))
            self._client = await self._told(
                chromadb.AsyncHttpClient(
                    host=f"[{host}]" if ":" in host else host,
                    port=parts.port or (443 if parts.scheme == "https" else 80),
                    ssl=parts.scheme == "https",
                    settings=quiet_settings(),
                )
            )
        return self._client

    async def _told(self, asked: Awaitable[_Result]) -> _Result:
        """What the server answers. A server that cannot be asked has lost nothing: owned=True."""
        import httpx

        try:
            return await asked
        except (httpx.HTTPError, ValueError) as error:
            raise VectorIndexError(
                f"the Chroma server at {self._url!r} could not be asked: {error!r}. See that "
                "`chroma run` is running there; recall works without vectors meanwhile.",
                owned=True,
            ) from error
