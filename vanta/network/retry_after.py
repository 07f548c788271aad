"""The wait that a server requests with an error, from the headers of its answer.

Invariant: a wait is finite and between 0 and `MAX_WAIT_S`. Whatever else a server sends is ignored,
because a wrong number would keep a track from every session.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from vanta.errors import MAX_WAIT_S

_EPOCH_FROM = 1e9
"""A Retry-After of so many seconds is not a wait but a point in time (2001 and later)."""

_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]*)?", re.ASCII)


def retry_after_s(headers: Mapping[str, str], now_s: float | None = None) -> float | None:
    """Return the wait that a server requests.

    Reads `retry-after-ms`, then `Retry-After` in seconds or as a date (RFC 9110, 10.2.3). A date
    without a zone is GMT; a number that can only be a point in time is read as one.

    :param headers: the headers of the answer, with names in lower case or case-insensitive.
    :param now_s: seconds since the epoch; None is now.
    :returns: seconds from 0 to `MAX_WAIT_S`, or None if there is no valid value.
    """
    now_s = time.time() if now_s is None else now_s
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return min(milliseconds / 1000, MAX_WAIT_S)
    text = headers.get("retry-after")
    wait_s = _number(text)
    if wait_s is None:
        moment = _moment(text)
        wait_s = None if moment is None else moment - now_s
    elif wait_s >= _EPOCH_FROM:
        in_ms = wait_s >= 1000 * _EPOCH_FROM
        wait_s = (wait_s / 1000 if in_ms else wait_s) - now_s
    return None if wait_s is None else min(max(0.0, wait_s), MAX_WAIT_S)


def _number(text: str | None) -> float | None:
    text = (text or "").strip()
    return float(text) if _NUMBER.fullmatch(text) and math.isfinite(float(text)) else None


def _moment(text: str | None) -> float | None:
    """Return a date as seconds since the epoch."""
    try:
        date = parsedate_to_datetime(text or "")
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
