"""The pytest plugin: what `vanta.testing` offers, as fixtures.

Installed with vanta and loaded by pytest itself. Invariant: loading it imports nothing but pytest;
each fixture imports what it needs. The asynchronous ones are anyio's to run: the test that uses
them is marked `pytest.mark.anyio`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from vanta.runtime import Runtime, Session
    from vanta.testing.loop_guard import LoopGuard
    from vanta.testing.scripted import ScriptedEngine
    from vanta.testing.upstream import Upstream

pytest.register_assert_rewrite("vanta.testing.conformance")


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """A running `Upstream` that answers; script it with `upstream.then(...)`."""
    from vanta.testing.upstream import Upstream

    async with Upstream() as running:
        yield running


@pytest.fixture
def scripted() -> Iterator[Callable[..., ScriptedEngine]]:
    """Makes `ScriptedEngine`s; the test fails if one has a stream open when the test is over."""
    from vanta.testing.scripted import ScriptedEngine

    made: list[ScriptedEngine] = []

    def make(*script: Any, **options: Any) -> ScriptedEngine:
        made.append(ScriptedEngine(*script, **options))
        return made[-1]

    yield make
    left = [engine.name for engine in made if engine.streaming]
    if left:
        pytest.fail(f"streams were left open on {left}")


@pytest.fixture
async def vanta_runtime(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Opens runtimes whose tracks are scripted: `await vanta_runtime(local=engine, api=engine)`.

    Every keyword that is an engine is a track of that name; the others are configuration. They are
    closed after the test; their data is under `tmp_path`.
    """
    from vanta.testing.scripted import open_scripted

    async with AsyncExitStack() as stack:

        async def open_runtime(**given: Any) -> Runtime:
            return await stack.enter_async_context(open_scripted(tmp_path, given))

        yield open_runtime


@pytest.fixture
async def vanta_session(vanta_runtime: Callable[..., Any]) -> Callable[..., Any]:
    """Makes sessions: `await vanta_session("ada", local=engine)`, on a runtime as `vanta_runtime`
    opens it with the keywords."""

    async def session(id: str, *, user: str = "default", **given: Any) -> Session:  # noqa: A002
        runtime = await vanta_runtime(**given)
        return runtime.session(id, user=user)  # type: ignore[no-any-return]

    return session


@pytest.fixture
def no_blocking(request: pytest.FixtureRequest) -> Iterator[LoopGuard]:
    """The test fails if anything blocks the event loop; the test's own file may."""
    from vanta.testing.loop_guard import LoopGuard

    with LoopGuard(ignore=(str(request.path),)) as guard:
        yield guard
    if guard.calls:
        pytest.fail("the event loop was blocked by\n" + "\n".join(map(str, guard.calls)))
