"""Scripts that vanta writes load again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.scripts.test_expectations import seen
from vanta.cli.chat.app import conversation_script
from vanta_scripts import parse_script
from vanta_scripts.writing import new_script


def test_a_first_script_loads() -> None:
    script = parse_script(new_script("my: first", "a.yaml"))
    assert (script.name, len(script.turns)) == ("my: first", 2)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1), st.text())
def test_what_was_said_is_kept_to_the_letter(say: str, answer: str) -> None:
    reply = seen(answer, track="api", tokens=4).reply
    script = parse_script(conversation_script("n", [(say, reply), ("x", reply)], private=True))
    assert [turn.say for turn in script.turns] == [say, "x"]
    assert script.turns[0].expect == {"track": ("api",), "max_tokens": 8}
    assert script.private
