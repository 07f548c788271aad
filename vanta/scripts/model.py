"""A script, as data: what is said, on which track, and what is expected of the replies.

Invariant: a `Script` came through `vanta.scripts.format`, so its values are of the right types and
the values of expectations are what their checks take.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vanta.engine import Sampling


@dataclass(frozen=True, slots=True)
class ScriptTurn:
    """One message and what is expected of its reply.

    policy, track: for this turn; with either given, the script's own two do not count. private:
    None for the script's own. expect: expectation name -> checked value. line: where it stands.
    """

    say: str
    expect: Mapping[str, Any] = field(default_factory=dict)
    policy: str | None = None
    track: str | None = None
    private: bool | None = None
    line: int = 1


@dataclass(frozen=True, slots=True)
class Script:
    """A scripted conversation.

    system: a template under `system/` that goes before the configured one; variables: for it.
    session: its name; None for a fresh one each run. source: the file, for messages.
    """

    name: str
    turns: tuple[ScriptTurn, ...]
    description: str = ""
    policy: str | None = None
    track: str | None = None
    system: str | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    sampling: Sampling = Sampling()
    private: bool = False
    session: str | None = None
    user: str = "default"
    source: str = "<text>"
