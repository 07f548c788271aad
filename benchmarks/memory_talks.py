"""LoCoMo's conversations, each as one user's memory in a store of its own.

The data is LoCoMo's (snap-research/locomo, CC BY-NC 4.0, for measuring only): `locomo_dev.json` in
VANTA_BENCH_DATA, or in `../shared/data` beside the checkout. Invariant: a turn is the words that
were said, and who said them; photos are not described.
"""

from __future__ import annotations

import datetime as dt
import functools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from vanta.errors import VantaError
from vanta.memory import Embedder, MemoryItem, NewItem
from vanta.memory.store import add_items, all_items, create_tables, save_vectors
from vanta.storage import Store, sqlite_url

from .memory_home import embedder as open_embedder
from .settings import Settings

FILE = "locomo_dev.json"
USER = "ada"

_EVIDENCE = re.compile(r"D:?(\d+):(\d+)")
_SESSION = re.compile(r"session_(\d+)")
_DAY_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A question. evidence: ids of items. vector: by the embedder, None without."""

    text: str
    category: int
    evidence: frozenset[int]
    vector: Any = None


@dataclass(slots=True)
class Talk:
    """One conversation in a store: its turns as items by id, questions, vectors (row = id - 1)."""

    name: str
    store: Store
    items: dict[int, MemoryItem]
    questions: list[Asked]
    vectors: Any = None
    fingerprint: str | None = None
    costs: dict[int, int] = field(default_factory=dict)
    header_cost: int = 0

    @property
    def now(self) -> float:
        """The day after the last turn."""
        return self.items[len(self.items)].said_at + _DAY_S

    def cost(self, item: MemoryItem) -> int:
        """The tokens of an item's line."""
        return self.costs[item.id]


async def open_talks(
    settings: Settings, told: Sequence[Mapping[str, Any]], folder: Path
) -> list[Talk]:
    """The conversations, each in a store of its own; with vectors where there is an embedder."""
    model = None if settings.quick else await _embedder(folder)
    talks: list[Talk] = []
    for number, conversation in enumerate(told):
        settings.progress("locomo: conversations", number, len(told))
        talks.append(await _talk(conversation, folder / str(number), model))
    if model is not None:
        await model.aclose()
    return talks


async def close_talks(talks: Sequence[Talk]) -> None:
    for talk in talks:
        await talk.store.aclose()


async def _embedder(folder: Path) -> Embedder | None:
    try:
        model = open_embedder("minilm", folder)
        await model.load()
    except (VantaError, KeyError):
        return None
    return model


async def _talk(told: Mapping[str, Any], folder: Path, model: Embedder | None) -> Talk:
    await anyio.Path(folder).mkdir()
    store = Store.open(sqlite_url(folder))
    await store.transact(create_tables)
    items, places = _turns(told["conversation"])
    ids = await store.transact(functools.partial(add_items, items=items))
    known = await store.transact(lambda connection: all_items(connection, USER, 0, len(items)))
    asked = _questions(told["qa"], {place: ids[row] for place, row in places.items()})
    talk = Talk(told["sample_id"], store, {item.id: item for item in known}, asked)
    if model is not None:
        await _embed(talk, ids, model)
    return talk


async def _embed(talk: Talk, ids: Sequence[int], model: Embedder) -> None:
    talk.fingerprint = model.fingerprint
    talk.vectors = await model.embed([item.text for item in talk.items.values()])
    blobs = [row.astype("<f4").tobytes() for row in talk.vectors]
    save = functools.partial(save_vectors, embedder=model.fingerprint, ids=ids, vectors=blobs)
    await talk.store.transact(save)
    meant = await model.embed([asked.text for asked in talk.questions])
    talk.questions = [
        Asked(asked.text, asked.category, asked.evidence, vector)
        for asked, vector in zip(talk.questions, meant, strict=True)
    ]


def _turns(told: Mapping[str, Any]) -> tuple[list[NewItem], dict[tuple[int, int], int]]:
    """The turns in order, a second apart, and the row of each by session and number."""
    numbers = sorted(int(match[1]) for match in map(_SESSION.fullmatch, told) if match)
    items: list[NewItem] = []
    places: dict[tuple[int, int], int] = {}
    for number in numbers:
        began = _moment(told[f"session_{number}_date_time"])
        for place, turn in enumerate(told[f"session_{number}"], start=1):
            places[number, place] = len(items)
            items.append(
                NewItem(
                    USER,
                    "message",
                    turn["text"],
                    began + place,
                    session=str(number),
                    turn_id=turn["dia_id"],
                    role=turn["speaker"],
                )
            )
    return items, places


def _questions(
    told: Sequence[Mapping[str, Any]], ids: Mapping[tuple[int, int], int]
) -> list[Asked]:
    """Those of categories 1 to 4 whose evidence is there; its ids are sometimes malformed."""
    found: list[Asked] = []
    for one in told:
        named = _EVIDENCE.findall(" ".join(one["evidence"]))
        evidence = {ids.get((int(session), int(turn))) for session, turn in named} - {None}
        if one["category"] in (1, 2, 3, 4) and evidence:
            held = frozenset(key for key in evidence if key is not None)
            found.append(Asked(one["question"], one["category"], held))
    return found


def _moment(told: str) -> float:
    """`1:56 pm on 8 May, 2023`, taken as UTC."""
    return dt.datetime.strptime(told, "%I:%M %p on %d %B, %Y").replace(tzinfo=dt.UTC).timestamp()


def data_file() -> Path | None:
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    path = Path(os.environ.get("VANTA_BENCH_DATA", beside)) / FILE
    return path if path.is_file() else None
