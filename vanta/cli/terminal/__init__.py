"""The process's standard streams, the consoles on them, and notes that are printed once a day.

Invariant: no text can end a command because a stream is closed, cannot encode it, or would obey it.
"""

from vanta.cli.terminal.notices import claim_notice
from vanta.cli.terminal.streams import (
    can_ask,
    can_encode,
    discard,
    prepare_streams,
    read_line,
    read_stdin,
    reader_left,
)

__all__ = [
    "can_ask",
    "can_encode",
    "claim_notice",
    "discard",
    "prepare_streams",
    "read_line",
    "read_stdin",
    "reader_left",
]
