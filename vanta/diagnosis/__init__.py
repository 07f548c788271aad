"""What works on this machine, what is missing, and the command that mends it: `vanta doctor`.

Invariant: a diagnosis changes nothing, prints no secret, and ends: a check that raises, hangs or
crashes a native library becomes a finding about itself and spoils no other.
"""

from vanta.check import Check, DiagnosisContext, Finding
from vanta.diagnosis.configuration import configuration_problems
from vanta.diagnosis.run import builtin_checks, diagnose

__all__ = [
    "Check",
    "DiagnosisContext",
    "Finding",
    "builtin_checks",
    "configuration_problems",
    "diagnose",
]
