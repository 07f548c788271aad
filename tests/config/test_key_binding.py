"""Which keys and which private text reach a server that a project's file names."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import vanta
from tests.trusted import trust
from vanta.config import RULES, Loaded, load, user_file
from vanta.config.keys import all_patterns
from vanta.config.trust_rules import rule_of
from vanta.errors import ConfigError
from vanta.testing import Behaviour, ScriptedEngine, Upstream, scripted_plugin

STRANGER = "http://stranger.example:8080/v1"
KEY, PRIVATE = "sk-users-own-key-0123456789", "PRIVATE-TEXT"
OPTIONS = "VANTA_TRACKS__API__OPTIONS__"


def project(work: Path, text: str, *, trusted: bool = True) -> None:
    work.joinpath("vanta.toml").write_text(text, "utf-8")
    if trusted:
        trust(work)


def users(text: str) -> None:
    user_file().parent.mkdir(parents=True, exist_ok=True)
    user_file().write_text(text, "utf-8")


def load_with(environ: Mapping[str, str]) -> tuple[Loaded, dict[str, Any]]:
    loaded = load(environ=environ)
    return loaded, loaded.config.tracks["api"].options


async def ask_both() -> None:
    """Ask a public and a private turn of the track `api`; a refusal is a right outcome."""
    plugin = scripted_plugin(local=ScriptedEngine("hello from here"))
    async with vanta.open(plugins=[plugin]) as runtime:
        await runtime.session("s").ask("hello", policy="api")
        with pytest.raises(vanta.VantaError):
            await runtime.session("s").ask(PRIVATE, private=True, policy="api")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "environ",
    [
        {OPTIONS + "API_KEY_ENV": "MYKEY"},
        {"VANTA_TRACKS__API__OPTIONS": '{api_key_env = "MYKEY"}'},
        {OPTIONS + "API_KEY_FILE": "KEY_FILE"},
        {"VANTA_TRACKS__API__PRIVATE": "true", "OPENAI_API_KEY": KEY},
    ],
)
async def test_a_projects_server_receives_neither_key_nor_private_text_of_the_environment(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environ: Mapping[str, str]
) -> None:
    file = tmp_path / "key"
    file.write_text(KEY)
    monkeypatch.setenv("MYKEY", KEY)
    for name, value in environ.items():
        monkeypatch.setenv(name, str(file) if value == "KEY_FILE" else value)
    async with Upstream(default=Behaviour.answer("hello")) as theirs:
        project(work, f"tracks.api.options.base_url = '{theirs.base_url}'")
        await ask_both()
        assert theirs.exchanges
        assert KEY.encode() not in theirs.received
        assert not any(exchange.authorized_with(KEY) for exchange in theirs.exchanges)
        assert PRIVATE.encode() not in theirs.received


def test_a_key_of_the_environment_does_not_replace_the_one_that_the_project_names(
    work: Path,
) -> None:
    text = f"base_url = '{STRANGER}'\napi_key_env = 'TEAM_KEY'\n"
    project(work, f"[tracks.api.options]\n{text}[memory.embedder_options]\n{text}")
    loaded, options = load_with(
        {
            OPTIONS + "API_KEY_ENV": "MYKEY",
            "VANTA_MEMORY__EMBEDDER_OPTIONS__API_KEY_FILE": "/home/me/key",
        }
    )
    expected = {"base_url": STRANGER, "api_key_env": "TEAM_KEY"}
    assert options == expected
    assert loaded.config.memory.embedder_options == expected


def test_arguments_of_a_call_bring_no_key_either(work: Path) -> None:
    project(work, f"tracks.api.options.base_url = '{STRANGER}'")
    overrides = {"tracks": {"api": {"private": True, "options": {"api_key_env": "MYKEY"}}}}
    track = load(environ={}, overrides=overrides).config.tracks["api"]
    assert track.options == {"base_url": STRANGER}
    assert not track.private


def test_an_environment_that_names_the_server_is_complete(work: Path) -> None:
    users("[tracks.api.options]\nbase_url = 'https://old.example'\n")
    project(work, f"tracks.api.options.base_url = '{STRANGER}'")
    loaded, options = load_with(
        {
            OPTIONS + "BASE_URL": "https://mine.example/v1",
            OPTIONS + "API_KEY_ENV": "MYKEY",
            "VANTA_TRACKS__API__PRIVATE": "true",
        }
    )
    assert options == {"base_url": "https://mine.example/v1", "api_key_env": "MYKEY"}
    assert loaded.config.tracks["api"].private
    assert loaded.trust is not None
    assert loaded.trust.note() == ""


def test_the_environment_can_still_make_the_server_less_private(work: Path) -> None:
    project(work, f"tracks.api.private = true\ntracks.api.options.base_url = '{STRANGER}'")
    loaded, _ = load_with({"VANTA_TRACKS__API__PRIVATE": "false"})
    assert not loaded.config.tracks["api"].private


def test_the_note_and_explain_name_what_is_withheld(work: Path) -> None:
    project(work, f"tracks.api.options.base_url = '{STRANGER}'")
    loaded, _ = load_with({OPTIONS + "API_KEY_ENV": "MYKEY", "VANTA_TRACKS__API__PRIVATE": "true"})
    assert loaded.trust is not None
    assert OPTIONS + "API_KEY_ENV" in loaded.trust.note()
    assert "MYKEY" not in loaded.trust.note()
    explained = str(loaded.explain("tracks.api.private"))
    assert (
        "ignored true from environment variable VANTA_TRACKS__API__PRIVATE, which is" in explained
    )


def test_a_track_is_disabled_with_trust_only(work: Path) -> None:
    users("[tracks.lan]\nengine = 'openai'\nmodel = 'm'\noptions.base_url = 'http://lan/v1'\n")
    project(work, "tracks.lan.enabled = false", trusted=False)
    assert load(environ={}).config.tracks["lan"].enabled
    project(work, "tracks.lan.enabled = false")
    assert not load(environ={}).config.tracks["lan"].enabled


@pytest.mark.parametrize(
    "text",
    [
        "sampling.max_tokens = 1",
        "sampling.temperature = 100.0",
        "sampling.typical_p = 0.001",
        "reply_reserve = 1",
    ],
)
def test_values_that_ruin_answers_need_trust(work: Path, text: str) -> None:
    before = load(environ={}).as_dict()
    project(work, f"tracks.api.{text}", trusted=False)
    assert load(environ={}).as_dict() == before


def test_a_trusted_project_lifts_no_token_limit_of_the_user(work: Path) -> None:
    users("[tracks.api]\nreply_reserve = 200\nsampling.max_tokens = 100\n")
    project(work, "[tracks.api]\nreply_reserve = 300\nsampling.max_tokens = 9999\n")
    track = load(environ={}).config.tracks["api"]
    assert (track.reply_reserve, track.sampling.max_tokens) == (200, 100)


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("budget.turn_usdd = 1", "budget.turn_usdd (unknown key)"),
        ("deadlines = 'x'", "deadlines (unknown key)"),
        ("deadline_s = 'soon'", "deadline_s (invalid value)"),
        ("budget.turn_usd = -1.0", "budget.turn_usd (invalid value)"),
        ("privacy.detect = [1]", "privacy.detect (invalid value)"),
        ("retries = -1", "retries (invalid value)"),
    ],
)
def test_an_untrusted_mistake_is_ignored_with_a_note(work: Path, text: str, mark: str) -> None:
    before = load(environ={}).as_dict()
    project(work, text, trusted=False)
    loaded = load(environ={})
    assert loaded.as_dict() == before
    assert loaded.trust is not None
    assert mark in loaded.trust.note()


def test_a_mistake_of_the_user_is_still_an_error(work: Path) -> None:
    users("deadline_s = 'soon'")
    project(work, "retries = 0\nunknown = 1", trusted=False)
    with pytest.raises(ConfigError, match="deadline_s must be"):
        load(environ={})


def test_no_rule_stands_inside_another() -> None:
    patterns = [rule.pattern for rule in RULES]
    assert len(set(patterns)) == len(patterns)
    assert all(rule_of((*pattern, "below")) == rule_of(pattern) for pattern in patterns)
    assert [p for p in all_patterns() if rule_of(p) is None] == []
    assert rule_of(("unknown", "key")) is None


def test_very_many_settings_of_a_project_are_refused_at_once(work: Path) -> None:
    project(work, "".join(f"k{n}=1\n" for n in range(60_000)), trusted=False)
    begin = time.process_time()
    trust = load(environ={}).trust
    assert trust is not None
    assert "vanta.toml: it has more than 5000 settings" in trust.unreadable
    assert time.process_time() - begin < 3


@pytest.mark.parametrize("environ", [{}, {"VANTA_TOOLS__OPTIONS__SEARCH__API_KEY_ENV": "MYKEY"}])
def test_a_projects_server_of_a_toolset_receives_no_key_of_the_user(
    work: Path, environ: Mapping[str, str]
) -> None:
    users('tools.options.search = {url = "https://mine.example", api_key_env = "MY_KEY"}')
    project(work, f'tools.options.search.url = "{STRANGER}"')
    options = load(environ=environ).config.tools.options["search"]
    assert options["url"] != STRANGER or not {"MY_KEY", "MYKEY"} & set(options.values())


def test_a_projects_server_of_a_toolset_counts_with_a_key_of_its_own(work: Path) -> None:
    users('tools.options.search = {url = "https://mine.example", api_key_env = "MY_KEY"}')
    project(work, f'tools.options.search = {{url = "{STRANGER}", api_key_env = "THEIRS"}}')
    options = load(environ={}).config.tools.options["search"]
    assert options == {"url": STRANGER, "api_key_env": "THEIRS"}
