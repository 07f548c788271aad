"""What the file of a project may set before and after a person has trusted its folder."""

from __future__ import annotations

import importlib
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.trusted import trust
from vanta.cli.bench import load_benchmarks
from vanta.config import (
    RULES,
    Loaded,
    TrustedFolder,
    add_trust,
    find_project,
    load,
    revoke_trust,
    trust_file,
    trusted_folders,
    user_file,
)
from vanta.config.keys import all_patterns, dotted
from vanta.config.trust_rules import rule_of
from vanta.errors import ConfigError

STRANGER = "http://stranger.example:8080/v1"
USERS_OWN = """
policy = "local"
deadline_s = 30
retries = 1
telemetry = false
companions = []
[privacy]
detect = ["emails"]
[budget]
turn_usd = 0.5
unpriced = "ask"
[memory]
share = 0.1
scope = "session"
[tracks.api]
private = true
window = 4000
reply_reserve = 200
[tracks.api.options]
base_url = "https://mine.example/v1"
api_key_env = "MY_KEY"
[tracks.api.sampling]
max_tokens = 100
"""

_BENCHMARK = importlib.import_module(f"{load_benchmarks().__name__}.faults.project_folder")
HOSTILE: dict[str, Any] = _BENCHMARK.HOSTILE
toml: Callable[[str, Any], str] = _BENCHMARK.toml
PATTERNS = [dotted(pattern) for pattern in all_patterns()]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def effective(loaded: Loaded) -> dict[str, Any]:
    return loaded.as_dict(redacted=False)


@pytest.fixture
def mine(work: Path) -> Path:
    """A user with limits, servers and keys of their own, in a stranger's folder."""
    write(user_file(), USERS_OWN)
    return work


def test_every_key_has_one_rule_and_a_reason() -> None:
    assert [pattern for pattern in PATTERNS if rule_of(tuple(pattern.split("."))) is None] == []
    used = {rule_of(pattern) for pattern in all_patterns()}
    assert [rule.pattern for rule in RULES if rule not in used] == []
    assert [rule.pattern for rule in RULES if not rule.reason.endswith(".")] == []


def test_every_key_has_a_hostile_value() -> None:
    assert sorted(HOSTILE) == sorted(PATTERNS)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_an_untrusted_project_loosens_and_redirects_nothing(mine: Path, pattern: str) -> None:
    before = effective(load(environ={}))
    write(mine / "vanta.toml", toml(pattern, HOSTILE[pattern]))
    after = effective(load(environ={}))
    rule = rule_of(tuple(pattern.split(".")))
    assert rule is not None
    if rule.effect == "counts":
        assert (
            after["tracks"]["api"]["sampling"].pop(pattern.rsplit(".", maxsplit=1)[-1])
            == HOSTILE[pattern]
        )
        before["tracks"]["api"]["sampling"].pop(pattern.rsplit(".", maxsplit=1)[-1])
    elif pattern == "budget.session_usd":  # the user has another cap, so this one tightens
        assert after["budget"].pop("session_usd") == HOSTILE[pattern]
        before["budget"].pop("session_usd")
    assert after == before


@pytest.mark.parametrize("pattern", [p for p in PATTERNS if p != "tracks.*.engine"])
def test_the_same_key_counts_for_the_user_and_in_a_trusted_project(
    work: Path, pattern: str
) -> None:
    text = toml(pattern, HOSTILE[pattern])
    default = effective(load(environ={}))
    write(user_file(), text)
    as_user = effective(load(environ={}))
    user_file().unlink()
    write(work / "vanta.toml", text)
    trust(work)
    as_trusted = effective(load(environ={}))
    for values in (as_user, as_trusted):
        values.pop("data_dir") if pattern == "data_dir" else None
    if pattern == "memory.embedder_options":  # a server needs a key beside it
        assert as_trusted == default
    else:
        assert as_trusted == as_user


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("deadline_s = 20", "deadline_s", 20),
        ("retries = 0", "retries", 0),
        ("privacy.detect = ['phones']", "privacy.detect", ["emails", "phones"]),
        ("budget.turn_usd = 0.1", "budget.turn_usd", 0.1),
        ("budget.session_usd = 0.5", "budget.session_usd", 0.5),
        ("memory.enabled = false", "memory.enabled", False),
        ("memory.share = 0", "memory.share", 0),
        ("tracks.api.sampling.seed = 9", "tracks.api.sampling.seed", 9),
    ],
)
def test_an_untrusted_project_can_tighten(mine: Path, text: str, key: str, value: object) -> None:
    write(mine / "vanta.toml", text)
    loaded = load(environ={})
    assert loaded.explain(key).value == value
    assert str(loaded.explain(key).origin) == "vanta.toml:1"


