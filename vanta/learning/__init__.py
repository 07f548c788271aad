"""What a process learns about tracks while it runs, and how long it believes that.

Invariant: everything learnt from a server has bounds, an expiry and a line in `vanta doctor`, so no
single answer, true or false, changes a track for good.
"""

from __future__ import annotations

from vanta.learning.expiring import LEARNT_S, Expiring, Learnt

__all__ = ["LEARNT_S", "Expiring", "Learnt"]
