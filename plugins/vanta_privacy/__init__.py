"""Detectors of what should not leave the machine: secrets, e-mail, phone and card numbers.

All are off until `privacy.detect` names them. Invariant: a detector says what kind of thing it
found and nothing else; it is a pattern with a check, so it can miss and it can be wrong.
"""

from __future__ import annotations

from vanta import hookimpl
from vanta.privacy import Detector
from vanta_privacy.detectors import CardNumbers, EmailAddresses, PhoneNumbers, Secrets

__all__ = ["vanta_detectors"]


@hookimpl
def vanta_detectors() -> list[Detector]:
    """The four detectors."""
    return [Secrets(), EmailAddresses(), PhoneNumbers(), CardNumbers()]
