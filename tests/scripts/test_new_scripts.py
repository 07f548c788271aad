"""Scripts that vanta writes can be loaded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.scripts.test_expectations import seen
from vanta.cli.chat.app import conversation_script
from vanta_scripts import parse_script
from vanta_scripts.commands.scripts import new_script


def test_a_first_script_loads() -> None:
    script = parse_script(new_script("my: first", "a.yaml"))
    assert (script.name, len(script.turns)) == ("my: first", 2)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1), st.text())
def test_a_saved_chat_keeps_its_messages_exactly(say: str, answer: str) -> None:
    reply = seen(answer, track="api", tokens=4).reply
    script = parse_script(conversation_script("n", [(say, reply), ("x", reply)], private=True))
    assert [turn.say for turn in script.turns] == [say, "x"]
    assert script.turns[0].expect == {"track": ("api",), "max_tokens": 8}
    assert script.private
