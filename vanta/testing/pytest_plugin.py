"""The pytest plugin: `vanta.testing` as fixtures. Installed with vanta, loaded by pytest.

Asynchronous fixtures need anyio: mark the tests that use them `pytest.mark.anyio`.

Invariant: loading it imports nothing but pytest; each fixture imports what it needs.
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
    """Yield a running `Upstream`; script it with `upstream.then(...)`."""
    from vanta.testing.upstream import Upstream

    async with Upstream() as running:
        yield running


@pytest.fixture
def scripted() -> Iterator[Callable[..., ScriptedEngine]]:
    """Yield a maker of `ScriptedEngine`s; a stream that is open after the test fails it."""
    from vanta.testing.scripted import ScriptedEngine

    made: list[ScriptedEngine] = []

    def make(*script: Any, **options: Any) -> ScriptedEngine:
        made.append(ScriptedEngine(*script, **options))
        return made[-1]

    yield make
    left = [engine.name for engine in made if engine.streaming]
    if left:
        pytest.fail(f"streams are still open on {left}")


@pytest.fixture
async def vanta_runtime(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Yield an opener of runtimes with scripted tracks: `await vanta_runtime(local=engine)`.

    Every keyword that is an engine becomes a track of that name; `own_tools` and `approve` are
    those of `vanta.open`; the others are configuration.
    Runtimes are closed after the test; their data is under `tmp_path`.
    """
    from vanta.testing.scripted_runtime import open_scripted

    async with AsyncExitStack() as stack:

        async def open_runtime(**given: Any) -> Runtime:
            return await stack.enter_async_context(open_scripted(tmp_path, given))

        yield open_runtime


@pytest.fixture
async def vanta_session(vanta_runtime: Callable[..., Any]) -> Callable[..., Any]:
    """Return a maker of sessions: `await vanta_session("ada", local=engine)`.

    The keywords are those of `vanta_runtime`.
    """

    async def session(id: str, *, user: str = "default", **given: Any) -> Session:  # noqa: A002
        runtime = await vanta_runtime(**given)
        return runtime.session(id, user=user)  # type: ignore[no-any-return]

    return session


@pytest.fixture
def no_blocking(request: pytest.FixtureRequest) -> Iterator[LoopGuard]:
    """Fail the test if anything but the test's own file blocks the event loop."""
    from vanta.testing.loop_guard import LoopGuard

    with LoopGuard(ignore=(str(request.path),)) as guard:
        yield guard
    if guard.calls:
        pytest.fail("the event loop was blocked by\n" + "\n".join(map(str, guard.calls)))
