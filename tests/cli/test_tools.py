"""`vanta tools`, as a user meets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.as_user import Run, install

PLUGIN = '''
import os

import vanta
from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    sides: int = 6


def create(options, context):
    @vanta.tool(effect="read", private=True)
    def roll(count: int = 1) -> list[int]:
        """Roll dice.

        :param count: number of dice.
        """
        return [options.sides] * count

    @vanta.tool
    def burn(context: vanta.ToolContext) -> str:
        """Burn the dice."""
        if context.user == "eve":
            raise vanta.ToolError("they are wet")
        return f"burnt for {context.user}"

    @vanta.tool(effect="read")
    def say(text: str) -> str:
        """Say a text."""
        return text

    return vanta.FunctionToolset("dice", [roll, burn, say])


class Broken(vanta.Toolset):
    name = "broken"

    async def tools(self):
        return [vanta.Tool("fine", "Fine.", {"type": "object"}), vanta.Tool("bad", "Bad.", {})]

    async def call(self, name, arguments, context):
        return vanta.ToolResult("fine")


def no_server(options):
    return "no server runs"


@vanta.hookimpl
def vanta_toolsets():
    return [
        vanta.ToolsetFactory("dice", "rolls dice", Options, create),
        vanta.ToolsetFactory("broken", "lists a bad tool", Options, lambda *_: Broken()),
        vanta.ToolsetFactory("away", "needs a server", Options, create, off=no_server),
        vanta.ToolsetFactory("heavy", "needs much", Options, create, requires="no_such_library"),
        vanta.ToolsetFactory("odd", "builds nothing", Options, lambda *_: None),
    ]
'''


@pytest.fixture
def dice(vanta: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A user who has the plugin and uses some of its toolsets."""
    install(tmp_path, "dice", PLUGIN, monkeypatch)
    configure(tmp_path, 'use = ["dice"]')
    return vanta


def configure(home: Path, text: str) -> None:
    path = home / "settings" / "vanta" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'plugins.allow = ["dice"]\n[tools]\n{text}\n', "utf-8")


def test_toolsets_are_listed_with_their_tools_or_the_reason(dice: Run) -> None:
    done = dice("tools", "list", "--json")
    assert (done.code, done.err) == (0, "")
    listed = {item["name"]: item for item in done.json}
    assert (listed["dice"]["on"], listed["dice"]["plugin"]) == (True, "dice")
    assert listed["dice"]["tools"][0] == {
        "name": "roll",
        "tool": "roll",
        "effect": "read",
        "private": True,
        "untrusted": False,
        "description": "Roll dice.",
        "reason": "",
    }
    assert listed["broken"]["reason"] == "tools.use does not name it"
    shown = dice("tools", "list").text
    assert "roll reads, private: Roll dice." in shown
    assert "burn writes: Burn the dice." in shown


def test_a_toolset_that_cannot_be_used_is_off_with_its_reason(dice: Run, tmp_path: Path) -> None:
    configure(tmp_path, 'use = ["dice", "away", "heavy", "odd", "broken"]')
    done = dice("tools", "check", "--json")
    assert done.code == 1
    assert done.json["toolsets"]["dice"] == 3
    off = done.json["off"]
    assert set(off) == {"away", "heavy", "odd", "broken.bad"}
    assert off["away"] == "no server runs"
    assert "pip install 'no_such_library'" in off["heavy"]
    assert "instead of a vanta.Toolset" in off["odd"]
    assert "schema" in off["broken.bad"]
    assert "off: away: no server runs" in dice("tools", "check").text
    listed = {item["name"]: item for item in dice("tools", "list", "--json").json}
    assert [tool["reason"] == "" for tool in listed["broken"]["tools"]] == [True, False]
    assert "'broken.bad' is off" in dice("tools", "call", "broken.bad").text


def test_a_check_of_good_toolsets_succeeds(dice: Run) -> None:
    done = dice("tools", "check")
    assert (done.code, done.out.strip()) == (0, "ok: dice: 3 tools")


