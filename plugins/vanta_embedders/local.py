"""The base of local embedders: work in steps on worker threads, and a cache of derived files.

Invariant: nothing blocks the event loop, and after a cancellation only the current step finishes.
At most two steps of one embedder run at a time, so a question does not wait for a long indexing job
and other work keeps some cores. The cache is optional: a damaged file counts as missing, and one
that cannot be written is only logged.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import anyio
import anyio.to_thread

from vanta import EmbedderError, VantaError, install_hint
from vanta.files import read_file
from vanta.memory import Embedder
from vanta.models import write_whole

if TYPE_CHECKING:
    from vanta.memory import CosineScale, Vectors

MAX_STEPS_AT_ONCE = 2

_DIGEST_SIZE = 32

_log = logging.getLogger("vanta.embedders")


class EmbeddingModel(Protocol):
    """Turns texts into vectors. Blocking."""

    @property
    def dimension(self) -> int:
        """Components of a vector."""
        ...

    @property
    def revision(self) -> str:
        """Identifies weights and method."""
        ...

    def steps(self, texts: Sequence[str], rows: Vectors) -> Iterator[None]:
        """Fill `rows`, one row per text, a step at a time. Raises EmbedderError."""
        ...


Loading = Generator[None, None, EmbeddingModel]
"""Loads a model a step at a time and returns it."""


class LocalEmbedder(Embedder):
    """An embedder on this machine.

    start_loading: starts to load the model; the steps raise VantaError, ImportError or OSError.
    unrelated: the cosines of unrelated texts, None to have memory measure them.
    """

    def __init__(
        self,
        name: str,
        start_loading: Callable[[], Loading],
        unrelated: CosineScale | None = None,
    ) -> None:
        self.name = name
        self.unrelated = unrelated
        self.revision = ""
        self._start_loading = start_loading
        self._model: EmbeddingModel | None = None
        self._closed = False
        self._lock = anyio.Lock()
        self._limiter = anyio.CapacityLimiter(MAX_STEPS_AT_ONCE)

    @property
    def dimension(self) -> int:
        """The model's dimension. Raises EmbedderError before `load`."""
        return self._require_model().dimension

    async def load(self) -> None:
        """See `Embedder.load`. Concurrent callers wait for the same load."""
        async with self._lock:
            if self._closed:
                raise self._closed_error()
            if self._model is None:
                model = await self._loaded()
                if self._closed:  # meanwhile: the model is released again
                    raise self._closed_error()
                self._model, self.revision = model, model.revision

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder.embed`. Loads the model if necessary."""
        if self._model is None:
            await self.load()
        model = self._require_model()
        rows, steps, is_done = await self._run(_begin, model, texts)
        while not is_done:
            self._require_model()
            is_done, _ = await self._run(_step, steps)
        return rows  # type: ignore[no-any-return]

    async def aclose(self) -> None:
        """See `Embedder.aclose`. Running work ends with its current step."""
        self._closed = True
        self._model = None

    async def _loaded(self) -> EmbeddingModel:
        loading, is_done = self._start_loading(), False
        model: EmbeddingModel | None = None
        try:
            while not is_done:
                is_done, model = await self._run(_step, loading)
        except EmbedderError:
            raise
        except ImportError as error:
            hint = await self._run(install_hint, "embedders")
            raise self._error(
                f"{error.name or error} is not installed. Install it: {hint}."
            ) from error
        except (VantaError, OSError) as error:
            raise self._error(str(error)) from error
        assert model is not None  # noqa: S101 - a finished load returns its model
        return model

    async def _run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await anyio.to_thread.run_sync(work, *arguments, limiter=self._limiter)

    def _require_model(self) -> EmbeddingModel:
        if self._closed:
            raise self._closed_error()
        if self._model is None:
            raise self._error("it is not loaded yet: await its load() first.")
        return self._model

    def _closed_error(self) -> EmbedderError:
        return self._error("it is closed. Create a new one.")

    def _error(self, problem: str) -> EmbedderError:
        return EmbedderError(f"embedder {self.name!r}: {problem}")


def _step(work: Iterator[None]) -> tuple[bool, Any]:
    """Run one step; return whether the work is done, and its result."""
    try:
        next(work)
    except StopIteration as end:
        return True, end.value
    return False, None


def _begin(model: EmbeddingModel, texts: Sequence[str]) -> tuple[Vectors, Iterator[None], bool]:
    """Return rows for the texts, the steps that fill them, and whether they have: a single text is
    embedded at once, since a turn waits for it."""
    import numpy as np

    rows = np.zeros((len(texts), model.dimension), np.float32)
    steps = model.steps(texts, rows)
    if len(texts) > 1:
        return rows, steps, False
    for _ in steps:
        pass
    return rows, steps, True


def read_cached(path: Path) -> bytes | None:
    """Return what `write_cached` wrote, None if the file is missing or damaged."""
    try:
        content = read_file(path, 1 << 30)
    except OSError:
        return None
    digest, body = content[:_DIGEST_SIZE], content[_DIGEST_SIZE:]
    if hashlib.sha256(body).digest() != digest:
        _log.warning("%s is damaged and is created again", path)
        return None
    return body


def write_cached(path: Path, body: bytes) -> None:
    """Write `body` with its hash, atomically. A failure is logged."""
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, (hashlib.sha256(body).digest(), body), partial=partial)
    except OSError as error:
        _log.warning("%s cannot be written (%s); it is created again each time", path, error)
