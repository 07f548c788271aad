"""The tree of a session's turns: histories, alternatives, and what is replaced."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vanta.errors import UnknownName, UsageError
from vanta.storage.branches import BranchRow, BranchTree, Fork, TurnNode, plain_branch


@dataclass
class Talk:
    """A session that is built step by step, beside the truth: each turn's path from the root."""

    nodes: list[TurnNode] = field(default_factory=list)
    rows: list[BranchRow] = field(default_factory=list)
    active: str = "main"
    path: dict[str, tuple[str, ...]] = field(default_factory=dict)
    heads: dict[str, tuple[str, ...]] = field(default_factory=lambda: {"main": ()})

    @property
    def tree(self) -> BranchTree:
        return BranchTree(self.nodes, self.rows, self.active)

    def say(self) -> str:
        turn = f"t{len(self.nodes) + 1}"
        first = 2 * len(self.nodes) + 1
        self.nodes.append(TurnNode(turn, self.active, first, first + 1))
        self.heads[self.active] = self.path[turn] = (*self.heads[self.active], turn)
        return turn

    def replace(self, turn: str) -> str:
        tree = self.tree
        name = tree.new_name()
        self.rows.append(tree.fork(name, Fork(turn, "edit")))
        self.active, self.heads[name] = name, self.path[turn][:-1]
        return self.say()

    def branch(self, after: str | None) -> None:
        tree = self.tree
        name = tree.new_name()
        self.rows.append(plain_branch(name, tree.find(after) if after else None))
        self.active, self.heads[name] = name, self.path[after] if after else ()

    def history(self, branch: str | None = None) -> list[str]:
        return [node.turn for node in self.tree.lineage(branch or self.active)]


def talk(turns: int) -> Talk:
    made = Talk()
    for _ in range(turns):
        made.say()
    return made


def test_an_edit_begins_before_the_turn_and_replaces_what_followed() -> None:
    made = talk(3)
    assert made.replace("t2") == "t4"
    assert made.history() == ["t1", "t4"]
    assert made.tree.replaced() == {"t2", "t3"}
    assert made.history("main") == ["t1", "t2", "t3"]


def test_the_first_turn_can_be_replaced() -> None:
    made = talk(2)
    made.replace("t1")
    assert made.history() == ["t3"]
    assert made.tree.replaced() == {"t1", "t2"}


def test_of_several_edits_of_one_turn_the_one_in_use_counts() -> None:
    made = talk(2)
    made.replace("t2")
    made.replace("t3")
    made.replace("t2")
    assert made.tree.replaced() == {"t2", "t3", "t4"}
    made.active = "3"
    assert made.tree.replaced() == {"t2", "t3", "t5"}
    made.active = "main"
    assert made.tree.replaced() == {"t3", "t4", "t5"}


def test_an_edit_of_a_turn_behind_an_edit_does_not_bring_back_the_first_original() -> None:
    made = talk(2)
    made.replace("t2")
    made.say()
    made.replace("t4")
    assert made.history() == ["t1", "t3", "t5"]
    assert made.tree.replaced() == {"t2", "t4"}


def test_a_branch_beside_others_replaces_nothing() -> None:
    made = talk(2)
    made.branch("t1")
    made.say()
    assert made.history() == ["t1", "t3"]
    assert made.tree.replaced() == set()


def test_a_branch_of_a_replaced_turn_is_replaced_with_it() -> None:
    made = talk(3)
    made.branch("t2")
    made.say()
    made.active = "main"
    made.replace("t2")
    assert made.tree.replaced() == {"t2", "t3", "t4"}
    made.active = "2"
    assert made.tree.replaced() == {"t5"}


def test_an_edit_on_a_branch_replaces_nothing_on_the_one_beside_it() -> None:
    made = talk(2)
    made.branch("t1")
    made.say()
    made.replace("t3")
    assert made.history() == ["t1", "t4"]
    assert made.tree.replaced() == {"t3"}


def test_alternatives_of_a_turn_are_found_from_each_of_them() -> None:
    made = talk(2)
    made.replace("t2")
    made.replace("t3")
    for turn in ("t2", "t3", "t4"):
        assert made.tree.alternatives([turn]) == {"t2", "t3", "t4"}
    assert made.tree.alternatives(["t1"]) == {"t1"}


@pytest.mark.parametrize("name", ["main", "2", " x", "x\n", "x" * 81])
def test_a_name_that_cannot_be_used_is_refused(name: str) -> None:
    made = talk(1)
    made.branch("t1")
    with pytest.raises(UsageError, match="name"):
        made.tree.new_name(name)


def test_what_does_not_exist_is_named() -> None:
    made = talk(12)
    with pytest.raises(UsageError, match="no turn of it has the id 'x'"):
        made.tree.find("x")
    with pytest.raises(UsageError, match="4 turns of the session begin with"):
        BranchTree(made.nodes[8:], [], "main").find("t")
    with pytest.raises(UsageError, match="the id ''"):
        made.tree.find("")
    with pytest.raises(UnknownName, match="branch"):
        made.tree.require("mian")
    assert made.tree.find("t1").turn == "t1"


@given(
    st.lists(st.tuples(st.sampled_from(["say", "edit", "branch", "switch"]), st.integers(0, 99)))
)
def test_whatever_is_done_histories_are_paths_and_the_branch_in_use_counts(
    steps: list[tuple[str, int]],
) -> None:
    made = talk(1)
    for step, number in steps:
        turn = made.nodes[number % len(made.nodes)].turn
        if step == "say":
            made.say()
        elif step == "edit":
            made.replace(turn)
        elif step == "branch":
            made.branch(turn if number % 5 else None)
        else:
            made.active = made.tree.names[number % len(made.tree.names)]
    tree = made.tree
    for name in tree.names:
        assert tuple(made.history(name)) == made.heads[name]
    replaced = tree.replaced()
    assert replaced.isdisjoint(made.history())
    for node in made.nodes:  # what follows a replaced turn is replaced, too
        if node.turn in replaced:
            later = {turn for turn, path in made.path.items() if node.turn in path}
            assert later <= replaced
    assert all(math.isinf(tree.segments(name)[-1][1]) for name in tree.names)
    groups = [tree.alternatives([row.replaces]) for row in made.rows if row.replaces]
    for group in groups:  # of the alternatives of one turn, at most one counts
        assert len(group - replaced) <= 1
