"""Detectors of data that should stay on this machine: secrets, e-mail, phone and card numbers.

All are off unless `privacy.detect` names them. Invariant: a detector reports the kind of data and
never quotes it. Each is a pattern with a check, so it can miss data and can be wrong.
"""

from __future__ import annotations

from vanta import Detector, hookimpl
from vanta_privacy.detectors import (
    CardNumberDetector,
    EmailDetector,
    PhoneNumberDetector,
    SecretDetector,
)

__all__ = ["vanta_detectors"]


@hookimpl
def vanta_detectors() -> list[Detector]:
    """Return the four detectors."""
    return [SecretDetector(), EmailDetector(), PhoneNumberDetector(), CardNumberDetector()]
