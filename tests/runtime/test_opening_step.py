"""A turn begins with one step on the store, and never with a history that changed meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from vanta.messages import Exchange, Message
from vanta.runtime.conversations import Conversation, Conversations
from vanta.storage import Store, sqlite_url

pytestmark = pytest.mark.anyio


class CountingStore(Store):
    """A store that counts its reads. after: awaited after each read, before its result is used."""

    reads = 0
    after: Callable[[], Awaitable[object]] | None = None

    async def read(self, work: Callable[[Any], Any]) -> Any:
        self.reads += 1
        result = await super().read(work)
        if self.after is not None:
            await self.after()
        return result


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CountingStore]:
    """Return a store with one exchange of Ada's session "one"."""
    earlier = Store.open(sqlite_url(tmp_path))
    anyio.run(say, earlier, "Hello.")
    earlier.close()
    opened = CountingStore.open(sqlite_url(tmp_path))
    yield opened
    opened.close()


async def say(store: Store, text: str) -> Exchange:
    """Store an exchange as a turn does."""
    exchange = Exchange((Message("user", text), Message("assistant", "Hi.")), False, text)
    row = {
        "id": text,
        "user": "ada",
        "session": "one",
        "private": False,
        "status": "answered",
        "track": "local",
        "cost_usd": 0.0,
    }
    await store.add(row, {}, exchange)
    return exchange


def texts(conversation: Conversation) -> list[str] | None:
    """Return the first message of each exchange in the history, None if it is not known."""
    if conversation.history is None:
        return None
    return [exchange.messages[0].content for exchange in conversation.history]


async def test_the_history_comes_with_the_first_step_of_a_turn(store: CountingStore) -> None:
    conversation = Conversations({}).get("ada", "one")
    await conversation.refresh(store, for_turn=True)
    assert (texts(conversation), store.reads) == (["Hello."], 1)
    known = conversation.history
    await conversation.refresh(store, for_turn=True)
    assert store.reads == 2
    assert conversation.history is known


async def test_a_look_at_the_privacy_of_a_session_reads_no_history(store: CountingStore) -> None:
    conversation = Conversations({}).get("ada", "one")
    await conversation.refresh(store)
    assert texts(conversation) is None


@pytest.mark.parametrize("change", ["a turn ends", "it is dropped", "a turn runs"])
async def test_a_history_that_changed_while_it_was_read_is_not_used(
    store: CountingStore, change: str
) -> None:
    conversation = Conversations({}).get("ada", "one")

    async def meanwhile() -> None:
        store.after = None
        if change == "a turn ends":
            conversation.add(await say(store, "And?"))
        elif change == "it is dropped":
            conversation.drop_history()
        else:
            await conversation.lock.acquire()

    store.after = meanwhile
    await conversation.refresh(store, for_turn=True)
    assert texts(conversation) is None


async def test_a_removal_by_another_process_has_the_history_read_again(
    store: CountingStore,
) -> None:
    conversation = Conversations({}).get("ada", "one")
    await conversation.refresh(store, for_turn=True)
    await store.clear("ada", "one")
    await conversation.refresh(store, for_turn=True)
    assert texts(conversation) is None
    await conversation.refresh(store, for_turn=True)
    assert texts(conversation) == []
