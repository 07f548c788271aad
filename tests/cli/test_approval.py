"""The person at the terminal is asked: about a price that is not known, and about calls."""

from __future__ import annotations

import pytest

from tests.cli.stage import COMMAND, Stage
from tests.cli.terminal import Terminal

CONFIG = """
policy = "api"
[plugins]
allow = ["stage"]
[budget]
day_usd = 1.0
unpriced = "ask"
[tracks.local]
enabled = false
[tracks.api]
engine = "stage"
model = "mystery"
"""


@pytest.fixture
def unpriced(stage: Stage) -> Stage:
    """A stage whose only track has no price."""
    stage.config.write_text(CONFIG)
    return stage


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("yes", 0), ("n", 1), ("", 1)])
def test_ask_asks_and_obeys(unpriced: Stage, answer: str, code: int) -> None:
    with Terminal([*COMMAND, "ask", "echo hello"], unpriced.environ) as terminal:
        question = terminal.expect("[y/N] ")
        assert "the price of 'mystery' (track 'api') is not known" in question
        terminal.type(f"{answer}\n")
        terminal.expect("hello\n" if code == 0 else "its use was not allowed")
        assert terminal.end() == code
        assert terminal.text.count("[y/N]") == 1


def test_ctrl_c_at_the_question_ends_the_command(unpriced: Stage) -> None:
    with Terminal([*COMMAND, "ask", "echo hello"], unpriced.environ) as terminal:
        terminal.expect("[y/N] ")
        terminal.press_ctrl("c")
        assert terminal.end() == 130


def test_a_chat_asks_once_for_all_its_turns(unpriced: Stage) -> None:
    with Terminal([*COMMAND, "chat"], unpriced.environ) as terminal:
        terminal.expect("you> ")
        terminal.type("echo one\n")
        terminal.expect("[y/N] ")
        terminal.type("y\n")
        terminal.expect("api> one\n")
        terminal.expect("you> ")
        terminal.type("echo two\n")
        terminal.expect("api> two\n")
        assert terminal.text.count("[y/N]") == 1


def test_a_refusal_holds_for_the_chat(unpriced: Stage) -> None:
    with Terminal([*COMMAND, "chat"], unpriced.environ) as terminal:
        for line, expected in (("echo one", "[y/N] "), ("n", "is not used")):
            terminal.type(f"{line}\n")
            terminal.expect(expected)
        terminal.expect("you> ")
        terminal.type("echo two\n")
        terminal.expect("its use was not allowed")
        assert terminal.text.count("[y/N]") == 1


def test_without_a_terminal_it_is_refused_with_a_command_that_sets_the_price(
    unpriced: Stage,
) -> None:
    done = unpriced.vanta("ask", "echo hello")
    assert done.returncode == 1
    name = "VANTA_TRACKS__API__"
    assert f"export {name}INPUT_USD_PER_MTOK=1 {name}OUTPUT_USD_PER_MTOK=4" in done.stderr
    prices = {f"{name}INPUT_USD_PER_MTOK": "1", f"{name}OUTPUT_USD_PER_MTOK": "4"}
    assert unpriced.vanta("ask", "echo hello", **prices).stdout == "hello\n"


@pytest.fixture
def agent(stage: Stage) -> Stage:
    """A stage whose toolset `mail` a person is asked about."""
    text = stage.config.read_text()
    stage.config.write_text(
        text.replace("[tracks.local]", '[tools]\nuse = ["mail"]\n[tracks.local]')
    )
    return stage


ASKS = 'call send {"to": "Anna", "text": "One\\nTwo"}'


@pytest.mark.parametrize(
    ("answer", "shown", "runs"),
    [("y", "Sent to Anna.", 1), ("n", "A person denied it.", 0), ("", "A person denied it.", 0)],
)
def test_a_call_is_shown_and_runs_only_if_the_person_says_so(
    agent: Stage, answer: str, shown: str, runs: int
) -> None:
    with Terminal([*COMMAND, "ask", ASKS], agent.environ) as terminal:
        question = terminal.expect("[N]o ")
        assert "mail.send wants to run (write)." in question
        assert "to = Anna" in question
        assert "text = One" in question
        assert "tools.mode 'ask'" in question
        terminal.type(f"{answer}\n")
        terminal.expect(shown)
        assert terminal.end() == 0
    assert agent.happened().count("sent to Anna") == runs


def test_always_is_asked_once_for_all_commands_that_follow(agent: Stage) -> None:
    for number in range(2):
        with Terminal([*COMMAND, "ask", ASKS], agent.environ) as terminal:
            if not number:
                terminal.expect("[N]o ")
                terminal.type("a\n")
            terminal.expect("Sent to Anna.")
            assert terminal.end() == 0
            assert terminal.text.count("[N]o") == (not number)
    assert agent.happened().count("sent to Anna") == 2


def test_without_a_terminal_a_call_does_not_run_and_the_model_reads_why(agent: Stage) -> None:
    done = agent.vanta("ask", ASKS)
    assert done.returncode == 0
    assert "it needs a person's approval (tools.mode 'ask')" in done.stdout
    assert "sent to Anna" not in agent.happened()
