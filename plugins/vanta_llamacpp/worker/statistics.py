"""What one engine has done so far, for its statistics.

Invariant: counted by the worker's thread alone, and never set back, also when the model leaves.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Tally:
    """Seconds and tokens. prefilled_tokens: of prompts, really computed and not found in the cache.
    swaps: how often sequences changed places, so that those who write lie side by side."""

    loads: int = 0
    unloads: int = 0
    load_s: float = 0.0
    requests: int = 0
    stopped: int = 0
    failed: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    prefilled_tokens: int = 0
    steps: int = 0
    swaps: int = 0
    busy_s: float = 0.0
