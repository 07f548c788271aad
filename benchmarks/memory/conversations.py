"""The conversations of LoCoMo, each as the memory of one user in its own store.

The data is LoCoMo's (snap-research/locomo, CC BY-NC 4.0, for measurements only), in the file
`locomo_dev.json` (see `benchmarks.report.data_file`). Two people talk; a session stores a user and
an assistant, so the first speaker is the user. Their names are at most a part of the texts.
Invariant: a turn consists of its words and its speaker; photos are not described.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from vanta import VantaError
from vanta.memory import CosineScale, Embedder, MemoryItem, NewItem
from vanta.memory.store import add_items, all_items, create_tables, save_vectors
from vanta.storage import Store, sqlite_url

from ..report import Settings
from .corpus import embedder as open_embedder

FILE = "locomo_dev.json"
USER = "ada"
FORMS = {"names in the texts": "{name}: {text}", "user and assistant": "{text}"}
"""The text of a turn, by the name of the form: `Caroline: Hi!`, or without the speaker's name."""

_EVIDENCE = re.compile(r"D:?(\d+):(\d+)")
_SESSION = re.compile(r"session_(\d+)")
_DAY_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class LocomoQuestion:
    """A question, the ids of the items with evidence, and its vector if there is an embedder."""

    text: str
    category: int
    evidence: frozenset[int]
    vector: Any = None


@dataclass(slots=True)
class Dialogue:
    """A conversation in a store: its turns as items by id, questions, vectors (row = id - 1)."""

    name: str
    store: Store
    items: dict[int, MemoryItem]
    questions: list[LocomoQuestion]
    vectors: Any = None
    fingerprint: str | None = None
    unrelated: CosineScale | None = None
    costs: dict[int, int] = field(default_factory=dict)
    header_cost: int = 0

    @property
    def now(self) -> float:
        """The time one day after the last turn."""
        return self.items[len(self.items)].said_at + _DAY_S

    def cost(self, item: MemoryItem) -> int:
        """Return the tokens of the line of an item."""
        return self.costs[item.id]


async def open_dialogues(
    settings: Settings, rows: Sequence[Mapping[str, Any]], folder: Path, form: str
) -> list[Dialogue]:
    """Open each conversation in its own store, with vectors if there is an embedder.

    form: the text of a turn, a value of `FORMS`.
    """
    model = None if settings.quick else await _embedder(folder)
    dialogues: list[Dialogue] = []
    for number, data in enumerate(rows):
        settings.progress("locomo: conversations", number, len(rows))
        dialogues.append(await _open(data, folder / str(number), model, form))
    if model is not None:
        await model.aclose()
    return dialogues


async def close_dialogues(dialogues: Sequence[Dialogue]) -> None:
    """Close the stores of all conversations."""
    for dialogue in dialogues:
        await dialogue.store.aclose()


async def _embedder(folder: Path) -> Embedder | None:
    try:
        model = open_embedder("minilm", folder)
        await model.load()
    except (VantaError, KeyError):
        return None
    return model


async def _open(
    data: Mapping[str, Any], folder: Path, model: Embedder | None, form: str
) -> Dialogue:
    await anyio.Path(folder).mkdir(parents=True)
    store = Store.open(sqlite_url(folder))
    await store.transact(create_tables)
    items, places = _turns(data["conversation"], form)
    ids = await store.transact(functools.partial(add_items, items=items))
    stored = await store.transact(lambda connection: all_items(connection, USER, 0, len(items)))
    questions = _questions(data["qa"], {place: ids[row] for place, row in places.items()})
    by_id = {item.id: item for item in stored}
    dialogue = Dialogue(data["sample_id"], store, by_id, questions)
    if model is not None:
        await _embed(dialogue, ids, model)
    return dialogue


async def _embed(dialogue: Dialogue, ids: Sequence[int], model: Embedder) -> None:
    dialogue.fingerprint, dialogue.unrelated = model.fingerprint, model.unrelated
    dialogue.vectors = await model.embed([item.text for item in dialogue.items.values()])
    blobs = [row.astype("<f4").tobytes() for row in dialogue.vectors]
    save = functools.partial(save_vectors, embedder=model.fingerprint, ids=ids, vectors=blobs)
    await dialogue.store.transact(save)
    question_vectors = await model.embed([question.text for question in dialogue.questions])
    dialogue.questions = [
        LocomoQuestion(question.text, question.category, question.evidence, vector)
        for question, vector in zip(dialogue.questions, question_vectors, strict=True)
    ]


def _turns(data: Mapping[str, Any], form: str) -> tuple[list[NewItem], dict[tuple[int, int], int]]:
    """Return the turns in order, a second apart, and the row of each by session and number."""
    numbers = sorted(int(match[1]) for match in map(_SESSION.fullmatch, data) if match)
    items: list[NewItem] = []
    places: dict[tuple[int, int], int] = {}
    for number in numbers:
        began = _timestamp(data[f"session_{number}_date_time"])
        for place, turn in enumerate(data[f"session_{number}"], start=1):
            places[number, place] = len(items)
            items.append(
                NewItem(
                    USER,
                    "message",
                    form.format(name=turn["speaker"], text=turn["text"]),
                    began + place,
                    session=str(number),
                    turn_id=turn["dia_id"],
                    role="user" if turn["speaker"] == data["speaker_a"] else "assistant",
                )
            )
    return items, places


def _questions(
    rows: Sequence[Mapping[str, Any]], ids: Mapping[tuple[int, int], int]
) -> list[LocomoQuestion]:
    """Return the questions of categories 1 to 4 with evidence; some of its ids are malformed."""
    questions: list[LocomoQuestion] = []
    for row in rows:
        references = _EVIDENCE.findall(" ".join(row["evidence"]))
        evidence = {ids.get((int(session), int(turn))) for session, turn in references} - {None}
        if row["category"] in (1, 2, 3, 4) and evidence:
            known = frozenset(key for key in evidence if key is not None)
            questions.append(LocomoQuestion(row["question"], row["category"], known))
    return questions


def _timestamp(text: str) -> float:
    """Parse a time such as `1:56 pm on 8 May, 2023` as UTC."""
    return dt.datetime.strptime(text, "%I:%M %p on %d %B, %Y").replace(tzinfo=dt.UTC).timestamp()
