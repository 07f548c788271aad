"""A wrong configuration is reported with its source, the expected value and the nearest key."""

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
    ("text", "expected"),
    [
        (
            '\npolcy = "x"',
            "mine.toml:2: there is no configuration key 'polcy'. Did you mean 'policy'?",
        ),
        (
            "[tracks.local]\n# why\nwindw = 1",
            (
                "mine.toml:3: there is no configuration key 'tracks.local.windw'. "
                "Did you mean 'tracks.local.window'?"
            ),
        ),
        (
            "window = 1",
            "there is no configuration key 'window'. Did you mean 'tracks.NAME.window'?",
        ),
        ("[tracks.local]\ndeadline_s = 1", "Did you mean 'deadline_s'?"),
        ("[plugin]\nallow = []", "there is no configuration key 'plugin'. Did you mean 'plugins'?"),
        ("[tracks.api.sampling]\ntop_q = 1", "Did you mean 'tracks.api.sampling.top_p'?"),
        ("[policies.race.gate]\nmin_char = 1", "Did you mean 'policies.race.gate.min_chars'?"),
    ],
)
def test_an_unknown_key_names_file_line_key_and_the_nearest_one(
    read: Load, text: str, expected: str
) -> None:
    assert expected in error_of(read, text)


@pytest.mark.parametrize(
    ("text", "expected"),
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
        (
            '[tracks."a b"]\nengine = "x"\nmodel = "y"',
            "tracks.a b: a name must begin with a letter",
        ),
    ],
)
def test_a_wrong_value_is_reported_with_the_expected_type(
    read: Load, text: str, expected: str
) -> None:
    assert expected in error_of(read, text)


def test_all_problems_are_reported_at_once(read: Load) -> None:
    message = error_of(read, 'policy = 1\ndeadline_s = "x"\nodd = 1').splitlines()
    assert len(message) == 3
    assert all("mine.toml:" in line for line in message)


def test_a_track_without_an_engine_names_the_missing_key(read: Load) -> None:
    message = error_of(read, "", {"VANTA_TRACKS__LOCL__MODEL": "x"})
    assert "environment variable VANTA_TRACKS__LOCL__MODEL: tracks.locl has no 'engine'" in message
    assert "Did you mean 'local'?" in message


def test_a_reply_reserve_that_fills_the_window_names_the_line_that_broke_it(read: Load) -> None:
    message = error_of(read, "\n\n[tracks.local]\nwindow = 256")
    assert "mine.toml:4: tracks.local: reply_reserve (512 tokens) leaves no room" in message


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("VANTA_POLCY", "VANTA_POLCY: vanta has no configuration key 'polcy'"),
        ("VANTA_LOG_LEVEL", "VANTA_LOG_LEVEL: vanta has no configuration key"),
        ("VANTA_TRACKS__LOCAL__WINDW", "Did you mean 'tracks.local.window'?"),
        ("VANTA___POLICY", "two underscores between"),
    ],
)
def test_an_unknown_variable_is_an_error(read: Load, variable: str, expected: str) -> None:
    assert expected in error_of(read, "", {variable: "x"})


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
    message = error_of(read, text)
    assert "mine.toml:" in message
    assert "OPENAI_API_KEY" in message
    assert KEY not in message


def test_an_api_key_from_the_environment_or_a_call_is_refused_in_the_same_way(read: Load) -> None:
    assert KEY not in error_of(read, "", {"VANTA_TRACKS__API__OPTIONS__API_KEY": KEY})
    with pytest.raises(ConfigError, match=r"argument tracks\.api\.options\.api_key") as caught:
        read(overrides={"tracks": {"api": {"options": {"api_key": KEY}}}})
    assert KEY not in str(caught.value)


def test_options_may_name_where_a_key_is_found(read: Load) -> None:
    options = {"api_key_env": "MY_KEY", "api_key_file": "/run/key"}
    config = read(overrides={"tracks": {"api": {"options": options}}}).config
    assert options.items() <= config.tracks["api"].options.items()


