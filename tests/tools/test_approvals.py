"""An approval covers the tool that a person saw, for the user and session that it was given for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.tools.calls import offer
from vanta import UsageError
from vanta.storage import Store, sqlite_url
from vanta.tools import Approvals, OfferedTool

pytestmark = pytest.mark.anyio

WRITE = offer("files.write", "path")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store.open(sqlite_url(tmp_path))
    yield store
    await store.aclose()


async def covers(
    store: Store,
    offered: OfferedTool = WRITE,
    *,
    user: str = "ada",
    session: str = "s1",
    path: str = "docs/a",
) -> bool:
    approvals = Approvals(store)
    found = await approvals.covering(offered, {"path": path}, user=user, session=session)
    return found is not None


async def test_for_good_covers_every_session_of_its_user(store: Store) -> None:
    await Approvals(store).add(WRITE, user="ada", session=None)
    assert await covers(store)
    assert await covers(store, session="s2")
    assert not await covers(store, user="bob")


async def test_for_a_session_covers_no_other(store: Store) -> None:
    await Approvals(store).add(WRITE, user="ada", session="s1")
    assert await covers(store)
    assert not await covers(store, session="s2")
    assert not await covers(store, user="bob")


@pytest.mark.parametrize(
    "changed",
    [
        offer("files.write", "path", "mode"),
        offer("files.write", "path", effect="read"),
        offer("files.write", "path", private=True),
        offer("other.write", "path"),
        offer("files.edit", "path"),
    ],
)
async def test_a_changed_tool_asks_again(store: Store, changed: OfferedTool) -> None:
    await Approvals(store).add(WRITE, user="ada", session=None)
    assert not await covers(store, changed)


async def test_a_pattern_limits_the_arguments(store: Store) -> None:
    approvals = Approvals(store)
    await approvals.add(WRITE, user="ada", session=None, pattern="files.write(docs/**)")
    assert await covers(store, path="docs/a")
    assert not await covers(store, path="src/a")
    assert not await covers(store, path="docs/../src/a")
    with pytest.raises(UsageError, match="is not a rule"):
        await approvals.add(WRITE, user="ada", session=None, pattern="a b")
    with pytest.raises(UsageError, match="needs its name"):
        await approvals.add(WRITE, user="ada", session="")


async def test_a_revoked_approval_covers_nothing(store: Store) -> None:
    approvals = Approvals(store)
    approval = await approvals.add(WRITE, user="ada", session=None)
    assert list(await approvals.list(start=approval.id[:8])) == [approval]
    assert await approvals.revoke(approval)
    assert not await approvals.revoke(approval)
    assert not await covers(store)


async def test_clearing_a_session_ends_its_approvals_only(store: Store) -> None:
    approvals = Approvals(store)
    await approvals.add(WRITE, user="ada", session="s1")
    await approvals.add(WRITE, user="ada", session="s2")
    always = await approvals.add(offer("files.edit", "path"), user="ada", session=None)
    await store.clear("ada", "s1")
    await store.clear("ada", "")
    assert not await covers(store)
    assert await covers(store, session="s2")
    assert always in await approvals.list(user="ada")
