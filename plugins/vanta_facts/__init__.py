"""The companions `facts` and `summary`: lasting facts about the user, and summaries of what no
longer fits the prompt. The local model makes both while no turn runs.

Both are off unless `companions = ["facts", "summary"]` names them. Invariant: they use only a
private track without a price, what is private stays private, and each item that they store names
its sources and can be forgotten alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vanta import hookimpl

if TYPE_CHECKING:
    from vanta import Companion

__all__ = ["vanta_companions"]


@hookimpl
def vanta_companions() -> list[Companion]:
    """Return the companions `facts` and `summary`."""
    from vanta_facts.facts import FactsCompanion
    from vanta_facts.summaries import SummaryCompanion

    return [FactsCompanion(), SummaryCompanion()]
