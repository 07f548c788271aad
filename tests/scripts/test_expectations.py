"""Every expectation, with replies for which it holds and fails, and its messages."""

from __future__ import annotations

import inspect
import math
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from vanta.engine import Capabilities
from vanta.errors import PluginError, ScriptError, UnknownName
from vanta.events import Committed, Event, LegStarted, Takeover, TextDelta
from vanta.expectations import CheckedTurn, Expectation, Failure
from vanta.hookspecs import hookimpl
from vanta.memory import MemoryItem
from vanta.messages import TokenLogprob, ToolCall, Usage
from vanta.plugin_loading import load
from vanta.testing import HashEmbedder, ScriptedEngine, Step
from vanta.trace import RecallTrace, Reply, Timings, Trace
from vanta.track import Price, Track
from vanta_scripts import BUILTIN, known_expectations, parse_script
from vanta_scripts.checks.meanings import probability_of_yes
from vanta_scripts.checks.values import excerpt


def seen(
    text: str = "",
    *,
    track: str = "local",
    duration_s: float = 1.0,
    first_content_s: float | None = 0.1,
    cost_usd: float = 0.0,
    tokens: int | None = 3,
    private: bool = False,
    calls: tuple[ToolCall, ...] = (),
    recall: RecallTrace | None = None,
    **more: Any,
) -> CheckedTurn:
    trace = Trace(
        turn_id="t", session_id="s", policy="local", private=private, deadline_s=60.0,
        duration_s=duration_s, status="finished", skipped={}, context={}, legs=(), recall=recall,
    )  # fmt: skip
    reply = Reply(
        text=text, track=track, model="m", finish_reason="stop",
        usage=None if tokens is None else Usage(5, tokens), cost_usd=cost_usd,
        timings=Timings(first_content_s=first_content_s, duration_s=duration_s), trace=trace,
        tool_calls=calls,
    )  # fmt: skip
    return CheckedTurn("the message", reply, **more)


def check(name: str, value: str, what: CheckedTurn) -> Failure | None:
    """Return the verdict of an expectation whose value is written as in a script."""
    text = f"name: n\nturns:\n  - say: a\n    expect: {{{name}: {value}}}"

    async def verdict() -> Any:
        result = BUILTIN[name].check(parse_script(text).turns[0].expect[name], what)
        return await result if inspect.isawaitable(result) else result

    failure = anyio.run(verdict)
    assert failure is None or isinstance(failure, Failure)
    return failure


RACE: tuple[Event, ...] = (
    LegStarted(at_s=0.0, leg=0, track="api", model="m", why="race"),
    Committed(at_s=0.1, leg=0, track="api", why="first content"),
    TextDelta(at_s=0.1, leg=0, track="api", text="a"),
    TextDelta(at_s=0.2, leg=0, track="api", text="b"),
    Takeover(
        at_s=0.3, leg=1, track="local", from_leg=0, from_track="api", shown_chars=2, why="cut"
    ),
)
CALLS = (ToolCall("1", "now", ""), ToolCall("2", "get_weather", '{"city": "Paris", "days": 1}'))
CAT = MemoryItem(7, "u", "s", "", "fact", "", "The cat is called Miso.", 0.0)
VET = MemoryItem(8, "u", "s", "", "document", "", "The vet is open.", 0.0)
KNOWN = {"cat": frozenset({7}), "notes.md": frozenset({8, 9}), "dog": frozenset({3})}
SCHEMA = "{type: object, required: [age], properties: {age: {type: integer}}}"


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
        ("equals", "Hello Ada!", seen(" Hello Ada!\n")),
        ("regex", "'^(a+)+$'", seen("a" * 40)),
        ("json_schema", SCHEMA, seen('{"age": 7}')),
        ("policy", "[race, local]", seen()),
        ("events", "[LegStarted, Committed api, Takeover]", seen(events=RACE)),
        ("events", "Takeover local", seen(events=RACE)),
        ("max_first_content_ms", "100", seen(first_content_s=0.1)),
        ("tool_called", "now", seen(calls=CALLS)),
        ("tool_called", "[get_weather, now]", seen(calls=CALLS)),
        ("tool_called", "{name: get_weather, arguments: {city: Paris}}", seen(calls=CALLS)),
        ("recalled", "cat", seen(recalled=(CAT,), labels=KNOWN)),
        ("recalled", "[7, notes.md, is open]", seen(recalled=(CAT, VET), labels=KNOWN)),
        ("not_recalled", "[dog, 3, tiger]", seen(recalled=(CAT, VET), labels=KNOWN)),
        ("max_cost_usd", "0", seen(cost_usd=0.0)),
        ("max_tokens", "3", seen(tokens=3)),
        ("python", "tests.scripts.functions:says_ada", seen("Hello Ada!")),
        ("python", "tests.scripts.functions:waits", seen("Hello Ada!")),
        ("python", "tests.scripts.functions:says_true", seen("")),
    ],
)
def test_an_expectation_that_holds_passes(name: str, value: str, what: CheckedTurn) -> None:
    assert check(name, value, what) is None