def test_a_tool_is_shown_with_its_schema_and_a_toolset_with_its_options(dice: Run) -> None:
    shown = dice("tools", "show", "dice.roll", "--json").json
    assert (shown["name"], shown["toolset"], shown["timeout_s"]) == ("roll", "dice", 30.0)
    assert shown["parameters"]["properties"]["count"]["description"] == "number of dice."
    toolset = dice("tools", "show", "dice", "--json").json
    assert toolset["options"]["sides"]["default"] == 6
    off = dice("tools", "show", "broken", "--json").json
    assert (off["on"], len(off["tools"])) == (False, 2)
    assert "Roll dice." in dice("tools", "show", "roll").text
    assert "Did you mean 'dice.roll'?" in dice("tools", "show", "dice.rol").text


def test_options_change_what_a_tool_does(dice: Run, tmp_path: Path) -> None:
    configure(tmp_path, 'use = ["dice"]\noptions.dice.sides = 4')
    assert dice("tools", "call", "dice.roll", '{"count": 2}').out.strip() == "[4, 4]"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('use = ["dise"]', "no toolset is named 'dise'. Did you mean 'dice'?"),
        ('use = ["dice"]\noptions.dice.side = 4', "tools.options.dice.side"),
        ('use = ["dice"]\noptions.dice.sides = "x"', "tools.options.dice.sides"),
        ('use = ["dice"]\noptions.dise.sides = 4', "Did you mean 'dice'?"),
        ('use = ["dice"]\noptions.dice.api_key = "sk-x"', "store a secret"),
        ('mode = "maybe"', "tools.mode"),
        ("max_rounds = 0", "tools.max_rounds"),
        ("max_result_tokens = 1", "tools.max_result_tokens"),
        ("share = 1.5", "tools.share"),
        ("max_schema_tokens = -1", "tools.max_schema_tokens"),
    ],
)
def test_a_mistake_in_the_configuration_is_named(
    dice: Run, tmp_path: Path, text: str, words: str
) -> None:
    configure(tmp_path, text)
    done = dice("tools", "check")
    assert done.code == 2
    assert words in done.text


def test_arguments_are_words_too(dice: Run) -> None:
    """A value is what the schema makes of it: a text stays one, whatever it looks like."""
    assert dice("tools", "call", "roll", "count=2").out.strip() == "[6, 6]"
    assert dice("tools", "call", "say", "text=12", "--json").json["text"] == "12"
    assert dice("tools", "call", "say", "text=a=b").out.strip() == "a=b"


def test_a_call_prints_its_result(dice: Run) -> None:
    done = dice("tools", "call", "burn", "--user", "ada", "--json")
    assert (done.code, done.json["text"], done.json["is_error"]) == (0, "burnt for ada", False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["burn", "{}", "--user", "eve"], "they are wet"),
        (["roll", '{"count": "x"}'], "count: 'x' is not of type 'integer'"),
        (["roll", "{"], "not JSON"),
        (["roll", "count=x"], "count: 'x' is not of type 'integer'"),
        (["roll", "count=2", "more"], "'more' is not an argument. Write KEY=VALUE"),
        (["burn", "--private"], "leave this machine"),
        (["nothing"], "no tool is named 'nothing'"),
        (["broken.fine"], "no tool is named 'broken.fine'"),
    ],
)
def test_a_call_that_fails_says_why(dice: Run, arguments: list[str], words: str) -> None:
    done = dice("tools", "call", *arguments)
    assert done.code != 0
    assert words in done.text
    assert done.out == ""


def test_tools_are_explained_by_the_configuration(dice: Run) -> None:
    shown = dice("config", "explain", "tools.max_rounds").text
    assert "10" in shown
    assert "Rounds that one turn may have" in shown
    assert "0.25" in dice("config", "explain", "tools.share").text
    assert "8192" in dice("config", "explain", "tools.max_schema_tokens").text
