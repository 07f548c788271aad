"""Relative dates: every rule by example, and the calendar by property."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vanta.memory.dates.resolution import MAX_DATES, resolve_dates, times_mentioned
from vanta.memory.dates.vocabulary import WEEKDAYS

DAYS = st.dates(dt.date(1971, 1, 1), dt.date(2200, 12, 31))
NAMES = st.sampled_from(sorted(WEEKDAYS))


def at(date: dt.date, hour: int = 15) -> float:
    return dt.datetime.combine(date, dt.time(hour), dt.UTC).timestamp()


WEDNESDAY = at(dt.date(2026, 11, 25))


@pytest.mark.parametrize(
    ("text", "words", "meaning"),
    [
        ("I did it today.", "today", "2026-11-25"),
        ("Are you free tonight?", "tonight", "2026-11-25"),
        ("I overslept this morning.", "this morning", "2026-11-25"),
        ("Yesterday was fun", "Yesterday", "2026-11-24"),
        ("I dreamt last night", "last night", "2026-11-24"),
        ("See you tomorrow evening!", "tomorrow evening", "2026-11-26"),
        ("It was the day before yesterday", "the day before yesterday", "2026-11-23"),
        ("It is the day after tomorrow", "the day after tomorrow", "2026-11-27"),
        ("I saw her last Tuesday.", "last Tuesday", "2026-11-24"),
        ("We met last Wednesday.", "last Wednesday", "2026-11-18"),
        ("We meet next Friday", "next Friday", "2026-12-04"),
        ("this coming Sunday", "this coming Sunday", "2026-11-29"),
        ("I'll come this Friday", "this Friday", "2026-11-27"),
        ("I went there this Monday", "this Monday", "2026-11-23"),
        ("I'll come on Friday", "on Friday", "2026-11-27"),
        ("I went there on Friday", "on Friday", "2026-11-20"),
        ("I saw him on Monday and will be back on Friday", "on Monday", "2026-11-23"),
        ("I saw him on Monday and will be back on Friday", "on Friday", "2026-11-27"),
        ("I'm excited to see you on Friday", "on Friday", "2026-11-27"),
        ("It is due Friday", "due Friday", "2026-11-27"),
        ("She was here Friday night", "Friday night", "2026-11-20"),
        ("I have been ill since Monday", "since Monday", "2026-11-23"),
        ("Tuesday of last week", "Tuesday of last week", "2026-11-17"),
        ("next week on Tuesday", "next week on Tuesday", "2026-12-01"),
        ("I fell ill last week", "last week", "2026-11-16/2026-11-22"),
        ("the week before last", "the week before last", "2026-11-09/2026-11-15"),
        ("the month after next", "the month after next", "2027-01"),
        ("I ran a race last weekend", "last weekend", "2026-11-21/2026-11-22"),
        ("We'll go out this weekend", "this weekend", "2026-11-28/2026-11-29"),
        ("We tried skiing this weekend", "this weekend", "2026-11-21/2026-11-22"),
        ("the coming weekend", "the coming weekend", "2026-11-28/2026-11-29"),
        ("I moved here last month", "last month", "2026-10"),
        ("I will move next year", "next year", "2027"),
        ("It rained over the past week", "the past week", "2026-11-18/2026-11-25"),
        ("I slept badly the last two months", "the last two months", "2026-09-25/2026-11-25"),
        ("I moved here last March", "last March", "2026-03"),
        ("I moved here in March", "in March", "2026-03"),
        ("I will move in March", "in March", "2027-03"),
        ("It was three days ago", "three days ago", "2026-11-22"),
        ("I met her two weeks ago", "two weeks ago", "2026-11-09/2026-11-15"),
        ("a couple of months ago", "a couple of months ago", "2026-09"),
        ("10 years ago", "10 years ago", "2016"),
        ("See you in 3 days", "in 3 days", "2026-11-28"),
        ("I will be there in a week", "in a week", "2026-11-30/2026-12-06"),
        ("two months from now", "two months from now", "2027-01"),
        ("I saw her last\n Tuesday", "last Tuesday", "2026-11-24"),
    ],
)
def test_a_relative_date_said_on_a_wednesday_is_resolved(
    text: str, words: str, meaning: str
) -> None:
    assert resolve_dates(text, WEDNESDAY)[words] == meaning


@pytest.mark.parametrize(
    "text",
    [
        "I may go. Wait a second, the sun is out: march on! He sat down, mon ami, and wed her.",
        "a second ago, a minute ago, an hour ago",
        "in may, in march, in march we trust",
        "May's room; I was in May's room; last April's laughter",
        "Monday is a name, and so is Friday. Black Friday",
        "on Friday, May 7 and on Friday the 13th, in March 2020, in March of that year",
        "the last day of the last week of the term; the last two days of the trip",
        "the next week they left, at last Friday came, every last Monday",
        "He wrote it in three weeks. They finished in 2 days.",
        "There are twelve months in a year",
        "last summer, the other day, a few days ago, some weeks ago, recently",
        "It will last three days. The last two left.",
        "lastweek mid-next week-end, yesterdays, todayish, e-today, O'Monday",
        "I was born in November",
        "3000 years ago",
    ],
)
def test_words_that_only_look_like_dates_and_unclear_dates_are_not_resolved(text: str) -> None:
    assert resolve_dates(text, WEDNESDAY) == {}


def test_the_speakers_time_zone_decides_the_day() -> None:
    late = dt.datetime(2026, 11, 25, 23, 30, tzinfo=dt.UTC).timestamp()
    assert resolve_dates("today", late) == {"today": "2026-11-25"}
    assert resolve_dates("today", late, ZoneInfo("Asia/Tokyo")) == {"today": "2026-11-26"}


def test_repeated_dates_are_resolved_once_and_at_most_twelve_are() -> None:
    assert resolve_dates("Yesterday, yes, yesterday", WEDNESDAY) == {"Yesterday": "2026-11-24"}
    many = " ".join(f"{n} days ago," for n in range(100))
    assert len(resolve_dates(many, WEDNESDAY)) == MAX_DATES


@given(DAYS, NAMES)
def test_last_and_next_weekdays_are_in_the_right_week(today: dt.date, name: str) -> None:
    last = dt.date.fromisoformat(resolve_dates(f"last {name}", at(today))[f"last {name}"])
    coming = dt.date.fromisoformat(resolve_dates(f"next {name}", at(today))[f"next {name}"])
    assert last.weekday() == coming.weekday() == WEEKDAYS[name]
    assert 1 <= (today - last).days <= 7
    assert 1 <= (coming - today).days <= 13
    assert coming.isocalendar()[:2] == (today + dt.timedelta(weeks=1)).isocalendar()[:2]


@given(DAYS, st.integers(1, 999))
def test_days_are_counted_exactly(today: dt.date, days: int) -> None:
    away = dt.timedelta(days=days)
    text = f"It was {days} days ago. It will be in {days} days."
    assert resolve_dates(text, at(today)) == {
        f"{days} days ago": (today - away).isoformat(),
        f"in {days} days": (today + away).isoformat(),
    }


@given(DAYS, st.integers(1, 999))
def test_months_and_years_follow_the_calendar(today: dt.date, months: int) -> None:
    meaning = resolve_dates(f"{months} months ago", at(today))[f"{months} months ago"]
    year, month = map(int, meaning.split("-"))
    assert today.year * 12 + today.month - (year * 12 + month) == months
    assert resolve_dates("last year", at(today)) == {"last year": f"{today.year - 1}"}


VOCABULARY = """last next this the past on in by since two 3 a couple of week weekend day month year
    ago from now Friday march May yesterday tonight before after will went . , ' -"""