@pytest.mark.parametrize(
    ("name", "value", "what", "expected", "actual"),
    [
        ("contains", "Bob", seen("Hello Ada!"), "a reply that contains 'Bob'", "'Hello Ada!'"),
        ("contains", "[Bob, Ada, Cyd]", seen("Hello Ada!"), "a reply that contains 'Bob' and 'Cyd'",
         "'Hello Ada!'"),
        ("contains", "ada", seen("Hello Ada!"), "a reply that contains 'ada'",
         "'Hello Ada!', which has it in another case or spelling"),
        ("contains", "x", seen(""), "a reply that contains 'x'", "an empty reply"),
        ("contains", "x", seen(" \n"), "a reply that contains 'x'",
         "only white space (' \\n')"),
        ("not_contains", "[Ada, Bob, '!']", seen("Hello Ada!"), "a reply without 'Ada' and '!'",
         "'Hello Ada!'"),
        ("regex", "'^Ada'", seen("Hello Ada!"), "a reply that matches '^Ada'", "'Hello Ada!'"),
        ("regex", "[Hello, a, b]", seen("Hello"), "a reply that matches 'a' and 'b'", "'Hello'"),
        ("track", "api", seen(track="local"), "a reply of track 'api'",
         "a reply of track 'local'"),
        ("track", "[a, b, c]", seen(track="d"), "a reply of track 'a', 'b' or 'c'",
         "a reply of track 'd'"),
        ("max_seconds", "1.5", seen(duration_s=1.51), "a reply within 1.5 s", "1.51 s"),
        ("equals", "Hello Bob!", seen("Hello Ada!"), "the reply 'Hello Bob!'", "'Hello Ada!'"),
        ("json_schema", SCHEMA, seen("age 7"), "a reply that is JSON",
         "'age 7' (Expecting value: line 1 column 1 (char 0))"),
        ("json_schema", SCHEMA, seen('{"age": "7"}'), "a reply that is valid under the schema",
         "'7' is not of type 'integer' at 'age'"),
        ("json_schema", SCHEMA, seen("{}"), "a reply that is valid under the schema",
         "'age' is a required property"),
        ("policy", "race", seen(), "a turn under policy 'race'", "a turn under policy 'local'"),
        ("events", "[Takeover, Committed]", seen(events=RACE),
         "the event 'Committed' after 'Takeover'",
         "LegStarted api → Committed api → TextDelta api → Takeover local"),
        ("events", "Takeover api", seen(events=RACE), "the event 'Takeover api'",
         "LegStarted api → Committed api → TextDelta api → Takeover local"),
        ("events", "LegFailed", seen(), "the event 'LegFailed'", "no events"),
        ("error", "auth", seen("fine"), "an error that contains 'auth'", "the reply 'fine'"),
        ("max_first_content_ms", "99", seen(first_content_s=0.1), "the first text within 99 ms",
         "100 ms"),
        ("max_first_content_ms", "99", seen(first_content_s=None), "the first text within 99 ms",
         "no text"),
        ("max_cost_usd", "0.01", seen(cost_usd=0.02), "a turn for at most $0.01", "$0.02"),
        ("tool_called", "later", seen("Hi", calls=()), "a call of later",
         "no call, but the reply 'Hi'"),
        ("tool_called", "{name: get_weather, arguments: {city: Rome}}", seen(calls=CALLS),
         'a call of get_weather with {"city": "Rome"}',
         'now(), get_weather({"city": "Paris", "days": 1})'),
        ("tool_called", "{name: a, arguments: {b: 1}}", seen(calls=(ToolCall("1", "a", "[b"),)),
         'a call of a with {"b": 1}', "a([b)"),
        ("recalled", "dog", seen(labels=KNOWN),
         "'dog' among the memories shown to track 'local'", "none: memory was not queried"),
        ("recalled", "dog", seen(recall=RecallTrace()),
         "'dog' among the memories shown to track 'local'", "none: no memory matched"),
        ("recalled", "dog", seen(recall=RecallTrace(skipped="recall took longer")),
         "'dog' among the memories shown to track 'local'", "none: recall took longer"),
        ("recalled", "dog", seen(recall=RecallTrace(found=((1, 0.5),))),
         "'dog' among the memories shown to track 'local'",
         "none of 1 matches: they are private, already in the conversation, or did not fit"),
        ("max_tokens", "2", seen(tokens=3), "at most 2 tokens", "3"),
        ("max_tokens", "2", seen(tokens=None), "at most 2 tokens", "an unknown number"),
        ("python", "tests.scripts.functions:says_ada", seen("x"),
         "a reply that tests.scripts.functions:says_ada accepts", "there is no Ada in it"),
        ("python", "tests.scripts.functions:says_false", seen("x"),
         "a reply that tests.scripts.functions:says_false accepts", "False for 'x'"),
    ],
)  # fmt: skip
def test_a_failure_tells_the_expected_and_the_actual_result(
    name: str, value: str, what: CheckedTurn, expected: str, actual: str
) -> None:
    assert check(name, value, what) == Failure(name, expected, actual)


