"""Reading scripts: the result of a valid one, and the message for every fault."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vanta.engine import Sampling
from vanta.errors import ScriptError
from vanta.expectations import Expectation
from vanta_scripts import BUILTIN, Script, load_script, parse_script
from vanta_scripts.script import (
    DEFAULT_TIME,
    DocumentFixture,
    Matrix,
    MemoryFixture,
    PlannedCall,
    UpstreamPlan,
)

EXAMPLES = Path(__file__).parents[2] / "examples"
FULL = """\
name: all fields
description: every field of the format
policy: race
system: short
variables: {user_name: Ada, list: [1, 2]}
sampling: {temperature: 0, max_tokens: 20, stop: ["\\n"], logit_bias: {7: -1.5}}
private: true
session: kept
user: ada
tags: [smoke, slow]
models: {local: other}
seed: 7
deadline_s: 3
upstream: {fault: stall, after: 2, text: one two three, first_after_s: 0.1, gap_s: 0.2}
pass_rate: 0.5
tools: [now, {name: get_weather, description: The weather, parameters: {type: object}}]
turns:
  - say: Hello
    expect:
      contains: Ada
      not_contains: [error, sorry]
      regex: "(?i)hello"
      track: [local, api]
      max_seconds: 5
  - say: >
      And
      again
    track: local
    private: false
    user: bob
    session: kitchen
    restart: true
    deadline_s: 2
    upstream: {fault: rate_limited, retry_after: "3"}
"""


def fault(text: str, syntax: str = "yaml") -> str:
    with pytest.raises(ScriptError) as caught:
        parse_script(text, source="f.yaml", syntax="json" if syntax == "json" else "yaml")
    return str(caught.value)


def turn(line: str) -> str:
    return f"name: n\nturns:\n  - say: hi\n    {line}\n"


def test_every_field_is_read() -> None:
    script = parse_script(FULL)
    assert (script.name, script.description) == ("all fields", "every field of the format")
    assert (script.policy, script.track, script.system) == ("race", None, "short")
    assert script.variables == {"user_name": "Ada", "list": [1, 2]}
    assert (script.private, script.session, script.user) == (True, "kept", "ada")
    first, second = script.turns
    assert (script.tags, script.deadline_s) == (("smoke", "slow"), 3.0)
    assert (script.models, script.seed) == ({"local": "other"}, 7)
    assert (script.repeat, script.pass_rate, script.matrix) == (1, 0.5, Matrix())
    assert script.upstream == UpstreamPlan("stall", 2, "one two three", 0.1, 0.2)
    assert [tool.name for tool in script.tools] == ["now", "get_weather"]
    assert script.tools[0].parameters == {"type": "object", "properties": {}}
    assert (first.say, first.line, first.private) == ("Hello", 18, None)
    assert first.expect == {
        "contains": ("Ada",),
        "not_contains": ("error", "sorry"),
        "regex": ("(?i)hello",),
        "track": ("local", "api"),
        "max_seconds": 5.0,
    }
    assert (second.say, second.track, second.private) == ("And again\n", "local", False)
    assert (second.user, second.session, second.restart) == ("bob", "kitchen", True)
    assert second.upstream == UpstreamPlan("rate_limited", retry_after="3")
    assert (first.restart, first.deadline_s, second.deadline_s) == (False, None, 2.0)


FIXTURES = """\
name: n
at: 2026-03-02
fixtures:
  memories:
    - The cat is Miso.
    - {text: Hi., id: hi, role: user, user: bob, session: s, at: "2026-03-01T10:30", private: true,
       source: a note, tags: [x]}
  documents: [a.md, {path: b.md, user: bob, private: true, tags: [y]}]
turns:
  - say: a
  - {say: b, at: 2026-03-03, upstream: {call: {name: get_weather, arguments: {city: Paris}}}}
  - {say: c, at: "2026-03-03T02:00+02:00", upstream: {call: now}}
