"""What memory knows before the first turn of a script.

Invariant: every memory and every document of a script's `fixtures` is there, and embedded as far as
that is possible, before anything is said; each is known by a label, for the expectation `recalled`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import anyio.to_thread

from vanta.memory import NewItem
from vanta_scripts.isolation import SettledMemory
from vanta_scripts.model import DocumentFixture, MemoryFixture, Script

Labels = Mapping[str, frozenset[int]]
"""What a fixture is called (a memory's `id`, a document's path) -> the ids it has in memory."""

SessionName = Callable[[str], str]


async def remember(memory: SettledMemory, script: Script, session: SessionName) -> Labels:
    """Put the fixtures of `script` into memory; session: what a session of the script is called
    there. Raises UnreadableDocument, StoreError."""
    labels: dict[str, frozenset[int]] = {}
    items = [_item(one, script, session) for one in script.fixtures.memories]
    ids = await memory.add(items)
    for one, given in zip(script.fixtures.memories, ids, strict=True):
        if one.id:
            labels[one.id] = frozenset((given,))
    for document in script.fixtures.documents:
        found = await anyio.to_thread.run_sync(_chunks, document, script)
        labels[document.path] = frozenset(await memory.add(found))
    return labels


def _item(one: MemoryFixture, script: Script, session: SessionName) -> NewItem:
    return NewItem(
        user=one.user or script.user,
        kind="message" if one.role else "fact",
        text=one.text,
        said_at=script.at if one.at is None else one.at,
        session=session(one.session) if one.session else "",
        role=one.role or "",
        private=one.private,
        tags=one.tags,
        source=one.source,
    )


def _chunks(document: DocumentFixture, script: Script) -> list[NewItem]:
    from vanta.memory import chunk_document, read_document

    return [
        NewItem(
            user=document.user or script.user,
            kind="document",
            text=chunk.text,
            said_at=script.at,
            private=document.private,
            tags=document.tags,
            source=chunk.source,
        )
        for chunk in chunk_document(read_document(path_of(document, script)))
    ]


def path_of(document: DocumentFixture, script: Script) -> Path:
    """The file of a document."""
    return Path(script.source).parent / document.path
