"""Servers in the configuration: from which files, under which trust, and as tools of turns."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.as_user import Run, user
from tests.config.conftest import Load, read, work
from tests.runtime.home import open_scripted
from tests.trusted import trust
from tests.vanta_mcp.servers import FAKE
from vanta import ApprovalRequest, DiagnosisContext, Finding, GenerationRequest
from vanta.config import load, user_file
from vanta.errors import ConfigError
from vanta.models import ModelStore
from vanta.plugin_loading import load as load_plugins
from vanta.testing import CallTool, ScriptedEngine
from vanta_mcp import vanta_checks

__all__ = ["read", "work"]

HERE = {"command": sys.executable, "args": ["-S", FAKE]}


@pytest.fixture
def vanta(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Any:
    """A way to run `vanta` in this process."""
    with user(tmp_path, monkeypatch, capfd) as run:
        yield run


def shared(folder: Path, **servers: Any) -> Path:
    """Write a `.mcp.json` into a folder; return the folder."""
    folder.joinpath(".mcp.json").write_text(json.dumps({"mcpServers": servers}), "utf-8")
    return folder


def servers() -> dict[str, Any]:
    """Return the servers of the effective configuration."""
    return dict(load(environ={}).as_dict(redacted=False)["mcp"]["servers"])


def configure(home: Path, text: str) -> None:
    path = home / "settings" / "vanta" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def test_a_shared_file_counts_once_its_folder_is_trusted(work: Path) -> None:
    shared(work, notes={"command": "notes", "args": ["--all"], "env": {"A": "${B}"}})
    assert servers() == {}
    trust(work)
    notes = servers()["notes"]
    assert (notes["command"], notes["args"], notes["env"]) == ("notes", ["--all"], {"A": "${B}"})
    assert str(load(environ={}).origins["mcp.servers.notes.command"]) == ".mcp.json"
    shared(work, notes={"command": "evil"})
    assert servers() == {}


def test_what_other_programs_put_into_the_shared_file_is_passed_over(work: Path) -> None:
    shared(
        work,
        **{
            "my server.2": {"type": "http", "url": "https://a.example/mcp", "autoApprove": ["x"]},
            "9lives": {"command": "cat", "disabled": True, "env": {"N": 1}},
            "neither": {"type": "stdio"},
            "both": {"command": "a", "url": "https://a.example"},
            "no table": "cat",
        },
    )
    trust(work)
    found = servers()
    assert set(found) == {"my_server_2", "mcp_9lives"}
    assert found["my_server_2"]["url"] == "https://a.example/mcp"
    assert (found["mcp_9lives"]["enabled"], found["mcp_9lives"]["env"]) == (False, {"N": "1"})


@pytest.mark.parametrize("text", ["{", "[]", '{"mcpServers": 1}', "[" * 100_000, '{"a": "\xff"}'])
def test_a_shared_file_that_cannot_be_read_is_an_error_only_if_trusted(
    work: Path, text: str
) -> None:
    work.joinpath(".mcp.json").write_text(text, "latin-1")
    assert servers() == {}
    trust(work)
    with pytest.raises(ConfigError, match=r"\.mcp\.json"):
        load(environ={})


def test_vanta_toml_stands_above_the_shared_file(work: Path) -> None:
    shared(work, notes={"command": "notes"})
    work.joinpath("vanta.toml").write_text("[mcp.servers.notes]\ntrust = true\n", "utf-8")
    trust(work)
    assert (servers()["notes"]["command"], servers()["notes"]["trust"]) == ("notes", True)


def test_a_project_that_moves_a_server_gets_none_of_its_settings(work: Path) -> None:
    user_file().parent.mkdir(parents=True)
    user_file().write_text(
        '[mcp.servers.hub]\nurl = "https://mine.example"\ntrust = true\n'
        'headers.Authorization = "Bearer ${MY_TOKEN}"\n',
        "utf-8",
    )
    shared(work, hub={"url": "https://theirs.example"})
    trust(work)
    hub = servers()["hub"]
    assert (hub["url"], hub["headers"], hub["trust"]) == ("https://theirs.example", {}, False)


@pytest.mark.parametrize(
    "line",
    [
        'headers.Authorization = "Bearer sk-abcdefghijklmnopqrstuvwxyz012345"',
        'headers.Authorization = "Bearer abc"',
        'env.GITHUB_TOKEN = "abc"',
        'env.ANY = "sk-abcdefghijklmnopqrstuvwxyz012345"',
    ],
)
def test_a_secret_in_the_configuration_is_refused(read: Load, line: str) -> None:
    with pytest.raises(ConfigError, match="would store a secret") as caught:
        read(f'[mcp.servers.a]\nurl = "https://a.example"\n{line}\n')
    assert "abc" not in str(caught.value)
    read(
        '[mcp.servers.a]\nurl = "https://a.example"\nheaders.Authorization = "Bearer ${A_TOKEN}"\n'
        'env.GITHUB_TOKEN = "${G}"\nenv.LEVEL = "debug"\n'
    )


def test_a_server_is_listed_checked_and_read_by_commands(vanta: Run, tmp_path: Path) -> None:
    configure(
        tmp_path,
        f"[mcp.servers.notes]\ncommand = {json.dumps(sys.executable)}\n"
        f"args = {json.dumps(['-S', FAKE])}\n"
        "[mcp.servers.gone]\ncommand = 'no-such-program'\n"
        "[mcp.servers.off]\nurl = 'https://a.example'\nenabled = false\n",
    )
    listed = {item["name"]: item for item in vanta("mcp", "list", "--json").json}
    assert {name: item["enabled"] for name, item in listed.items()} == {
        "notes": True,
        "gone": True,
        "off": False,
    }
    assert listed["off"]["kind"] == "http"
    assert "no-such-program" in vanta("mcp", "list").text
    done = vanta("mcp", "check", "--json")
    checked = {item["name"]: item for item in done.json}
    assert (done.code, set(checked)) == (1, {"notes", "gone"})
    assert (checked["notes"]["ok"], checked["notes"]["server"]) == (True, "fake 1")
    assert "cannot be started" in checked["gone"]["reason"]
    assert vanta("mcp", "check", "notes").code == 0
    tools = {item["name"]: item for item in vanta("mcp", "tools", "notes", "--json").json}
    assert tools["echo"]["effect"] == "write"
    assert "notes.echo" in vanta("mcp", "tools", "notes").text
    assert vanta("mcp", "resources", "notes", "--json").json == []
    assert vanta("mcp", "prompts", "notes", "--json").json == []
    assert "Did you mean 'notes'?" in vanta("mcp", "tools", "note").text
    assert "is a program" in vanta("mcp", "auth", "notes").text


def test_a_server_is_a_toolset_among_others(vanta: Run, tmp_path: Path) -> None:
    text = f"command = {json.dumps(sys.executable)}\nargs = {json.dumps(['-S', FAKE])}\n"
    configure(
        tmp_path,
        f"[mcp.servers.notes]\n{text}[mcp.servers.files]\n{text}[mcp.servers.odd]\n"
        "[mcp.servers.both]\nurl = 'https://a.example'\ncommand = 'a'\n",
    )
    done = vanta("tools", "list", "--json")
    listed = {item["name"]: item for item in done.json}
    assert (listed["notes"]["on"], listed["notes"]["plugin"]) == (True, "mcp")
    assert listed["files"]["plugin"] == "tools"
    assert "neither a command nor a url" in listed["odd"]["reason"]
    assert "both a command and a url" in listed["both"]["reason"]
    done = vanta("tools", "call", "notes.echo", '{"text": "hello"}')
    assert (done.code, done.out.strip()) == (0, "hello")


async def _yes(_request: ApprovalRequest) -> bool:
    return True


@pytest.mark.anyio
async def test_a_turn_calls_a_server_under_the_rules(tmp_path: Path) -> None:
    def reply(request: GenerationRequest) -> list[Any]:
        results = [item.content for item in request.messages if item.role == "tool"]
        calls = [CallTool("echo", '{"text": "ahoy"}'), CallTool("set", "{}")]
        return [" | ".join(results)] if results else calls

    async with open_scripted(
        tmp_path,
        local=ScriptedEngine(reply=reply),
        policy="local",
        mcp={"servers": {"notes": HERE}},
        tools={"allow": ["notes.echo"], "deny": ["notes.set"]},
    ) as runtime:
        reply_ = await runtime.session("a").ask("Say it.")
        crashed = await runtime.call_tool("notes.crash", {}, approve=_yes)
        (record,) = await runtime.journal.list(states=["unknown"])
    assert "may have had its effect" in crashed.text
    assert (record.tool, record.state) == ("crash", "unknown")
    assert "ahoy" in reply_.text
    assert "Denied by the rule \"tools.deny 'notes.set'\"" in reply_.text
    assert [(call.tool, call.state) for call in reply_.trace.calls] == [
        ("echo", "finished"),
        ("set", "denied"),
    ]


async def diagnosed() -> Finding:
    """Return the finding of `vanta doctor` about the servers of the effective configuration."""
    loaded = load(environ={})
    context = DiagnosisContext(
        loaded.config,
        load_plugins(entry_points=[]),
        ModelStore(loaded.config.data_dir / "models", {}),
        project=loaded.trust,
    )
    (check,) = vanta_checks()
    return await check.run(context)


@pytest.mark.anyio
@pytest.mark.one_loop
async def test_the_doctor_names_each_server_that_does_not_answer(work: Path) -> None:
    user_file().parent.mkdir(parents=True)
    works = f'command = {json.dumps(sys.executable)}\nargs = ["-S", {json.dumps(FAKE)}]'
    user_file().write_text(
        f'[mcp.servers.works]\n{works}\n[mcp.servers.gone]\ncommand = "no-such-program"\n'
        '[mcp.servers.neither]\n[mcp.servers.resting]\ncommand = "x"\nenabled = false\n',
        "utf-8",
    )
    finding = await diagnosed()
    works_, gone, neither, resting = finding.detail.split("; ")
    assert (finding.ok, finding.fix) == (False, "vanta mcp check gone neither")
    assert works_.startswith("'works' works (")
    assert gone.startswith("'gone' does not answer: ")
    assert "no-such-program" in gone
    assert neither.startswith("'neither' is off: mcp.servers.neither has neither a command")
    assert resting == "'resting' is off: enabled is false"


@pytest.mark.anyio
@pytest.mark.one_loop
async def test_the_doctor_says_that_a_shared_file_waits_for_trust(work: Path) -> None:
    """Its servers are not started, and the next step is a command."""
    assert (await diagnosed()).detail == "none is configured"
    shared(work, notes={"command": "touch", "args": [str(work / "started")]})
    finding = await diagnosed()
    assert (finding.ok, finding.detail) == (
        None,
        "not used, since the project is not trusted: 'notes'",
    )
    assert finding.fix.startswith("vanta trust")
    assert not (work / "started").exists()
