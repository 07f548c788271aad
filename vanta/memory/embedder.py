"""The Embedder contract: text to vectors, offline if at all possible.

The store keeps an embedder's vectors under its `fingerprint` and never mixes them with those of
another embedder. Change `revision` whenever `embed` would return another vector for the same text.
An embedder raises only `EmbedderError`.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from vanta.engine import ModelFile
from vanta.language import LATIN

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]
else:
    Vectors = Any  # importing numpy would slow down every `import vanta.memory`


@dataclass(frozen=True, slots=True)
class CosineScale:
    """The cosines of texts that have nothing to do with each other, by one embedder.

    :param mean: their mean, for English.
    :param deviation: their standard deviation, above 0.
    :param writings: the scales of other writings, by the result of `vanta.language.writing_of`.
        "latin" holds for all languages in Latin letters without a scale of their own, "other" for
        all scripts. Without these two, the scale of English does.
    """

    mean: float
    deviation: float
    writings: Mapping[str, CosineScale] = field(default_factory=dict, hash=False)

    def kinship(self, cosine: float) -> float:
        """Return how many standard deviations a cosine lies above those of unrelated texts.

        :param cosine: of two texts.
        """
        return (cosine - self.mean) / self.deviation

    def between(self, first: str, second: str) -> CosineScale:
        """Return the scale of two texts.

        English and another writing have the scale of English: embedders hardly relate the two. A
        text of undecided language has that of the other text.

        :param first: the writing of one text, from `vanta.language.writing_of`.
        :param second: the writing of the other text.
        """
        if first != second:
            if not first and second in LATIN:
                first = second
            elif not second and first in LATIN:
                second = first
        if not (first and second) or "en" in (first, second):
            return self
        return min(self._of(first), self._of(second), key=lambda scale: scale.mean)

    def _of(self, writing: str) -> CosineScale:
        rest = "latin" if writing in LATIN else "other"
        return self.writings.get(writing) or self.writings.get(rest) or self


class Embedder(abc.ABC):
    """Turns texts into vectors.

    :ivar name: the name used in the configuration.
    :ivar revision: identifies weights and method ("1", a hash...); must not contain a slash. Known
        once `load` has returned.
    :ivar private: True if texts stay on this machine. Private items are never passed to an embedder
        that is not private.
    :ivar unrelated: the cosines of unrelated texts; None has memory measure them once when it loads
        the embedder, with a few sentences of its own.
    """

    name: str
    revision: str
    private: bool = True
    unrelated: CosineScale | None = None

    @property
    @abc.abstractmethod
    def dimension(self) -> int:
        """Components of a vector; known once `load` has returned."""

    @property
    def fingerprint(self) -> str:
        """The key under which vectors are stored: `name/dimension/revision`; known after `load`."""
        return f"{self.name}/{self.dimension}/{self.revision}"

    @abc.abstractmethod
    async def load(self) -> None:
        """Prepare the embedder. Idempotent; a local embedder uses no network.

        :raises EmbedderError: the embedder cannot be used; the message names the next step.
        """

    @abc.abstractmethod
    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts off the event loop; cancellation takes effect within one batch.

        :param texts: the texts; one that is too long is truncated.
        :returns: a float32 matrix of shape (len(texts), dimension) with rows of length 1. A text
            without any word may have a row of zeros.
        :raises EmbedderError: the texts cannot be embedded.
        """

    @abc.abstractmethod
    async def aclose(self) -> None:
        """Release memory, threads and sockets. Idempotent; `load` need not have been called."""


@dataclass(frozen=True, slots=True)
class EmbedderContext:
    """What an embedder factory receives beside its options.

    :param model: the configured model; "" for the embedder's default.
    :param data_dir: folder for derived files; use a sub-folder of the embedder's own name.
    :param find_model: resolves a registry id or a path to a file on disk without network. It
        blocks, so call it in `load` from a worker thread. Raises ModelStoreError or UnknownName.
    """

    model: str
    data_dir: Path
    find_model: Callable[[str], ModelFile]


@dataclass(frozen=True, slots=True)
class EmbedderFactory:
    """How a plugin offers an embedder. See `vanta.EngineFactory` for the fields that both share.

    :param name: the value of `memory.embedder` that selects it.
    :param summary: one line for listings.
    :param options: the model that validates `memory.embedder_options`.
    :param create: makes the embedder from validated options and the context.
    :param off: returns why the embedder cannot be used, or None. It blocks, is quick and uses no
        network.
    :param rank: `memory.embedder = "auto"` selects the available embedder of the highest rank; one
        of rank 0 is never selected automatically.
    :param requires: import name of the heavy library that it needs, or None.
    :param extra: the extra that installs that library, or None.
    """

    name: str
    summary: str
    options: type[BaseModel]
    create: Callable[[Any, EmbedderContext], Embedder]
    off: Callable[[Any, EmbedderContext], str | None] = lambda _options, _context: None
    rank: int = 0
    requires: str | None = None
    extra: str | None = None
