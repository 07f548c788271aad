"""Routing: how hard a message is, before; how good an answer is, after.

The router (`Router`) reads a message, the calibrated gate (`CalibratedGate`) an answer. Invariant:
both decide in plain Python, without calling a model; `vanta_tuning` fits their numbers on outcomes.
"""

from __future__ import annotations

from vanta.routing.features import features
from vanta.routing.gate import (
    SIGNALS,
    SIGNS,
    CalibratedGate,
    GateModel,
    Judgement,
    VerifierModel,
    vector,
    verified_vector,
)
from vanta.routing.logistic import Linear, Platt, Steps, logit, sigmoid
from vanta.routing.router import (
    QUANTILES,
    Contribution,
    PolicyRouting,
    Router,
    RouterModel,
    ShareKeeper,
)
from vanta.routing.signals import Signals, measure, quantile, quantiles, signals

__all__ = [
    "QUANTILES",
    "SIGNALS",
    "SIGNS",
    "CalibratedGate",
    "Contribution",
    "GateModel",
    "Judgement",
    "Linear",
    "Platt",
    "PolicyRouting",
    "Router",
    "RouterModel",
    "ShareKeeper",
    "Signals",
    "Steps",
    "VerifierModel",
    "features",
    "logit",
    "measure",
    "quantile",
    "quantiles",
    "sigmoid",
    "signals",
    "vector",
    "verified_vector",
]