def test_recalled_memories_are_listed_with_the_names_of_fixtures() -> None:
    what = seen(recalled=(CAT, VET), labels={"cat": frozenset({7})})
    failure = check("recalled", "[cat, 5, dog]", what)
    assert failure is not None
    assert failure.expected.startswith("5, 'dog' among the memories shown")
    assert failure.actual == "2 memories"
    assert failure.diff == ("cat: 'The cat is called Miso.'", "8: 'The vet is open.'")
    failure = check("not_recalled", "[cat, cat is, dog]", what)
    assert failure is not None
    assert failure.expected.startswith("none of 'cat', 'cat is' among the memories shown")
    assert failure.diff == ("cat: 'The cat is called Miso.'",)


def embedding(embedder: HashEmbedder) -> Any:
    async def give(_name: str | None) -> HashEmbedder:
        await embedder.load()
        return embedder

    return give


def test_a_reply_is_compared_by_meaning() -> None:
    give = embedding(HashEmbedder())
    assert check("similar_to", "Paris it is", seen("it is Paris", embedder=give)) is None
    half = "{text: a b c d, threshold: 0.5}"
    assert check("similar_to", half, seen("a b x y", embedder=give)) is None
    failure = check("similar_to", "a b c d", seen("a b x y", embedder=give))
    assert failure == Failure(
        "similar_to", "a reply that means 'a b c d' (0.7 or more by 'hash')", "0.50 for 'a b x y'"
    )
    empty = check("similar_to", "a", seen(" ", embedder=give))
    assert empty is not None
    assert empty.actual == "only white space (' ')"


def test_a_private_reply_reaches_private_embedders_only() -> None:
    there, here = HashEmbedder(private=False), HashEmbedder()
    failure = check("similar_to", "a b", seen("a b", private=True, embedder=embedding(there)))
    assert failure is not None
    assert failure.actual == "no comparison: the turn is private and embedder 'hash' is not"
    assert there.texts == []
    assert check("similar_to", "a b", seen("a b", private=True, embedder=embedding(here))) is None


def test_a_long_reply_is_cut_around_the_match() -> None:
    failure = check("not_contains", "needle", seen("a" * 500 + "needle" + "b" * 500))
    assert failure is not None
    assert "needle" in failure.actual
    assert failure.actual.startswith("'…aaa")
    assert failure.actual.endswith("bbb…'")
    assert len(failure.actual) < 200


def test_every_expectation_has_a_summary_and_its_own_name() -> None:
    assert list(BUILTIN) == [
        "contains", "not_contains", "equals", "regex", "json_schema", "similar_to", "judge",
        "recalled", "not_recalled", "tool_called", "tool_result", "denied", "rounds",
        "track", "policy", "events", "error",
        "max_seconds", "max_first_content_ms", "max_cost_usd", "max_tokens", "python",
    ]  # fmt: skip
    assert all(name == known.name and known.summary for name, known in BUILTIN.items())


def test_long_texts_are_compared_line_by_line() -> None:
    failure = check("equals", '"one\\ntwo\\nthree"', seen("one\n2\nthree"))
    assert failure is not None
    assert failure.diff == ("  one", "- two", "+ 2", "  three")
    assert failure.describe().splitlines()[2:] == [f"    {line}" for line in failure.diff]


def test_a_pattern_that_backtracks_forever_does_not_block_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vanta_scripts.checks.replies.MATCH_LIMIT_S", 1.5)
    beats = 0

    async def main() -> Failure | None:
        async def beat() -> None:
            nonlocal beats
            while True:
                beats += 1
                await anyio.sleep(0.01)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(beat)
            verdict: Any = BUILTIN["regex"].check(("^(a+)+$",), seen("a" * 60 + "!"))
            failure: Failure | None = await verdict
            tasks.cancel_scope.cancel()
            return failure
        raise AssertionError

    failure = anyio.run(main)
    assert failure is not None
    assert "backtracks too much" in failure.actual
    assert beats > 5


