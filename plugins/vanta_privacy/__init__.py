"""Detectors of data that should stay on this machine: secrets, e-mail, phone and card numbers.

All are off unless `privacy.detect` names them. Invariant: a detector reports the kind of data and
never quotes it; text is normalised before it is searched. Each detector is a set of patterns with
checks, so it can miss data and can be wrong.
"""

from __future__ import annotations

from vanta import Detector, hookimpl
from vanta_privacy.emails import EmailDetector
from vanta_privacy.numbers import CardNumberDetector, PhoneNumberDetector
from vanta_privacy.secrets import SecretDetector

__all__ = ["vanta_detectors"]


@hookimpl
def vanta_detectors() -> list[Detector]:
    """Return the four detectors."""
    return [SecretDetector(), EmailDetector(), PhoneNumberDetector(), CardNumberDetector()]
