"""Texts: YAML and JSON in which each value knows its line and column, and the one redactor."""

from vanta.text.marked_yaml import DocumentError, Node, Place, read_marked
from vanta.text.redaction import (
    HIDDEN,
    RedactingFilter,
    is_key_shaped,
    redact,
    redact_text,
    redact_url,
    secrets_of,
    server_origin,
)

__all__ = [
    "HIDDEN",
    "DocumentError",
    "Node",
    "Place",
    "RedactingFilter",
    "is_key_shaped",
    "read_marked",
    "redact",
    "redact_text",
    "redact_url",
    "secrets_of",
    "server_origin",
]
