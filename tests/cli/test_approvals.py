"""A call that waits is kept after Ctrl-C, and decided and resumed by other commands."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.stage import COMMAND, Stage
from tests.cli.terminal import Terminal

ASKS = 'call send {"to": "Anna", "text": "Hello"}'
QUESTION = 'call ask_user {"question": "Which colour?", "choices": ["red", "blue"]}'


@pytest.fixture
def agent(stage: Stage) -> Stage:
    """A stage with the toolsets `mail` and `ask_user`."""
    text = stage.config.read_text()
    stage.config.write_text(
        text.replace("[tracks.local]", '[tools]\nuse = ["mail", "ask_user"]\n[tracks.local]')
    )
    return stage


def left_at(agent: Stage, message: str, prompt: str) -> tuple[str, dict[str, Any]]:
    """Leave a command by Ctrl-C at its question; return its text and the call that waits."""
    with Terminal([*COMMAND, "ask", message], agent.environ) as terminal:
        terminal.expect(prompt)
        terminal.press_ctrl("c")
        assert terminal.end() == 130
        text = terminal.text
    listed = json.loads(agent.vanta("approvals", "list", "--json").stdout)
    (turn,) = listed["pending"]
    assert not turn["is_held"]
    (call,) = turn["calls"]
    return text, call


def test_after_ctrl_c_the_call_is_approved_and_the_turn_resumed(agent: Stage) -> None:
    text, call = left_at(agent, ASKS, "[N]o ")
    assert f"vanta approvals approve {call['key'][:12]}" in text
    shown = agent.vanta("approvals", "list").stdout
    assert "mail.send" in shown
    assert '"to":"Anna"' in shown
    assert "parked for " in shown
    assert "expires in 7 d" in shown
    done = agent.vanta("approvals", "approve", call["key"][:12])
    assert done.returncode == 0, done.stderr
    assert f"vanta approvals resume {call['turn'][:12]}" in done.stderr
    assert "sent to Anna" not in agent.happened()
    done = agent.vanta("approvals", "resume", call["turn"][:12])
    assert (done.returncode, "Sent to Anna." in done.stdout) == (0, True), done.stderr
    assert agent.happened().count("sent to Anna") == 1
    again = agent.vanta("approvals", "resume", call["turn"][:12])
    assert again.returncode == 2
    assert "no parked turn begins with" in again.stderr


def test_a_denied_call_is_not_run_by_the_resumed_turn(agent: Stage) -> None:
    _, call = left_at(agent, ASKS, "[N]o ")
    undecided = agent.vanta("approvals", "resume", call["turn"])
    assert undecided.returncode == 1
    assert "waits for a person's decision" in undecided.stderr
    denied = agent.vanta("approvals", "deny", call["key"], "--reason", "Not today.", "--json")
    assert json.loads(denied.stdout)["answer"] == "denied"
    twice = agent.vanta("approvals", "approve", call["key"])
    assert twice.returncode == 1
    assert "is denied already" in twice.stderr
    assert "Not today." in agent.vanta("approvals", "resume", call["turn"]).stdout
    assert "sent to Anna" not in agent.happened()


def test_a_discarded_turn_never_runs(agent: Stage) -> None:
    _, call = left_at(agent, ASKS, "[N]o ")
    done = agent.vanta("approvals", "discard", call["turn"][:8])
    assert "none of its waiting calls runs" in done.stdout
    assert agent.vanta("approvals", "approve", call["key"]).returncode == 2
    assert json.loads(agent.vanta("approvals", "list", "--json").stdout)["pending"] == []


@pytest.mark.parametrize(("typed", "read"), [("2", "blue"), ("Green!", "Green!")])
def test_a_question_of_the_model_is_answered_at_the_terminal(
    agent: Stage, typed: str, read: str
) -> None:
    with Terminal([*COMMAND, "ask", QUESTION], agent.environ) as terminal:
        question = terminal.expect("answer (empty for none): ")
        assert "The model asks: Which colour?" in question
        assert "2. blue" in question
        terminal.type(f"{typed}\n")
        terminal.expect(f"<result>\n{read}\n")
        assert terminal.end() == 0


def test_a_question_is_answered_by_another_command(agent: Stage) -> None:
    _, call = left_at(agent, QUESTION, "answer (empty for none): ")
    assert call["is_question"]
    wrong = agent.vanta("approvals", "approve", call["key"])
    assert "answer it in words" in wrong.stderr
    assert agent.vanta("approvals", "answer", call["key"], "teal").returncode == 0
    assert "teal" in agent.vanta("approvals", "resume", call["turn"]).stdout


def test_without_a_terminal_the_model_reads_that_no_one_can_be_asked(agent: Stage) -> None:
    done = agent.vanta("ask", QUESTION)
    assert done.returncode == 0
    assert "no one is here to answer" in done.stdout


def test_a_chat_shows_what_may_run_and_goes_on_with_a_turn_that_waits(agent: Stage) -> None:
    with Terminal([*COMMAND, "chat"], agent.environ) as terminal:
        terminal.expect("you> ")
        terminal.type("/tools\n")
        shown = terminal.expect("you> ")
        assert "mail.send" in shown
        assert "asks you (tools.mode 'ask')" in shown
        terminal.type("/approve\n")
        terminal.expect("no call waits")
        terminal.expect("you> ")
        terminal.type(f"{ASKS}\n")
        terminal.expect("[N]o ")
        terminal.press_ctrl("c")
        terminal.expect("the turn waits")
        terminal.expect("you> ")
        listed = json.loads(agent.vanta("approvals", "list", "--json").stdout)
        (call,) = listed["pending"][0]["calls"]
        terminal.type(f"/approve {call['key'][:12]}\n")
        terminal.expect("Sent to Anna.")
        terminal.expect("you> ")
        terminal.type(f"/approve {call['key'][:12]}\n")
        terminal.expect("no waiting call begins with")
    assert agent.happened().count("sent to Anna") == 1
