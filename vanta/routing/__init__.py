"""Routing: how hard a message is, before, and how good an answer is, after.

The router (`Router`) looks at a text; the calibrated gate (`CalibratedGate`) at an answer. Both are
fitted on recorded outcomes and decide in plain Python.
"""

from __future__ import annotations

from vanta.routing.gate import CalibratedGate
from vanta.routing.judgement import GateModel
from vanta.routing.router import Contribution, Router
from vanta.routing.share import ShareKeeper, Shares
from vanta.routing.signals import Signals, signals

__all__ = [
    "CalibratedGate",
    "Contribution",
    "GateModel",
    "Router",
    "ShareKeeper",
    "Shares",
    "Signals",
    "signals",
]
