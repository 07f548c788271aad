"""What memory needs of a database: transactions on a worker thread. The transcript store has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    import sqlalchemy as sa

T = TypeVar("T")


class Database(Protocol):
    """See `vanta.storage.Database`. Both raise StoreError."""

    async def transact(self, work: Callable[[sa.Connection], T]) -> T:
        """Run `work` in one transaction; what it raises takes back what it wrote."""
        ...

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Run `work`, which only reads, beside whoever writes."""
        ...

    async def rewrite(self) -> bool:
        """Write the whole database anew, so that nothing deleted is left in any of its files; True
        if that is certain, False while another process still reads what was there."""
        ...
