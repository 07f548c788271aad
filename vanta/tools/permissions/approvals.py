"""Approvals that outlast a call: for a session, or until a person revokes them.

An approval names a tool and is bound to what the tool claimed to be when a person approved it:
toolset, name, description, schema and effect. Invariant: after any change of these the approval
covers nothing, so the tool asks again; an approval never covers a tool of another user.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import sqlalchemy as sa

from vanta.errors import UsageError
from vanta.storage import Database
from vanta.storage.schema import tool_approvals
from vanta.tools.journal.call_record import tool_digest
from vanta.tools.permissions.call_patterns import CallPattern
from vanta.tools.registry import OfferedTool

_approvals = tool_approvals.c


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingApproval:
    """What a person approved beyond one call.

    :param user: the user whose calls it covers.
    :param session: the session whose calls it covers; "" for all, until it is revoked.
    :param toolset: name of the toolset.
    :param tool: the tool's own name.
    :param tool_digest: see `vanta.tools.tool_digest`.
    :param pattern: the rule that a call must match, such as `files.write(docs/**)`; "" for any
        arguments.
    :param approved_at: seconds since the epoch.
    :param id: its unique id.
    """

    user: str
    session: str
    toolset: str
    tool: str
    tool_digest: str
    pattern: str
    approved_at: float
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def to_dict(self) -> dict[str, Any]:
        """Return the approval as JSON-ready data."""
        return asdict(self)


_FIELDS = [tool_approvals.c[name] for name in StandingApproval.__slots__]


class Approvals:
    """The approvals in a store.

    :param store: the open store, which has the table.
    :param clock: returns seconds since the epoch.
    """

    def __init__(self, store: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    async def add(
        self, offered: OfferedTool, *, user: str, session: str | None, pattern: str = ""
    ) -> StandingApproval:
        """Approve later calls of a tool as it is now.

        :param offered: the tool.
        :param user: the user whose calls are approved.
        :param session: the session; None approves the calls of all sessions until it is revoked.
        :param pattern: the rule that calls must match, read as `tools.allow` is; "" for any
            arguments.
        :returns: the stored approval.
        :raises UsageError: if the pattern is not a rule.
        :raises StoreError: if the database fails.
        """
        if pattern:
            CallPattern.parse(pattern)
        if session == "":
            raise UsageError(
                "an approval for a session needs its name. Pass None to approve all sessions."
            )
        approval = StandingApproval(
            user=user,
            session=session or "",
            toolset=offered.toolset,
            tool=offered.tool.name,
            tool_digest=tool_digest(offered.toolset, offered.tool),
            pattern=pattern,
            approved_at=self._clock(),
        )
        insert = sa.insert(tool_approvals).values(asdict(approval))
        await self._store.transact(lambda connection: connection.execute(insert))
        return approval

    async def covering(
        self, offered: OfferedTool, arguments: Mapping[str, Any], *, user: str, session: str
    ) -> StandingApproval | None:
        """Return an approval that covers a call, or None.

        Do not use it for a decision with `only_this_call`.

        :param offered: the tool as it is now.
        :param arguments: the arguments of the call.
        :param user: the user of the call.
        :param session: the session of the call.
        :raises StoreError: if the database fails.
        """
        query = sa.select(*_FIELDS).where(
            _approvals.user == user,
            _approvals.toolset == offered.toolset,
            _approvals.tool == offered.tool.name,
            _approvals.tool_digest == tool_digest(offered.toolset, offered.tool),
            _approvals.session.in_(["", session]),
        )
        rows = await self._store.read(partial(_approvals_of, query=query))
        for approval in rows:
            rule = approval.pattern
            if not rule or CallPattern.parse(rule).allows(offered, arguments):
                return approval
        return None

    async def list(self, *, user: str | None = None, start: str = "") -> Sequence[StandingApproval]:
        """Return approvals, oldest first.

        :param user: the user; None for all.
        :param start: the beginning of the approval's id.
        :raises StoreError: if the database fails.
        """
        query = sa.select(*_FIELDS).where(_approvals.id.startswith(start, autoescape=True))
        if user is not None:
            query = query.where(_approvals.user == user)
        ordered = query.order_by(_approvals.approved_at, _approvals.id)
        return await self._store.read(partial(_approvals_of, query=ordered))

    async def revoke(self, approval: StandingApproval) -> bool:
        """Remove an approval: from the next call on, the tool asks again.

        :param approval: the approval.
        :returns: False if it was removed before.
        :raises StoreError: if the database fails.
        """
        delete = sa.delete(tool_approvals).where(_approvals.id == approval.id)
        return await self._store.transact(
            lambda connection: connection.execute(delete).rowcount > 0
        )


def _approvals_of(
    connection: sa.Connection, *, query: sa.Select[Any]
) -> Sequence[StandingApproval]:
    return [StandingApproval(**row) for row in connection.execute(query).mappings()]
