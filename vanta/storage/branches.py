"""The branches of a session: a tree of turns, stored as lists that fork.

Every message is stored on one branch. A branch begins at a message of another one, its parent, so
its history is that of the parent up to there, and then its own messages. `main` is the branch that
every session has; only other ones have a row.

An edit and a regenerated answer are branches that *replace* a turn: the turn and all that followed
it. Of the alternatives for one turn, one counts: the one on the branch that is in use, else the
latest one. The messages of the others are marked as replaced, and memory drops what it took from
them (triggers in `vanta.memory.store.tables`). A branch that was begun beside another replaces
nothing.

Invariant: no row moves between branches, and nothing of a branch that was left is lost.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from vanta.errors import UnknownName, UsageError

MAIN = "main"
"""The branch that every session has."""

BranchKind = Literal["main", "branch", "edit", "regenerate"]
LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Fork:
    """The turn that a new turn takes the place of, on a branch of its own.

    :param turn: the id of the replaced turn.
    :param kind: `edit`, or `regenerate` if the message is the same.
    """

    turn: str
    kind: BranchKind


@dataclass(frozen=True, slots=True)
class TurnPlace:
    """Where a turn is stored.

    :param branch: the branch whose history the turn was shown.
    :param fork: the turn that it replaces; None if it continues the branch.
    """

    branch: str
    fork: Fork | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One continuation of a session.

    :param name: its name, unique in the session.
    :param kind: `main`, `branch`, `edit` or `regenerate`.
    :param parent: the branch that it forks from; "" for the main one.
    :param after: the last turn that it shares with its parent; "" if it shares none.
    :param replaces: the turn that an edit or a regenerated answer takes the place of; else "".
    :param turns: the ids of the turns of its history, oldest first.
    :param own_turns: how many of them are its own.
    :param active: whether the session's next turn continues it.
    :param replaced: whether another alternative took the place of its turns, or of those before.
    """

    name: str
    kind: BranchKind
    parent: str
    after: str
    replaces: str
    turns: tuple[str, ...]
    own_turns: int
    active: bool
    replaced: bool


@dataclass(frozen=True, slots=True)
class TurnNode:
    """A turn in the tree: the branch that it is stored on, and the ids of its messages."""

    turn: str
    branch: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class BranchRow:
    """A branch as it is stored. `group`: where the turn that it replaces is stored, and its first
    message; alternatives of one turn have the same."""

    name: str
    kind: BranchKind
    parent: str
    base: int
    replaces: str
    group: tuple[str, int] | None


def plain_branch(name: str, at: TurnNode | None) -> BranchRow:
    """Return a branch that continues after a turn, or from the beginning, beside all others."""
    parent, base = (at.branch, at.last) if at else (MAIN, 0)
    return BranchRow(name, "branch", parent, base, "", None)


