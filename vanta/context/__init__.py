"""Context: what a track sees in a turn, within its token budget."""
