"""What a stranger's file cannot do: make vanta useless in its folder."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from tests.trusted import trust
from vanta.config import load, user_file
from vanta.errors import ConfigError

USERS_OWN = "[budget]\nturn_usd = 2.0\nunpriced = 'free'\n"


@pytest.fixture
def mine(work: Path) -> Path:
    """A user with a cap of their own, in a stranger's folder."""
    user_file().parent.mkdir(parents=True, exist_ok=True)
    user_file().write_text(USERS_OWN, "utf-8")
    return work


@pytest.mark.parametrize(
    "text",
    [
        "deadline_s = 0.001",
        "deadline_s = 14.9",
        "deadline_s = -1e999",
        "budget.turn_usd = 0",
        "budget.turn_usd = 0.001",
        "budget.session_usd = 0.01",
        "budget.user_usd = 1.0",
        "budget.day_usd = 0",
        "budget.unpriced = 'refuse'",
        "plugins.strict = true",
        "tracks.local.enabled = false",
        "tracks.api.enabled = false",
        "tracks.local.private = false",
        "tracks.api.window = 1",
        "tracks.api.reply_reserve = 1",
        "tracks.api.sampling.max_tokens = 1",
        "tracks.api.sampling.stop = ['e']",
        "stall_timeout_s = 0.001",
        "breaker.failures = 1",
        "memory.min_relevance = 1.0",
    ],
)
def test_what_could_let_every_turn_fail_needs_trust(mine: Path, text: str) -> None:
    before = load(environ={}).config
    (mine / "vanta.toml").write_text(text, "utf-8")
    loaded = load(environ={})
    assert loaded.config == before
    assert loaded.trust is not None
    assert "vanta trust" in loaded.trust.note()


@pytest.mark.parametrize(
    ("text", "own"),
    [("deadline_s = 0.5", ""), ("budget.day_usd = 0.01", ""), ("budget.turn_usd = 0", USERS_OWN)],
)
def test_a_trusted_project_tightens_as_far_as_it_likes(work: Path, text: str, own: str) -> None:
    user_file().parent.mkdir(parents=True, exist_ok=True)
    user_file().write_text(own, "utf-8")
    key, _, value = text.partition(" = ")
    (work / "vanta.toml").write_text(text, "utf-8")
    trust(work)
    assert load(environ={}).explain(key).value == float(value)


@pytest.mark.parametrize("cap", ["turn_usd", "session_usd"])
def test_a_first_cap_needs_trust_since_it_refuses_unpriced_models(work: Path, cap: str) -> None:
    (work / "vanta.toml").write_text(f"budget.{cap} = 1000.0", "utf-8")
    loaded = load(environ={})
    assert loaded.explain(f"budget.{cap}").value is None
    assert loaded.trust is not None
    assert "first cap" in str(loaded.trust.ignored[0])
    beside = load(environ={"VANTA_BUDGET__DAY_USD": "5"})
    assert beside.explain(f"budget.{cap}").value == 1000


@pytest.mark.parametrize(
    "content",
    [
        b"a = [",
        b"a = 1\nb = \xff\n",
        b"\x00",
        b"x = " + b"[" * 5000,
        b"".join(b"a%d = 1\n" % number for number in range(6000)),
        b"#" * (1 << 20) + b"#",
        b"a = 1\na = 2\n",
        b"d = 2024-99-99\n",
    ],
)
def test_a_file_that_is_not_toml_is_ignored_until_the_folder_is_trusted(
    mine: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    before = load(environ={}).config
    (mine / "vanta.toml").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        loaded = load(environ={})
        assert load(environ={}).config == loaded.config == before
        assert load("offline", environ={}).config.policy == "local"
    assert loaded.trust is not None
    assert not loaded.trust.is_trusted
    assert loaded.trust.mistakes == (loaded.trust.unreadable,)
    (record,) = caplog.records
    assert "vanta.toml" in record.message
    assert "is not trusted" in record.message


@pytest.mark.parametrize("content", [b"a = [", b"\xff"])
def test_a_mistake_where_a_person_trusted_the_folder_is_an_error(
    work: Path, content: bytes
) -> None:
    (work / "vanta.toml").write_text("policy = 'local'", "utf-8")
    trust(work)
    (work / "vanta.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"vanta\.toml"):
        load(environ={})


@pytest.mark.parametrize("kind", ["a pipe", "a device", "a folder", "a dangling link"])
def test_what_stands_in_place_of_the_file_is_ignored_at_once(work: Path, kind: str) -> None:
    file = work / "vanta.toml"
    if kind == "a pipe":
        os.mkfifo(file)
    elif kind == "a folder":
        file.mkdir()
    else:
        file.symlink_to("/dev/zero" if kind == "a device" else "nowhere")
    loaded = load(environ={})
    assert loaded.trust is not None
    assert loaded.trust.unreadable
    assert loaded.config.policy == "race"
