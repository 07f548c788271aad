"""The words and the vectors of tools, kept between turns.

Words are ranked with BM25 over weighted fields (Robertson, Zaragoza and Taylor 2004, "Simple BM25
extension to multiple weighted fields"); each word also counts by its first letters, so its other
forms match. Meaning is the cosine of vectors of an embedder. Invariant: a score depends on the
offered tools, the question and the embedder alone, never on earlier turns.
"""

from __future__ import annotations

import math
import operator
import threading
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from vanta.language import STEM, is_unspaced, terms, without_function_words
from vanta.tool_contract import tool_text
from vanta.tools.recall.packing import Detail, shorten
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

MAX_KEPT = 8192
"""Tools whose words and vectors are kept."""

MAX_OFFERS = 4
"""Different offers of tools whose posting lists are kept."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """What is kept of a tool: its texts, their digest, the counts of its words, the characters of
    its shortest form, and its forms as they are shown."""

    tool: Tool
    text: ToolText
    digest: bytes
    counts: Mapping[str, float]
    size: int
    shown: dict[Detail, Tool] = field(default_factory=dict)

    @classmethod
    def of(cls, item: OfferedTool) -> _Entry:
        text = text_of(item.tool, item.toolset)
        bare = shorten(named(item), "bare")
        size = len(tool_text(bare))
        return cls(item.tool, text, _digest(text.meaning), _counts(text), size, {"bare": bare})


class _Offer:
    """The posting lists of one offer of tools, and the matrix of their vectors."""

    def __init__(self, entries: Sequence[_Entry]) -> None:
        self.entries = entries
        self.postings = _make_postings([entry.counts for entry in entries])
        self.rows: _Rows | None = None

    def has(self, entries: Sequence[_Entry]) -> bool:
        """Return whether these are its tools, unchanged."""
        return len(self.entries) == len(entries) and all(map(operator.is_, self.entries, entries))


class ToolIndex:
    """The words and the vectors of tools. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._vectors: dict[bytes, _Rows] = {}
        self._embed: Embed | None = None
        self._offers: list[_Offer] = []
        self._lock = threading.RLock()

    def words(self, offered: Sequence[OfferedTool], texts: Sequence[str]) -> list[list[float]]:
        """Return how well the words of each text match each tool: lists of BM25 scores.

        :param offered: the tools.
        :param texts: the texts.
        """
        postings = self._offer(offered).postings
        return [_scores(search_terms(text), postings, len(offered)) for text in texts]

    def sizes(self, offered: Sequence[OfferedTool]) -> Sequence[int]:
        """Return the characters of each tool in its shortest form.

        :param offered: the tools.
        """
        return [entry.size for entry in self._offer(offered).entries]

    def cosines(self, offered: Sequence[OfferedTool], vectors: Any) -> list[list[float]]:
        """Return how near the meaning of texts is to each tool: lists of cosines. All tools have a
        vector; see `missing`.

        :param offered: the tools.
        :param vectors: the vectors of the texts.
        """
        import numpy as np

        offer = self._offer(offered)
        with self._lock:
            if offer.rows is None:
                rows = [self._vectors[entry.digest] for entry in offer.entries]
                offer.rows = np.stack(rows).astype(np.float32)
            matrix = offer.rows
        cosines: list[list[float]] = np.nan_to_num(
            np.asarray(vectors, np.float32) @ matrix.T
        ).tolist()
        return cosines

    def missing(self, offered: Sequence[OfferedTool], embed: Embed) -> list[str]:
        """Return the texts of tools that have no vector yet, each once.

        :param offered: the tools.
        :param embed: the embedder's function.
        """
        self._set_embedder(embed)
        entries = self._entries_of(offered)
        lacking = [entry for entry in entries if entry.digest not in self._vectors]
        return list(dict.fromkeys(entry.text.meaning for entry in lacking))

    async def embed_tools(
        self, offered: Sequence[OfferedTool], embed: Embed, *, limit: int | None = None
    ) -> int:
        """Make the vectors of tools that have none.

        :param offered: the tools.
        :param embed: returns the vectors of texts.
        :param limit: most texts that are embedded; None for all.
        :returns: how many were.
        :raises EmbedderError: as `embed` does.
        """
        lacking = self.missing(offered, embed)[:limit]
        if lacking:
            rows = await embed(lacking)
            wanted = {self._entry(item).digest for item in offered}
            with self._lock:
                self._set_embedder(embed)
                self._vectors.update(zip(map(_digest, lacking), rows, strict=True))
                _drop_oldest(self._vectors, wanted)
        return len(lacking)

    def shown(self, item: OfferedTool, detail: Detail) -> Tool:
        """Return a tool under the name that the model sees, with some detail.

        :param item: the tool.
        :param detail: how much of its schema is shown.
        """
        kept = self._entry(item).shown
        tool = kept.get(detail)
        if tool is None:
            tool = kept[detail] = shorten(named(item), detail)
        return tool

    def _set_embedder(self, embed: Embed) -> None:
        with self._lock:
            if embed != self._embed:
                self._embed = embed
                self._vectors.clear()
                for offer in self._offers:
                    offer.rows = None

    def _entry(self, item: OfferedTool) -> _Entry:
        """Return what is kept of a tool, made again once the tool changes."""
        key = (item.toolset, item.name)
        entry = self._entries.get(key)
        if entry is None or not (entry.tool is item.tool or entry.tool == item.tool):
            entry = _Entry.of(item)
            with self._lock:
                self._entries.pop(key, None)
                self._entries[key] = entry
        return entry

    def _entries_of(self, offered: Sequence[OfferedTool]) -> list[_Entry]:
        """Return what is kept of tools, and drop that of the oldest other ones."""
        entries = [self._entry(item) for item in offered]
        with self._lock:
            _drop_oldest(self._entries, {(item.toolset, item.name) for item in offered})
        return entries

    def _offer(self, offered: Sequence[OfferedTool]) -> _Offer:
        """Return what is kept of an offer, made again once a tool changes."""
        entries = self._entries_of(offered)
        offer = next((offer for offer in self._offers if offer.has(entries)), None)
        offer = offer or _Offer(entries)
        with self._lock:
            others = (other for other in self._offers if other is not offer)
            self._offers = [offer, *others][:MAX_OFFERS]
        return offer


def named(item: OfferedTool) -> Tool:
    """Return a tool under the name that the model sees.

    :param item: the tool.
    """
    return item.tool if item.tool.name == item.name else replace(item.tool, name=item.name)


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "replace")).digest()


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
