"""The models of this process in memory: one register for all its engines.

If a model does not fit, the least recently used idle models are unloaded; pinned ones stay. Models
load one after another, so that two never count on the same memory. Invariant: a model in use is
never unloaded, each is unloaded in its own thread, and its memory counts until it is free again.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from vanta.models import free_memory, mapped_memory, megabytes

_POLL_S = 0.1


@dataclass(slots=True, eq=False)
class LoadedModel:
    """The model of one engine, loaded or not.

    :param name: the model's name, for messages.
    :param unload: unload it now, in its own thread; returns False if it is in use after all.
    :param pinned: it stays loaded.
    :param bytes: memory that it takes; 0 while it is not loaded.
    :param uses: number of current users.
    :param used_at: order of its last use.
    """

    name: str
    unload: Callable[[], bool]
    pinned: bool = False
    bytes: int = 0
    uses: int = 0
    used_at: int = 0


class NotEnoughMemoryError(Exception):
    """The model does not fit; the message has the arithmetic."""


class ModelMemory:
    """All models of a process.

    The system counts mapped files as free, since it can drop them. But those of loaded models would
    be read from disk again with every token, so they are subtracted, up to what the models take.
    (llama.cpp maps a file. Weights that it lays out anew lie in memory of its own, which is not
    free anyway, so that the sizes of the files would be too much.)

    :param free: returns the bytes that the system can still provide, None if unknown.
    :param mapped: returns the bytes of this process's mapped files that are in memory.
    """

    def __init__(
        self,
        free: Callable[[], int | None] = free_memory,
        mapped: Callable[[], int] = mapped_memory,
    ) -> None:
        self._free = free
        self._mapped = mapped
        self._lock = threading.Lock()
        self._loading = threading.Lock()
        self._clock = itertools.count(1)
        self._models: set[LoadedModel] = set()

    @contextmanager
    def using(self, model: LoadedModel) -> Iterator[None]:
        """Keep a model from being unloaded in this block."""
        with self._lock:
            model.uses += 1
        try:
            yield
        finally:
            with self._lock:
                model.uses -= 1
                model.used_at = next(self._clock)

    @contextmanager
    def reserve(
        self, model: LoadedModel, need: int, most: int | None, keep_going: Callable[[], bool]
    ) -> Iterator[None]:
        """Reserve `need` bytes for a model that loads in this block. Blocking.

        Waits for other loads as long as `keep_going` returns True. `most` limits the bytes of all
        models together. Raises NotEnoughMemoryError.
        """
        while not self._loading.acquire(timeout=_POLL_S):
            if not keep_going():
                raise NotEnoughMemoryError("the engine was closed while other models loaded")
        try:
            self._make_room(need, most)
            yield
            with self._lock:
                model.bytes = need
                self._models.add(model)
        finally:
            self._loading.release()

    def detach_if_idle(self, model: LoadedModel, detach: Callable[[], None]) -> bool:
        """Call `detach`, after which the model has no new users, unless it is in use.

        Called by the model's own thread, which then frees the memory and calls `release`. Returns
        whether it was idle.
        """
        with self._lock:
            if model.uses:
                return False
            detach()
            return True

    def release(self, model: LoadedModel) -> None:
        """Record that a model's memory is free again."""
        with self._lock:
            model.bytes = 0
            self._models.discard(model)

    def _make_room(self, need: int, most: int | None) -> None:
        tried: set[LoadedModel] = set()
        while why := self._lacking(need, most):
            with self._lock:
                idle = [model for model in self._models if not (model.uses or model.pinned)]
                idle = [model for model in idle if model not in tried]
            if not idle:
                raise NotEnoughMemoryError(why)
            oldest = min(idle, key=lambda model: model.used_at)
            tried.add(oldest)
            oldest.unload()

    def _lacking(self, need: int, most: int | None) -> str | None:
        """Return why there is not enough memory now, or None if there is."""
        with self._lock:
            taken = sum(model.bytes for model in self._models)
            users = "".join(f"; {_described(model)}" for model in self._models)
        if most is not None and taken + need > most:
            return (
                f"{megabytes(need)} needed + {megabytes(taken)} of other models > "
                f"{megabytes(most)} for all models{users}"
            )
        free, files = self._free(), min(taken, self._mapped())
        if free is not None and need > free - files:
            less = f" - {megabytes(files)} of loaded models' files" if files else ""
            return f"{megabytes(need)} needed of {megabytes(free)} free{less}{users}"
        return None


def _described(model: LoadedModel) -> str:
    state = "pinned" if model.pinned else "in use" if model.uses else "idle"
    return f"{model.name!r} takes {megabytes(model.bytes)} ({state})"


_process_memory = ModelMemory()


def model_memory() -> ModelMemory:
    """Return the register of this process."""
    return _process_memory


def _forked() -> None:
    """Start empty in a forked child, which has no threads that could unload models."""
    global _process_memory  # noqa: PLW0603 - one per process
    _process_memory = ModelMemory()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
