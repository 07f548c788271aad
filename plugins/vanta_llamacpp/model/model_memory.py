"""Which models of this process are in memory: one register for all its engines.

A model that is wanted and has no room takes that of the least recently used ones that nobody uses;
pinned ones stay. Loads go one after another, so that two never count on the same room.
Invariant: a tenant that is in use is never asked to leave, and one that was asked left in its own
thread; memory is counted as taken until it is free again.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from vanta.models import free_memory
from vanta.models.fit import mapped_memory, megabytes

_LOOK_S = 0.1


@dataclass(slots=True, eq=False)
class Tenant:
    """One engine's place. leave: unload the model now, in whatever thread may; False if it is in
    use after all. bytes: what the loaded model takes, 0 while it is not loaded."""

    name: str
    leave: Callable[[], bool]
    pinned: bool = False
    bytes: int = 0
    uses: int = 0
    used_at: int = 0


class NoRoom(Exception):  # noqa: N818 - the word that the messages use
    """There is no room, with the arithmetic."""


class Residence:
    """All models of a process. free: bytes that the system could still give, None if not known.

    mapped: bytes of files that lie in memory for this process. The system counts them as free,
    since it could drop them; but those of loaded models would be read from the disk again with
    every token, so they are taken off, and not more than the models are said to take: what else is
    mapped is no model's. (llama.cpp maps a file. Weights that it lays out anew lie in memory of its
    own instead, which the system does not count as free: so the files' sizes would be too much.)
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
        self._tenants: set[Tenant] = set()

    @contextmanager
    def using(self, tenant: Tenant) -> Iterator[None]:
        """Meanwhile the tenant stays, loaded or not."""
        with self._lock:
            tenant.uses += 1
        try:
            yield
        finally:
            with self._lock:
                tenant.uses -= 1
                tenant.used_at = next(self._clock)

    @contextmanager
    def moving_in(
        self, tenant: Tenant, need: int, most: int | None, go_on: Callable[[], bool]
    ) -> Iterator[None]:
        """Load meanwhile: there is room for `need` bytes. most: what all models may take.

        Raises NoRoom; waits for others who load, while `go_on` says so. Blocking.
        """
        while not self._loading.acquire(timeout=_LOOK_S):
            if not go_on():
                raise NoRoom("the engine was closed while others loaded")
        try:
            self._make_room(need, most)
            yield
            with self._lock:
                tenant.bytes = need
                self._tenants.add(tenant)
        finally:
            self._loading.release()

    def leaves(self, tenant: Tenant, detach: Callable[[], None]) -> bool:
        """Whether nobody uses the tenant; then `detach` makes sure that nobody can who comes now.
        Asked by its own thread, which then frees the memory and says that it `left`."""
        with self._lock:
            if tenant.uses:
                return False
            detach()
            return True

    def left(self, tenant: Tenant) -> None:
        """The tenant's memory is free again."""
        with self._lock:
            tenant.bytes = 0
            self._tenants.discard(tenant)

    def _make_room(self, need: int, most: int | None) -> None:
        asked: set[Tenant] = set()
        while why := self._lacking(need, most):
            with self._lock:
                idle = [each for each in self._tenants if not (each.uses or each.pinned)]
                idle = [each for each in idle if each not in asked]
            if not idle:
                raise NoRoom(why)
            oldest = min(idle, key=lambda each: each.used_at)
            asked.add(oldest)
            oldest.leave()

    def _lacking(self, need: int, most: int | None) -> str | None:
        """Why there is no room now; None if there is."""
        with self._lock:
            taken = sum(each.bytes for each in self._tenants)
            told = "".join(f"; {_told(each)}" for each in self._tenants)
        if most is not None and taken + need > most:
            return (
                f"{megabytes(need)} needed + {megabytes(taken)} of other models > "
                f"{megabytes(most)} that all may take{told}"
            )
        free, files = self._free(), min(taken, self._mapped())
        if free is not None and need > free - files:
            less = f" - {megabytes(files)} of loaded models' files" if files else ""
            return f"{megabytes(need)} needed of {megabytes(free)} free{less}{told}"
        return None


def _told(tenant: Tenant) -> str:
    state = "pinned" if tenant.pinned else "in use" if tenant.uses else "idle"
    return f"{tenant.name!r} has {megabytes(tenant.bytes)} ({state})"


_here = Residence()


def residence() -> Residence:
    """The register of this process."""
    return _here


def _forked() -> None:
    """A child has none of its parent's threads, so none of its models can be unloaded."""
    global _here  # noqa: PLW0603 - one a process
    _here = Residence()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
