"""The content of a cassette, and its file.

Invariant: a file is read whole and validated before any of it is used. Deltas come back equal to
the recorded ones, except for the engine's timings, which are not kept.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from vanta import Delta, GenerationRequest, Message, ScriptError, message_data
from vanta.files import read_file, write_private
from vanta.text import well_formed_data
from vanta_scripts.script import Script

VERSION = 1
REMOVED = "[removed]"
_SECRET_ENDINGS = ("KEY", "TOKEN", "SECRET", "PASSWORD")
_SHORTEST_SECRET = 8
_MAX_BYTES = 1 << 28


@dataclass(slots=True)
class RecordedStream:
    """One generation.

    :param track: the track's name.
    :param key: the fingerprint of the request.
    :param deltas: the deltas that were read.
    :param end: whether the stream was read to its end, left before it, or broken by an error.
    :param error: `EngineError.to_dict()` of that error.
    """

    track: str
    key: str
    deltas: list[Delta] = field(default_factory=list)
    end: Literal["complete", "left", "error"] = "left"
    error: dict[str, Any] | None = None


@dataclass(slots=True)
class Reel:
    """The recording of one run of one script; `counts`: token counts by track and fingerprint."""

    script: str
    number: int
    streams: list[RecordedStream] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecordedTrack:
    """The model, engine, window and capabilities of a track when it was recorded."""

    model: str
    engine: str
    window: int | None
    capabilities: dict[str, bool]


@dataclass(slots=True)
class Cassette:
    """Tracks by name, and a reel for each run of each script."""

    tracks: dict[str, RecordedTrack] = field(default_factory=dict)
    reels: list[Reel] = field(default_factory=list)
    version: int = VERSION

    def reel(self, script: str, number: int) -> Reel | None:
        """Return the reel of a script's run, or None if it was not recorded."""
        reels = (reel for reel in self.reels if (reel.script, reel.number) == (script, number))
        return next(reels, None)


def label(script: Script) -> str:
    """Return a script's name on a cassette, which does not depend on its folder."""
    return f"{Path(script.source).name}: {script.title}"


def fingerprint(request: GenerationRequest) -> str:
    """Return a hash of what determines an answer: messages, prefix, sampling and tools."""
    parts: list[object] = [
        [_message_data(message) for message in request.messages],
        request.prefix,
        dataclasses.asdict(request.sampling),
        [dataclasses.asdict(tool) for tool in request.tools],
    ]
    if (request.tool_choice, request.parallel_tool_calls) != ("auto", True):
        parts.append([request.tool_choice, request.parallel_tool_calls])
    return _hash(parts)


def fingerprint_of_messages(messages: Sequence[Message]) -> str:
    """Return a hash of messages whose tokens are counted."""
    return _hash([_message_data(message) for message in messages])


def _message_data(message: Message) -> dict[str, object]:
    """Return what counts of a message; one without images has the hash that it always had."""
    data = dataclasses.asdict(dataclasses.replace(message, images=(), image_places=()))
    del data["images"], data["image_places"]
    return {**data, "parts": message_data(message)["content"]} if message.images else data


def fingerprint_of_text(text: str) -> str:
    """Return a hash of a text whose tokens are counted."""
    return _hash(["text", text])


def save_cassette(cassette: Cassette, path: Path, environ: Mapping[str, str] = os.environ) -> None:
    """Write a cassette, without secrets. Blocking.

    :param cassette: the cassette.
    :param path: the file.
    :param environ: environment variables; values of those named like secrets are removed.
    :raises OSError: if the file cannot be written.
    """
    data = well_formed_data(_compact(dataclasses.asdict(cassette)))
    text = json.dumps(data, ensure_ascii=False)
    for name, value in environ.items():
        if name.upper().endswith(_SECRET_ENDINGS) and len(value) >= _SHORTEST_SECRET:
            text = text.replace(json.dumps(value, ensure_ascii=False)[1:-1], REMOVED)
    write_private(path, text + "\n")


def load_cassette(path: Path) -> Cassette:
    """Read a cassette. Blocking.

    :param path: the file.
    :raises ScriptError: if it cannot be read, is not a cassette or has another version.
    """
    try:
        cassette = TypeAdapter(Cassette).validate_json(read_file(path, _MAX_BYTES))
    except OSError as error:
        raise ScriptError(f"{path}: cannot be read: {error.strerror}. Check the path.") from error
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise ScriptError(f"{path}: is not a cassette: {problem}. Record it again.") from error
    if cassette.version != VERSION:
        raise ScriptError(
            f"{path}: has version {cassette.version} of the cassette format, but this vanta plays "
            f"version {VERSION}. Record it again."
        )
    return cassette


def _hash(data: Any) -> str:
    text = json.dumps(data, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _compact(data: Any) -> Any:
    """Drop the empty fields of deltas; they come back as defaults."""
    for reel in data["reels"]:
        for stream in reel["streams"]:
            stream["deltas"] = [
                {name: value for name, value in delta.items() if value not in ("", [], (), None)}
                for delta in stream["deltas"]
            ]
    return data