class BranchTree:
    """The turns and branches of one session; see the module for the model.

    :param nodes: all turns, in the order in which they were stored.
    :param rows: the branches except the main one, oldest first.
    :param active: the branch in use.
    """

    def __init__(self, nodes: Sequence[TurnNode], rows: Sequence[BranchRow], active: str) -> None:
        self.nodes = nodes
        self._rows = {row.name: row for row in rows}
        self.active = active if active in self._rows else MAIN

    @property
    def names(self) -> list[str]:
        """The names of all branches, the main one first."""
        return [MAIN, *self._rows]

    def segments(self, branch: str) -> list[tuple[str, float]]:
        """Return the parts of a branch's history: branches, and the last message of each part."""
        parts: list[tuple[str, float]] = []
        upto = math.inf
        while branch in self._rows:
            parts.append((branch, upto))
            row = self._rows[branch]
            branch, upto = row.parent, row.base
        return [*parts, (MAIN, upto)][::-1]

    def lineage(self, branch: str) -> list[TurnNode]:
        """Return the turns of a branch's history, oldest first."""
        limits = dict(self.segments(branch))
        return [node for node in self.nodes if node.first <= limits.get(node.branch, -1)]

    def find(self, turn: str) -> TurnNode:
        """Return the turn with this id, or the only one whose id begins so. Raises UsageError."""
        found = [node for node in self.nodes if turn and node.turn.startswith(turn)]
        exact = [node for node in found if node.turn == turn] or found
        if len(exact) == 1:
            return exact[0]
        problem = f"{len(found)} turns of the session begin with" if found else "no turn of it has"
        raise UsageError(
            f"{problem} the id {turn!r}. Session.exchanges() and "
            "`vanta sessions show --ids` list the turns with their ids."
        )

    def before(self, node: TurnNode) -> TurnNode | None:
        """Return the turn before another one, on the branch that it is stored on."""
        earlier = [item for item in self.lineage(node.branch) if item.first < node.first]
        return earlier[-1] if earlier else None

    def fork(self, name: str, fork: Fork) -> BranchRow:
        """Return the branch that replaces a turn."""
        node = self.find(fork.turn)
        before = self.before(node)
        parent, base = (before.branch, before.last) if before else (MAIN, 0)
        group: tuple[str, int] = (node.branch, node.first)
        row = self._rows.get(node.branch)
        if row is not None and row.group is not None and self._opens(node, row):
            group = row.group  # an alternative of an alternative
        return BranchRow(name, fork.kind, parent, base, node.turn, group)

    def _opens(self, node: TurnNode, row: BranchRow) -> bool:
        own = [item for item in self.nodes if item.branch == row.name]
        return bool(own) and own[0].turn == node.turn

    def with_branch(self, row: BranchRow) -> BranchTree:
        """Return the tree with one more branch, which is in use."""
        return BranchTree(self.nodes, [*self._rows.values(), row], row.name)

    def alternatives(self, turns: Iterable[str]) -> set[str]:
        """Return the ids of the turns that are alternatives of some others, and of those."""
        opening: dict[str, str] = {}
        for node in reversed(self.nodes):
            opening[node.branch] = node.turn
        starts = {(node.branch, node.first): node.turn for node in self.nodes}
        groups: dict[tuple[str, int], set[str]] = {}
        for row in self._rows.values():
            if row.group is not None:
                members = groups.setdefault(row.group, {starts.get(row.group, "")})
                members.add(opening.get(row.name, ""))
        known = set(turns)
        found = known.union(*(group for group in groups.values() if group & known))
        return found - {""}

    def new_name(self, wished: str = "") -> str:
        """Return the name for a new branch. Raises UsageError for one that cannot be used."""
        if wished:
            if wished in self.names:
                raise UsageError(
                    f"the session has a branch {wished!r} already. Choose another name, or "
                    "continue it with Session.switch."
                )
            if len(wished) > LONGEST_NAME or not wished.isprintable() or wished != wished.strip():
                raise UsageError(
                    f"{wished[:LONGEST_NAME]!r} cannot be the name of a branch. Choose up to "
                    f"{LONGEST_NAME} printable characters, without spaces around them."
                )
            return wished
        number = len(self._rows) + 2
        while str(number) in self._rows:
            number += 1
        return str(number)

    def require(self, name: str) -> str:
        """Return the name of an existing branch. Raises UnknownName."""
        if name not in self.names:
            raise UnknownName("branch", name, self.names)
        return name

    def replaced(self) -> set[str]:
        """Return the ids of the turns that another alternative has taken the place of."""
        limits = dict(self.segments(self.active))
        gone: dict[str, float] = {}  # for each branch, its first message that is replaced
        groups: dict[tuple[str, int], list[BranchRow]] = {}
        for row in self._rows.values():
            if row.group is not None:
                groups.setdefault(row.group, []).append(row)
        for (branch, first), rows in groups.items():
            chosen = next((row.name for row in rows if row.name in limits), "")
            if not chosen and limits.get(branch, -1) < first:
                chosen = rows[-1].name  # none of them is in use: the latest one counts
            if chosen:
                gone[branch] = min(first, gone.get(branch, math.inf))
            for row in rows:
                if row.name != chosen:
                    gone[row.name] = 0
        for row in self._rows.values():  # a parent is older than its branches
            if row.base and gone.get(row.parent, math.inf) <= row.base:
                gone[row.name] = 0
        return {
            node.turn
            for node in self.nodes
            if node.first >= gone.get(node.branch, math.inf)
            and node.first > limits.get(node.branch, -1)
        }

    def described(self) -> list[Branch]:
        """Return all branches, the main one first."""
        replaced = self.replaced()
        return [self._described(name, replaced) for name in self.names]

    def _described(self, name: str, replaced: set[str]) -> Branch:
        row = self._rows.get(name)
        turns = self.lineage(name)
        own = [node for node in turns if node.branch == name]
        shared = turns[: len(turns) - len(own)]
        return Branch(
            name=name,
            kind=row.kind if row else "main",
            parent=row.parent if row else "",
            after=shared[-1].turn if shared else "",
            replaces=row.replaces if row else "",
            turns=tuple(node.turn for node in turns),
            own_turns=len(own),
            active=name == self.active,
            replaced=bool(turns) and turns[-1].turn in replaced,
        )