def test_long_texts_match_like_short_ones() -> None:
    assert check("regex", "'needle$'", seen("hay " * 1000 + "needle")) is None
    assert check("regex", "[needle, pin]", seen("hay " * 1000)) == Failure(
        "regex", "a reply that matches 'needle' and 'pin'", excerpt("hay " * 1000)
    )


def judged(question: str = "Is it polite?", track: str = "judge", more: str = "") -> str:
    return f"{{question: '{question}', track: {track}{more}}}"


def judging(*script: Step | str, private: bool = False, **options: Any) -> dict[str, Track]:
    engine = ScriptedEngine(*script, **options)
    return {"judge": Track("judge", engine, private=private, price=Price(0, 1_000_000))}


def test_a_judge_answers_yes_with_a_probability() -> None:
    bill: list[float] = []
    tracks = judging("Yes")
    what = seen("Good day.", tracks=tracks, spend=bill.append)
    assert check("judge", judged(more=", min_probability: 0.9"), what) is None
    assert bill == [1.0]
    engine = tracks["judge"].engine
    assert isinstance(engine, ScriptedEngine)
    (request,) = engine.requests
    assert (request.sampling.max_tokens, request.sampling.logprobs) == (1, 20)
    prompt = request.messages[-1].content
    assert all(part in prompt for part in ("the message", "Good day.", "Is it polite?"))


@pytest.mark.parametrize(
    ("tracks", "actual"),
    [
        (judging("no"), "0.00"),
        (judging("perhaps"), "neither yes nor no, but 'perhaps'"),
        (
            judging(capabilities=Capabilities()),
            "no verdict: its engine 'scripted' does not return logprobs",
        ),
    ],
)
def test_a_judge_that_does_not_answer_yes_fails_the_turn(
    tracks: dict[str, Track], actual: str
) -> None:
    failure = check("judge", judged(), seen("Good day.", tracks=tracks))
    assert failure is not None
    assert failure.expected.startswith("yes to 'Is it polite?' from track 'judge'")
    assert failure.actual == actual


def test_the_probability_is_that_of_yes_among_yes_and_no() -> None:
    top = ((" Yes", 0.3), ("no", 0.1), ("YES", 0.3), ("or", 0.2))
    rivals = tuple((token, math.log(likely)) for token, likely in top)
    assert probability_of_yes((TokenLogprob(*rivals[0], rivals),)) == pytest.approx(0.6 / 0.7)


def test_a_private_turn_is_judged_by_private_tracks_only() -> None:
    open_track, private_track = judging("yes"), judging("yes", private=True)
    failure = check("judge", judged(), seen("secret", private=True, tracks=open_track))
    assert failure is not None
    assert failure.actual == "no verdict: the turn is private and the track is not"
    assert check("judge", judged(), seen("secret", private=True, tracks=private_track)) is None


def test_an_unknown_judge_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(UnknownName, match=r"no track is named 'jugde'\. Did you mean 'judge'"):
        check("judge", judged(track="jugde"), seen("x", tracks=judging("yes")))


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("no_such_module:f", "No module named 'no_such_module'"),
        ("tests.scripts.functions:nothing", "has no attribute 'nothing'"),
        ("tests.scripts.functions:NUMBER", "is not a function"),
    ],
)
def test_a_missing_function_is_an_error(reference: str, why: str) -> None:
    with pytest.raises(ScriptError, match=why):
        check("python", reference, seen("x"))


def test_functions_are_found_beside_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "beside_the_script.py").write_text(
        "def fine(seen): return seen.say == 'the message'\n"
    )
    script = tmp_path / "s.yaml"
    script.write_text("")
    assert check("python", "beside_the_script:fine", seen("x", source=str(script))) is None


class Brings:
    """A plugin with one expectation."""

    def __init__(self, name: str) -> None:
        self.name = "brings"
        self.expectation = Expectation(name, "summary", str, lambda _value, _seen: None)

    @hookimpl
    def vanta_expectations(self) -> list[Expectation]:
        return [self.expectation]


def test_plugins_add_expectations() -> None:
    plugin = Brings("polite")
    known = known_expectations(load([], strict=False, extra=[plugin], entry_points=[]))
    assert known["polite"] is plugin.expectation
    assert known["contains"] is BUILTIN["contains"]


def test_a_plugin_cannot_take_the_name_of_a_built_in_expectation() -> None:
    plugins = load([], strict=False, extra=[Brings("contains")], entry_points=[])
    with pytest.raises(PluginError, match="expectation named 'contains'"):
        known_expectations(plugins)
