"""`vanta doctor`, as a user meets it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.as_user import Run, install, user

OPINION = """
import vanta
from vanta.diagnosis import Check, Finding

async def look(context):
    return Finding("opinion", {ok}, "looked at it", "read a book")

@vanta.hookimpl
def vanta_checks():
    return [Check("opinion", look)]
"""


@pytest.fixture
def vanta(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    with user(tmp_path, monkeypatch, capfd) as run:
        monkeypatch.setenv("VANTA_CONFIG", str(tmp_path / "mine.toml"))
        text = "[tracks.local]\nenabled = false\n[tracks.api.options]\n"
        (tmp_path / "mine.toml").write_text(text + 'base_url = "http://127.0.0.1:9/v1"\n')
        yield run


def test_a_broken_part_ends_in_1_and_names_the_command_that_fixes_it(
    vanta: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VANTA_CONFIG")
    done = vanta("doctor", "--json")
    assert done.code == 1
    assert set(done.json) == {"ok", "findings"}
    assert done.json["ok"] is False
    found = {finding["check"]: finding for finding in done.json["findings"]}
    assert set(found["python"]) == {"check", "ok", "detail", "fix"}
    assert found["python"]["ok"] is True
    assert found["model of local"]["ok"] is False
    assert found["model of local"]["fix"] == "vanta models pull smollm2-135m-instruct"
    said = vanta("doctor").text
    assert "fix: vanta models pull smollm2-135m-instruct" in said
    assert "checks failed: model of local" in said


def test_it_ends_in_0_if_everything_that_is_needed_works(vanta: Run) -> None:
    done = vanta("doctor", "--json")
    assert (done.code, done.json["ok"]) == (0, True), done.out
    assert "everything that is needed works" in vanta("doctor").out


@pytest.mark.parametrize(("ok", "code"), [("True", 0), ("None", 0), ("False", 1)])
def test_the_checks_of_plugins_count(
    vanta: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ok: str, code: int
) -> None:
    name = f"opinion_{ok.lower()}"
    install(tmp_path, name, OPINION.format(ok=ok), monkeypatch)
    monkeypatch.setenv("VANTA_PLUGINS__ALLOW", f'["{name}"]')
    done = vanta("doctor", "--json")
    assert done.code == code
    [opinion] = [finding for finding in done.json["findings"] if finding["check"] == "opinion"]
    assert opinion["fix"] == "read a book"
