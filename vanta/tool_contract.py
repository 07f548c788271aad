"""The contract of tools: functions that a model may call, and who runs them.

A `Tool` says what a function does and what running it twice would do. A `Toolset` is a named group
of tools from one plugin, program or server, and runs their calls. It only runs: who may call, when,
and how often is decided above it (`vanta.tools`), so a toolset never asks, retries or remembers.

Invariants: a toolset's `call` gets arguments that are valid under the tool's schema; it is
cancelled when the turn is, or when the tool's time is up; whatever it raises becomes a result that
the model reads. A result is data: nothing in it is an instruction, a role or a call.
"""

from __future__ import annotations

import abc
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vanta.messages import Image

if TYPE_CHECKING:
    from pydantic import BaseModel

Effect = Literal["read", "idempotent", "write"]
"""What a second run of the same call would do: nothing that anyone notices (`read`), nothing more
than the first with the same idempotency key (`idempotent`), or the same thing again (`write`)."""


PER_TOOL = 8
"""Tokens that a chat format puts around the JSON of a tool."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that a model may call.

    :param name: name that the model calls it by: letters, digits, `_` and `-`, at most 64.
    :param description: what it does, for the model.
    :param parameters: JSON Schema of its arguments, an object.
    :param effect: what running a call twice would do; unknown tools count as `write`.
    :param private: whether nothing of a call leaves this machine; a private turn uses no other.
    :param untrusted: whether its results are written by others, such as the text of a web page.
    :param timeout_s: seconds that one call may take.
    :param max_result_tokens: tokens of its result that the model is shown at once; None for the
        configured limit.
    :param price_usd: what one call costs, in US dollars.
    :param asks_person: whether a call is a question to the person, whose answer is its result: the
        argument `question`, and proposed answers in `choices`. The toolset's `call` is not used.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    effect: Effect = "write"
    private: bool = False
    untrusted: bool = False
    timeout_s: float = 30.0
    max_result_tokens: int | None = None
    price_usd: float = 0.0
    asks_person: bool = False


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a call gave.

    :param text: what the model reads.
    :param data: the same as a JSON-ready value, if it has a structure; None if it has none.
    :param is_error: whether the call failed; `text` then says why, for the model to correct.
    :param source: where it comes from, such as a path or a URL; "" for the tool itself.
    :param private: whether it must not leave this machine. A turn that was shown it is private.
    :param is_unknown: whether the call failed, but may have had its effect, as when its server
        ended meanwhile. Such a call is `unknown` in the journal, unless its tool only reads.
    :param images: what a model that can see is shown beside the text; others read that it is there.
    """

    text: str
    data: Any = None
    is_error: bool = False
    source: str = ""
    private: bool = False
    is_unknown: bool = False
    images: tuple[Image, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolCounts:
    """The tokens that tools take in an engine's prompt.

    :param opening: what tools add once, however many there are.
    :param tools: what each tool adds, in their order.
    """

    opening: int
    tools: tuple[int, ...]


def tool_text(tool: Tool) -> str:
    """Return a tool as the JSON that chat APIs are sent and most chat templates write.

    :param tool: the tool.
    """
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
    }
    return json.dumps({"type": "function", "function": function}, ensure_ascii=False, default=str)


AskPerson = Callable[[str, Sequence[str]], Awaitable[str | None]]
"""Takes a question and proposed answers (none for any); returns the answer, None for none."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a toolset knows of a call beside its arguments.

    :param user: the user of the conversation.
    :param session: the session's id.
    :param turn: the turn's id.
    :param call_id: the call's id in its turn.
    :param idempotency_key: the same for every attempt of the same call, for services that know
        such keys; no two calls have the same.
    :param private: whether the turn is private: nothing of the call may leave this machine.
    :param ends_at: when the call is cancelled, in seconds on the event loop's clock.
    :param ask: asks the person of the turn a question while the call runs, whose time stands still
        meanwhile; None if no one can be asked.
    """

    user: str = ""
    session: str = ""
    turn: str = ""
    call_id: str = ""
    idempotency_key: str = ""
    private: bool = False
    ends_at: float = float("inf")
    ask: AskPerson | None = None


class Toolset(abc.ABC):
    """A named group of tools. One instance serves all turns of a runtime, many calls at once.

    :ivar name: its name, unique in the configuration; rules name tools as `NAME.TOOL`.
    :ivar list_timeout_s: seconds that `tools` may take; a turn waits for it.
    """

    name: str
    list_timeout_s: float = 5.0

    @abc.abstractmethod
    async def tools(self) -> Sequence[Tool]:
        """Return its tools as they are now. Called at the beginning of each turn: keep them.

        :raises ToolError: if they cannot be listed; the toolset is then left out of the turn.
        """

    @abc.abstractmethod
    async def call(
        self, name: str, arguments: Mapping[str, Any], context: ToolContext
    ) -> ToolResult:
        """Run one call.

        :param name: the tool's name.
        :param arguments: its arguments, valid under the tool's schema.
        :param context: who calls, and until when.
        :returns: the result; a failure that the model can correct is a result with `is_error`.
        :raises ToolError: if the call failed. Any other exception counts as the tool's bug.
        """

    async def aclose(self) -> None:  # noqa: B027 - most toolsets hold nothing
        """Release everything. Idempotent."""


@dataclass(frozen=True, slots=True)
class ToolsetContext:
    """What the factory of a toolset knows of the runtime.

    :param data_dir: a folder of the toolset's own, which may not exist yet.
    :param project: the folder that the program was started in.
    :param memory: returns the runtime's `vanta.memory.Memory`, None if it is off; call it when a
        tool runs. Typed loosely, since memory stands above this contract.
    :param now: returns the present in seconds since the epoch.
    """

    data_dir: Path
    project: Path
    memory: Callable[[], Any] = field(default=lambda: None)
    now: Callable[[], float] = field(default=time.time)


@dataclass(frozen=True, slots=True)
class ToolsetFactory:
    """What a plugin returns for each toolset that it brings.

    :param name: name of the toolset, as in `tools.use = ["NAME"]`.
    :param summary: one line for `vanta tools list`.
    :param options: pydantic model that `tools.options.NAME` is validated with.
    :param create: builds the toolset, fast and without I/O.
    :param off: returns why the toolset cannot be used with these options, or None.
    :param requires: import name of the heavy library that it needs, "" for none.
    :param extra: the extra of the plugin's distribution that installs the library.
    """

    name: str
    summary: str
    options: type[BaseModel]
    create: Callable[[Any, ToolsetContext], Toolset]
    off: Callable[[Any], str | None] = field(default=lambda _options: None)
    requires: str = ""
    extra: str = ""
