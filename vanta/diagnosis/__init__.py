"""The checks of `vanta doctor`: what works on this machine, what does not, and how to fix it.

Invariant: a diagnosis changes nothing, prints no secret, and ends. A check that raises, hangs or
crashes a native library becomes a finding of its own and does not affect the others.
"""

from vanta.check import Check, DiagnosisContext, Finding
from vanta.diagnosis.configuration import configuration_problems
from vanta.diagnosis.learnt import open_board, sentence
from vanta.diagnosis.run import builtin_checks, diagnose

__all__ = [
    "Check",
    "DiagnosisContext",
    "Finding",
    "builtin_checks",
    "configuration_problems",
    "diagnose",
    "open_board",
    "sentence",
]