def test_an_untrusted_project_cannot_send_private_turns_elsewhere(work: Path) -> None:
    write(
        work / "vanta.toml",
        "[tracks.local]\nenabled = false\n[tracks.new]\nengine = 'openai'\nmodel = 'm'\n",
    )
    config = load(environ={}).config
    assert config.tracks["local"].enabled
    assert set(config.tracks) == {"local", "api"}


def test_a_table_that_becomes_a_value_takes_nothing_away(mine: Path) -> None:
    write(mine / "vanta.toml", "tracks = 5\nbudget = 'none'\nprivacy = []\npolicies = 1\n")
    loaded = load(environ={})
    assert loaded.config.budget.turn_usd == 0.5
    assert loaded.config.privacy.detect == ["emails"]
    assert loaded.trust is not None
    assert len(loaded.trust.ignored) == 4


def test_a_mistake_in_a_name_is_reported_in_a_trusted_project(work: Path) -> None:
    write(work / "vanta.toml", "budget.turn_usdd = 1")
    trust(work)
    with pytest.raises(ConfigError, match=r"vanta.toml:1.*budget\.turn_usd"):
        load(environ={})


def test_the_note_says_once_what_is_ignored_and_the_command(
    work: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(work / "vanta.toml", "policy = 'race'\nplugins.allow = ['x']\ndeadline_s = 20\n")
    with caplog.at_level(logging.WARNING):
        load(environ={})
        load(environ={})
    (record,) = caplog.records
    assert "policy, plugins.allow" in record.message
    assert "deadline_s" not in record.message
    assert f"vanta trust {work}" in record.message


def test_the_note_shows_no_control_characters_of_the_file(
    work: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(work / "vanta.toml", '[tracks."\\u001b]52;c;x\\u0007"]\nengine = "x"\n')
    with caplog.at_level(logging.WARNING):
        load(environ={})
    assert "\x1b" not in caplog.text.replace("\x1b[", "")
    assert "\\x1b]52" in caplog.text


def test_a_project_that_only_tightens_needs_no_note(
    work: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(work / "vanta.toml", "deadline_s = 20\n")
    assert load(environ={}).config.deadline_s == 20
    assert caplog.records == []


def test_explain_shows_an_ignored_value(work: Path) -> None:
    write(work / "vanta.toml", "policy = 'local'\nstore_url = 'sqlite://u:pw@h/x'\n")
    loaded = load(environ={})
    assert loaded.explain("policy").value == "race"
    assert 'ignored "local" from vanta.toml:1' in str(loaded.explain("policy"))
    shown = loaded.explain("store_url")
    assert shown.value is None
    assert "pw" not in json.dumps(shown.to_dict())


def test_a_change_of_the_configuration_ends_the_trust(work: Path) -> None:
    write(work / "vanta.toml", "policy = 'local'")
    trust(work)
    assert load(environ={}).config.policy == "local"
    write(work / "vanta.toml", "policy = 'local' # more")
    loaded = load(environ={})
    assert loaded.config.policy == "race"
    assert loaded.trust is not None
    assert loaded.trust.state == "changed"


def test_a_new_or_changed_template_ends_the_trust(work: Path) -> None:
    write(work / "vanta.toml", "policy = 'local'")
    folder = work / ".vanta" / "templates" / "system"
    write(folder / "a.j2", "one")
    trust(work)
    assert load(environ={}).config.policy == "local"
    write(folder / "a.j2", "two")
    assert load(environ={}).config.policy == "race"
    write(folder / "a.j2", "one")
    write(folder / "b.j2", "")
    assert load(environ={}).config.policy == "race"


def test_templates_and_fitted_files_of_a_data_directory_inside_are_part_of_the_trust(
    work: Path,
) -> None:
    write(work / "vanta.toml", "data_dir = 'mine'")
    write(work / "mine" / "templates" / "system" / "a.j2", "one")
    write(work / "mine" / "router.json", "{}")
    trust(work)
    entry = trusted_folders()[work.resolve()]
    assert set(entry.files) == {
        "vanta.toml",
        "mine/templates/system/a.j2",
        "mine/router.json",
    }
    write(work / "mine" / "router.json", "[]")
    assert load(environ={}).config.data_dir != work / "mine"


def test_trust_belongs_to_one_folder(work: Path) -> None:
    write(work / "vanta.toml", "policy = 'local'")
    trust(work)
    other = work / "copy"
    write(other / "vanta.toml", "policy = 'local'")
    os.chdir(other)
    assert load(environ={}).config.policy == "race"


def test_a_link_to_a_trusted_folder_is_that_folder(work: Path, tmp_path: Path) -> None:
    write(work / "vanta.toml", "policy = 'local'")
    link = tmp_path / "link"
    link.symlink_to(work)
    trust(link)
    assert load(environ={}).config.policy == "local"


def test_revoked_trust_is_gone(work: Path) -> None:
    write(work / "vanta.toml", "policy = 'local'")
    trust(work)
    assert revoke_trust(work.resolve()) == (work.resolve(),)
    assert revoke_trust(work.resolve()) == ()
    assert load(environ={}).config.policy == "race"


def test_a_named_file_is_the_callers_own_word(work: Path) -> None:
    path = write(work / "vanta.toml", "policy = 'local'")
    loaded = load(path, environ={})
    assert loaded.config.policy == "local"
    assert loaded.trust is None


def test_environment_and_arguments_stand_above_the_project(work: Path) -> None:
    write(work / "vanta.toml", "deadline_s = 5")
    assert load(environ={"VANTA_DEADLINE_S": "50"}).config.deadline_s == 50
    assert load(environ={}, overrides={"deadline_s": 70}).config.deadline_s == 70


class TestTrustedProject:
    """What binds a trusted project: the user's own limits, and keys to their servers."""

    def test_it_cannot_lift_the_users_own_limits(self, mine: Path) -> None:
        write(
            mine / "vanta.toml",
            "deadline_s = 600\nbudget.turn_usd = 9\nprivacy.detect = ['phones']\n"
            "budget.unpriced = 'free'\ntelemetry = true\npolicy = 'race'\n",
        )
        trust(mine)
        loaded = load(environ={})
        assert loaded.config.policy == "race"
        assert loaded.config.deadline_s == 30
        assert (loaded.config.budget.turn_usd, loaded.config.budget.unpriced) == (0.5, "ask")
        assert loaded.config.privacy.detect == ["emails", "phones"]
        assert not loaded.config.telemetry

    def test_a_server_that_it_names_gets_neither_the_users_key_nor_private_turns(
        self, mine: Path
    ) -> None:
        write(mine / "vanta.toml", f"tracks.api.options.base_url = '{STRANGER}'")
        trust(mine)
        loaded = load(environ={})
        api = loaded.config.tracks["api"]
        assert api.options == {"base_url": STRANGER}
        assert not api.private
        assert loaded.trust is not None
        assert loaded.trust.keyless == {"tracks.api"}

    def test_a_key_that_it_names_goes_to_its_own_server(self, mine: Path) -> None:
        write(
            mine / "vanta.toml",
            f"[tracks.api]\nprivate = true\n[tracks.api.options]\nbase_url = '{STRANGER}'\n"
            "api_key_env = 'TEAM_KEY'\n",
        )
        trust(mine)
        loaded = load(environ={})
        api = loaded.config.tracks["api"]
        assert api.options == {"base_url": STRANGER, "api_key_env": "TEAM_KEY"}
        assert api.private
        assert loaded.trust is not None
        assert loaded.trust.keyless == frozenset()

    @pytest.mark.parametrize("name", ["max_tokens_field", "tiktoken_dir"])
    def test_an_option_that_only_sounds_like_a_key_brings_no_key(
        self, mine: Path, name: str
    ) -> None:
        options = {"base_url": STRANGER, name: "max_tokens"}
        write(
            mine / "vanta.toml",
            "".join(f"tracks.api.options.{key} = '{value}'\n" for key, value in options.items()),
        )
        trust(mine)
        loaded = load(environ={})
        assert loaded.config.tracks["api"].options == options
        assert loaded.trust is not None
        assert loaded.trust.keyless == {"tracks.api"}

    def test_a_key_that_it_names_replaces_every_key_of_the_user(self, mine: Path) -> None:
        of_a_file = "api_key_file = '/home/me/key'\n"
        embedder = f"[memory.embedder_options]\n{of_a_file}"
        own = USERS_OWN.replace("api_key_env", of_a_file + "api_key_env")
        write(user_file(), own + embedder)
        options = {"base_url": STRANGER, "api_key_env": "TEAM_KEY"}
        write(
            mine / "vanta.toml",
            "".join(
                f"{table}.{key} = '{value}'\n"
                for table in ("tracks.api.options", "memory.embedder_options")
                for key, value in options.items()
            ),
        )
        trust(mine)
        config = load(environ={}).config
        assert config.tracks["api"].options == options
        assert config.memory.embedder_options == options

    @pytest.mark.parametrize(
        "url", ["https://mine.example/v2", "https://MINE.example:443/v1/", "https://mine.example."]
    )
    def test_another_path_of_the_same_server_keeps_the_key(self, mine: Path, url: str) -> None:
        write(mine / "vanta.toml", f"tracks.api.options.base_url = '{url}'")
        trust(mine)
        api = load(environ={}).config.tracks["api"]
        assert api.options["api_key_env"] == "MY_KEY"
        assert api.private


class TestRecord:
    """The file with the trusted folders."""

    def test_only_its_owner_can_read_it(self, work: Path) -> None:
        add_trust(TrustedFolder(work))
        assert trust_file().stat().st_mode & 0o777 == 0o600
        assert trust_file().parent.stat().st_mode & 0o777 == 0o700

    @pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"version": 9}', "null"])
    def test_a_damaged_record_is_an_error_and_never_trust(self, work: Path, text: str) -> None:
        write(work / "vanta.toml", "policy = 'local'")
        trust(work)
        trust_file().write_text(text)
        with pytest.raises(ConfigError, match=r"trust\.json.*damaged.*trust the folders again"):
            load(environ={})

    def test_a_record_that_others_can_write_is_refused(self, work: Path) -> None:
        write(work / "vanta.toml", "policy = 'local'")
        trust(work)
        trust_file().chmod(0o666)
        with pytest.raises(ConfigError, match="another user can change it"):
            load(environ={})

    def test_a_link_in_its_place_is_refused(self, work: Path) -> None:
        write(work / "vanta.toml", "policy = 'local'")
        trust(work)
        theirs = trust_file().rename(work / "record.json")
        trust_file().symlink_to(theirs)
        with pytest.raises(ConfigError, match="not a regular file"):
            load(environ={})

    def test_a_project_cannot_move_it_with_data_dir(self, work: Path) -> None:
        before = trust_file()
        write(work / "vanta.toml", "data_dir = '.'")
        write(work / "trust.json", "{}")
        load(environ={})
        assert trust_file() == before

    def test_threads_and_processes_that_trust_at_once_all_count(self, work: Path) -> None:
        code = (
            "import sys; from pathlib import Path\n"
            "from vanta.config import TrustedFolder, add_trust\n"
            "for n in range(10): add_trust(TrustedFolder(Path(f'/{sys.argv[1]}/{n}')))"
        )
        others = [
            subprocess.Popen([sys.executable, "-P", "-c", code, f"p{number}"])
            for number in range(2)
        ]
        threads = [
            threading.Thread(target=lambda at=at: add_trust(TrustedFolder(Path(f"/t/{at}"))))
            for at in range(10)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [process.wait(60) for process in others] == [0, 0]
        assert len(trusted_folders()) == 30


def test_a_link_to_a_large_folder_of_templates_is_not_followed(work: Path) -> None:
    (work / ".vanta").mkdir()
    (work / ".vanta" / "templates").symlink_to("/usr")
    assert find_project(work) is None
    write(work / "vanta.toml", "")
    project = find_project(work)
    assert project is not None
    assert set(project.digests()) == {"vanta.toml"}


def test_a_rule_never_allows_more_than_both_of_its_values() -> None:
    values: list[Any] = [None, True, False, 0, 5, 7.5, float("nan"), "refuse", "free", "session"]
    for rule in RULES:
        if rule.merge is None:
            continue
        for above in values:
            for value in values:
                merged = rule.merge(above, value)
                assert merged is above or merged is value
    union = rule_of(("privacy", "detect"))
    assert union is not None
    assert union.merge is not None
    assert union.merge(["a"], []) == ["a"]
    assert union.merge(["a"], ["b", "a"]) == ["a", "b"]
