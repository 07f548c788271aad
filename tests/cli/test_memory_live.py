"""Memory in processes of its own: Ctrl-C, a question on the terminal, a chat, a trace."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.recalling import line, set_up_recall, write
from tests.cli.stage import COMMAND, Stage
from tests.cli.terminal import Terminal
from vanta.models import ModelStore, default_root


@dataclass(frozen=True)
class Home:
    """A stage with an embedder, and what its processes have in their environment."""

    stage: Stage
    environ: Mapping[str, str]

    def vanta(self, *argv: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return self.stage.vanta(*argv, **{**self.environ, **environ})

    def json(self, *argv: str, **environ: str) -> Any:
        import json

        done = self.vanta(*argv, "--json", **environ)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def journal(self) -> list[int]:
        path = self.stage.folder / "journal"
        return [int(one) for one in path.read_text().split()] if path.exists() else []


@pytest.fixture
def home(stage: Stage) -> Home:
    return Home(stage, {**stage.environ, **set_up_recall(stage), "STAGE_JOURNAL": "happened"})


@pytest.fixture
def chat(home: Home) -> Iterator[Terminal]:
    with Terminal([*COMMAND, "chat", "--session", "ada"], home.environ) as terminal:
        terminal.expect("you> ")
        yield terminal


def interrupted(home: Home, *argv: str) -> str:
    """Run a command until its embedder works on its second portion, then press Ctrl-C; returns what
    it said."""
    (home.stage.folder / "hold").touch()
    running = subprocess.Popen(
        [*COMMAND, *argv],
        env=dict(home.environ),
        cwd=home.stage.folder,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 30
    while home.journal() != [32, 32]:
        assert time.monotonic() < until, home.journal()
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=30)
    (home.stage.folder / "hold").unlink()
    assert running.returncode == 130
    assert "Traceback" not in said
    return said


def test_ctrl_c_stops_a_reindex_that_continues_later(home: Home) -> None:
    texts = write(home.stage.folder / "many.jsonl", [line(f"text {n}") for n in range(80)])
    assert home.json("memory", "import", texts)["added"] == 80
    said = interrupted(home, "memory", "reindex")
    assert "stopped after 32 of 80: `vanta memory reindex` continues from there" in said
    assert home.json("memory", "stats")["vectors"] == {"hash/256/1": 32}
    assert home.json("memory", "reindex")["vectors"] == {"hash/256/1": 80}
    assert home.journal() == [32, 32, 32, 16], "what had its vector is not embedded again"


def test_ctrl_c_while_documents_are_embedded_leaves_them_added(home: Home) -> None:
    book = "\n\n".join(f"## Part {n}\n\n{f'word{n} ' * 150}" for n in range(70))
    (home.stage.folder / "book.md").write_text(book)
    said = interrupted(home, "memory", "add", "book.md")
    assert "stopped: memory has 1 of 1 file; `vanta memory reindex` embeds" in said
    figures = home.json("memory", "stats")
    assert figures["items"] - figures["waiting_for_a_vector"] == 32
    found = home.json("memory", "search", "word69")["found"]
    assert "word69" in found[0]["item"]["text"]


def test_a_person_confirms_on_the_terminal_before_anything_is_removed(home: Home) -> None:
    write(home.stage.folder / "x.jsonl", [line("a secret", session="s")])
    home.json("memory", "import", str(home.stage.folder / "x.jsonl"))
    argv = [*COMMAND, "memory", "forget", "--session", "s"]
    with Terminal(argv, home.environ) as terminal:
        assert "a secret" in terminal.expect("Forget it for good? [y/N]: ")
        terminal.type("n\n")
        terminal.expect("nothing was forgotten")
        assert terminal.end() == 0
    assert home.json("memory", "stats")["items"] == 1
    with Terminal(argv, home.environ) as terminal:
        terminal.expect("Forget it for good? [y/N]: ")
        terminal.type("y\n")
        terminal.expect("no byte of it is left in any of vanta's files")
        assert terminal.end() == 0
    assert home.json("memory", "stats")["items"] == 0


def test_a_chat_shows_recalled_items_searches_and_forgets(home: Home, chat: Terminal) -> None:
    chat.type("/memory\n")
    chat.expect("no turn has been answered yet")
    chat.type("echo my sister lives in Lisbon\n")
    chat.expect("you> ")
    chat.type("/exit\n")
    assert chat.end() == 0
    with Terminal([*COMMAND, "chat", "--session", "eve"], home.environ) as terminal:
        terminal.expect("you> ")
        terminal.type("echo where does my sister live\n")
        terminal.expect("you> ")
        terminal.type("/memory\n")
        terminal.expect("recall: ")
        terminal.expect("local was shown ")
        terminal.expect("#1  ")
        terminal.expect("echo my sister lives in Lisbon")
        terminal.type("/memory search Lisbon\n")
        terminal.expect("#1  ")
        terminal.type("/memory forget #1\n")
        terminal.expect("forgotten: 2 items, 2 messages")
        terminal.expect("no byte of it is left in any of vanta's files")
        terminal.type("/memory search Lisbon\n")
        assert "#1  " not in terminal.expect("you> ")
        terminal.type("/exit\n")
        assert terminal.end() == 0
    data = home.stage.folder / "data"
    for path in (path for path in data.rglob("*") if path.is_file()):
        assert b"lives in Lisbon" not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("/memory serch x", "Did you mean 'search'?"),
        ("/memory search", "/memory search needs words"),
        ("/memory forget everything", "/memory forget needs ids"),
        ("/memory forget 99", "no item of memory has the id 99"),
    ],
)
def test_a_mistyped_memory_command_is_explained(chat: Terminal, typed: str, expected: str) -> None:
    chat.type(f"{typed}\n")
    chat.expect(expected)
    chat.expect("you> ")


def test_a_line_of_a_running_chat_can_be_forgotten_elsewhere(home: Home, chat: Terminal) -> None:
    chat.type("echo my number is 4711\n")
    chat.expect("you> ")
    receipt = home.json("memory", "forget", "--session", "ada", "--yes")
    assert receipt["removed"]["typed_lines"] == 1
    chat.type("echo hello\n")
    chat.expect("you> ")
    chat.type("/exit\n")
    assert chat.end() == 0
    assert "4711" not in (home.stage.folder / "data" / "chat_history").read_text()


def test_a_trace_shows_the_recall_and_what_each_track_was_shown(home: Home) -> None:
    assert home.vanta("ask", "echo tea is kept in the blue tin").returncode == 0
    assert home.vanta("ask", "echo where is the tea kept").returncode == 0
    shown = home.vanta("trace", "show")
    assert shown.returncode == 0
    assert "recall: 2 found in " in shown.stderr
    assert "local was shown 1 memory, " in shown.stderr  # the reply only repeats the message
    assert "#1 (score " in shown.stderr
    assert "tea" not in shown.stdout + shown.stderr
    trace = home.json("trace", "show")["trace"]
    assert {one["id"] for one in trace["context"]["local"]["memories"]} == {1}


def test_the_real_embedder_and_index_find_by_meaning(home: Home) -> None:
    weights = ModelStore(default_root()).pull("all-minilm-l6-v2").path
    real = {
        "VANTA_MEMORY__EMBEDDER": "minilm",
        "VANTA_MEMORY__EMBEDDER_MODEL": str(weights),
        "VANTA_MEMORY__INDEX": "chroma",
    }
    (home.stage.folder / "staff.md").write_text(
        "# Holidays\n\nEveryone has thirty days a year.\n\n# Trains\n\nTickets: ask the office.\n"
    )
    added = home.vanta("memory", "add", "staff.md", **real)
    assert "staff.md: 2 chunks" in added.stdout, added.stderr
    found = home.json("memory", "search", "how long is my vacation", **real)
    # A small partition is compared in this process; Chroma keeps its vectors all the same.
    assert (found["embedder"], found["index"], found["skipped"]) == ("minilm", "scan", "")
    assert "thirty days" in found["found"][0]["item"]["text"]
    assert found["found"][0]["parts"]["meaning"] > 0.2
    receipt = home.json("memory", "forget", "--all", "--yes", **real)
    assert (receipt["certain"], receipt["removed"]["vectors"]) == (True, 2)
    folder = Path(home.stage.folder) / "data"
    assert not [p for p in folder.rglob("*") if p.is_file() and b"thirty" in p.read_bytes()]
