"""The words and the vectors of tools, kept between turns.

Words are ranked with BM25 over weighted fields (Robertson, Zaragoza and Taylor 2004, "Simple BM25
extension to multiple weighted fields"); each word also counts by its first letters, so its other
forms match. Meaning is the cosine of vectors of an embedder. Invariant: a score depends on the
offered tools, the question and the embedder alone, never on earlier turns.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from vanta.language import STEM, is_unspaced, terms, without_function_words
from vanta.tools.recall.packing import Detail, Render, shorten
from vanta.tools.recall.schema_text import ToolText, text_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from vanta.tool_contract import Tool
    from vanta.tools.registry import OfferedTool

    _Rows = npt.NDArray[np.float32]

Embed = Callable[[Sequence[str]], Awaitable[Any]]
"""Returns the vectors of texts: `Embedder.embed`."""

FIELD_WEIGHTS = {"name": 2.0, "description": 1.0, "parameters": 1.0, "details": 0.5}
"""How often a word of a field counts."""

SATURATION, LENGTH_SHARE = 2.0, 0.6
"""BM25's k1 and b, chosen on every other question of `benchmarks/tools`."""

MAX_TERMS = 400
"""Words of a question that are searched."""

MAX_FORMS = 9
"""Forms of a tool that are kept: three details for each of three renderings."""

MAX_KEPT = 8192
"""Tools whose words and vectors are kept."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """What is kept of a tool: its texts, their digest, the counts of its words, and its forms as
    they are shown."""

    tool: Tool
    text: ToolText
    digest: bytes
    counts: Mapping[str, float]
    shown: dict[tuple[Detail, Render], tuple[Tool, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, item: OfferedTool) -> _Entry:
        text = text_of(item.tool, item.toolset)
        digest = sha256(text.meaning.encode("utf-8", "replace")).digest()
        return cls(item.tool, text, digest, _counts(text))


class ToolIndex:
    """The words and the vectors of tools. Belongs to one event loop."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._vectors: dict[bytes, _Rows] = {}
        self._embed: Embed | None = None
        self._postings: tuple[Sequence[Mapping[str, float]], dict[str, list[tuple[int, float]]]]
        self._postings = ([], {})

    def words(self, offered: Sequence[OfferedTool], texts: Sequence[str]) -> list[list[float]]:
        """Return how well the words of each text match each tool: lists of BM25 scores.

        :param offered: the tools.
        :param texts: the texts.
        """
        postings = self._posted([self._entry(item).counts for item in offered])
        return [_scores(search_terms(text), postings, len(offered)) for text in texts]

    async def meanings(
        self, offered: Sequence[OfferedTool], texts: Sequence[str], embed: Embed
    ) -> list[list[float]]:
        """Return how near the meaning of each text is to each tool: lists of cosines.

        :param offered: the tools.
        :param texts: the texts.
        :param embed: returns the vectors of texts.
        :raises EmbedderError: as `embed` does.
        """
        await self.embed_tools(offered, embed)
        import numpy as np

        rows = np.stack([self._vectors[self._entry(item).digest] for item in offered])
        vectors = np.asarray(await embed(texts), np.float32)
        cosines: list[list[float]] = np.nan_to_num(vectors @ rows.T).tolist()
        return cosines

    def missing(self, offered: Sequence[OfferedTool], embed: Embed) -> int:
        """Return how many tools have no vector yet.

        :param offered: the tools.
        :param embed: the embedder's function.
        """
        self._set_embedder(embed)
        return sum(self._entry(item).digest not in self._vectors for item in offered)

    async def embed_tools(self, offered: Sequence[OfferedTool], embed: Embed) -> None:
        """Make the vectors of tools that have none.

        :param offered: the tools.
        :param embed: returns the vectors of texts.
        :raises EmbedderError: as `embed` does.
        """
        self._set_embedder(embed)
        entries = [self._entry(item) for item in offered]
        wanted = {entry.digest: entry.text.meaning for entry in entries}
        lacking = {key: text for key, text in wanted.items() if key not in self._vectors}
        if lacking:
            rows = await embed(list(lacking.values()))
            self._vectors.update(zip(lacking, rows, strict=True))
            _drop_oldest(self._vectors, wanted)

    def shown(self, item: OfferedTool, detail: Detail, render: Render) -> tuple[Tool, str]:
        """Return a tool under the name that the model sees, with some detail, and its text.

        :param item: the tool.
        :param detail: how much of its schema is shown.
        :param render: returns the text of a tool.
        """
        kept = self._entry(item).shown
        value = kept.get((detail, render))
        if value is None:
            if len(kept) >= MAX_FORMS:
                kept.clear()
            tool = shorten(replace(item.tool, name=item.name), detail)
            value = kept[detail, render] = (tool, render(tool))
        return value

    def _set_embedder(self, embed: Embed) -> None:
        if embed != self._embed:
            self._embed = embed
            self._vectors.clear()

    def _entry(self, item: OfferedTool) -> _Entry:
        """Return what is kept of a tool, made again once the tool changes."""
        key = (item.toolset, item.name)
        entry = self._entries.get(key)
        if entry is None or not (entry.tool is item.tool or entry.tool == item.tool):
            entry = self._entries[key] = _Entry.of(item)
            _drop_oldest(self._entries, {key})
        return entry

    def _posted(self, counts: Sequence[Mapping[str, float]]) -> dict[str, list[tuple[int, float]]]:
        """Return the posting lists of these tools, made again once a tool changes."""
        before, postings = self._postings
        if len(before) != len(counts) or any(
            old is not new for old, new in zip(before, counts, strict=True)
        ):
            postings = _make_postings(counts)
            self._postings = (counts, postings)
        return postings


