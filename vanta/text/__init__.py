"""Texts: characters that are Unicode and safe to print, YAML and JSON in which each value knows its
line and column, text of others as data, and the one redactor."""

from vanta.text.characters import (
    REPLACEMENT,
    SurrogateJoiner,
    decoded,
    escaped_json,
    make_well_formed,
    printable,
    well_formed,
    well_formed_data,
)
from vanta.text.marked_yaml import DocumentError, Node, Place, read_marked
from vanta.text.markers import as_data
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
    "REPLACEMENT",
    "DocumentError",
    "Node",
    "Place",
    "RedactingFilter",
    "SurrogateJoiner",
    "as_data",
    "decoded",
    "escaped_json",
    "is_key_shaped",
    "make_well_formed",
    "printable",
    "read_marked",
    "redact",
    "redact_text",
    "redact_url",
    "secrets_of",
    "server_origin",
    "well_formed",
    "well_formed_data",
]
