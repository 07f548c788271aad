"""Which scripts to run: `-k "greets and not (slow or api)"`, `--tag smoke`.

Invariant: a word holds for a script if it is a part of its title, its file's name or one of its
tags, in any case; an expression that cannot be read is a ScriptError that shows where.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import Path

from vanta.errors import ScriptError
from vanta_scripts.model import Script

Holds = Callable[[str], bool]
_TOKEN = re.compile(r"\s*(?:(\(|\))|([^\s()]+))")


def select(
    scripts: Collection[Script], *, words: str = "", tags: Collection[str] = ()
) -> list[Script]:
    """The scripts for which the expression `words` holds and that have one of `tags`.

    Raises ScriptError.
    """
    holds = _Expression(words).holds if words.strip() else lambda _script: True
    return [
        script for script in scripts if holds(script) and (not tags or set(tags) & {*script.tags})
    ]


class _Expression:
    """An expression of words, `and`, `or`, `not` and parentheses, read by recursive descent."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [one or other for one, other in _TOKEN.findall(text)]
        self._next = 0
        self._holds = self._any_of()
        if self._next < len(self._tokens):
            self._refuse()

    def holds(self, script: Script) -> bool:
        """Whether the script is meant."""
        names = " ".join((script.title, Path(script.source).name, *script.tags)).casefold()
        return self._holds(names)

    def _any_of(self) -> Holds:
        sides = [self._all_of()]
        while self._take("or"):
            sides.append(self._all_of())
        return lambda names: any(side(names) for side in sides)

    def _all_of(self) -> Holds:
        sides = [self._one()]
        while self._take("and"):
            sides.append(self._one())
        return lambda names: all(side(names) for side in sides)

    def _one(self) -> Holds:
        if self._take("not"):
            inner = self._one()
            return lambda names: not inner(names)
        if self._take("("):
            inner = self._any_of()
            if not self._take(")"):
                self._refuse()
            return inner
        if self._next >= len(self._tokens) or self._tokens[self._next] in ("and", "or", ")"):
            self._refuse()
        word = self._tokens[self._next].casefold()
        self._next += 1
        return lambda names: word in names

    def _take(self, token: str) -> bool:
        found = self._next < len(self._tokens) and self._tokens[self._next] == token
        self._next += found
        return found

    def _refuse(self) -> None:
        came = repr(self._tokens[self._next]) if self._next < len(self._tokens) else "its end"
        raise ScriptError(
            f"the expression {self._text!r} cannot be read at {came}. Words are joined by `and` "
            "or `or`; `not` and parentheses are the rest."
        )
