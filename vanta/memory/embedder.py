"""The Embedder contract: text to vectors, offline if at all possible.

An embedder's vectors are kept in the store under its `fingerprint` and never mixed with those of
another; whoever changes what `embed` returns for a text changes `revision`. An embedder raises
nothing but `EmbedderError`.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from vanta.engine import ModelFile

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]


class Embedder(abc.ABC):
    """Turns texts into vectors.

    name: as in the configuration. revision: of weights and method ("1", a hash...), without a
    slash; known once `load` has returned. private: True
    if the texts stay on this machine; private items are never given to any other embedder.
    """

    name: str
    revision: str
    private: bool = True

    @property
    @abc.abstractmethod
    def dimension(self) -> int:
        """Components of a vector; known once `load` has returned."""

    @property
    def fingerprint(self) -> str:
        """What the vectors are kept under: `name/dimension/revision`, known after `load`. There is
        no slash in a revision."""
        return f"{self.name}/{self.dimension}/{self.revision}"

    @abc.abstractmethod
    async def load(self) -> None:
        """Get ready; may be called again. Without network for an embedder that is local.

        Raises EmbedderError with the next step where that is not possible.
        """

    @abc.abstractmethod
    async def embed(self, texts: Sequence[str]) -> Vectors:
        """A float32 matrix of shape (len(texts), dimension), rows of length 1 (a text without any
        word may have a row of zeros). A text that is too long counts by its beginning.

        Works off the event loop; cancelling it ends the work within one batch. Raises
        EmbedderError.
        """

    @abc.abstractmethod
    async def aclose(self) -> None:
        """Release memory, threads and sockets. May be called twice, and without `load`."""


@dataclass(frozen=True, slots=True)
class EmbedderContext:
    """What memory gives to the factory of its embedder.

    model: as configured, "" for the embedder's own. data_dir: where an embedder may keep what it
    derives, in a folder of its own name. find_model: turns a registry id or a path into a file on
    disk, without network; raises ModelStoreError or UnknownName. Blocking: call it in `load`, from
    a worker thread.
    """

    model: str
    data_dir: Path
    find_model: Callable[[str], ModelFile]


@dataclass(frozen=True, slots=True)
class EmbedderFactory:
    """What a plugin gives for each embedder that it brings; the fields mean what those of
    `vanta.engine.EngineFactory` mean.

    rank: which one `memory.embedder = "auto"` takes among those that are not off: the highest; one
    with rank 0 is never taken by itself. off: given options and context, why it cannot be used, or
    None; blocking, quick, without network.
    """

    name: str
    summary: str
    options: type[BaseModel]
    create: Callable[[Any, EmbedderContext], Embedder]
    off: Callable[[Any, EmbedderContext], str | None] = lambda _options, _context: None
    rank: int = 0
    requires: str | None = None
    extra: str | None = None
