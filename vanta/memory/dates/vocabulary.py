"""The English of dates: patterns for dates, and words that indicate the tense of a sentence.

Each alternative of `RELATIVE` is a group named after its rule in `vanta.memory.dates.meanings`.
Invariant: no pattern repeats without a bound, so a search is linear in the text.
"""

from __future__ import annotations

import calendar
import re

WEEKDAYS = {name.lower(): number for number, name in enumerate(calendar.day_name)}
MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_name) if name}
NUMBERS = {
    "a": 1,
    "an": 1,
    "couple of": 2,
    "a couple of": 2,
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
    "eleven": 11,
    "twelve": 12,
}
GIVEN_NAMES = frozenset({"april", "may", "june", "august"})

_S = r"\s{1,4}"
_WEEKDAY = f"(?:{'|'.join(WEEKDAYS)})"
_MONTH = f"(?:{'|'.join(MONTHS)})"
_N = rf"(?:\d{{1,3}}|(?:a{_S})?couple{_S}of|an?|{'|'.join(list(NUMBERS)[4:])})"
_UNIT = "(?:day|week|month|year)"
_PART = rf"(?:{_S}(?:morning|afternoon|evening|night))"

RELATIVE = re.compile(
    rf"""(?<![\w'\u2019-])(?:
      (?P<beyond>the{_S}day{_S}(?:before{_S}yesterday|after{_S}tomorrow))
    | (?P<twice>the{_S}(?P<twice_unit>week|weekend|month|year){_S}(?:before{_S}last|after{_S}next))
    | (?P<near>(?:yesterday|today|tomorrow){_PART}?|tonight|last{_S}night
        |this{_S}(?:morning|afternoon|evening))
    | (?P<in_week>(?:on{_S})?(?P<in_week_day>{_WEEKDAY}){_S}(?:of{_S})?
        (?P<in_week_which>last|next|this){_S}week)
    | (?P<week_first>(?P<week_first_which>last|next|this){_S}week{_S}(?:on{_S})?
        (?P<week_first_day>{_WEEKDAY}))
    | (?P<several>(?:the|these|those){_S}(?P<several_which>last|past|next|coming){_S}
        (?P<several_n>{_N}){_S}(?P<several_unit>{_UNIT})s?)
    | (?P<which>(?P<which_one>last|next|this(?:{_S}(?:past|coming))?|(?:the{_S})?(?:past|coming))
        {_S}(?P<which_unit>weekend|week|month|year|{_WEEKDAY}|{_MONTH}){_PART}?)
    | (?P<ago>(?P<ago_n>{_N}){_S}(?P<ago_unit>{_UNIT})s?{_S}ago)
    | (?P<ahead>in{_S}(?P<ahead_n>{_N}){_S}(?P<ahead_unit>{_UNIT})s?(?:['\u2019]?{_S}time)?)
    | (?P<from_now>(?P<from_now_n>{_N}){_S}(?P<from_now_unit>{_UNIT})s?{_S}from{_S}now)
    | (?P<weekday>(?P<weekday_prep>on|by|until|till|since|due){_S}
        (?P<weekday_name>{_WEEKDAY}){_PART}?|(?P<weekday_bare>{_WEEKDAY}){_PART})
    | (?P<month>(?P<month_prep>in|by|until|till|since){_S}(?P<month_name>{_MONTH}))
    )(?![\w-])""",
    re.IGNORECASE | re.VERBOSE,
)
ABSOLUTE = re.compile(
    rf"""(?<![\w-])(?:
      (?P<iso>\d{{4}}-\d\d(?:-\d\d)?)
    | (?:(?P<d1>\d{{1,2}})(?:st|nd|rd|th)?{_S}(?:of{_S})?)?(?P<m1>{_MONTH}),?{_S}(?P<y1>\d{{4}})
    | (?P<m2>{_MONTH}){_S}(?P<d2>\d{{1,2}})(?:st|nd|rd|th)?,?{_S}(?P<y2>\d{{4}})
    | in{_S}(?P<y3>(?:19|20)\d\d)
    )(?![\w-])""",
    re.IGNORECASE | re.VERBOSE | re.ASCII,
)

STORY_BEFORE = re.compile(r"\b(?:the|at|every|each)\s{1,4}\Z", re.IGNORECASE)
"""Words before "last" and "next" with which they do not refer to the calendar."""

MORE_AFTER = re.compile(rf",?{_S}(?:the{_S})?(?:of\b|\d|{_MONTH}\b)", re.IGNORECASE)
"""The continuation of a weekday or month that is part of a fuller date."""

OF_AFTER = re.compile(rf"{_S}of\b", re.IGNORECASE)
BOUNDS = frozenset({"before", "after", "until", "till", "by"})
"""Words beside a date that make it a bound of another time."""

SENTENCE_ENDS = re.compile(r"[.!?\n]")
CLAUSE_ENDS = re.compile(r"[.!?\n,;:]|\b(?:and|but|so|then|because)\b", re.IGNORECASE)
FUTURE = re.compile(
    r"\b(?:will|won['\u2019]t|shall|gonna|going\sto|let['\u2019]?s|plan|planning|hope|hoping|remind"
    r"|should|must|can|have\sto|has\sto|needs?\sto|wants?\sto|upcoming|see\syou|looking\sforward"
    r"|(?:am|is|are|be)\s(?:\w{1,20}\s)?\w{1,20}(?:ing|ed))\b"
    r"|['\u2019](?:ll|(?:m|re|s)\s(?:\w{1,20}\s)?\w{1,20}(?:ing|ed))\b",
    re.IGNORECASE,
)
PAST = re.compile(
    r"\b(?:was|were|did|had|(?:was|were|did|have|has)n['\u2019]t|never|first\stime|since"
    r"|(?:have|has)\s(?:been|gone|had|done|made|seen|\w{2,20}ed)"
    r"|went|saw|met|got|came|took|made|told|said|bought|left|ate|gave|found|thought|began|spent"
    r"|felt|heard|knew|ran|sat|wrote|won|lost|built|brought|taught|caught|drove|flew|fell|grew"
    r"|held|kept|led|paid|rode|sent|sold|slept|spoke|stood|swam|threw|understood|woke|wore|broke"
    r"|chose|drew|drank|forgot|hid|sang|[a-z]{1,20}[a-df-z]ed)\b|['\u2019]ve\b",
    re.IGNORECASE,
)