WORDS = st.sampled_from([*VOCABULARY.split(), "\n", "la\u017ft", "th\u0131s", "FR\u0130DAY"])
SPEECH = st.lists(WORDS | st.text(max_size=3), max_size=25).map(" ".join)
MOMENTS = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-1e11, 1e12)


@given(SPEECH, MOMENTS)
def test_resolved_dates_are_words_of_the_text_and_valid_days(text: str, said_at: float) -> None:
    plain = " ".join(text.split())
    for words, meaning in resolve_dates(text, said_at).items():
        assert words in plain
        first, _, last = meaning.partition("/")
        assert not last or dt.date.fromisoformat(first) < dt.date.fromisoformat(last)
        dt.date.fromisoformat(f"{first}-01-01"[:10])


@example("tonight", -1e-9)
@given(SPEECH, MOMENTS)
def test_mentioned_times_have_begun_and_are_not_empty(text: str, now: float) -> None:
    for start, end in times_mentioned(text, now):
        assert start < end
        assert start <= now


@pytest.mark.parametrize(
    ("question", "first", "end"),
    [
        ("What did I say last week?", "2026-11-16", "2026-11-23"),
        ("What did we do on Tuesday?", "2026-11-24", "2026-11-25"),
        ("What did I want in March?", "2026-03-01", "2026-04-01"),
        ("What have I told you since Monday?", "2026-11-23", "2026-11-26"),
        ("What happened on 7 May, 2023?", "2023-05-07", "2023-05-08"),
        ("What happened on May 7th, 2023?", "2023-05-07", "2023-05-08"),
        ("What happened on 2023-05-07?", "2023-05-07", "2023-05-08"),
        ("What happened in May 2023?", "2023-05-01", "2023-06-01"),
        ("What happened in 2023?", "2023-01-01", "2024-01-01"),
    ],
)
def test_the_time_that_a_question_mentions_is_found(question: str, first: str, end: str) -> None:
    ((start_s, end_s),) = times_mentioned(question, WEDNESDAY)
    assert start_s == at(dt.date.fromisoformat(first), 0)
    assert end_s == at(dt.date.fromisoformat(end), 0)


@pytest.mark.parametrize(
    "question",
    [
        "When did I go to the dentist?",
        "What will I do on Tuesday?",
        "What about on Tuesday?",
        "What is on next week?",
        "What did I say before last week?",
        "What did I do last weekend before April 10, 2023?",
        "What happened on 31 February 2023?",
    ],
)
def test_a_question_without_a_clear_past_time_mentions_none(question: str) -> None:
    assert times_mentioned(question, WEDNESDAY) == []


def test_a_question_may_mention_two_times() -> None:
    times = times_mentioned("Did I say it yesterday or last week?", WEDNESDAY)
    assert [end - start for start, end in times] == [86400, 7 * 86400]
