"""The tools of an isolated session: its own, beside some of the runtime's.

Invariant: an isolated session gains no right over the runtime's own toolsets. Their calls run only
if the runtime's rules and the session's both allow them, and only the runtime's own handler can
approve one. Calls and approvals are kept in the session's store.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from vanta.errors import UnknownName
from vanta.runtime.options import IsolatedTools
from vanta.runtime.turns.agency import Agency
from vanta.storage import Store
from vanta.tools import (
    Approval,
    ApprovalHandler,
    ApprovalRequest,
    Approvals,
    Decision,
    Journal,
    OfferedTool,
    Permissions,
    ToolRegistry,
)
from vanta.tools.recall import ToolLibrary

_STRICTER = {"allow": 0, "ask": 1, "deny": 2}


def isolated_agency(tools: IsolatedTools, of_runtime: Agency, store: Store) -> Agency:
    """Return the tools of an isolated session.

    :param tools: what the session has.
    :param of_runtime: the runtime's tools.
    :param store: where calls and approvals are kept.
    :raises UnknownName: if the runtime has no toolset of a shared name.
    """
    known = of_runtime.desk.registry.toolsets
    for name in tools.shared:
        if name not in known:
            raise UnknownName("toolset", name, known)
    toolsets = {name: known[name] for name in tools.shared} | dict(tools.toolsets)
    desk = dataclasses.replace(
        of_runtime.desk,
        registry=ToolRegistry(toolsets),
        journal=Journal(store),
        approvals=Approvals(store),
    )
    return dataclasses.replace(
        of_runtime,
        desk=desk,
        permissions=_BothPermissions(tools, of_runtime.permissions),
        ask=_handler(tools, of_runtime.ask),
        library=ToolLibrary(),
        store=store,
    )


class _BothPermissions(Permissions):
    """The session's rules for its own toolsets; for the runtime's, the stricter of both."""

    def __init__(self, tools: IsolatedTools, of_runtime: Permissions) -> None:
        super().__init__("deny")
        self._own = frozenset(tools.toolsets)
        self._mine = tools.permissions
        self._theirs = of_runtime

    def decide(
        self,
        offered: OfferedTool,
        arguments: Mapping[str, Any],
        *,
        private_turn: bool,
        after_untrusted: bool,
    ) -> Decision:
        """Decide about one call, as `Permissions.decide` does."""
        mine = self._mine.decide(
            offered, arguments, private_turn=private_turn, after_untrusted=after_untrusted
        )
        mine = dataclasses.replace(mine, rule=f"{mine.rule} of the script")
        if offered.toolset in self._own:
            return mine
        theirs = self._theirs.decide(
            offered, arguments, private_turn=private_turn, after_untrusted=after_untrusted
        )
        return max(theirs, mine, key=lambda decision: _STRICTER[decision.verdict])


def _handler(tools: IsolatedTools, of_runtime: ApprovalHandler | None) -> ApprovalHandler | None:
    if tools.ask is None and of_runtime is None:
        return None

    async def ask(request: ApprovalRequest) -> Approval | bool | str:
        handler = tools.ask if request.toolset in tools.toolsets else of_runtime
        if handler is None:
            return Approval(approved=False, reason="No person is here who could approve it.")
        return await handler(request)

    return ask
