"""The contract of expectations: what a scripted conversation can require of a reply.

An expectation has a name (the key under a turn's `expect`), the type of its value, and a check. The
plugin `vanta_scripts` provides the built-in ones; other plugins add theirs with
`vanta_expectations`. Invariant: a check changes nothing, and a failure names what was expected and
what was found.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vanta.errors import EmbedderError
from vanta.installation import templates_dir
from vanta.prompts import Templates

if TYPE_CHECKING:
    from vanta.events import Event
    from vanta.memory import Embedder, MemoryItem
    from vanta.trace import Reply
    from vanta.track import Track


@dataclass(frozen=True, slots=True)
class Failure:
    """An expectation that did not hold.

    :param expectation: its name.
    :param expected: the expected result, in words.
    :param actual: the actual result, in words.
    :param diff: lines of a comparison, if the two are long.
    """

    expectation: str
    expected: str
    actual: str
    diff: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"expected {self.expected}; got {self.actual}"

    def describe(self) -> str:
        """Return the failure in indented lines for a terminal."""
        lines = [f"  expected {self.expected}", f"  got      {self.actual}"]
        return "\n".join([*lines, *(f"    {line}" for line in self.diff)])


def _free(_cost_usd: float) -> None:
    """Ignore the cost."""


async def _no_embedder(_name: str | None) -> Embedder:
    raise EmbedderError("no embedder is available to this check.")


def _written(name: str, variables: Mapping[str, Any]) -> str:
    """Render one of the templates that ship with vanta."""
    return Templates([templates_dir()]).render(name, variables)


@dataclass(frozen=True, slots=True)
class CheckedTurn:
    """One turn of a script, as its checks see it.

    :param say: the user's message.
    :param reply: the reply to it.
    :param events: the events of the turn, in order.
    :param tracks: all tracks by name, for a check that asks one.
    :param source: the file of the script.
    :param spend: records the cost of a check that asks a track, in USD.
    :param recalled: the memories that the answering track was shown.
    :param labels: the ids of the script's fixtures in memory, by label.
    :param embedder: returns the embedder of a name, or memory's own for None; may raise
        EmbedderError and UnknownName.
    :param write: renders a prompt template.
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


Check = Callable[[Any, CheckedTurn], Failure | Awaitable[Failure | None] | None]


@dataclass(frozen=True, slots=True, eq=False)
class Expectation:
    """A requirement that a script can place on a reply.

    :param name: the key under `expect`.
    :param summary: one line for a person.
    :param value: the type of the value in the script, anything that `pydantic.TypeAdapter` takes.
        Values are checked strictly (a number is not a text), and the check receives the result.
    :param check: called with that value and the turn; returns None if the expectation holds,
        otherwise a Failure. It may be async.
    """

    name: str
    summary: str
    value: Any
    check: Check