@pytest.mark.parametrize("text", [f'deadline_s = "{KEY}"', f"policy = ['{KEY}']"])
def test_a_key_in_the_wrong_place_is_not_echoed(read: Load, text: str) -> None:
    assert KEY not in error_of(read, text)


@pytest.mark.parametrize(
    ("text", "at"),
    [("a = 1\nb = = 2\n", ":2:5"), ("a = [\n1,\n", ":3"), ('a = "x', ":1"), ("a=1\na=2", ":2")],
)
def test_invalid_toml_is_reported_with_its_position(read: Load, text: str, at: str) -> None:
    message = error_of(read, text)
    assert f"mine.toml{at}" in message
    assert "this is not valid TOML" in message


def test_a_missing_file_is_named(work: Path) -> None:
    with pytest.raises(ConfigError, match=r"no configuration file '.*none\.toml'"):
        load(work / "none.toml", environ={})
    with pytest.raises(ConfigError, match=r"no configuration file 'none\.toml'"):
        load(environ={"VANTA_CONFIG": "none.toml"})


def test_a_folder_is_not_a_configuration_file(work: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder"):
        load(work, environ={})


def test_a_file_that_is_not_text_is_named(work: Path) -> None:
    (work / "mine.toml").write_bytes(b'policy = "\xff"')
    with pytest.raises(ConfigError, match=r"mine\.toml: this is not UTF-8 text \(byte 10\)"):
        load(work / "mine.toml", environ={})


def test_a_path_through_a_file_is_named(work: Path) -> None:
    (work / "a").write_text("", "utf-8")
    with pytest.raises(ConfigError, match=r"cannot be read: Not a directory"):
        load(work / "a" / "mine.toml", environ={})


def test_a_byte_order_mark_is_ignored(work: Path) -> None:
    (work / "mine.toml").write_text("\ufeffpolicy = 'local'", "utf-8")
    assert load(work / "mine.toml", environ={}).config.policy == "local"


def test_an_unknown_ready_configuration_names_the_nearest_and_how_to_name_a_file(
    work: Path,
) -> None:
    with pytest.raises(ConfigError, match=r"'offlin'. Did you mean 'offline'\?.*\./offlin\.toml"):
        load("offlin", environ={})
    with pytest.raises(ConfigError, match="no ready configuration is named 'models'"):
        load("models", environ={})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("policy = 'race'\na = " + "[" * 100_000, 2),
        ("\n\n" + "a." * 50_000 + "b = 1", 3),
        ("a = " + "{ b = " * 5_000, 1),
        ("\ndeadline_s = " + "9" * 5_000, 2),
        ('a = """' + "\n" * 50_000, 50_001),
    ],
)
def test_what_a_parser_cannot_take_is_an_error_with_a_place(
    work: Path, text: str, line: int
) -> None:
    path = work / "mine.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=rf"mine\.toml:{line}") as caught:
        load(path, environ={})
    assert len(str(caught.value)) < 500


def test_a_file_that_is_too_large_is_refused_unread(work: Path) -> None:
    path = work / "mine.toml"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ConfigError, match="larger than"):
        load(path, environ={})


def test_thirty_thousand_lines_are_read_in_linear_work(work: Path) -> None:
    path = work / "mine.toml"
    path.write_text("[variables]\n" + "".join(f"k{n} = {n}\n" for n in range(30_000)), "utf-8")
    loaded = load(path, environ={})
    assert loaded.origins["variables.k29999"].line == 30_001
    path.write_text("v = [\n" + "1,\n" * 30_000 + "]\n", "utf-8")
    with pytest.raises(ConfigError, match="no configuration key 'v'"):
        load(path, environ={})


def test_of_very_many_problems_the_first_are_reported(work: Path) -> None:
    path = work / "mine.toml"
    path.write_text("".join(f"k{n} = {n}\n" for n in range(5_000)), "utf-8")
    with pytest.raises(ConfigError, match=r"and 4980 more problems\.$"):
        load(path, environ={})
