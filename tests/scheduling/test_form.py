"""The form of an answer: JSON under its schema, and the script of the question."""

from __future__ import annotations

import pytest

from tests.scheduling.stage import Stage, states
from vanta.scheduling.answer_checks import in_another_script, not_under_schema
from vanta.scheduling.policy import CASCADE, GateRule, adapt
from vanta.testing import Say, ScriptedEngine

SCHEMA = {"type": "object", "required": ["age"], "properties": {"age": {"type": "integer"}}}
ENGLISH = "What is the tallest mountain in the world?"
RUSSIAN = "Самая высокая гора в мире - Эверест."  # noqa: RUF001 - it is Russian


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"age": 3}', None),
        ('{"age": "three"}', "not valid under its schema"),
        ("{}", "not valid under its schema"),
        ("age: 3", "not JSON"),
    ],
)
def test_json_is_held_to_its_schema(text: str, fault: str | None) -> None:
    found = not_under_schema(text, SCHEMA)
    assert (found is None) if fault is None else (fault in str(found))


def test_without_a_schema_any_text_does() -> None:
    assert not_under_schema("age: 3", None) is None


@pytest.mark.parametrize(
    ("text", "question", "differs"),
    [
        (RUSSIAN, ENGLISH, True),
        ("The tallest is Mount Everest.", ENGLISH, False),
        (RUSSIAN, f"{ENGLISH} Answer in Russian, please.", False),
        (RUSSIAN, f"Translate this: {ENGLISH}", False),
        ("エベレストは世界で一番高い山です。", "世界で一番高い山は何ですか。教えてください", False),
        ("8849", ENGLISH, False),
        (RUSSIAN, "?", False),
    ],
)
def test_an_answer_keeps_to_the_script_of_its_question(
    text: str, question: str, differs: bool
) -> None:
    assert (in_another_script(text, question) is not None) == differs


@pytest.mark.anyio
@pytest.mark.parametrize(("language", "winner"), [(True, "api"), (False, "local")])
async def test_a_cascade_turns_down_an_answer_in_another_script(
    language: bool, winner: str
) -> None:
    policy = adapt(CASCADE, name="cascade", gate=GateRule(language=language))
    engines = {"local": ScriptedEngine(Say(RUSSIAN)), "api": ScriptedEngine("Mount Everest.")}
    outcome = await Stage(policy, engines, question=ENGLISH).run()
    assert outcome.leg is not None
    assert outcome.leg.track.name == winner


@pytest.mark.anyio
async def test_a_cascade_turns_down_json_that_is_not_under_its_schema() -> None:
    engines = {"local": ScriptedEngine("{}"), "api": ScriptedEngine('{"age": 3}')}
    outcome = await Stage(CASCADE, engines, json_schema=SCHEMA).run()
    assert states(outcome) == [("local", "rejected"), ("api", "won")]
