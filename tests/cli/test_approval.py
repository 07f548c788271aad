"""A model without a known price under a cap: the person at the terminal is asked, once."""

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
