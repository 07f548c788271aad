"""An embedder whose work is steps in worker threads: what `minilm` and `static` have in common.

Invariant: nothing blocks the event loop, and nothing goes on after a cancellation but the step that
runs. At most two steps of one embedder run at a time: a question need not wait for what is indexed,
and the rest of the machine has cores left.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import anyio
import anyio.to_thread

from vanta import install_hint
from vanta.errors import EmbedderError, VantaError
from vanta.memory.embedder import Embedder

if TYPE_CHECKING:
    from vanta.memory.embedder import Vectors

AT_ONCE = 2


class Model(Protocol):
    """What turns texts into vectors; blocking."""

    @property
    def dimension(self) -> int:
        """Components of a vector."""
        ...

    @property
    def revision(self) -> str:
        """Of weights and method."""
        ...

    def steps(self, texts: Sequence[str], rows: Vectors) -> Iterator[None]:
        """Fill `rows`, a row for each text, a step at a time. Raises EmbedderError."""
        ...


Opening = Generator[None, None, Model]
"""Makes a model ready, a step at a time, and returns it."""


class LocalEmbedder(Embedder):
    """An embedder on this machine. opening: begins to make its model ready; its steps raise
    VantaError, ImportError or OSError."""

    def __init__(self, name: str, opening: Callable[[], Opening]) -> None:
        self.name = name
        self.revision = ""
        self._opening = opening
        self._model: Model | None = None
        self._closed = False
        self._lock = anyio.Lock()
        self._limiter = anyio.CapacityLimiter(AT_ONCE)

    @property
    def dimension(self) -> int:
        """As the model has it; raises EmbedderError before `load`."""
        return self._require().dimension

    async def load(self) -> None:
        """See `Embedder.load`; whoever comes meanwhile waits for the same load."""
        async with self._lock:
            if self._closed:
                raise self._gone()
            if self._model is None:
                model = await self._opened()
                if self._closed:  # meanwhile; the model goes as it came
                    raise self._gone()
                self._model, self.revision = model, model.revision

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder.embed`; loads what is not loaded yet."""
        if self._model is None:
            await self.load()
        model = self._require()
        rows = await self._run(_empty, len(texts), model.dimension)
        steps = model.steps(texts, rows)
        while not (await self._run(_step, steps))[0]:
            self._require()
        return rows  # type: ignore[no-any-return]

    async def aclose(self) -> None:
        """See `Embedder.aclose`; what runs ends with its step."""
        self._closed = True
        self._model = None

    async def _opened(self) -> Model:
        opening, done = self._opening(), False
        model: Model | None = None
        try:
            while not done:
                done, model = await self._run(_step, opening)
        except EmbedderError:
            raise
        except ImportError as error:
            raise self._failed(
                f"{error.name or error} is not installed. Install it: {install_hint('embedders')}."
            ) from error
        except (VantaError, OSError) as error:
            raise self._failed(str(error)) from error
        assert model is not None  # noqa: S101 - an opening that is done has returned it
        return model

    async def _run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await anyio.to_thread.run_sync(work, *arguments, limiter=self._limiter)

    def _require(self) -> Model:
        if self._closed:
            raise self._gone()
        if self._model is None:
            raise self._failed("it is not loaded yet: await its load() first.")
        return self._model

    def _gone(self) -> EmbedderError:
        return self._failed("it is closed. Make a new one.")

    def _failed(self, why: str) -> EmbedderError:
        return EmbedderError(f"embedder {self.name!r}: {why}")


def _step(work: Iterator[None]) -> tuple[bool, Any]:
    """Take one step; True and what was returned once there is none."""
    try:
        next(work)
    except StopIteration as end:
        return True, end.value
    return False, None


def _empty(count: int, dimension: int) -> Vectors:
    import numpy as np

    return np.zeros((count, dimension), np.float32)
