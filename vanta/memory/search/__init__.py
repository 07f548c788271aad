"""Search: by words, by meaning, ranking and selection within a token budget."""
