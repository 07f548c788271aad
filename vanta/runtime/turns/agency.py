"""What a runtime's turns can do: its toolsets, the rules for their calls, and who is asked.

Invariant: a turn's tools are fixed when it begins; what changes later (a server's list, a rule)
counts for the next turn.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vanta.config import Config
from vanta.context import estimate_text
from vanta.errors import UnknownName, UsageError
from vanta.events import Event
from vanta.memory import Memory
from vanta.messages import Exchange
from vanta.money import Ledger
from vanta.plugin_loading import PluginSet
from vanta.runtime.options import TurnOptions
from vanta.runtime.turns.rounds import DeadlineClock, RoundRules
from vanta.runtime.turns.stranded_calls import Done, StrandedCalls, find_stranded
from vanta.storage import Store
from vanta.tool_contract import Tool, Toolset
from vanta.tools import (
    ApprovalHandler,
    ApprovalMode,
    Approvals,
    CallDesk,
    Caller,
    CallRunner,
    FunctionToolset,
    Journal,
    OfferedTool,
    ParkedTurns,
    Permissions,
    Questions,
    ToolOutlook,
    ToolRegistry,
    ToolRules,
    open_toolsets,
)
from vanta.tools.recall import ToolLibrary, ToolNeed, ToolRecall
from vanta.tools.registry import RESERVED

_log = logging.getLogger("vanta")


@dataclass(frozen=True, slots=True)
class ProgramTools:
    """What a program gives to `vanta.open`.

    :param own: its functions and toolsets.
    :param ask: asks a person about a call; None if no one can be asked.
    """

    own: tuple[Toolset | Callable[..., Any], ...] = ()
    ask: ApprovalHandler | None = None


NO_TOOLS = ProgramTools()

NAME_IT = "Name it in 'tools.use' of the configuration, or pass it to vanta.open(own_tools=...)."
"""What to do if a turn names a toolset that is not on."""

LONGEST_NAME = 64
"""Characters that the name of a tool may have."""

PROGRAM = "program"
"""The toolset of the functions that a program passes to `vanta.open`."""


def open_agency(
    config: Config,
    plugins: PluginSet,
    store: Store,
    ledger: Ledger,
    program: ProgramTools,
    memory: Memory | None = None,
) -> Agency:
    """Build the toolsets of a runtime.

    :param config: the effective configuration.
    :param plugins: the plugins that are on.
    :param store: where calls are recorded.
    :param ledger: pays for tools that have a price.
    :param program: what the program gives.
    :param memory: the memory of all sessions, for tools that use it.
    :returns: the tools; a turn has none if there is no toolset.
    :raises UnknownName: if no plugin provides a toolset that the configuration names.
    :raises ConfigError: if its options do not fit.
    :raises UsageError: if two toolsets have one name.
    """
    tools = config.tools
    toolsets, off = open_toolsets(
        [*tools.use, *plugins.configured_toolsets],
        plugins.toolsets,
        tools.options,
        data_dir=config.data_dir,
        project=Path.cwd(),
        hint=plugins.library_hint,
        memory=lambda: memory,
    )
    for name, why in off.items():
        _log.warning("toolset %r is off: %s", name, why)
    own = _own_toolsets(program.own)
    for toolset in own:
        if toolset.name in toolsets:
            raise UsageError(f"two toolsets are named {toolset.name!r}. Rename one of them.")
        toolsets[toolset.name] = toolset
    return Agency(
        desk=CallDesk(ToolRegistry(toolsets), Journal(store), ledger, Approvals(store)),
        permissions=Permissions(
            mode=tools.mode,
            allow=[*tools.allow, *(f"{toolset.name}.*" for toolset in own)],
            deny=tools.deny,
            ask=tools.ask,
            untrusted=tools.untrusted,
        ),
        ask=program.ask,
        rounds=RoundRules(max_rounds=tools.max_rounds, races=tools.rounds == "race"),
        max_calls=tools.max_calls,
        max_result_tokens=tools.max_result_tokens,
        library=ToolLibrary(memory.embedder if memory else None),
        store=store,
        approvals_expire_s=tools.approvals_expire_s,
    )


def _has_untrusted_results(
    history: Iterable[Exchange], offered: Iterable[OfferedTool], own: Iterable[Tool] = ()
) -> bool:
    """Return whether a history has a result that others may have written.

    The history keeps the names of calls alone: a tool that is not known any more, or shares its
    name with one whose results others write, is not trusted.

    :param history: what the turn is shown of earlier turns.
    :param offered: the tools of the runtime as they are now.
    :param own: the caller's own tools.
    """
    known = dict.fromkeys(RESERVED, True)
    for name, tool in _names_of(offered, own):
        known[name] = known.get(name, True) and not tool.untrusted
    messages = [message for exchange in history for message in exchange.messages]
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    results = [message for message in messages if message.role == "tool"]
    return any(not known.get(names.get(item.tool_call_id or "", ""), False) for item in results)


def _names_of(offered: Iterable[OfferedTool], own: Iterable[Tool]) -> Iterator[tuple[str, Tool]]:
    for item in offered:
        for name in {item.name, item.tool.name}:
            yield name, item.tool
    for tool in own:
        yield tool.name, tool


def _own_toolsets(own: Sequence[Toolset | Callable[..., Any]]) -> list[Toolset]:
    toolsets = [item for item in own if isinstance(item, Toolset)]
    functions = [item for item in own if not isinstance(item, Toolset)]
    return [*toolsets, FunctionToolset(PROGRAM, functions)] if functions else toolsets


@dataclass(frozen=True, slots=True)
class Agency:
    """The tools of a runtime.

    :param desk: what every call goes through.
    :param permissions: which calls run, are asked for or are denied.
    :param ask: asks a person; None denies what would be asked.
    :param rounds: how rounds follow each other.
    :param max_calls: calls of one turn.
    :param max_result_tokens: tokens of one result that a model is shown at once.
    :param library: finds the tools that a message needs.
    :param store: where turns are kept that wait for a person.
    :param approvals_expire_s: seconds that they wait at most.
    """

    desk: CallDesk
    permissions: Permissions
    ask: ApprovalHandler | None
    rounds: RoundRules
    max_calls: int
    max_result_tokens: int
    library: ToolLibrary
    store: Store
    approvals_expire_s: float

    @property
    def parked(self) -> ParkedTurns:
        """The turns that wait for a person."""
        return ParkedTurns(self.store, expire_s=self.approvals_expire_s)

    async def outlooks(self, *, private: bool) -> list[ToolOutlook]:
        """Return which tools a turn is offered now, and whether their calls may run.

        :param private: whether the turn is private.
        """
        offered = await self.desk.registry.offered()
        return [self.permissions.outlook(tool, private_turn=private) for tool in offered]

    def of_turn(
        self, options: TurnOptions, taken: frozenset[str] = frozenset()
    ) -> TurnTools | None:
        """Return the tools of one turn, None if it has none.

        :param options: what the caller chose.
        :param taken: names that the caller's own tools have.
        :raises UnknownName: if it names tools and the runtime has none.
        """
        choice = options.tool_choice or "auto"
        if choice == "none" or (options.tools is not None and not options.tools):
            return None
        if not self.desk.registry.toolsets:
            if options.tools:
                raise UnknownName("toolset", next(iter(options.tools)), (), hint=NAME_IT)
            return None
        parallel = options.parallel_tool_calls is not False
        rounds = dataclasses.replace(self.rounds, tool_choice=choice, parallel=parallel)
        return TurnTools(self, options.tools, rounds, options.approvals, taken)


@dataclass(frozen=True, slots=True)
class TurnTools:
    """The tools of one turn, before they are listed.

    :param agency: the runtime's tools.
    :param chosen: names of toolsets and tools that are offered; None for all.
    :param rounds: how rounds follow each other.
    :param approvals: what the caller chose for calls that ask.
    :param taken: names that the caller's own tools have. A tool that shares one is offered as
        `TOOLSET_TOOL`.
    """

    agency: Agency
    chosen: Sequence[str] | None
    rounds: RoundRules
    approvals: ApprovalMode | None = None
    taken: frozenset[str] = frozenset()

    async def stranded_calls(
        self, caller: Caller, history: Sequence[Exchange], done: Done, *, private: bool
    ) -> StrandedCalls:
        """Return what the turn has to know of calls of turns that are not in the history.

        Parameters and errors are those of `find_stranded`.
        """
        agency = self.agency
        return await find_stranded(
            agency.desk.journal,
            agency.parked,
            agency.store,
            caller,
            history,
            done,
            private=private,
        )

    async def runner(
        self,
        caller: Caller,
        clock: DeadlineClock,
        is_private: Callable[[], bool],
        emit: Callable[[Event], None],
        need: ToolNeed,
        questions: Questions,
        *,
        past: Sequence[Exchange],
        own: Sequence[Tool],
        withheld: frozenset[tuple[str, str, str]] = frozenset(),
    ) -> CallRunner | None:
        """Return what runs the turn's calls; None if no toolset has a tool now."""
        agency, chosen = self.agency, self.chosen
        offered = await agency.desk.registry.offered()
        after_untrusted = _has_untrusted_results(past, offered, own)
        if chosen is not None:
            self._require(chosen, offered)
            offered = [
                item
                for item in offered
                if {item.toolset, item.name, f"{item.toolset}.{item.tool.name}"} & set(chosen)
            ]
        if not offered:
            return None
        offered = [self._renamed(item) for item in offered]
        self._require([self.rounds.tool_choice], offered)
        rules = ToolRules(
            permissions=agency.permissions,
            ask=agency.ask,
            max_calls=agency.max_calls,
            max_result_tokens=agency.max_result_tokens,
            count=estimate_text,
        )
        return CallRunner(
            desk=agency.desk,
            offered=offered,
            caller=caller,
            rules=rules,
            clock=clock,
            is_private=is_private,
            emit=emit,
            recall=ToolRecall(agency.library, offered, need),
            questions=questions,
            after_untrusted=after_untrusted,
            withheld=withheld,
        )

    def _renamed(self, item: OfferedTool) -> OfferedTool:
        if item.name not in self.taken:
            return item
        name = f"{item.toolset}_{item.tool.name}"
        if name in self.taken or len(name) > LONGEST_NAME:
            raise UsageError(
                f"the tool {item.identity!r} has the name of one of the caller's own tools. "
                "Rename that one."
            )
        return dataclasses.replace(item, name=name)

    def _require(self, names: Sequence[str], offered: Sequence[OfferedTool]) -> None:
        """Refuse a name that no tool and no toolset has. Raises UnknownName."""
        known = {"auto", "required", *self.taken, *self.agency.desk.registry.toolsets}
        for item in offered:
            known |= {item.name, item.identity}
        for name in names:
            if name not in known:
                raise UnknownName("tool", name, sorted(known - {"auto", "required"}))
