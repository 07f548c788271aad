"""Pictures of a turn."""
