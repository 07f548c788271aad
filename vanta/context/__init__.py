"""Build the prompt that a track receives in a turn, within the track's token budget.

Invariant: a prompt never exceeds its budget by the engine's own count, and private text reaches
private tracks only. Names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vanta.fronts import lazy_front

if TYPE_CHECKING:
    from vanta.context.assembly import Assembled, assemble
    from vanta.context.budget import BudgetShares, OverflowReport, read_overflow
    from vanta.context.estimate import estimate_text, estimate_tokens
    from vanta.context.estimate_calibration import Calibration, byte_bound
    from vanta.context.memories import Memories, Write
    from vanta.context.preparer import ContextPreparer, TurnPrompts, merge_sampling
    from vanta.context.token_cache import TokenCache, token_cache_of
    from vanta.context.usage_check import believed_usage, finite
    from vanta.messages import Exchange

__all__ = [
    "Assembled",
    "BudgetShares",
    "Calibration",
    "ContextPreparer",
    "Exchange",
    "Memories",
    "OverflowReport",
    "TokenCache",
    "TurnPrompts",
    "Write",
    "assemble",
    "believed_usage",
    "byte_bound",
    "estimate_text",
    "estimate_tokens",
    "finite",
    "merge_sampling",
    "read_overflow",
    "token_cache_of",
]

_NAMES = {
    ".assembly": "Assembled Exchange assemble",
    ".budget": "BudgetShares OverflowReport read_overflow",
    ".estimate": "estimate_text estimate_tokens",
    ".estimate_calibration": "Calibration byte_bound",
    ".memories": "Memories Write",
    ".preparer": "ContextPreparer TurnPrompts merge_sampling",
    ".token_cache": "TokenCache token_cache_of",
    ".usage_check": "believed_usage finite",
}


__getattr__ = lazy_front(__name__, _NAMES)
