"""Files of the disk: read within limits, parsed into values or a ValueError, written for one owner.

Invariant: whatever a path names (a device, a pipe, an endless file, a nest of brackets), reading it
ends at once in its content or in an OSError or ValueError with the reason. What is written here is
readable by its owner alone and is never half there.
"""

from vanta.files.parsing import parse_json, parse_toml
from vanta.files.reading import FileRefused, open_file, read_file, read_text
from vanta.files.writing import exclusive, private_folder, restrict, write_private

__all__ = [
    "FileRefused",
    "exclusive",
    "open_file",
    "parse_json",
    "parse_toml",
    "private_folder",
    "read_file",
    "read_text",
    "restrict",
    "write_private",
]
