"""What a conversation leaves behind: lasting facts about its user, and summaries of what fell out
of its history. Both are made while no turn runs, by the local model.

Both are off until `companions = ["facts", "summary"]` names them. Invariant: they use a private
track that costs nothing and no other, whatever is private stays so, and each item that they store
names what it was made of and can be forgotten alone.
"""

from __future__ import annotations

from vanta import Companion, hookimpl
from vanta_facts.facts import Facts
from vanta_facts.summaries import Summaries

__all__ = ["vanta_companions"]


@hookimpl
def vanta_companions() -> list[Companion]:
    """The companions `facts` and `summary`."""
    return [Facts(), Summaries()]
