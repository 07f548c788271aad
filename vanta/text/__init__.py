"""Text formats: YAML and JSON in which each value knows its line and column."""

from vanta.text.marked_yaml import DocumentError, Node, Place, read_marked

__all__ = ["DocumentError", "Node", "Place", "read_marked"]
