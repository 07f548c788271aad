"""What is on a cassette, and its file.

Invariant: a file is read whole and checked before anything of it is used; deltas come back equal to
what was recorded, but for the engine's timings, which are of that day.
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

from vanta.engine import GenerationRequest
from vanta.errors import ScriptError
from vanta.messages import Delta, Message
from vanta_scripts.model import Script

VERSION = 1
REMOVED = "[removed]"
_SECRET_ENDINGS = ("KEY", "TOKEN", "SECRET", "PASSWORD")
_SHORTEST_SECRET = 8


@dataclass(slots=True)
class Stream:
    """One generation. key: the fingerprint of its request. end: it was taken to its end, left
    before that, or broke; error: `EngineError.to_dict()` then."""

    track: str
    key: str
    deltas: list[Delta] = field(default_factory=list)
    end: Literal["complete", "left", "error"] = "left"
    error: dict[str, Any] | None = None


@dataclass(slots=True)
class Reel:
    """What one run of one script recorded. counts: token counts, by track and fingerprint."""

    script: str
    number: int
    streams: list[Stream] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecordedTrack:
    """A track as it was: who served it, and what its engine could do."""

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
        """The reel of a script's run, None if it was not recorded."""
        found = (reel for reel in self.reels if (reel.script, reel.number) == (script, number))
        return next(found, None)


def label(script: Script) -> str:
    """What a script is called on a cassette: the same wherever its file lies."""
    return f"{Path(script.source).name}: {script.title}"


def fingerprint(request: GenerationRequest) -> str:
    """Of what makes an answer: messages, prefix, sampling, tools. Not the session's key."""
    asked = [
        [dataclasses.asdict(message) for message in request.messages],
        request.prefix,
        dataclasses.asdict(request.sampling),
        [dataclasses.asdict(tool) for tool in request.tools],
    ]
    return _hash(asked)


def fingerprint_of_messages(messages: Sequence[Message]) -> str:
    """Of messages alone, as they are counted."""
    return _hash([dataclasses.asdict(message) for message in messages])


def fingerprint_of_text(text: str) -> str:
    """Of a text alone, as it is counted."""
    return _hash(["text", text])


def save_cassette(cassette: Cassette, path: Path, environ: Mapping[str, str] = os.environ) -> None:
    """Write the file, without what the environment keeps secret. Blocking. Raises OSError."""
    text = json.dumps(_compact(dataclasses.asdict(cassette)), ensure_ascii=False)
    for name, value in environ.items():
        if name.upper().endswith(_SECRET_ENDINGS) and len(value) >= _SHORTEST_SECRET:
            text = text.replace(json.dumps(value, ensure_ascii=False)[1:-1], REMOVED)
    path.write_text(text + "\n", encoding="utf-8")


def load_cassette(path: Path) -> Cassette:
    """Read the file. Blocking. Raises ScriptError."""
    try:
        cassette = TypeAdapter(Cassette).validate_json(path.read_bytes())
    except OSError as error:
        raise ScriptError(f"{path}: cannot be read: {error.strerror}. Check the path.") from error
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise ScriptError(f"{path}: is no cassette: {problem}. Record it again.") from error
    if cassette.version != VERSION:
        raise ScriptError(
            f"{path}: was recorded by another vanta (version {cassette.version} of cassettes, this "
            f"one plays {VERSION}). Record it again."
        )
    return cassette


def _hash(data: Any) -> str:
    text = json.dumps(data, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _compact(data: Any) -> Any:
    """`data` without what is empty in a delta; it comes back as its default."""
    for reel in data["reels"]:
        for stream in reel["streams"]:
            stream["deltas"] = [
                {name: value for name, value in delta.items() if value not in ("", [], (), None)}
                for delta in stream["deltas"]
            ]
    return data
