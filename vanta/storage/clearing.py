"""Removes the text of a session from every table of the store that has some.

Invariant: what stays are facts without text: that a turn was taken, what it cost, that a tool ran.
"""

from __future__ import annotations

import sqlalchemy as sa

from vanta.privacy import forget_texts
from vanta.storage.branch_rows import record_removal
from vanta.storage.branches import MAIN
from vanta.storage.schema import (
    branches,
    messages,
    parked_calls,
    parked_turns,
    sessions,
    tool_approvals,
    tool_calls,
    turns,
)


def clear(connection: sa.Connection, *, user: str, session: str) -> int:
    of_session = sa.delete(messages).where(messages.c.user == user, messages.c.session == session)
    count = connection.execute(of_session).rowcount
    scrub_records(connection, turns.c.user == user, turns.c.session == session)
    forget_calls(connection, tool_calls.c.user == user, tool_calls.c.session == session)
    in_session = (tool_approvals.c.user == user, tool_approvals.c.session == session)
    connection.execute(sa.delete(tool_approvals).where(*in_session, tool_approvals.c.session != ""))
    of_branches = (branches.c.user == user, branches.c.session == session)
    connection.execute(sa.delete(branches).where(*of_branches))
    of_row = (sessions.c.user == user, sessions.c.session == session)
    connection.execute(sa.update(sessions).where(*of_row).values(branch=MAIN))
    forget_parked(connection, parked_turns.c.user == user, parked_turns.c.session == session)
    record_removal(connection, user, forgotten=False)
    return count


def scrub_records(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> None:
    """Remove what servers wrote from the records of the turns that meet all conditions."""
    query = sa.select(turns.c.id, turns.c.trace).where(*conditions)
    for row in connection.execute(query).all():
        trace = forget_texts(row.trace)
        if trace != row.trace:
            connection.execute(sa.update(turns).where(turns.c.id == row.id), {"trace": trace})


def forget_calls(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> None:
    """Remove the text of the tool calls that meet all conditions; their state stays.

    A call that has not started has lost what it would be started with, so it is denied.
    """
    waiting = tool_calls.c.state.in_(["requested", "approved"])
    changes = dict.fromkeys(("call_id", "digest", "arguments", "reason", "result"), "")
    state = sa.case((waiting, "denied"), else_=tool_calls.c.state)
    update = sa.update(tool_calls).where(*conditions, sa.not_(tool_calls.c.forgotten))
    connection.execute(update.values(**changes, state=state, forgotten=True))


def forget_parked(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> None:
    """Remove the parked turns that meet all conditions, with the calls that wait for a person."""
    gone = sa.select(parked_turns.c.turn).where(*conditions)
    connection.execute(sa.delete(parked_calls).where(parked_calls.c.turn.in_(gone)))
    connection.execute(sa.delete(parked_turns).where(*conditions))
