"""The partitions on a server (`chroma run`), by Chroma's asynchronous HTTP client.

Runs in the child process, on asyncio, with many requests at once. Invariant: a collection is named
after its partition and contains ids and vectors, nothing else. A collection that another process
has removed meanwhile is looked up again, or counts as empty.
"""

from __future__ import annotations

import functools
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from vanta import VectorIndexError
from vanta_chroma.partitions import BATCH, GRAPH, neighbours, quiet_settings

if TYPE_CHECKING:
    from vanta.memory import Vectors
    from vanta_chroma.frames import Ids

_PREFIX = "vanta-"
_PAGE = 10_000
MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""Size above which an answer of the server is refused; a page of ids takes 0.3 MB."""

_ATTEMPTS = 3
_Result = TypeVar("_Result")


class ServerBackend:
    """All partitions on the server at `url`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Any = None
        self._collections: dict[str, Any] = {}

    async def load(self) -> None:
        """Connect to the server."""
        await self._connected()

    async def upsert(self, key: str, _dimension: int, ids: Ids, vectors: Vectors) -> None:
        """Put vectors in; existing ids are removed first, as in `OpenPartition.upsert`."""

        async def work(collection: Any) -> None:
            for start in range(0, len(ids), BATCH):
                names = [str(item_id) for item_id in ids[start : start + BATCH].tolist()]
                existing = await collection.get(ids=names, include=[])
                if existing["ids"]:
                    await collection.delete(ids=existing["ids"])
                await collection.upsert(ids=names, embeddings=vectors[start : start + BATCH])

        await self._with_collection(key, work, None, create=True)

    async def delete(self, key: str, _dimension: int, ids: Ids) -> None:
        """Remove ids."""

        async def work(collection: Any) -> None:
            for start in range(0, len(ids), BATCH):
                names = [str(item_id) for item_id in ids[start : start + BATCH].tolist()]
                await collection.delete(ids=names)

        await self._with_collection(key, work, None)

    async def search(
        self, key: str, _dimension: int, vectors: Vectors, limit: int
    ) -> list[list[tuple[int, float]]]:
        """Return the nearest neighbours of each row."""

        async def work(collection: Any) -> list[list[tuple[int, float]]]:
            result = await collection.query(
                query_embeddings=vectors, n_results=limit, include=["distances"]
            )
            return neighbours(result)

        return await self._with_collection(key, work, [[] for _ in vectors])

    async def ids(self, key: str, _dimension: int) -> list[int]:
        """Return all ids of a partition."""

        async def work(collection: Any) -> list[int]:
            ids: list[int] = []
            while True:
                page = await collection.get(limit=_PAGE, offset=len(ids), include=[])
                ids += [int(item_id) for item_id in page["ids"]]
                if len(page["ids"]) < _PAGE:
                    return ids

        return await self._with_collection(key, work, [])

    async def wipe(self, key: str) -> bool:
        """Remove a partition. Returns False: the server's files may still contain its vectors."""
        from chromadb.errors import NotFoundError

        client = await self._connected()
        self._collections.pop(key, None)
        with suppress(NotFoundError):
            await self._answer(client.delete_collection(_PREFIX + key))
        return False

    async def _with_collection(
        self,
        key: str,
        work: Callable[[Any], Awaitable[_Result]],
        default: _Result,
        *,
        create: bool = False,
    ) -> _Result:
        """Return the result of `work` on the collection of `key`, `default` if there is none."""
        from chromadb.errors import NotFoundError

        for _ in range(_ATTEMPTS):
            try:
                return await self._answer(work(await self._collection(key, create=create)))
            except NotFoundError:
                if self._collections.pop(key, None) is None and not create:
                    break
        return default

    async def _collection(self, key: str, *, create: bool) -> Any:
        if key not in self._collections:
            client = await self._connected()
            if create:
                request = client.get_or_create_collection(
                    _PREFIX + key, embedding_function=None, configuration={"hnsw": dict(GRAPH)}
                )
            else:
                request = client.get_collection(_PREFIX + key, embedding_function=None)
            self._collections[key] = await self._answer(request)
        return self._collections[key]

    async def _connected(self) -> Any:
        if self._client is None:
            import chromadb

            parts = urlsplit(self._url)
            host = parts.hostname or ""
            _exclude_from_proxies(host)
            _bound_answers()
            self._client = await self._answer(
                chromadb.AsyncHttpClient(
                    host=f"[{host}]" if ":" in host else host,
                    port=parts.port or (443 if parts.scheme == "https" else 80),
                    ssl=parts.scheme == "https",
                    settings=quiet_settings(),
                )
            )
        return self._client

    async def _answer(self, request: Awaitable[_Result]) -> _Result:
        """Await a request. A server that cannot be reached has lost nothing: owned=True."""
        import httpx

        try:
            return await request
        except (httpx.HTTPError, ValueError) as error:
            raise VectorIndexError(
                f"the Chroma server at {self._url!r} did not answer: {error!r}. Check that "
                "`chroma run` is running there; recall works without vectors meanwhile.",
                owned=True,
            ) from error


@functools.cache
def _bound_answers() -> None:
    """Let Chroma's clients refuse answers of more than `MAX_ANSWER_BYTES` as they come.

    They read each answer as a whole and offer no way to their HTTP client, from the first request
    on. This process is the plugin's own, so their class is changed.
    """
    import httpx
    from chromadb.api.async_fastapi import AsyncFastAPI

    class Bounded(httpx.AsyncByteStream):
        def __init__(self, stream: httpx.AsyncByteStream) -> None:
            self._stream = stream

        async def __aiter__(self) -> AsyncIterator[bytes]:
            left = MAX_ANSWER_BYTES
            async for chunk in self._stream:
                left -= len(chunk)
                if left < 0:
                    raise httpx.ReadError(f"an answer is larger than {MAX_ANSWER_BYTES} bytes")
                yield chunk

        async def aclose(self) -> None:
            await self._stream.aclose()

    async def bound(response: httpx.Response) -> None:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise httpx.DecodingError("an answer is compressed, which was not accepted")
        if isinstance(response.stream, httpx.AsyncByteStream):
            response.stream = Bounded(response.stream)

    unbounded = AsyncFastAPI._get_client  # noqa: SLF001

    def get_client(api: AsyncFastAPI) -> httpx.AsyncClient:
        client = unbounded(api)
        client.follow_redirects = False  # 307 and 308 would send the vectors on
        client.headers["accept-encoding"] = "identity"
        client.event_hooks = {"request": [], "response": [bound]}
        return client

    AsyncFastAPI._get_client = get_client  # type: ignore[assignment,method-assign]  # noqa: SLF001


def _exclude_from_proxies(host: str) -> None:
    """Let Chroma's client, which has no option for it, reach the server directly.

    Both spellings are set, since the one in lower case hides the other.
    """
    for name in ("NO_PROXY", "no_proxy"):
        hosts = [entry for entry in os.environ.get(name, "").split(",") if entry]
        if host not in hosts and (hosts or name == "NO_PROXY"):
            os.environ[name] = ",".join([*hosts, host])
