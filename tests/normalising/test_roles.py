"""Messages in the roles and the order that a chat format accepts: moved, never lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vanta.errors import UsageError
from vanta.messages import Message, ToolCall, read_content
from vanta.normalising import AS_GIVEN, RoleRules, arranged, learn_roles, probe_rules

SYSTEM, ASKED, ANSWERED = Message("system", "S"), Message("user", "U"), Message("assistant", "A")
STRICT = RoleRules(system=False, alternating=True)
TURNS = RoleRules(alternating=True)


def shape(messages: tuple[Message, ...]) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in messages]


def test_messages_in_order_are_the_same() -> None:
    talk = (SYSTEM, ASKED, ANSWERED, ASKED)
    assert arranged(talk) == arranged(talk, TURNS) == talk


def test_a_system_prompt_moves_into_the_first_message() -> None:
    assert shape(arranged((SYSTEM, ASKED, ANSWERED, ASKED), STRICT)) == [
        ("user", "S\n\nU"),
        ("assistant", "A"),
        ("user", "U"),
    ]
    assert shape(arranged((SYSTEM,), STRICT)) == [("user", "S")]


def test_messages_of_one_role_in_a_row_are_joined() -> None:
    talk = (SYSTEM, ASKED, ASKED, ANSWERED, ANSWERED, SYSTEM, ASKED)
    assert shape(arranged(talk, TURNS)) == [
        ("system", "S\n\nS"),
        ("user", "U\n\nU"),
        ("assistant", "A\n\nA"),
        ("user", "U"),
    ]


def test_an_answer_at_the_beginning_or_the_end_gets_a_message() -> None:
    roles = [message.role for message in arranged((SYSTEM, ANSWERED, ASKED, ANSWERED), TURNS)]
    assert roles == ["system", "user", "assistant", "user", "assistant", "user"]


def test_calls_and_results_stay_where_they_are() -> None:
    call = Message("assistant", "", (ToolCall("c", "clock", "{}"),))
    result = Message("tool", "noon", tool_call_id="c")
    talk = (ASKED, call, result, ANSWERED, ASKED)
    assert arranged(talk, STRICT) == talk


@pytest.mark.parametrize("rules", [AS_GIVEN, STRICT])
def test_reasoning_of_earlier_answers_is_not_sent_back(rules: RoleRules) -> None:
    thought = Message("assistant", "<think>secret</think>\n\nA")
    only = Message("assistant", "<think>secret")
    assert "secret" not in str(arranged((ASKED, thought, ASKED, only, ASKED), rules))
    assert arranged((ASKED, thought, ASKED)) == (ASKED, ANSWERED, ASKED)


ROLES = st.sampled_from(["system", "user", "assistant"])


@given(st.lists(ROLES, max_size=12), st.booleans())
def test_every_conversation_alternates_and_keeps_its_words(roles: list[str], system: bool) -> None:
    talk = tuple(Message(role, f"w{n}.") for n, role in enumerate(roles))  # type: ignore[arg-type]
    sent = arranged(talk, RoleRules(system, alternating=True))
    rest = [message.role for message in sent if message.role != "system"]
    assert rest == ["user", "assistant"] * (len(rest) // 2) + ["user"] * (len(rest) % 2)
    assert [message.role for message in sent[1:]].count("system") == 0
    assert all(any(message.content in other.content for other in sent) for message in talk)


def test_rules_are_found_by_trying() -> None:
    def no_system(messages: object) -> bool:
        return "system" not in str(messages)

    def in_turn(messages: object) -> bool:
        return "vantaagain" not in str(messages)

    assert probe_rules(lambda _messages: True) == AS_GIVEN
    assert probe_rules(lambda _messages: False) == AS_GIVEN, "no arrangement would help"
    assert probe_rules(no_system) == RoleRules(system=False)
    assert probe_rules(in_turn) == TURNS


@pytest.mark.parametrize(
    ("refusal", "rules"),
    [
        ("System role not supported", RoleRules(system=False)),
        ("Developer instruction is not enabled for models/gemma-3", RoleRules(system=False)),
        ("Conversation roles must alternate user/assistant/user/...", STRICT),
        ("Only user and assistant roles are supported, with no system", RoleRules(system=False)),
        ("the model is overloaded", None),
    ],
)
def test_rules_are_learnt_from_a_refusal(refusal: str, rules: RoleRules | None) -> None:
    assert learn_roles(refusal, (SYSTEM, ASKED)) == rules


def test_a_refused_order_keeps_the_system_prompt_while_that_may_be_right() -> None:
    refusal = "After the optional system message, conversation roles must alternate"
    assert learn_roles(refusal, (SYSTEM, ASKED, ASKED)) == TURNS
    assert learn_roles(refusal, (SYSTEM, ASKED, ASKED), STRICT) is None


def test_content_is_read_from_parts() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
    assert read_content([thinking, {"type": "text", "text": "Hi"}, " there"]) == ("Hi there", "Hm.")
    assert read_content({"type": "text", "text": {"value": "Hi"}}) == ("Hi", "")
    assert read_content([{"type": "image_url", "image_url": {}}, None]) == ("", "")
    assert Message("user", [{"type": "text", "text": "Hi"}]).content == "Hi"  # type: ignore[arg-type]
    assert Message("assistant", None).content == ""  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [5, b"x", [{"type": "input_audio", "data": {}}], True])
def test_a_message_with_another_content_is_refused(content: object) -> None:
    with pytest.raises(UsageError, match="not text: pass a text"):
        Message("user", content)  # type: ignore[arg-type]


def test_parts_in_parts_without_end_are_refused() -> None:
    content: object = "x"
    for _ in range(100_000):
        content = [content]
    with pytest.raises(ValueError, match="not text"):
        read_content(content)
