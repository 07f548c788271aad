"""A fitted router and a calibrated gate in a runtime."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.runtime.home import open_scripted
from vanta.errors import UnknownName, UsageError
from vanta.testing import Say, ScriptedEngine
from vanta_tuning.fitting import OutcomeRow, fit_router

pytestmark = pytest.mark.anyio

HARD = [f"prove the theorem number {n} by induction" for n in range(60)]
EASY = [f"say hello to friend number {n}" for n in range(60)]


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A router that was fitted on theorems and greetings."""
    outcomes = [OutcomeRow(prompt, 0.0, 1.0) for prompt in HARD]
    outcomes += [OutcomeRow(prompt, 1.0, 1.0) for prompt in EASY]
    path = tmp_path_factory.mktemp("fitted") / "router.json"
    fit_router(outcomes).router.save(path)
    return path


async def test_a_fitted_router_sends_hard_messages_to_the_api(tmp_path: Path, router: Path) -> None:
    shutil.copy(router, tmp_path / "router.json")
    config = {"policies": {"half": {"base": "route", "route_share": 0.5}}}
    local, api = ScriptedEngine("l"), ScriptedEngine("a")
    async with open_scripted(tmp_path, local=local, api=api, config=config) as runtime:
        for number in range(5):
            session = runtime.session(f"s{number}")
            hard = await session.ask(f"prove the theorem number {90 + number}", policy="half")
            easy = await session.ask(f"say hello to friend number {90 + number}", policy="half")
            assert (hard.track, easy.track) == ("api", "local")


@pytest.mark.parametrize(("share", "track"), [(0.0, "local"), (1.0, "api")])
async def test_the_share_is_kept_without_a_fitted_router_too(
    tmp_path: Path, share: float, track: str
) -> None:
    config = {"policies": {"mine": {"base": "route", "route_share": share}}}
    local, api = ScriptedEngine("l"), ScriptedEngine("a")
    async with open_scripted(tmp_path, local=local, api=api, config=config) as runtime:
        tracks = {
            (await runtime.session(f"s{n}").ask(f"hello {n}", policy="mine")).track
            for n in range(5)
        }
    assert tracks == {track}


async def test_a_broken_router_is_an_error_when_opening(tmp_path: Path) -> None:
    (tmp_path / "router.json").write_text("{")
    with pytest.raises(UsageError, match=r"router\.json"):
        async with open_scripted(tmp_path, local=ScriptedEngine("x")):
            pass


async def test_the_calibrated_gate_can_be_named_and_reports_that_it_was_not_fitted(
    tmp_path: Path,
) -> None:
    config = {"policies": {"cascade": {"gate": {"use": "calibrated"}}}}
    local, api = ScriptedEngine(Say("unsure", logprob=-4.0)), ScriptedEngine("a")
    async with open_scripted(tmp_path, local=local, api=api, config=config) as runtime:
        reply = await runtime.session("ada").ask("hi", policy="cascade")
    assert reply.track == "api"
    assert "not fitted" in str(reply.trace.legs[0].verdict)


async def test_a_gate_that_does_not_exist_is_an_error_with_the_nearest_name(tmp_path: Path) -> None:
    config = {"policies": {"cascade": {"gate": {"use": "calibratd"}}}}
    with pytest.raises(UnknownName, match="'calibrated'"):
        async with open_scripted(tmp_path, local=ScriptedEngine("x"), config=config):
            pass
