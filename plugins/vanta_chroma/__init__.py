"""The built-in plugin `chroma`: the vector index of memory, in a process of its own."""