def search_terms(text: str) -> list[str]:
    """Return the words of a text that a search for tools uses.

    :param text: the text.
    """
    return without_function_words(terms(text))[:MAX_TERMS]


def _forms(term: str) -> tuple[str, ...]:
    """Return a term, and the key that it shares with its other forms."""
    if len(term) < STEM or not term.isalpha() or is_unspaced(term):
        return (term,)
    return (term, f"0{term[:STEM]}")


def _counts(text: ToolText) -> Mapping[str, float]:
    counts: defaultdict[str, float] = defaultdict(float)
    for part, weight in FIELD_WEIGHTS.items():
        for term, number in Counter(terms(getattr(text, part))).items():
            for form in _forms(term):
                counts[form] += weight * number
    return dict(counts)


def _make_postings(counts: Sequence[Mapping[str, float]]) -> dict[str, list[tuple[int, float]]]:
    frequency = Counter(form for tool in counts for form in tool)
    lengths = [sum(tool.values()) for tool in counts]
    mean = sum(lengths) / len(lengths) if any(lengths) else 1.0
    postings: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
    for place, tool in enumerate(counts):
        saturation = SATURATION * (1 - LENGTH_SHARE + LENGTH_SHARE * lengths[place] / mean)
        for form, number in tool.items():
            rarity = math.log(1 + (len(counts) - frequency[form] + 0.5) / (frequency[form] + 0.5))
            score = rarity * number * (SATURATION + 1) / (number + saturation)
            postings[form].append((place, score))
    return dict(postings)


def _scores(
    words: Iterable[str], postings: Mapping[str, list[tuple[int, float]]], size: int
) -> list[float]:
    scores = [0.0] * size
    for form in dict.fromkeys(form for word in words for form in _forms(word)):
        for place, score in postings.get(form, ()):
            scores[place] += score
    return scores


def _drop_oldest(kept: dict[Any, Any], needed: Collection[Any]) -> None:
    """Drop the oldest entries beyond `MAX_KEPT` that are not needed now."""
    if len(kept) > MAX_KEPT:
        for key in [key for key in kept if key not in needed][: len(kept) - MAX_KEPT]:
            del kept[key]
