"""Recall in twelve languages: is the right memory first?

The texts are in `languages.txt`: for each language twelve memories, each with a question in other
words, and eight texts that share words with them. Every text is the user's message in a session of
its own. The memories of all languages are in one store, once under one user (mixed) and once under
a user for each language; words alone, and words with MiniLM, which knows English only.

Invariant: the store, the search and the embedder are real; a figure without its embedder says why.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio

from vanta import VantaError
from vanta.memory import Memory, NewItem, Question, Scope

from ..report import Figure, Settings
from .corpus import memory_in

TEXTS = Path(__file__).with_name("languages.txt")
MIXED = "mixed"
WORDS_GOAL, MINILM_GOAL = 80.0, 90.0
_BEGAN = 1_700_000_000.0


@dataclass(frozen=True, slots=True)
class LanguageTexts:
    """The texts of one language: memories with a question each, and texts without one."""

    name: str
    questions: Mapping[str, str]
    distractors: Sequence[str]

    @property
    def texts(self) -> Sequence[str]:
        """All texts, in order."""
        return (*self.questions, *self.distractors)


def read_languages(path: Path = TEXTS) -> list[LanguageTexts]:
    """Return the texts of all languages."""
    languages = []
    for block in path.read_text("utf-8").split("== ")[1:]:
        name, *lines = block.strip().splitlines()
        pairs = dict(line.split(" | ") for line in lines if not line.startswith("- "))
        others = tuple(line[2:] for line in lines if line.startswith("- "))
        languages.append(LanguageTexts(name, pairs, others))
    return languages


def figures(settings: Settings) -> list[Figure]:
    """Return all figures."""
    languages = read_languages()
    shown = anyio.run(_measure, settings, languages, None, WORDS_GOAL)
    if settings.quick:
        return shown + _missing("minilm", "a quick run embeds nothing")
    try:
        return shown + anyio.run(_measure, settings, languages, "minilm", MINILM_GOAL)
    except VantaError as error:
        return shown + _missing("minilm", str(error))


async def first_by_language(
    memory: Memory, languages: Sequence[LanguageTexts], user: str | None = None
) -> dict[str, float]:
    """Return the percentage of questions of each language whose memory comes first.

    user: whose memories are searched; None searches those of the user of each language.
    """
    shares = {}
    for language in languages:
        scope = Scope(user or language.name)
        right = 0
        for text, question in language.questions.items():
            items = (await memory.recall(Question(question, scope))).items
            right += bool(items) and items[0].item.text == text
        shares[language.name] = 100 * right / len(language.questions)
    return shares


async def remember(memory: Memory, languages: Sequence[LanguageTexts]) -> None:
    """Add all texts, to one user and to a user of each language."""
    items = []
    for language in languages:
        for user in (MIXED, language.name):
            for number, text in enumerate(language.texts):
                session = f"{language.name} {number}"
                said_at = _BEGAN + 3600 * number
                items.append(NewItem(user, "message", text, said_at, session=session, role="user"))
    await memory.add(items)
    for user in (MIXED, *(language.name for language in languages)):
        await memory.ready(Scope(user))


async def _measure(
    settings: Settings, languages: Sequence[LanguageTexts], embedder: str | None, goal: float
) -> list[Figure]:
    how = "words alone" if embedder is None else f"words and {embedder}"
    settings.progress(f"languages: {how}", 0, 1)
    with tempfile.TemporaryDirectory() as folder:
        async with memory_in(Path(folder), embedder, with_chroma=False) as (_store, memory):
            await remember(memory, languages)
            apart = await first_by_language(memory, languages)
            mixed = await first_by_language(memory, languages, MIXED)
    return [
        _figure(f"languages: {how}, right memory first, a store each", apart, goal),
        _figure(f"languages: {how}, right memory first, one store", mixed, goal),
    ]


def _figure(name: str, shares: Mapping[str, float], goal: float) -> Figure:
    return Figure(
        name=name,
        value=sum(shares.values()) / len(shares),
        unit="%",
        better="higher",
        goal=goal,
        note=", ".join(f"{language} {share:.0f}" for language, share in shares.items()),
    )


def _missing(embedder: str, reason: str) -> list[Figure]:
    return [
        Figure(
            name=f"languages: words and {embedder}, right memory first, {store}",
            value=None,
            unit="%",
            better="higher",
            goal=MINILM_GOAL,
            note=reason,
        )
        for store in ("a store each", "one store")
    ]
