"""What a session has beyond its messages, and the list of sessions.

Invariant: without `private`, nothing that is private is listed, searched or quoted: no private
session, and no message of a private turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from vanta.errors import UsageError
from vanta.storage.branches import MAIN
from vanta.storage.schema import messages, private_sessions, sessions, turns
from vanta.text import well_formed

TITLE_CHARACTERS = 60
"""Characters of a message that stands for a title."""

LONGEST_TITLE = 200
EXCERPT_CHARACTERS = 60
"""Characters before and after a match."""

LONGEST_SEARCH = 16
"""Words of a search that count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """A session in a list.

    :param id: its id, unique for its user.
    :param user: the user.
    :param title: the title that it was given, else the beginning of its first message.
    :param renamed: whether it was given that title.
    :param private: whether its turns are private unless they say otherwise.
    :param started_at: when its first turn ended, in seconds since the epoch; None without one.
    :param last_at: when its latest turn ended.
    :param turns: how many turns were answered, on all branches.
    :param cost_usd: what all its turns cost, failed ones included.
    :param match: the text around the latest match of a search; "" without a search, and if the
        title matches.
    """

    id: str
    user: str
    title: str = ""
    renamed: bool = False
    private: bool = False
    started_at: float | None = None
    last_at: float | None = None
    turns: int = 0
    cost_usd: float = 0.0
    match: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class SessionQuery:
    """Which sessions to list.

    :param user: the user; None for all.
    :param session: the id of the only session to return; "" for all.
    :param words: words that one message, or the title, must have; their case does not matter.
    :param limit: at most this many of the latest sessions; 0 for all.
    :param private: include private sessions and the messages of private turns.
    """

    user: str | None
    session: str = ""
    words: tuple[str, ...] = ()
    limit: int = 0
    private: bool = False


def lock(connection: sa.Connection, user: str, session: str) -> None:
    """Let no other transaction change the session before this one ends; add its row if needed."""
    row = {"user": user, "session": session, "title": "", "settings": None, "branch": MAIN}
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    connection.execute(insert(sessions).on_conflict_do_nothing(), row)
    of_row = (sessions.c.user == user, sessions.c.session == session)
    connection.execute(sa.select(sessions.c.branch).where(*of_row).with_for_update())


def write(connection: sa.Connection, user: str, session: str, **values: Any) -> None:
    """Set columns of a session's row, which is added if there is none."""
    lock(connection, user, session)
    of_row = (sessions.c.user == user, sessions.c.session == session)
    connection.execute(sa.update(sessions).where(*of_row).values(**values))


def checked_title(title: str) -> str:
    """Return the title without spaces around it. Raises UsageError if it cannot be one."""
    title = well_formed(title.strip())
    if len(title) > LONGEST_TITLE or not title.isprintable():
        raise UsageError(
            f"the title {title[:40]!r} is too long, or has characters that cannot be printed. "
            f"Choose one line of at most {LONGEST_TITLE} characters."
        )
    return title


def delete(connection: sa.Connection, user: str, session: str) -> None:
    """Delete the row of a session. Its mark as private stays: a name that was private once is not
    public by being used again."""
    of_row = (sessions.c.user == user, sessions.c.session == session)
    connection.execute(sa.delete(sessions).where(*of_row))


def find(connection: sa.Connection, query: SessionQuery) -> list[SessionInfo]:
    """Return sessions, the latest first."""
    found: list[SessionInfo] = []
    for info in _listed(connection, query):
        match = _match(connection, info, query) if query.words else ""
        if match is None:
            continue
        found.append(replace(_completed(connection, info, query), match=match))
        if query.limit and len(found) >= query.limit:
            break
    return found


def _listed(connection: sa.Connection, query: SessionQuery) -> Iterator[SessionInfo]:
    """Yield the sessions with their times and costs, the latest first."""
    rows = _rows(connection, query)
    marked = _private_ones(connection, query)
    last = sa.func.max(turns.c.finished_at)
    of_turns = sa.select(
        turns.c.user,
        turns.c.session,
        sa.func.min(turns.c.finished_at),
        last,
        sa.func.sum(turns.c.cost_usd),
    ).where(*_conditions(query, turns.c))
    grouped = of_turns.group_by(turns.c.user, turns.c.session)
    listed = connection.execute(grouped.order_by(last.desc(), turns.c.session)).all()
    seen = {(row.user, row.session) for row in listed}
    for key in [key for key in rows if key not in seen]:
        if query.private or key not in marked:
            yield _info(key, rows, marked, (None, None, 0.0))
    for user, session, *figures in listed:
        key = (user, session)
        if key in marked and not query.private:
            continue
        if key in rows or _has_messages(connection, key, query):
            yield _info(key, rows, marked, figures)


