"""Images in messages: what they are by their bytes, how large, about how many tokens they take.

The formats are those that OpenAI and Anthropic accept: PNG, JPEG, GIF and WebP. A picture's size is
read from its header and nothing is decoded. The estimate of tokens is the larger one of two
published methods, each for an image that is scaled down as the service does it:
OpenAI's tiles, 85 tokens and 170 for each tile of 512 pixels
(https://platform.openai.com/docs/guides/images-vision#calculating-costs), and Anthropic's pixels by
750 (https://docs.anthropic.com/en/docs/build-with-claude/vision#calculate-image-costs).

Invariant: an image is never empty, never larger than its bound, and its media type is what its
bytes say, whatever was declared.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from dataclasses import dataclass, field
from pathlib import Path

from vanta.errors import UsageError
from vanta.files import read_file

MAX_IMAGE_BYTES = 20 * 1024 * 1024
"""Size of one image."""

MAX_IMAGES = 64
"""Images of one message, and of one request: older ones are left out of it."""

MAX_IMAGES_BYTES = 50 * 1024 * 1024
"""Size of all of these: OpenAI's limit of a request."""

MOST_TOKENS = 1600
"""Tokens of the largest image, and of one whose size is not known."""

_BASE64_SHARE = 4 / 3
_LONGEST_SIDE, _MOST_SIDE, _SHORT_SIDE, _TILE = 1568, 2048, 768, 512
_FORMATS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_JPEG_SIZES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})


@dataclass(frozen=True, slots=True)
class Image:
    """A picture in a message.

    :param data: the bytes of a PNG, JPEG, GIF or WebP file.
    :ivar media_type: its type, read from the bytes.
    :raises UsageError: if the bytes are of another format, or more than 20 MiB.
    """

    data: bytes = field(repr=False)
    media_type: str = field(init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.data, bytes | bytearray | memoryview):
            kind = type(self.data).__name__
            raise UsageError(f"an image is made of bytes, not of {kind!r}: use Image.read(path)")
        object.__setattr__(self, "data", bytes(self.data))
        if len(self.data) > MAX_IMAGE_BYTES:
            raise UsageError(
                f"the image has {len(self.data)} bytes, more than {MAX_IMAGE_BYTES}. Scale it down."
            )
        object.__setattr__(self, "media_type", _media_type(self.data))

    @classmethod
    def read(cls, path: str | Path) -> Image:
        """Read an image from a file. Blocking.

        :param path: the file.
        :raises UsageError: if it cannot be read, or is not an image.
        """
        try:
            data = read_file(path, MAX_IMAGE_BYTES)
        except OSError as error:
            raise UsageError(f"the image {str(path)!r} cannot be read: {error.strerror}") from None
        return cls(data)

    @classmethod
    def from_url(cls, url: str) -> Image:
        """Return the image in a data URL.

        :param url: `data:image/png;base64,...`. Another URL is refused: vanta fetches nothing.
        :raises UsageError: if it is not such a URL, or not an image.
        """
        head, comma, _ = url[:200].partition(",")
        if not head.startswith("data:") or not comma or not head.endswith(";base64"):
            raise UsageError(
                f"the image {url[:60]!r} is not a data URL. Pass its bytes, or "
                "'data:image/png;base64,...': vanta does not fetch images."
            )
        if len(url) > MAX_IMAGE_BYTES * _BASE64_SHARE + 200:
            raise UsageError(f"the image has more than {MAX_IMAGE_BYTES} bytes. Scale it down.")
        try:
            return cls(base64.b64decode(url[len(head) + 1 :], validate=True))
        except (binascii.Error, ValueError) as error:
            raise UsageError(f"the data URL of an image is not base64: {error}") from None

    @property
    def url(self) -> str:
        """The image as a data URL."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode()}"

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height in pixels, None if the header does not say."""
        try:
            size = _SIZES[self.media_type](self.data)
        except (struct.error, IndexError):
            return None
        return size if size and min(size) > 0 else None

    @property
    def tokens(self) -> int:
        """About how many tokens it takes, on the high side."""
        size = self.size
        if size is None:
            return MOST_TOKENS
        return min(MOST_TOKENS, max(_tokens_by_tiles(*size), _tokens_by_pixels(*size)))

    @property
    def note(self) -> str:
        """A line of text in its place, for a model that is not shown it."""
        size = self.size
        pixels = f", {size[0]}x{size[1]} pixels" if size else ""
        return f"[an image that is not shown here: {self.media_type}{pixels}]"


def _media_type(data: bytes) -> str:
    for beginning, media_type in _FORMATS:
        if data.startswith(beginning):
            return media_type
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    what = "empty" if not data else f"not one: its bytes begin with {data[:8]!r}"
    raise UsageError(f"the image is {what}. Pass the bytes of a PNG, JPEG, GIF or WebP file.")


def _png_size(data: bytes) -> tuple[int, int] | None:
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def _gif_size(data: bytes) -> tuple[int, int] | None:
    width, height = struct.unpack("<HH", data[6:10])
    return width, height


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Return the size in the first frame header; segments before it are skipped."""
    place = 2
    while place + 9 < len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker in _JPEG_SIZES:
            height, width = struct.unpack(">HH", data[place + 5 : place + 9])
            return width, height
        place += 1 if marker == 0xFF else 2 + int.from_bytes(data[place + 2 : place + 4])
    return None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack("<HH", data[26:30])
    return width & 0x3FFF, height & 0x3FFF


_SIZES = {
    "image/png": _png_size,
    "image/gif": _gif_size,
    "image/jpeg": _jpeg_size,
    "image/webp": _webp_size,
}


def _tokens_by_tiles(width: int, height: int) -> int:
    scale = min(1.0, _MOST_SIDE / max(width, height))
    scale = min(scale, _SHORT_SIDE / min(width, height))
    tiles = math.ceil(width * scale / _TILE) * math.ceil(height * scale / _TILE)
    return 85 + 170 * tiles


def _tokens_by_pixels(width: int, height: int) -> int:
    scale = min(1.0, _LONGEST_SIDE / max(width, height))
    return math.ceil(width * scale * height * scale / 750)
