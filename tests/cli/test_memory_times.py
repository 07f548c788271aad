"""Times as people give them."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator

import pytest

from vanta.cli.memory.options import InvalidTime, parse_time

NOW = dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC).timestamp()  # a Wednesday
HOUR = 3600


@pytest.fixture(autouse=True)
def _berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def berlin(day: int, hour: int = 0, *, month: int = 11) -> float:
    """In winter Berlin is an hour ahead."""
    return dt.datetime(2026, month, day, hour, tzinfo=dt.UTC).timestamp() - HOUR


@pytest.mark.parametrize(
    ("text", "begin", "end"),
    [
        ("30m", NOW - HOUR / 2, NOW - HOUR / 2),
        ("12h", NOW - 12 * HOUR, NOW - 12 * HOUR),
        ("7d", NOW - 7 * 24 * HOUR, NOW - 7 * 24 * HOUR),
        ("2W", NOW - 14 * 24 * HOUR, NOW - 14 * 24 * HOUR),
        ("2026-11-17", berlin(17), berlin(18)),
        ("2026-11-17T14:30", berlin(17, 14) + HOUR / 2, berlin(17, 14) + HOUR / 2),
        ("2026-11-17 14:30:00+00:00", berlin(17, 15) + HOUR / 2, berlin(17, 15) + HOUR / 2),
        (" yesterday ", berlin(24), berlin(25)),
        ("last week", berlin(16), berlin(23)),
    ],
)
def test_a_time_is_a_span(text: str, begin: float, end: float) -> None:
    assert parse_time(text, NOW) == (begin, end)


def test_a_day_on_which_the_clock_is_changed_has_its_own_length() -> None:
    begin, end = parse_time("2026-10-25", NOW)
    assert end - begin == 25 * HOUR
    begin, end = parse_time("2026-03-29", NOW)
    assert end - begin == 23 * HOUR


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("soon", "give a day"),
        ("", "give a day"),
        ("7 parsecs", "give a day"),
        ("tomorrow", "give a day"),
        ("2026-02-30", "no such time"),
        ("2026-11-17T25:00", "no such time"),
        ("9999-12-31", "no such time"),
    ],
)
def test_a_text_that_is_not_a_time_is_refused(text: str, why: str) -> None:
    with pytest.raises(InvalidTime, match=why):
        parse_time(text, NOW)
