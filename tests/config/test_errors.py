"""A configuration that is wrong says where, what was expected, and what comes nearest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vanta.config import load
from vanta.errors import ConfigError

if TYPE_CHECKING:
    from tests.config.conftest import Load

KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz"


def error_of(read: Load, text: str = "", environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text, environ)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('\npolcy = "x"', "mine.toml:2: no key is named 'polcy'. Did you mean 'policy'?"),
        (
            "[tracks.local]\n# why\nwindw = 1",
            (
                "mine.toml:3: no key is named 'tracks.local.windw'. "
                "Did you mean 'tracks.local.window'?"
            ),
        ),
        ("window = 1", "no key is named 'window'. Did you mean 'tracks.NAME.window'?"),
        ("[tracks.local]\ndeadline_s = 1", "Did you mean 'deadline_s'?"),
        ("[plugin]\nallow = []", "no key is named 'plugin'. Did you mean 'plugins'?"),
        ("[tracks.api.sampling]\ntop_q = 1", "Did you mean 'tracks.api.sampling.top_p'?"),
        ("[policies.race.gate]\nmin_char = 1", "Did you mean 'policies.race.gate.min_chars'?"),
    ],
)
def test_an_unknown_key_names_file_line_key_and_the_nearest_one(
    read: Load, text: str, told: str
) -> None:
    assert told in error_of(read, text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('deadline_s = "soon"', "mine.toml:1: deadline_s must be a number, not the text 'soon'."),
        ("deadline_s = true", "deadline_s must be a number, not true."),
        ("deadline_s = 0", "deadline_s must be greater than 0"),
        ("deadline_s = inf", "deadline_s must be a finite number"),
        ("policy = 3", "policy must be a text, not the whole number 3."),
        ('tracks.local.window = "2k"', "tracks.local.window must be a whole number"),
        ("tracks.local.window = 2.5", "must be a whole number, not the number 2.5"),
        ("tracks.local.private = 1", "must be true or false, not the whole number 1"),
        ("tracks.local = 1", "tracks.local must be a table"),
        ('plugins.allow = "echo"', "plugins.allow must be a list, each item a text"),
        ("plugins.allow = [1]", "mine.toml:1: plugins.allow must be a list, each item a text"),
        ("data_dir = 3", "data_dir must be a path"),
        ('data_dir = "~nobody-here/x"', "begins with a user that has no home folder"),
        ("[tracks.api.sampling]\ntop_p = 2", "top_p must be less than or equal to 1"),
        ('policies.race.takeover = "x"', "must be 'continue' or 'restart' or 'fail', not"),
        ('policies.race.gate.min_mean_logprob = "of"', "must be a number or 'off'"),
        ("policies.race.delay_s = -1", "policies.race.delay_s must be greater than or equal to 0"),
        ('[tracks."a b"]\nengine = "x"\nmodel = "y"', "tracks.a b: a name begins with a letter"),
    ],
)
def test_a_wrong_value_says_what_was_expected_and_what_was_given(
    read: Load, text: str, told: str
) -> None:
    assert told in error_of(read, text)


def test_everything_that_is_wrong_is_told_at_once(read: Load) -> None:
    told = error_of(read, 'policy = 1\ndeadline_s = "x"\nodd = 1').splitlines()
    assert len(told) == 3
    assert all("mine.toml:" in line for line in told)


def test_a_track_without_engine_says_what_a_track_needs(read: Load) -> None:
    told = error_of(read, "", {"VANTA_TRACKS__LOCL__MODEL": "x"})
    assert "environment variable VANTA_TRACKS__LOCL__MODEL: tracks.locl has no 'engine'" in told
    assert "Did you mean 'local'?" in told


def test_a_reply_reserve_that_fills_the_window_names_the_line_that_broke_it(read: Load) -> None:
    told = error_of(read, "\n\n[tracks.local]\nwindow = 256")
    assert "mine.toml:4: tracks.local: reply_reserve (512 tokens) leaves no room" in told


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        ("VANTA_POLCY", "VANTA_POLCY: no key of vanta's is named 'polcy'"),
        ("VANTA_LOG_LEVEL", "VANTA_LOG_LEVEL: no key of vanta's"),
        ("VANTA_TRACKS__LOCAL__WINDW", "Did you mean 'tracks.local.window'?"),
        ("VANTA___POLICY", "two underscores between"),
    ],
)
def test_an_unknown_variable_is_an_error_too(read: Load, variable: str, told: str) -> None:
    assert told in error_of(read, "", {variable: "x"})


@pytest.mark.parametrize(
    "text",
    [
        f'[tracks.api.options]\napi_key = "{KEY}"',
        f'[tracks.api.options]\nother_key = "{KEY}"',
        f'[tracks.api.options.headers]\nAuthorization = "Bearer {KEY}"',
        f'[tracks.api.options]\napi_key_env = "{KEY}"',
        f'[tracks.api]\napi_key = "{KEY}"',
        f'api_key = "{KEY}"',
    ],
)
def test_an_api_key_in_a_file_is_an_error_that_does_not_echo_it(read: Load, text: str) -> None:
    told = error_of(read, text)
    assert "mine.toml:" in told
    assert "OPENAI_API_KEY" in told
    assert KEY not in told


def test_an_api_key_from_the_environment_or_a_call_is_refused_in_the_same_way(read: Load) -> None:
    assert KEY not in error_of(read, "", {"VANTA_TRACKS__API__OPTIONS__API_KEY": KEY})
    with pytest.raises(ConfigError, match=r"argument tracks\.api\.options\.api_key") as caught:
        read(overrides={"tracks": {"api": {"options": {"api_key": KEY}}}})
    assert KEY not in str(caught.value)


def test_where_a_key_is_found_may_be_told(read: Load) -> None:
    options = {"api_key_env": "MY_KEY", "api_key_file": "/run/key"}
    read(overrides={"tracks": {"api": {"options": options}}})


@pytest.mark.parametrize("text", [f'deadline_s = "{KEY}"', f"policy = ['{KEY}']"])
def test_a_key_in_the_wrong_place_is_not_echoed(read: Load, text: str) -> None:
    assert KEY not in error_of(read, text)


@pytest.mark.parametrize(
    ("text", "at"),
    [("a = 1\nb = = 2\n", ":2:5"), ("a = [\n1,\n", ":3"), ('a = "x', ":1"), ("a=1\na=2", ":2")],
)
def test_a_file_that_is_not_toml_says_where(read: Load, text: str, at: str) -> None:
    told = error_of(read, text)
    assert f"mine.toml{at}" in told
    assert "this is not TOML" in told


def test_a_file_that_is_not_there_is_named(work: Path) -> None:
    with pytest.raises(ConfigError, match=r"no configuration file '.*none\.toml'"):
        load(work / "none.toml", environ={})
    with pytest.raises(ConfigError, match=r"no configuration file 'none\.toml'"):
        load(environ={"VANTA_CONFIG": "none.toml"})


def test_a_folder_is_no_file(work: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder"):
        load(work, environ={})


def test_a_file_that_is_not_text_is_named(work: Path) -> None:
    (work / "mine.toml").write_bytes(b'policy = "\xff"')
    with pytest.raises(ConfigError, match=r"mine\.toml: this is not a text in UTF-8 \(byte 10\)"):
        load(work / "mine.toml", environ={})


def test_a_file_that_goes_through_another_file_is_named(work: Path) -> None:
    (work / "a").write_text("", "utf-8")
    with pytest.raises(ConfigError, match=r"cannot be read: Not a directory"):
        load(work / "a" / "mine.toml", environ={})


def test_a_byte_order_mark_does_no_harm(work: Path) -> None:
    (work / "mine.toml").write_text("\ufeffpolicy = 'local'", "utf-8")
    assert load(work / "mine.toml", environ={}).config.policy == "local"


def test_an_unknown_ready_configuration_names_the_nearest_and_how_to_name_a_file(
    work: Path,
) -> None:
    with pytest.raises(ConfigError, match=r"'offlin'. Did you mean 'offline'\?.*\./offlin\.toml"):
        load("offlin", environ={})
    with pytest.raises(ConfigError, match="no ready configuration is named 'models'"):
        load("models", environ={})
