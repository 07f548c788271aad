"""The store of memory: items, vectors, imports, statistics and forgetting."""
