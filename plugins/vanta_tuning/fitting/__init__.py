"""Fitting of the router and the gate on outcomes, with scikit-learn (extra `fit`)."""

from __future__ import annotations

from vanta_tuning.fitting.gate_fitting import FittedGate, fit_gate
from vanta_tuning.fitting.metrics import Bin, Reliability, apgr, auroc, reliability
from vanta_tuning.fitting.outcomes import JudgedAnswer, OutcomeRow, read_answers, read_outcomes
from vanta_tuning.fitting.router_fitting import Fitted, fit_router
from vanta_tuning.fitting.verifier_fitting import (
    EscalationLimit,
    FittedVerifier,
    fit_verifier,
    limits_for,
)

__all__ = [
    "Bin",
    "EscalationLimit",
    "Fitted",
    "FittedGate",
    "FittedVerifier",
    "JudgedAnswer",
    "OutcomeRow",
    "Reliability",
    "apgr",
    "auroc",
    "fit_gate",
    "fit_router",
    "fit_verifier",
    "limits_for",
    "read_answers",
    "read_outcomes",
    "reliability",
]
