"""`vanta chat` on a terminal, key by key."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.stage import COMMAND, Stage
from tests.cli.terminal import Terminal
from tests.pictures import png_bytes


@pytest.fixture
def chat(stage: Stage) -> Iterator[Terminal]:
    with Terminal([*COMMAND, "chat", "--session", "ada"], stage.environ) as terminal:
        terminal.expect("you> ")
        yield terminal


def test_the_greeting_names_session_policy_and_tracks(stage: Stage) -> None:
    with Terminal([*COMMAND, "chat"], stage.environ) as terminal:
        shown = terminal.expect("you> ")
    assert "session 2" in shown
    assert "policy local" in shown
    assert "local (stage-1), api (stage-2)" in shown


def test_the_reply_is_labelled_with_the_track_that_answers(chat: Terminal) -> None:
    chat.type("echo hello there\n")
    chat.expect("local> hello there\n")
    assert "to first text" in chat.expect("you> ")


def test_reasoning_is_shown_on_request(stage: Stage) -> None:
    with Terminal([*COMMAND, "chat", "--reasoning"], stage.environ) as terminal:
        terminal.expect("you> ")
        terminal.type("think yes\n")
        shown = terminal.expect("you> ")
    before, _, after = shown.partition("local> ")
    assert "Well. A " in before
    assert after.startswith("yes\n")


def test_ctrl_c_stops_the_reply_and_not_the_chat(chat: Terminal, stage: Stage) -> None:
    chat.type(f"hold {stage.folder / 'never'}\n")
    chat.expect("local> begun ")
    stage.wait_for("holding")
    chat.press_ctrl("c")
    chat.expect("stopped")
    chat.expect("you> ")
    assert stage.happened() == ["holding", "cancelled"]
    chat.type("echo still here\n")
    chat.expect("local> still here\n")


def test_the_reply_continues_while_no_key_is_pressed(chat: Terminal, stage: Stage) -> None:
    chat.type(f"hold {stage.folder / 'go'}\n")
    chat.expect("local> begun ")
    (stage.folder / "go").touch()
    chat.expect("done\n")
    assert stage.happened() == ["holding", "released"]


def test_ctrl_c_at_the_prompt_shows_how_to_leave(chat: Terminal) -> None:
    chat.type("half a mess")
    chat.expect("half a mess")
    chat.press_ctrl("c")
    chat.expect("Ctrl-D or /exit leaves.")
    chat.expect("you> ")


@pytest.mark.parametrize("keys", ["\x04", "/exit\n"])
def test_ctrl_d_and_exit_leave(chat: Terminal, keys: str) -> None:
    chat.type(keys)
    assert chat.end() == 0
    assert "Traceback" not in chat.text


def test_a_backslash_at_the_end_continues_the_message_on_the_next_line(chat: Terminal) -> None:
    chat.type("echo one\\\n")
    chat.expect("...> ")
    chat.type("two\n")
    chat.expect("local> one\ntwo\n")


def test_pasted_lines_are_one_message(chat: Terminal) -> None:
    chat.type("\x1b[200~echo one\ntwo\x1b[201~")
    chat.type("\n")
    chat.expect("local> one\ntwo\n")


def test_a_broken_reply_without_another_track_is_an_error(chat: Terminal) -> None:
    chat.type("cut half of it\n")
    chat.expect("local> half of it\n")
    chat.expect("error: no track could answer")
    chat.expect("you> ")


def test_the_seam_names_the_broken_track_and_the_one_that_continues(stage: Stage) -> None:
    with Terminal([*COMMAND, "chat", "--policy", "race"], stage.environ) as terminal:
        terminal.expect("you> ")
        terminal.type("cut half of it\n")
        terminal.expect("local> half of it⟪local broke: api continues⟫")
        terminal.expect("local failed: network")
        terminal.expect("you> ")


def test_track_pins_a_track_and_auto_lets_the_policy_decide(chat: Terminal) -> None:
    chat.type("/track api\n")
    chat.expect("api answers alone")
    chat.type("anything\n")
    chat.expect("api> the api answers\n")
    chat.type("/track auto\n")
    chat.expect("policy local decides")
    chat.type("echo back\n")
    chat.expect("local> back\n")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("/trak", "Did you mean 'track'?"),
        ("/track locl", "Did you mean 'local'?"),
        ("/track", "auto: policy local"),
        ("/help", "Ctrl-C stops a reply."),
        ("/info", "track api: scripted, stage-2"),
        ("/stats", "no turn has been answered yet"),
        ("//info", "local> /info"),
    ],
)
def test_commands_print_what_they_did(chat: Terminal, line: str, expected: str) -> None:
    chat.type(f"{line}\n")
    chat.expect(expected)
    chat.expect("you> ")


def test_an_image_goes_with_the_next_message_only(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAGE_SEES", "1")
    file = stage.folder / "a b.png"
    file.write_bytes(png_bytes(3, 4))
    with Terminal([*COMMAND, "chat"], stage.environ) as terminal:
        terminal.expect("you> ")
        terminal.type(f"/image '{file}'\n")
        terminal.expect("with your next message: image/png")
        terminal.type("see it \n")
        terminal.expect("image/png (3, 4)")
        terminal.expect("you> ")
        terminal.type("/regenerate\n")
        terminal.expect("image/png (3, 4)")
        terminal.expect("you> ")
        terminal.type("see nothing\n")
        terminal.expect("local> nothing\n")
        terminal.type("/image none.png\n")
        terminal.expect("cannot be read")


def test_stats_count_turns_tokens_and_money(chat: Terminal) -> None:
    for line in ("echo one two", "/track api", "x"):
        chat.type(f"{line}\n")
        chat.expect("you> ")
    chat.type("/stats\n")
    shown = chat.expect("you> ")
    lines = [line.split() for line in shown.splitlines()]
    rows = {line[0]: line for line in lines if len(line) == 9}
    assert [rows[name][1] for name in ("local", "api", "all")] == ["1", "1", "2"]
    assert rows["all"][-1] == "$0.000003"
    assert ["opened", "1"] in lines
    assert "{" not in shown


def test_a_conversation_continues_in_a_later_chat_until_it_is_cleared(
    chat: Terminal, stage: Stage
) -> None:
    chat.type("echo remember me\n")
    chat.expect("you> ")
    chat.type("/exit\n")
    assert chat.end() == 0
    argv = [*COMMAND, "chat", "--session", "ada"]
    with Terminal(argv, stage.environ) as again:
        again.expect("continued after 2 messages")
        again.expect("you> ")
        again.type("/clear\n")
        again.expect("deleted: 2 messages")


def test_typed_lines_return_with_the_arrow_key_in_a_later_chat(
    chat: Terminal, stage: Stage
) -> None:
    chat.type("echo from before\n")
    chat.expect("you> ")
    chat.press_ctrl("d")
    assert chat.end() == 0
    with Terminal([*COMMAND, "chat"], stage.environ) as again:
        again.expect("you> ")
        again.type("\x1b[A\n")
        again.expect("local> from before\n")


def test_a_private_chat_leaves_no_history(stage: Stage) -> None:
    with Terminal([*COMMAND, "chat", "--private"], stage.environ) as terminal:
        terminal.expect("you> ")
        terminal.type("my secret\n")
        terminal.expect("you> ")
        terminal.press_ctrl("d")
        assert terminal.end() == 0
    assert not (stage.folder / "data" / "chat_history").exists()


def test_a_failed_turn_is_reported_and_the_chat_continues(chat: Terminal) -> None:
    chat.type("fail rate_limited\n")
    chat.expect("rate_limited")
    chat.expect("you> ")
    chat.type("echo next\n")
    chat.expect("local> next\n")


def test_a_model_cannot_steer_the_terminal(chat: Terminal) -> None:
    chat.type("echo a\x16\x1b[2Jb\n")  # Ctrl-V types the escape as it is
    chat.expect("local> a\ufffd[2Jb\n")


def test_lines_that_are_piped_in_are_messages(stage: Stage) -> None:
    done = stage.vanta("chat", stdin="echo one\necho two\n")
    assert done.returncode == 0
    assert "local> one\n" in done.stdout
    assert "local> two\n" in done.stdout


def test_without_a_model_and_an_api_it_ends_with_the_command_that_gets_one(stage: Stage) -> None:
    done = stage.vanta("chat", stdin="hello\n", VANTA_CONFIG="offline")
    assert done.returncode == 1
    assert "vanta models pull smollm2-135m-instruct" in done.stderr
    assert done.stdout == ""


def test_a_track_that_is_off_cannot_be_chosen(stage: Stage) -> None:
    done = stage.vanta("chat", "--track", "api", VANTA_TRACKS__API__ENABLED="false")
    assert done.returncode == 2
    assert "not enabled" in done.stderr


def test_an_amended_answer_is_shown_below_the_first_one(stage: Stage) -> None:
    with Terminal([*COMMAND, "chat", "--policy", "refine"], stage.environ) as terminal:
        terminal.expect("you> ")
        terminal.type("echo something else\n")
        terminal.expect("local> something else\n")
        terminal.expect("api amends")
        terminal.expect("api> the api answers\n")


def test_a_reply_is_regenerated_and_a_message_replaced(chat: Terminal) -> None:
    chat.type("echo first\n")
    chat.expect("local> first\n")
    chat.expect("you> ")
    chat.type("/regenerate api\n")
    chat.expect("api> the api answers\n")
    chat.expect("you> ")
    chat.type("/edit echo second\n")
    chat.expect("local> second\n")
    chat.expect("you> ")
    chat.type("/branch\n")
    listed = chat.expect("you> ")
    assert "* 3  1 turn, edit" in listed
    assert "main  1 turn, replaced" in listed
    assert "#1  echo second" in listed
    chat.type("/branch main\n")
    assert "continues branch main, 1 turn" in chat.expect("you> ")
    chat.type("/branch new idea\n")
    assert "began branch idea after 1 turn; /branch main goes back" in chat.expect("you> ")
    chat.type("/sessions echo\n")
    assert "* ada  3 turns  echo second" in chat.expect("you> ")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("/regenerate", "has no turn yet"),
        ("/edit", "/edit needs the new message"),
        ("/edit #3 x", "there is no message #3"),
        ("/regenerate nowhere", "no track is named 'nowhere'"),
        ("/branch nowhere", "no branch is named 'nowhere'"),
        ("/sessions open nowhere", "no conversation is named 'nowhere'"),
    ],
)
def test_a_step_back_that_is_impossible_is_an_error(
    chat: Terminal, line: str, problem: str
) -> None:
    chat.type(f"{line}\n")
    assert problem in " ".join(chat.expect("you> ").split())
