"""A Chroma server that redirects: no vector reaches the other one."""

from __future__ import annotations

import pytest

from tests.chroma.conftest import OpenChroma
from tests.chroma.support import ADA, vectors
from tests.redirecting import CODES, Answer, Request, forward_to, redirect_to, serving
from vanta.errors import VectorIndexError
from vanta.memory import VectorIndex

pytestmark = pytest.mark.anyio
ANYTHING = Answer(200, {"content-type": "application/json"}, b"{}")


async def use(index: VectorIndex) -> None:
    """Send every request that has vectors or ids."""
    await index.upsert(ADA, [1, 2], vectors(2))
    await index.search(ADA, vectors(1), 1)
    await index.delete(ADA, [1])


@pytest.mark.parametrize("code", CODES)
async def test_a_redirect_of_everything_is_an_error(open_index: OpenChroma, code: int) -> None:
    with serving(lambda _: ANYTHING) as other, serving(redirect_to(other, code)) as server:
        index = open_index(url=server.url)
        with pytest.raises(VectorIndexError):
            await index.upsert(ADA, [1, 2], vectors(2))
        await index.aclose()
        assert server.requests
        assert other.received == b""


@pytest.mark.parametrize("code", [307, 308])
@pytest.mark.parametrize("path", ["/collections ", "/upsert ", "/query ", "/delete "])
async def test_a_redirect_of_one_request_carries_no_vector_away(
    open_index: OpenChroma, server: str, path: str, code: int
) -> None:
    with serving(lambda _: ANYTHING) as other:

        def answer(request: Request) -> Answer:
            if request.line.startswith("POST ") and path in request.line:
                return redirect_to(other, code)(request)
            return forward_to(server, request)

        with serving(answer) as relay:
            index = open_index(url=relay.url)
            with pytest.raises(VectorIndexError):
                await use(index)
            await index.aclose()
            assert any(path in request.line for request in relay.requests)
        assert other.received == b""
