"""Every expectation, held and not held, and what it says."""

from __future__ import annotations

from typing import Any

import pytest

from vanta.errors import PluginError
from vanta.events import Reply, Timings, Trace
from vanta.hookspecs import hookimpl
from vanta.plugins import load
from vanta.scripts import BUILTIN, Expectation, Failure, Seen, known_expectations, parse_script


def seen(text: str = "", *, track: str = "local", duration_s: float = 1.0) -> Seen:
    trace = Trace(
        turn_id="t", session_id="s", policy="local", private=False, deadline_s=60.0,
        duration_s=duration_s, status="finished", skipped={}, context={}, legs=(),
    )  # fmt: skip
    reply = Reply(
        text=text, track=track, model="m", finish_reason="stop", usage=None, cost_usd=0.0,
        timings=Timings(first_content_s=0.1, duration_s=duration_s), trace=trace,
    )  # fmt: skip
    return Seen("said", reply)


def check(name: str, value: str, what: Seen) -> Failure | None:
    """The verdict on `value`, given as it stands in a script."""
    text = f"name: n\nturns:\n  - say: a\n    expect: {{{name}: {value}}}"
    verdict: Any = BUILTIN[name].check(parse_script(text).turns[0].expect[name], what)
    assert verdict is None or isinstance(verdict, Failure)
    return verdict


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("contains", "Ada", seen("Hello Ada!")),
        ("contains", "[Hello, Ada]", seen("Hello Ada!")),
        ("not_contains", "Bob", seen("Hello Ada!")),
        ("not_contains", "[Bob, error]", seen("")),
        ("regex", "'^Hello \\w+'", seen("Hello Ada!")),
        ("regex", "['(?i)ADA', '!$']", seen("Hello Ada!")),
        ("track", "local", seen(track="local")),
        ("track", "[api, local]", seen(track="local")),
        ("max_seconds", "2", seen(duration_s=2.0)),
    ],
)
def test_what_holds_passes(name: str, value: str, what: Seen) -> None:
    assert check(name, value, what) is None


@pytest.mark.parametrize(
    ("name", "value", "what", "expected", "came"),
    [
        ("contains", "Bob", seen("Hello Ada!"), "a reply that contains 'Bob'", "'Hello Ada!'"),
        ("contains", "[Bob, Ada, Cyd]", seen("Hello Ada!"), "a reply that contains 'Bob' and 'Cyd'",
         "'Hello Ada!'"),
        ("contains", "ada", seen("Hello Ada!"), "a reply that contains 'ada'",
         "'Hello Ada!', which has it in another case"),
        ("contains", "x", seen(""), "a reply that contains 'x'", "an empty reply"),
        ("contains", "x", seen(" \n"), "a reply that contains 'x'",
         "nothing but white space (' \\n')"),
        ("not_contains", "[Ada, Bob, '!']", seen("Hello Ada!"), "a reply without 'Ada' and '!'",
         "'Hello Ada!'"),
        ("regex", "'^Ada'", seen("Hello Ada!"), "a reply that matches '^Ada'", "'Hello Ada!'"),
        ("regex", "[Hello, a, b]", seen("Hello"), "a reply that matches 'a' and 'b'", "'Hello'"),
        ("track", "api", seen(track="local"), "the reply of track 'api'", "that of track 'local'"),
        ("track", "[a, b, c]", seen(track="d"), "the reply of track 'a', 'b' or 'c'",
         "that of track 'd'"),
        ("max_seconds", "1.5", seen(duration_s=1.51), "a reply within 1.5 s", "one after 1.51 s"),
    ],
)  # fmt: skip
def test_what_does_not_hold_is_told_with_what_came(
    name: str, value: str, what: Seen, expected: str, came: str
) -> None:
    assert check(name, value, what) == Failure(name, expected, came)


def test_a_long_reply_is_shortened_around_what_matters() -> None:
    failure = check("not_contains", "needle", seen("a" * 500 + "needle" + "b" * 500))
    assert failure is not None
    assert "needle" in failure.came
    assert failure.came.startswith("'…aaa")
    assert failure.came.endswith("bbb…'")
    assert len(failure.came) < 200


def test_every_expectation_has_a_summary_and_its_own_name() -> None:
    assert list(BUILTIN) == ["contains", "not_contains", "regex", "track", "max_seconds"]
    assert all(name == known.name and known.summary for name, known in BUILTIN.items())


class Brings:
    """A plugin with one expectation."""

    def __init__(self, name: str) -> None:
        self.name = "brings"
        self.expectation = Expectation(name, "summary", str, lambda _value, _seen: None)

    @hookimpl
    def vanta_expectations(self) -> list[Expectation]:
        return [self.expectation]


def test_plugins_bring_expectations() -> None:
    plugin = Brings("polite")
    known = known_expectations(load([], strict=False, extra=[plugin], entry_points=[]))
    assert known["polite"] is plugin.expectation
    assert known["contains"] is BUILTIN["contains"]


def test_no_plugin_takes_the_name_of_a_built_in() -> None:
    plugins = load([], strict=False, extra=[Brings("contains")], entry_points=[])
    with pytest.raises(PluginError, match="expectation named 'contains'"):
        known_expectations(plugins)
