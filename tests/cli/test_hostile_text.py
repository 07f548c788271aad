"""No text that vanta did not write can steer the terminal, in any command, on any path."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
import typer

import vanta_scripts
import vanta_tuning
from tests.cli.as_user import Done, Run, install, user
from tests.cli.stage import CONFIG, PLUGIN, Stage
from vanta.cli.app import COMMANDS
from vanta.testing import Behaviour, Upstream

CLIPBOARD = "\x1b]52;c;aGFja2Vk\x07"
HOSTILE = f"evil{CLIPBOARD}\x1b[2J\r\x9b31m\u202egnp\u2066\x7f\x08"
FORBIDDEN_FORMAT = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
EVERY = {**COMMANDS, **vanta_scripts.vanta_commands(), **vanta_tuning.vanta_commands()}


def commands() -> Iterator[tuple[str, ...]]:
    """Yield the words of every command that does something."""
    for name, command in EVERY.items():
        loaded = typer.main.get_command(command.load())
        inner = getattr(loaded, "commands", None)
        yield from [(name, each) for each in inner] if inner else [(name,)]


def assert_harmless(done: Done) -> None:
    """The output cannot move the cursor, change the clipboard or reverse a line."""
    for text in (done.out, done.err):
        controls = {c for c in text if unicodedata.category(c) == "Cc"} - {"\n", "\t"}
        assert controls == set(), text
        assert not FORBIDDEN_FORMAT & set(text), text


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> Iterator[Run]:
    """A user with the stage's plugin."""
    monkeypatch.setenv("STAGE_JOURNAL", str(tmp_path / "journal"))
    install(tmp_path, "stage", PLUGIN, monkeypatch)
    (tmp_path / "stage.toml").write_text(CONFIG)
    with user(tmp_path, monkeypatch, capfd) as run:
        monkeypatch.setenv("VANTA_CONFIG", str(tmp_path / "stage.toml"))
        yield run


ALL = list(commands())


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_a_command_cannot_be_made_to_repeat_a_hostile_argument(
    run: Run, words: Sequence[str]
) -> None:
    for argv in ([*words, HOSTILE], [*words, f"--{HOSTILE}"]):
        if argv != ["ask", HOSTILE]:  # a reply into a pipe is the reply, to the letter
            assert_harmless(run(*argv))


def test_a_hostile_name_of_a_configuration_is_reported_harmlessly(run: Run) -> None:
    done = run("--config", f"{HOSTILE}.toml", "ask", "hi")
    assert done.code == 2
    assert_harmless(done)


@pytest.mark.parametrize("words", [words for words in ALL if words[0] != "demo"], ids=" ".join)
def test_a_hostile_configuration_is_reported_harmlessly(
    run: Run, words: Sequence[str], tmp_path: Path
) -> None:
    quoted = json.dumps(HOSTILE)
    bad = tmp_path / "bad.toml"
    for text in (
        f"{quoted} = 1",
        f"[tracks.local]\nmodel = {quoted}\n[tracks.api]\nenabled = false",
    ):
        bad.write_text(text, encoding="utf-8")
        done = run("--config", str(bad), *words, *(["hi"] if words == ("ask",) else []))
        assert_harmless(done)


@pytest.mark.parametrize(
    "argv",
    [
        ("trace", "list"),
        ("trace", "show"),
        ("trace", "export"),
        ("spend",),
        ("memory", "search", "word"),
        ("memory", "list"),
        ("memory", "export"),
        ("templates", "list"),
        ("templates", "show", "hostile"),
        ("templates", "check"),
        ("config", "show"),
        ("doctor",),
    ],
    ids=" ".join,
)
def test_what_is_stored_is_shown_harmlessly(run: Run, argv: Sequence[str], tmp_path: Path) -> None:
    answer = run("ask", f"echo word {HOSTILE}", "--session", HOSTILE, "--user", HOSTILE, "--json")
    assert answer.code == 0
    assert_harmless(answer)
    run("ask", f"echo word {HOSTILE}")
    template = tmp_path / "data" / "templates" / "hostile.j2"
    template.parent.mkdir(parents=True, exist_ok=True)
    template.write_text(f"---\ndescription: {json.dumps(HOSTILE)}\n---\n{HOSTILE} {{{{ x }}}}\n")
    assert_harmless(run(*argv))
    if argv[0] != "trace" or argv[1] != "export":
        assert_harmless(run(*argv, "--json"))


def test_what_a_server_reports_reaches_the_terminal_harmlessly(stage: Stage) -> None:
    config = stage.folder / "openai.toml"
    config.write_text('policy = "api"\n[tracks.local]\nenabled = false\n')

    async def ask(behaviour: Behaviour) -> Done:
        async with Upstream(default=behaviour, models=(HOSTILE,)) as server:
            environ = {"VANTA_CONFIG": str(config), "OPENAI_BASE_URL": server.base_url}
            done = await anyio.to_thread.run_sync(
                partial(stage.vanta, "ask", "-v", "hi", **environ)
            )
        return Done(done.returncode, done.stdout, done.stderr)

    for behaviour in (
        Behaviour.failure(400, HOSTILE),
        Behaviour.error_frame(1, message=HOSTILE),
        Behaviour.answer("fine", finish_reason=HOSTILE, model=HOSTILE),
    ):
        done = anyio.run(ask, behaviour)
        assert "evil" in done.err
        assert_harmless(done)
