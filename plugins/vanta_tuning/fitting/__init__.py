"""Fitting of the router and the gate from outcomes."""

from __future__ import annotations

from vanta_tuning.fitting.gate_fitting import FittedGate, fit_gate
from vanta_tuning.fitting.metrics import apgr
from vanta_tuning.fitting.outcomes import JudgedAnswer, Outcome, read_answers, read_outcomes
from vanta_tuning.fitting.router_fitting import Fitted, fit_router

__all__ = [
    "Fitted",
    "FittedGate",
    "JudgedAnswer",
    "Outcome",
    "apgr",
    "fit_gate",
    "fit_router",
    "read_answers",
    "read_outcomes",
]