"""


def test_fixtures_and_times_are_read() -> None:
    script = parse_script(FIXTURES)
    plain, full = script.fixtures.memories
    assert (script.at, plain) == (1772409600, MemoryFixture("The cat is Miso."))
    assert full == MemoryFixture(
        "Hi.", "hi", "user", "bob", "s", 1772361000.0, True, "a note", ("x",)
    )
    assert script.fixtures.documents == (
        DocumentFixture("a.md"), DocumentFixture("b.md", "bob", True, ("y",)),
    )  # fmt: skip
    assert [turn.at for turn in script.turns] == [None, 1772496000, 1772496000]
    upstreams = [turn.upstream.call for turn in script.turns if turn.upstream]
    assert upstreams == [PlannedCall("get_weather", {"city": "Paris"}), PlannedCall("now")]


def test_a_script_without_a_time_takes_place_at_the_default_time() -> None:
    script = parse_script("name: n\nturns: [{say: a}]")
    assert (script.at, bool(script.fixtures)) == (DEFAULT_TIME, False)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("fixtures: {memories: [{txt: a}]}", "2:24: unknown field 'txt' in entry 1 of 'memories'."),
        ("fixtures: {memorys: [a]}", "'memorys' in 'fixtures'. Did you mean 'memories'?"),
        ("fixtures: {memories: [3]}", "2:23: entry 1 of 'memories' is the number 3; it must"),
        ("fixtures: {memories: [{text: a, role: bob}]}", "must be one of user, assistant."),
        ("fixtures: {memories: [{text: a, id: x}, {text: b, id: x}]}",
         "two memories have the id 'x'. Change one of them."),
        ("fixtures: {documents: [{pth: a}]}", "'pth' in entry 1 of 'documents'. Did you mean 'pat"),
        ("session: s\nfixtures: {memories: [a]}",
         "3:1: a script that continues a session uses its user's memory. Remove"),
        ("session: s\nat: 2026-01-01", "3:1: a script that continues a session takes place now."),
        ("at: soon", "'at' in the script: 'soon' is not a time. Write it like '2026-03-02' or"),
        ("at: 2026-13-01", "'2026-13-01' is not a time."),
        ("at: 3", "3 is not a time."),
        ("tools: [{nam: x}]", "2:10: unknown field 'nam' in entry 1 of 'tools'. Did you mean"),
        ("tools: ['a b']", "the text 'a b' must be 1 to 64 letters, digits, '_' or '-'."),
        ("tools: [a, a]", "2:12: two tools are named 'a'. Remove one of them."),
        ("upstream: {call: {nam: a}}", "unknown field 'nam' in 'call'. Did you mean 'name'?"),
        ("upstream: {call: a, text: b}", "2:12: 'call' and 'text' exclude each other."),
        ("upstream: {call: a, fault: cut}", "2:12: 'call' and 'fault' exclude each other."),
    ],
)  # fmt: skip
def test_faults_of_fixtures_times_and_tools_are_reported(line: str, message: str) -> None:
    assert message in fault(f"name: n\n{line}\nturns: [{{say: a}}]")


def test_time_does_not_run_backwards() -> None:
    late = "name: n\nturns:\n- {say: a, at: 2026-02-02}\n- {say: b, at: 2026-02-01}"
    assert "4:16: turn 2 is earlier than the turn before it." in fault(late)
    early = "name: n\nturns:\n- say: a\n- {say: b, at: 2025-02-01}"
    assert "4:16: turn 2 is earlier than the turn before it." in fault(early)
    first = parse_script("name: n\nturns:\n- {say: a, at: 2025-02-01}")
    assert first.at == first.turns[0].at
    goes_on = "name: n\nsession: s\nturns: [{say: a, at: 2026-02-02}]"
    assert "3:18: a script that continues a session takes place now." in fault(goes_on)


def test_sampling_has_the_fields_of_the_engines() -> None:
    sampling = parse_script(FULL).sampling
    assert isinstance(sampling, Sampling)
    assert (sampling.temperature, sampling.max_tokens, sampling.stop) == (0.0, 20, ("\n",))
    assert sampling.seed == 7
    assert sampling.logit_bias == {7: -1.5}


def test_json_and_yaml_are_the_same_format(tmp_path: Path) -> None:
    data = {"name": "x", "turns": [{"say": "a 😀", "expect": {"contains": "b"}}]}
    path = tmp_path / "x.json"
    path.write_text(json.dumps(data, indent="\t"))
    script = load_script(path)
    assert script.turns[0].say == "a 😀"
    assert script.source == str(path)


def test_words_that_old_yaml_converts_stay_text() -> None:
    script = parse_script("name: no\nturns: [{say: yes}, {say: 2026-01-01}, {say: 1:30}]")
    assert [script.name, *(turn.say for turn in script.turns)] == [
        "no",
        "yes",
        "2026-01-01",
        "1:30",
    ]


def test_an_anchor_may_be_reused() -> None:
    text = "name: n\nturns:\n  - {say: a, expect: &e {contains: x}}\n  - {say: b, expect: *e}\n"
    assert [turn.expect for turn in parse_script(text).turns] == [{"contains": ("x",)}] * 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: n", "1:1: the script has no 'turns'. Add it."),
        ("turns: [{say: a}]", "1:1: the script has no 'name'. Add it."),
        ("name: n\nturns: []", "2:8: 'turns' in the script is empty. Fill it in or leave it out."),
        ("name: n\nturns: hi",
         "2:8: 'turns' in the script is the text 'hi'; it must be a list."),
        ("name: n\nturns: {say: a}",
         "2:8: 'turns' in the script is a mapping; it must be a list."),
        ("name: n\nturns:\n  - hi", "3:5: turn 1 is the text 'hi'; it must be a mapping."),
        ("- a", "1:1: the script is a list; it must be a mapping."),
        ("~", "1:1: the script is empty; it must be a mapping."),
        ("name: n\npolcy: race\nturns: [{say: a}]",
         "2:1: unknown field 'polcy' in the script. Did you mean 'policy'?"),
        ("name: 3\nturns: [{say: a}]",
         "1:7: 'name' in the script is the number 3; it must be text. Put it in quotes."),
        ("name: ''\nturns: [{say: a}]",
         "1:7: 'name' in the script is empty. Fill it in or leave it out."),
        ("name: n\nprivate: yes\nturns: [{say: a}]",
         "2:10: 'private' in the script is the text 'yes'; it must be true or false."),
        ("name: n\nvariables: [a]\nturns: [{say: a}]",
         "2:12: 'variables' in the script is a list; it must be a mapping."),
        ("name: n\nsampling: {temprature: 0}\nturns: [{say: a}]",
         "2:12: unknown field 'temprature' in 'sampling'. Did you mean 'temperature'?"),
        ("name: n\nsampling: {top_k: 1.5}\nturns: [{say: a}]",
         "2:19: 'top_k' in 'sampling' is the number 1.5; it must be a whole number."),
        ("name: n\nsampling: {stop: [1]}\nturns: [{say: a}]",
         "2:19: entry 1 of 'stop' is the number 1; it must be text. Put it in quotes."),
        ("name: n\nsampling: hot\nturns: [{say: a}]",
         "2:11: 'sampling' in the script is the text 'hot'; it must be a mapping."),
        ("name: n\nturns:\n  - expect: {contains: a}", "3:5: turn 1 has no 'say'. Add it."),
        ("name: n\nturns:\n  - say: 42",
         "3:10: 'say' in turn 1 is the number 42; it must be text. Put it in quotes."),
        ("name: n\nturns:\n  - say: true",
         "3:10: 'say' in turn 1 is true; it must be text. Put it in quotes."),
        ("name: n\nturns:\n  - say:", "3:9: 'say' in turn 1 is empty; it must be text."),
        ("name: n\nturns:\n  - say: a\n  - say: b\n    trakc: local",
         "5:5: unknown field 'trakc' in turn 2. Did you mean 'track'?"),
        (turn("contains: a"),
         "4:5: unknown field 'contains' in turn 1. It belongs under 'expect'."),
        (turn("expect:"), "4:12: 'expect' in turn 1 is empty; it must be a mapping."),
        (turn("expect: {}"),
         "4:13: 'expect' in turn 1 is empty. Fill it in or leave it out."),
        (turn("expect: [contains]"), "4:13: 'expect' in turn 1 is a list; it must be a mapping."),
        (turn("expect: {contians: a}"),
         "4:14: unknown expectation 'contians' in turn 1. Did you mean 'contains'?"),
        (turn("expect: {contains: 3}"), ("4:24: 'contains' in 'expect' of turn 1 is the number 3; "
         "it must be text. Put it in quotes.")),
        (turn("expect: {contains: [a, '']}"),
         "4:28: entry 2 of 'contains' of turn 1 is empty. Fill it in or leave it out."),
        (turn("expect: {not_contains: []}"),
         "4:28: 'not_contains' in 'expect' of turn 1 is empty. Fill it in or leave it out."),
        (turn("expect: {track: }"), ("4:21: 'track' in 'expect' of turn 1 is empty; "
         "it must be text.")),
        (turn("expect: {regex: '('}"), ("4:21: 'regex' in 'expect' of turn 1: not a "
         "regular expression: missing ), unterminated subpattern at position 0.")),
        (turn("expect: {regex: [a, '*']}"), ("4:25: entry 2 of 'regex' of turn 1: not a "
         "regular expression: nothing to repeat at position 0.")),
        (turn("expect: {max_seconds: '5'}"),
         "4:27: 'max_seconds' in 'expect' of turn 1 is the text '5'; it must be a number."),
        (turn("expect: {max_seconds: 0}"),
         "4:27: 'max_seconds' in 'expect' of turn 1: the number 0 should be greater than 0."),
        (turn("expect: {json_schema: {type: objekt}}"), ("4:27: 'json_schema' in 'expect' of turn "
         "1: not a JSON Schema: 'objekt' is not valid under any of the given schemas.")),
        (turn("expect: {json_schema: {$ref: 'https://x.y/z'}}"), ("4:27: 'json_schema' in 'expect' "
         "of turn 1: '$ref' 'https://x.y/z' points outside the schema. "
         "Copy its target to '$defs'.")),
        (turn("expect: {events: [Comitted]}"), ("4:23: entry 1 of 'events' of turn 1: no event is "
         "named 'Comitted'. Did you mean 'Committed'?")),
        (turn("expect: {judge: {question: q}}"), "4:21: 'judge' of turn 1 has no 'track'. Add it."),
        (turn("expect: {python: os.system}"), ("4:22: 'python' in 'expect' of turn 1: 'os.system' "
         "is not a function reference. Write `module:function`.")),
        (turn("expect: {max_tokens: 0}"), ("4:26: 'max_tokens' in 'expect' of turn 1: the number 0 "
         "should be greater than or equal to 1.")),
        (turn("upstream: refuze"), ("4:15: 'fault' in 'upstream' of turn 1 is the text 'refuze'; "
         "it must be one of none, refuse, unauthorized, not_found, rate_limited, server_error, "
         "overloaded, context_overflow, stall, cut, malformed, error_frame. "
         "Did you mean 'refuse'?")),
        (turn("upstream: {falt: cut}"),
         "4:16: unknown field 'falt' in 'upstream' of turn 1. Did you mean 'fault'?"),
        (turn("upstream: {fault: refuse, after: 2}"), ("4:31: 'after' applies only to the "
         "faults stall, cut, malformed, error_frame. Remove it.")),
        (turn("upstream: {fault: cut, retry_after: '2'}"), ("4:28: 'retry_after' applies only "
         "to the fault rate_limited. Remove it.")),
        (turn("restart: true"), ("4:5: turn 1 cannot restart: no turn precedes it. "
         "Remove 'restart'.")),
        ("name: n\nseed: 1\nsampling: {seed: 2}\nturns: [{say: a}]",
         "2:1: 'seed' is set in the script and in 'sampling'. Remove one of them."),
        ("name: n\nmatrix: {policies: [race]}\nturns: [{say: a}]",
         "2:10: unknown field 'policies' in 'matrix'. Did you mean 'policy'?"),
        ("name: n\nmatrix: {policy: []}\nturns: [{say: a}]",
         "2:18: 'policy' in 'matrix' is empty. Fill it in or leave it out."),
        ("name: n\nmatrix: {policy: [race], track: [local]}\nturns: [{say: a}]",
         "2:26: 'track' and 'policy' in 'matrix' exclude each other. Remove one of them."),
        ("name: n\nmatrix: {sampling: [{temprature: 1}]}\nturns: [{say: a}]",
         "2:22: unknown field 'temprature' in entry 1 of 'sampling'. Did you mean 'temperature'?"),
        ("name: n\nsession: s\nrepeat: 2\nturns: [{say: a}]",
         "2:1: a script that continues a session runs once. Remove 'session' or 'repeat'."),
        ("name: n\nsession: s\nmatrix: {policy: [a]}\nturns: [{say: a}]",
         "2:1: a script that continues a session runs once. Remove 'session' or 'matrix'."),
        ("name: n\npass_rate: 1.5\nturns: [{say: a}]",
         "2:12: 'pass_rate' in the script: the number 1.5 should be less than or equal to 1."),
        (turn("expect: {contains: a, contains: b}"),
         "4:27: the key 'contains' is duplicated, first on line 4"),
        ("name: n\nname: m\nturns: [{say: a}]",
         "2:1: the key 'name' is duplicated, first on line 1"),
        ("", "1:1: the text is empty"),
        ("# nothing\n", "1:1: the text is empty"),
        ("name: !!python/object/apply:os.system [ls]",
         "1:7: tags are not allowed: 'tag:yaml.org,2002:python/object/apply:os.system'"),
        ("name: !secret x", "1:7: tags are not allowed: '!secret'"),
        ("a: &a [*a]", "1:8: an alias refers to the value that contains it"),
        ("a: *b", "1:4: no anchor is named 'b'"),
        ("name: n\n---\nname: m", "2:1: only one document is allowed; a second one begins here"),
        ("? [a]\n: b", "1:3: a mapping's key must be text"),
        ("a: \x07", "1:4: the character '\\x07' is not allowed"),
        ("[" * 40, "1:33: nested more than 32 levels deep"),
        ("a: 1e999", "1:4: the number is too large"),
        ("a: " + "9" * 5000, "1:4: the number is too large"),
    ],
)  # fmt: skip
def test_every_fault_is_reported_with_its_place(text: str, message: str) -> None:
    assert fault(text) == f"f.yaml:{message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"name": "n",\n "turns": [{"say": 1}]}',
         "2:20: 'say' in turn 1 is the number 1; it must be text. Put it in quotes."),
        ('{"name": "n",\n\t"turnes": []}',
         ("1:1: the script has no 'turns'. Add it.\n"
         "f.yaml:2:2: unknown field 'turnes' in the script. Did you mean 'turns'?")),
        ('{"name": "n", "name": "m"}', "1:15: the key 'name' is duplicated, first on line 1"),
        ("{'name': 1}", "1:2: not valid JSON: Expecting property name enclosed in double quotes"),
        ('{"a": NaN}', "1:1: not valid JSON: NaN is not a JSON number"),
        ('{"a": "\\ud800"}', "1:7: the text has half a surrogate pair, which is not a character"),
        ("[" * 5000, "1:1: nested more than 32 levels deep"),
        ("[" * 40 + "]" * 40, "1:33: nested more than 32 levels deep"),
    ],
)  # fmt: skip
def test_faults_in_json_have_places(text: str, message: str) -> None:
    assert fault(text, "json") == f"f.yaml:{message}"


def test_invalid_yaml_is_reported_with_its_place() -> None:
    assert fault("name: a: b").startswith("f.yaml:1:8: not valid YAML: ")


@pytest.mark.parametrize(
    "text",
    [
        "name: n\nturns:\n  - say: 1\n",
        turn("expect: {contains: é, x: [1, ~]}"),
        "a: !t b",
        "a: 1\na: 2",
    ],
)
def test_messages_are_the_same_without_libyaml(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with_libyaml = fault(text)
    monkeypatch.delattr(yaml, "CBaseLoader", raising=False)
    assert fault(text) == with_libyaml


def test_all_faults_are_reported_at_once_in_order() -> None:
    lines = fault("turns:\n  - say: 1\n    expect: {contians: a}\nname: 2").splitlines()
    assert [line.split(": ")[0] for line in lines] == ["f.yaml:2:10", "f.yaml:3:14", "f.yaml:4:7"]


def test_faults_beyond_ten_are_counted() -> None:
    lines = fault("name: n\nturns:\n" + "  - say: 1\n" * 13).splitlines()
    assert len(lines) == 11
    assert lines[-1] == "f.yaml: and 3 more."


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    assert fault("\n".join(lines)).endswith(": more than 100000 values, aliases included")


def test_unreadable_files_are_reported(tmp_path: Path) -> None:
    for path, problem in [
        (tmp_path / "none.yaml", "cannot be read: No such file or directory. Check the path."),
        (tmp_path, "cannot be read: it is a folder, not a file. Check the path."),
    ]:
        with pytest.raises(ScriptError) as caught:
            load_script(path)
        assert str(caught.value) == f"{path}: {problem}"


def test_files_that_are_not_text_or_too_large_are_refused(tmp_path: Path) -> None:
    latin, large = tmp_path / "latin.yaml", tmp_path / "large.yaml"
    latin.write_bytes(b"name: n\nturns: caf\xe9")
    large.write_bytes(b" " * 1_000_001)
    with pytest.raises(ScriptError) as caught:
        load_script(latin)
    assert str(caught.value) == f"{latin}:2:11: is not UTF-8. Save it as UTF-8."
    with pytest.raises(ScriptError, match=r"larger than 1000000 bytes\. Split it"):
        load_script(large)


def test_a_plugins_expectation_is_checked_when_the_script_is_loaded() -> None:
    words = Expectation("max_words", "words at the most", int, lambda _value, _seen: None)
    known = {**BUILTIN, "max_words": words}
    script = parse_script(turn("expect: {max_words: 3}"), expectations=known)
    assert script.turns[0].expect == {"max_words": 3}
    with pytest.raises(ScriptError) as caught:
        parse_script(turn("expect: {max_words: many}"), source="f", expectations=known)
    problem = "'max_words' in 'expect' of turn 1 is the text 'many'; it must be a whole number."
    assert str(caught.value) == f"f:4:25: {problem}"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")))
def test_the_examples_are_scripts(path: Path) -> None:
    assert load_script(path).turns


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
KEYS = st.sampled_from(["name", "turns", "say", "expect", "contains", "sampling", "stop", "x", ""])
DATA = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def loaded(text: str, syntax: Literal["yaml", "json"]) -> Script | str:
    """Return the script or the message of its ScriptError."""
    try:
        return parse_script(text, source="f", syntax=syntax)
    except ScriptError as error:
        return str(error)


def loads_or_explains(text: str, syntax: Literal["yaml", "json"]) -> None:
    result = loaded(text, syntax)
    assert isinstance(result, Script) or result.startswith("f:")


@given(st.text() | st.text(alphabet="nametursay: -\n[]{}&*!'\"#|>?%@`,\t\\"))
def test_any_text_loads_or_is_an_error_with_a_place(text: str) -> None:
    loads_or_explains(text, "yaml")
    loads_or_explains(text, "json")


@given(DATA)
def test_any_data_loads_or_is_an_error_with_a_place(data: object) -> None:
    loads_or_explains(json.dumps(data), "json")
    loads_or_explains(json.dumps(data), "yaml")


@given(st.text(min_size=1), st.lists(st.text(min_size=1), min_size=1, max_size=3))
def test_texts_are_read_exactly(name: str, says: list[str]) -> None:
    data = {"name": name, "turns": [{"say": say} for say in says]}
    script = loaded(json.dumps(data), "json")
    assert isinstance(script, Script)
    assert [script.name, *(turn.say for turn in script.turns)] == [name, *says]


def test_numbers_stay_finite() -> None:
    text = "name: n\nvariables: {a: .inf, b: -1e308}\nturns: [{say: a}]"
    variables = parse_script(text.replace("308", "30")).variables
    assert variables["a"] == ".inf"
    assert math.isfinite(variables["b"])
