"""Expectations: what a script can ask of a reply.

An expectation has a name (the key under a turn's `expect`), a type that its value is checked
against when the script is loaded, and a check. vanta's own are in the plugin
`vanta_scripts`; plugins bring more with `vanta_expectations`. Invariant: a check looks and does
not touch; it says what was
expected and what came.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vanta.errors import EmbedderError
from vanta.prompts import Templates
from vanta.resources import templates_dir

if TYPE_CHECKING:
    from vanta.events import Event, Reply
    from vanta.memory import Embedder, MemoryItem
    from vanta.track import Track


@dataclass(frozen=True, slots=True)
class Failure:
    """An expectation that did not hold: its name, what was expected, what came instead.

    diff: lines of a comparison, where the two are long.
    """

    expectation: str
    expected: str
    came: str
    diff: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"expected {self.expected}; came {self.came}"

    def describe(self) -> str:
        """For a person, indented."""
        lines = [f"  expected {self.expected}", f"  came     {self.came}"]
        return "\n".join([*lines, *(f"    {line}" for line in self.diff)])


def _free(_cost_usd: float) -> None:
    """Nothing to pay."""


async def _no_embedder(_name: str | None) -> Embedder:
    raise EmbedderError("there is no embedder here.")


def _written(name: str, variables: Mapping[str, Any]) -> str:
    """A template of vanta's own."""
    return Templates([templates_dir()]).render(name, variables)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a check may look at: what was said and the reply to it.

    events: of the turn, in order. tracks: all that there are, for a check that asks one; spend is
    then called with what that cost, in USD. source: the script's file. recalled: the memories that
    the track which answered was shown. labels: the script's fixtures, a name to ids of memories.
    embedder: gives the embedder of a name, None for memory's own; may raise EmbedderError and
    UnknownName. write: renders a prompt template.
    """

    say: str
    reply: Reply
    events: tuple[Event, ...] = ()
    tracks: Mapping[str, Track] = field(default_factory=dict)
    source: str = ""
    spend: Callable[[float], object] = _free
    recalled: tuple[MemoryItem, ...] = ()
    labels: Mapping[str, frozenset[int]] = field(default_factory=dict)
    embedder: Callable[[str | None], Awaitable[Embedder]] = _no_embedder
    write: Callable[[str, Mapping[str, Any]], str] = _written


Check = Callable[[Any, Seen], Failure | Awaitable[Failure | None] | None]


@dataclass(frozen=True, slots=True, eq=False)
class Expectation:
    """Something that a script can ask of a reply.

    name: the key under `expect`. summary: one line for a person. value: the type of what the
    script gives, anything that `pydantic.TypeAdapter` takes; it is checked strictly (a number is no
    text) and the check gets what comes out of it. check: given that value and what was seen,
    None if it holds, else a Failure; sync or async.
    """

    name: str
    summary: str
    value: Any
    check: Check
