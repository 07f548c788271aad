"""Memory: what was said before, found again when it matters, inside each track's budget."""
