"""Routing: how hard a message is, before, and how good an answer is, after.

The router (`Router`) looks at a text; the calibrated gate (`CalibratedGate`) at an answer. Both are
fitted on recorded outcomes and decide in plain Python.
"""

from __future__ import annotations

from vanta.routing.fitting import Fitted, fit_router
from vanta.routing.gate import CalibratedGate
from vanta.routing.judgement import GateModel
from vanta.routing.judgement_fitting import FittedGate, fit_gate
from vanta.routing.metrics import apgr
from vanta.routing.outcomes import JudgedAnswer, Outcome, read_answers, read_outcomes
from vanta.routing.router import Contribution, Router
from vanta.routing.share import ShareKeeper, Shares
from vanta.routing.signals import Signals, signals

__all__ = [
    "CalibratedGate",
    "Contribution",
    "Fitted",
    "FittedGate",
    "GateModel",
    "JudgedAnswer",
    "Outcome",
    "Router",
    "ShareKeeper",
    "Shares",
    "Signals",
    "apgr",
    "fit_gate",
    "fit_router",
    "read_answers",
    "read_outcomes",
    "signals",
]
