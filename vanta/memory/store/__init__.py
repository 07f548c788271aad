"""The store of memory: tables, items, vectors, imports and forgetting, in SQL.

Invariant: plain functions over one transaction; the user is part of every statement that serves
one user.
"""

from vanta.memory.store.repository import add_items, all_items
from vanta.memory.store.tables import create_tables
from vanta.memory.store.vectors import read_partition, save_vectors

__all__ = [
    "add_items",
    "all_items",
    "create_tables",
    "read_partition",
    "save_vectors",
]
