"""One turn: its settings, its tools, its rounds, and its events for the caller."""
