"""Small pictures in every format that a message may have."""

from __future__ import annotations

import struct
import zlib

from vanta import Image


def png_bytes(width: int = 20, height: int = 10, *, salt: int = 0) -> bytes:
    """Return a valid grey PNG of this size.

    :param salt: its shade, so that two pictures differ.
    """
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = b"".join(b"\0" + bytes([salt % 256]) * width for _ in range(height))
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def picture(width: int = 20, height: int = 10, *, salt: int = 0) -> Image:
    """Return a small image."""
    return Image(png_bytes(width, height, salt=salt))


def jpeg_bytes(width: int, height: int) -> bytes:
    """Return the header of a JPEG, with a segment before the frame."""
    app = b"\xff\xe0" + struct.pack(">H", 16) + b"JFIF\0" + bytes(9)
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, height, width, 1) + bytes(3)
    return b"\xff\xd8" + app + frame + b"\xff\xd9"


def gif_bytes(width: int, height: int) -> bytes:
    """Return the header of a GIF."""
    return b"GIF89a" + struct.pack("<HH", width, height) + bytes(3)


def webp_bytes(width: int, height: int) -> bytes:
    """Return the header of an extended WebP."""
    sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + bytes(4) + b"WEBPVP8X" + bytes(8) + sizes
