"""The toolset `memory`: search, remember and forget, in the memory of the turn's user.

Invariant: the user and the privacy come from the call's context, never from the model. What a
private turn remembers is private; a public turn sees and forgets public items only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import Field

from vanta import ToolContext, ToolError, ToolResult, ToolsetContext
from vanta.text import printable
from vanta_tools.actions import (
    ActionToolset,
    CorrectableError,
    ToolArguments,
    ToolOptions,
    action,
    seconds_left,
)

if TYPE_CHECKING:
    from vanta.memory import Memory, MemoryItem, Scope

TAG = "tool"
"""The tag of everything that the tool `remember` stores."""

SEARCH_S = 10.0
MAX_CHARACTERS = 8_000


class MemoryOptions(ToolOptions):
    """Options of the toolset `memory`."""

    write: bool = Field(default=True, description="Whether the tool 'remember' is offered.")
    forget: bool = Field(default=False, description="Whether the tool 'forget' is offered.")


class MemorySearchArguments(ToolArguments):
    """Arguments of `search`."""

    query: str = Field(min_length=1, max_length=2000, description="What to look for.")
    limit: int = Field(default=10, ge=1, le=50, description="How many items to return at most.")


class RememberArguments(ToolArguments):
    """Arguments of `remember`."""

    text: str = Field(
        min_length=1, max_length=MAX_CHARACTERS, description="The fact, as a whole sentence."
    )


class ForgetArguments(ToolArguments):
    """Arguments of `forget`."""

    ids: tuple[int, ...] = Field(
        min_length=1, max_length=50, description="Ids of items, as the search shows them."
    )


class MemoryToolset(ActionToolset):
    """Searches and changes the memory of the user of a turn.

    :param options: the toolset's options.
    :param memory: returns the runtime's memory, None if it is off.
    :param now: returns the present in seconds since the epoch.
    """

    def __init__(
        self,
        options: MemoryOptions,
        memory: Callable[[], Memory | None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._memory_of = memory
        self._now = now
        actions = [
            action(
                "search",
                "Search what was said and noted in earlier conversations.",
                MemorySearchArguments,
                self._search,
                effect="read",
                private=True,
                untrusted=True,
            )
        ]
        if options.write:
            actions.append(
                action(
                    "remember",
                    "Note a fact about the user for later conversations.",
                    RememberArguments,
                    self._remember,
                    effect="write",
                    private=True,
                )
            )
        if options.forget:
            actions.append(
                action(
                    "forget",
                    "Remove items of memory for good, with the exchanges they are from.",
                    ForgetArguments,
                    self._forget,
                    effect="write",
                    private=True,
                )
            )
        super().__init__("memory", actions)

    async def _search(self, arguments: MemorySearchArguments, context: ToolContext) -> ToolResult:
        from vanta.memory import Question

        question = Question(
            arguments.query,
            self._scope(context),
            session=context.session,
            limit=arguments.limit,
            confidential=context.private,
        )
        found = await self._memory().recall(question, seconds_left(context, SEARCH_S))
        items = [recalled.item for recalled in found.items[: arguments.limit]]
        notes = f"\n[not complete: {found.skipped}]" if found.skipped else ""
        return ToolResult(
            ("\n".join(map(_line, items)) or "(nothing)") + notes,
            data=[{"id": item.id, "text": item.text, "source": item.source} for item in items],
            source="memory",
            private=any(item.private for item in items),
        )

    async def _remember(self, arguments: RememberArguments, context: ToolContext) -> ToolResult:
        from vanta.memory import NewItem

        item = NewItem(
            user=self._scope(context).user,
            kind="fact",
            text=" ".join(arguments.text.split()),
            said_at=self._now(),
            session=context.session,
            turn_id=context.turn,
            private=context.private,
            tags=(TAG,),
            source="noted by the assistant",
        )
        (number,) = await self._memory().add([item])
        return ToolResult(f"Noted as item {number}.", data={"id": number}, private=context.private)

    async def _forget(self, arguments: ForgetArguments, context: ToolContext) -> ToolResult:
        from vanta.memory import Selection

        memory, ids = self._memory(), tuple(dict.fromkeys(arguments.ids))
        items = await memory.get(self._scope(context), ids)
        missing = _missing(ids, items)
        if missing:
            raise CorrectableError(
                f"No item has the id {', '.join(map(str, missing))}. Search for it first."
            )
        receipt = await memory.forget(Selection(context.user, ids=ids))
        note = f" [{receipt.why}]" if receipt.why else ""
        return ToolResult(f"Forgot {len(ids)} item(s).{note}", data={"ids": list(ids)})

    def _memory(self) -> Memory:
        memory = self._memory_of()
        if memory is None:
            raise ToolError("memory is off: see `memory.enabled` in the configuration.")
        return memory

    @staticmethod
    def _scope(context: ToolContext) -> Scope:
        from vanta.memory import Scope

        if not context.user:
            raise ToolError("the turn has no user, so it has no memory.")
        return Scope(context.user, private=context.private)


def _missing(ids: Sequence[int], items: Sequence[MemoryItem]) -> list[int]:
    known = {item.id for item in items}
    return [number for number in ids if number not in known]


def _line(item: MemoryItem) -> str:
    day = datetime.fromtimestamp(item.said_at, UTC).date().isoformat()
    where = item.source or {"user": "said by the user", "assistant": "said by the assistant"}.get(
        item.role, item.kind
    )
    return f"[{item.id}] {day}, {printable(where)}: {' '.join(printable(item.text).split())}"


def create_memory(options: MemoryOptions, context: ToolsetContext) -> MemoryToolset:
    """Return the toolset for a runtime."""
    return MemoryToolset(options, context.memory, context.now)
