"""A stage for the command line: a plugin on disk whose engine does what a message tells it.

The engine `stage` answers with the word that the message's first word stands for:

    echo TEXT   says TEXT        cut TEXT   says TEXT and breaks      fail KIND   raises at once
    hold FILE   says "begun ", waits until FILE exists, says "done"
    think TEXT  thinks, then says TEXT      see TEXT   says TEXT and what its images are
    call TOOL JSON   calls a tool of the toolset `mail`, and says its result

It writes a line to the journal for each request begun and ended, so a test can wait for what
happened in the other process instead of sleeping.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

PLUGIN = '''
import dataclasses
import os
from pathlib import Path

import anyio
import typer
from pydantic import BaseModel

import vanta
from vanta.cli import Command
from vanta import EngineFactory
from vanta import ErrorKind
from vanta.testing import CallTool, Fail, ScriptedEngine, Think, Wait
from vanta.testing.scripted import ALL

JOURNAL = Path(os.environ["STAGE_JOURNAL"])


def note(line):
    with JOURNAL.open("a") as journal:
        journal.write(line + "\\n")


class Exists:
    def __init__(self, path):
        self.path = Path(path)

    async def wait(self):
        note("holding")
        try:
            while not self.path.exists():
                await anyio.sleep(0.005)
        except BaseException:
            note("cancelled")
            raise
        note("released")


def act(request):
    if request.messages[-1].role == "tool":
        return [request.messages[-1].content]
    said = request.messages[-1].content.rpartition("</notes>")[2].lstrip()  # without memories
    word, _, rest = said.partition(" ")
    match word:
        case "think":
            return [Think("Well. "), Think("A \\x1b[2Jtest."), rest]
        case "cut":
            return [rest, Fail(ErrorKind.NETWORK)]
        case "fail":
            return [Fail(ErrorKind(rest))]
        case "call":
            name, _, arguments = rest.partition(" ")
            return [CallTool(name, arguments or "{}")]
        case "see":
            seen = [f"{image.media_type} {image.size}" for image in request.messages[-1].images]
            return [rest + " ".join(seen)]
        case "hold":
            return ["begun ", Wait(Exists(rest)), "done"]
        case _:
            return [rest or word]


class Options(BaseModel):
    says: str = ""


def create(options, context):
    reply = (lambda _request: [options.says]) if options.says else act
    sees = dataclasses.replace(ALL, images="STAGE_SEES" in os.environ)
    return ScriptedEngine(reply=reply, model=context.model, capabilities=sees)


commands = typer.Typer()


@commands.command()
def wave():
    """Wave."""
    print("the stage waves")


@vanta.hookimpl
def vanta_engines():
    return [EngineFactory("stage", "does what it is told", Options, create)]


class NoOptions(BaseModel):
    pass


def send(to: str, text: str = "Hello") -> str:
    """Send a message."""
    note(f"sent to {to}")
    return f"Sent to {to}."


@vanta.hookimpl
def vanta_toolsets():
    def create(_options, _context):
        return vanta.FunctionToolset("mail", [send])

    return [vanta.ToolsetFactory("mail", "messages", NoOptions, create)]


@vanta.hookimpl
def vanta_commands():
    target = os.environ.get("STAGE_TARGET")
    command = Command("Wave lazily.", target) if target else commands
    return {os.environ.get("STAGE_COMMAND", "wave"): command}
'''
CONFIG = """
policy = "local"
deadline_s = 30
[plugins]
allow = ["stage"]
[tracks.local]
engine = "stage"
model = "stage-1"
[tracks.api]
engine = "stage"
model = "stage-2"
output_usd_per_mtok = 1.0
options = {says = "the api answers"}
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """A folder with the plugin, a configuration and a data directory."""

    folder: Path

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "stage.toml"

    @property
    def journal(self) -> Path:
        """What the engine did, a line each."""
        return self.folder / "journal"

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a user who installed the plugin and has no key."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "VANTA_"))}
        paths = [str(self.folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {
            **kept,
            "PYTHONPATH": os.pathsep.join(paths),
            "VANTA_DATA_DIR": str(self.folder / "data"),
            "VANTA_CONFIG": str(self.config),
            "STAGE_JOURNAL": str(self.journal),
            "HOME": str(self.folder),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "TERM": "xterm",
        }

    def vanta(
        self, *argv: str, stdin: str = "", **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `vanta ARGV` as a user does, with text piped in."""
        return subprocess.run(
            [*COMMAND, *argv],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**self.environ, **environ},
            timeout=60,
            check=False,
        )

    def wait_for(self, line: str, timeout_s: float = 30) -> None:
        """Return once the engine has written `line` to the journal."""
        until = time.monotonic() + timeout_s
        while line not in self.happened():
            assert time.monotonic() < until, f"no {line!r} in {self.happened()}"
            time.sleep(0.01)

    def happened(self) -> list[str]:
        """The journal so far."""
        return self.journal.read_text().splitlines() if self.journal.exists() else []


COMMAND = [sys.executable, "-c", "import sys; from vanta.cli import main; sys.exit(main())"]


def set_up(folder: Path) -> Stage:
    """A stage in `folder`."""
    (folder / "stage_plugin.py").write_text(PLUGIN)
    info = folder / "stage_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stage-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[vanta]\nstage = stage_plugin\n")
    stage = Stage(folder)
    stage.config.write_text(CONFIG)
    return stage