def _info(
    key: tuple[str, str],
    titles: dict[tuple[str, str], str],
    marked: set[tuple[str, str]],
    figures: Sequence[Any],
) -> SessionInfo:
    started_at, last_at, cost_usd = figures
    title = titles.get(key, "")
    return SessionInfo(
        id=key[1],
        user=key[0],
        title=title,
        renamed=bool(title),
        private=key in marked,
        started_at=started_at,
        last_at=last_at,
        cost_usd=cost_usd or 0.0,
    )


def _rows(connection: sa.Connection, query: SessionQuery) -> dict[tuple[str, str], str]:
    table = sessions.c
    titles = sa.select(table.user, table.session, table.title).where(*_conditions(query, table))
    ordered = titles.order_by(table.user, table.session)
    return {(row.user, row.session): row.title for row in connection.execute(ordered)}


def _private_ones(connection: sa.Connection, query: SessionQuery) -> set[tuple[str, str]]:
    table = private_sessions.c
    marked = sa.select(table.user, table.session).where(*_conditions(query, table))
    return {(row.user, row.session) for row in connection.execute(marked)}


def _conditions(query: SessionQuery, columns: Any) -> list[sa.ColumnElement[bool]]:
    conditions = [] if query.user is None else [columns.user == query.user]
    return [*conditions, columns.session == query.session] if query.session else conditions


def _of(key: tuple[str, str], query: SessionQuery) -> list[sa.ColumnElement[bool]]:
    """Return the conditions on the messages of a session that may be shown."""
    conditions = [messages.c.user == key[0], messages.c.session == key[1]]
    return conditions if query.private else [*conditions, sa.not_(messages.c.private)]


def _has_messages(connection: sa.Connection, key: tuple[str, str], query: SessionQuery) -> bool:
    some = sa.select(messages.c.id).where(*_of(key, query)).limit(1)
    return connection.execute(some).first() is not None


def _completed(connection: sa.Connection, info: SessionInfo, query: SessionQuery) -> SessionInfo:
    """Return a session with the number of its turns, and with a title."""
    conditions = _of((info.user, info.id), query)
    count = sa.select(sa.func.count(messages.c.turn_id.distinct())).where(*conditions)
    turns_answered = connection.execute(count).scalar() or 0
    title = info.title
    if not title:
        begins = sa.select(messages.c.content).where(*conditions, messages.c.role == "user")
        first = connection.execute(begins.order_by(messages.c.id).limit(1)).scalar() or ""
        title = _shortened(first)
    return replace(info, turns=turns_answered, title=title)


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TITLE_CHARACTERS else line[: TITLE_CHARACTERS - 1].rstrip() + "…"


def _match(connection: sa.Connection, info: SessionInfo, query: SessionQuery) -> str | None:
    """Return the text around the latest match, "" if the title matches, None without one."""
    if info.renamed and all(word.casefold() in info.title.casefold() for word in query.words):
        return ""
    said = messages.c.role.in_(["user", "assistant"])
    has_all = [_contains(word) for word in query.words[:LONGEST_SEARCH]]
    found = sa.select(messages.c.content).where(*_of((info.user, info.id), query), said, *has_all)
    text = connection.execute(found.order_by(messages.c.id.desc()).limit(1)).scalar()
    return None if text is None else _excerpt(text, query.words[0])


def _contains(word: str) -> sa.ColumnElement[bool]:
    """Return whether a message has a word. SQLite folds the case of ASCII only."""
    forms = dict.fromkeys((word, word.lower(), word.upper(), word.capitalize(), word.casefold()))
    return sa.or_(*(messages.c.content.icontains(form, autoescape=True) for form in forms))


def _excerpt(text: str, word: str) -> str:
    place = max(0, text.casefold().find(word.casefold()))
    start, end = max(0, place - EXCERPT_CHARACTERS), place + len(word) + EXCERPT_CHARACTERS
    excerpt = " ".join(text[start:end].split())
    return f"{'…' if start else ''}{excerpt}{'…' if end < len(text) else ''}"
