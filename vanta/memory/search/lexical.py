"""From a question to what SQLite's FTS5 is asked: words worth looking for, and match expressions.

Invariant: any text is safe. What goes into an expression is letters and digits inside double
quotes; operators, quotes and signs of a question never reach the parser of FTS5.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence

from vanta.memory.items import Scope
from vanta.memory.store.tables import session_token, user_token

MOST_TERMS = 16
"""Words of a question that are looked for; a longer one counts by its first."""

_WORD = re.compile(r"[^\W_]+")

_STOP_WORDS = frozenset(
    """
    a about all also am an and any are as at be because been being both but by can could did do does
    doing done for from get got had has have having he her here hers him his how i if in into is it
    its just like me more most much my no not now of off on or our out over own s say says said she
    should so some such t tell than that the their them then there these they this those through to
    too up us very was we were what when where which while who whom whose why will with would you
    your yours ll re ve d m don didn doesn isn wasn
    """.split()  # noqa: SIM905 - a list of words reads best as a text
)


def words(text: str) -> list[str]:
    """The words of a text in lower case, in order: runs of letters and digits."""
    return _WORD.findall(unicodedata.normalize("NFC", text).lower())


def terms(question: str, speakers: Collection[str] = ()) -> tuple[str, ...]:
    """The words that a search looks for, each once, without those that every text has; with them if
    there are no others. At most MOST_TERMS. speakers: who speaks, in lower case; a name of theirs
    tells whose words are asked for, and is in the texts of those who address them."""
    found = list(dict.fromkeys(words(question)))
    telling = [word for word in found if word not in _STOP_WORDS]
    telling = [word for word in telling if word not in speakers] or telling
    return tuple((telling or found)[:MOST_TERMS])


def visible(scope: Scope, *, private: bool) -> str:
    """The match expression of one user's public or private part, or of a session in it."""
    parts = [user_token(scope.user, private=private)]
    if scope.session is not None:
        parts.append(session_token(scope.user, scope.session))
    return " AND ".join(f'scope : "{part}"' for part in parts)


def having(part: str, groups: Sequence[Sequence[str]]) -> str:
    """The match expression of those in `part` that have, of each group, any of the words."""
    expression = f"({part})"
    for group in groups:
        quoted = " OR ".join(f'"{word}"' for word in group)
        expression += f" AND text : ({quoted})"
    return expression
