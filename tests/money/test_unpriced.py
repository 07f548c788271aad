"""A model without a known price is refused under a cap, unless a person or the file allows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.money.ledgers import totals
from tests.runtime.home import open_scripted
from vanta import AllTracksFailed, EngineError, ErrorKind
from vanta.config import TrackConfig
from vanta.money import price_of
from vanta.testing import ScriptedEngine

pytestmark = pytest.mark.anyio

FINE_TUNED = {"api": {"model": "ft:gpt-4o-mini:acme::1"}}
CAPPED = {"day_usd": 1.0}


def opened(tmp_path: Path, engine: ScriptedEngine, **given: Any) -> Any:
    return open_scripted(tmp_path, api=engine, tracks=FINE_TUNED, policy="api", **given)


async def test_under_a_cap_it_is_refused_by_default_and_the_way_out_is_named(
    tmp_path: Path,
) -> None:
    engine = ScriptedEngine("hi")
    async with opened(tmp_path, engine, budget=CAPPED) as runtime:
        with pytest.raises(AllTracksFailed, match=r"budget\.unpriced") as failed:
            await runtime.session("s").ask("hi")
    (error,) = failed.value.exceptions
    assert isinstance(error, EngineError)
    assert (error.kind, error.track) == (ErrorKind.BUDGET, "api")
    assert "[tracks.api]" in error.suggestion
    assert engine.runs == []


@pytest.mark.parametrize("unpriced", ["refuse", "ask", "free"])
async def test_without_a_cap_it_answers(tmp_path: Path, unpriced: str) -> None:
    async with opened(tmp_path, ScriptedEngine("hi"), budget={"unpriced": unpriced}) as runtime:
        assert (await runtime.session("s").ask("hi")).text == "hi"


async def test_it_may_count_as_free(tmp_path: Path) -> None:
    budget = {**CAPPED, "unpriced": "free"}
    async with opened(tmp_path, ScriptedEngine("hi"), budget=budget) as runtime:
        assert (await runtime.session("s").ask("hi")).cost_usd == 0
        assert await totals(runtime.ledger) == (0, 0)


async def test_one_of_two_prices_is_not_enough_under_a_cap(tmp_path: Path) -> None:
    half = {"api": {**FINE_TUNED["api"], "input_usd_per_mtok": 1.0}}
    engine = ScriptedEngine("hi")
    async with open_scripted(
        tmp_path, api=engine, tracks=half, policy="api", budget=CAPPED
    ) as runtime:
        with pytest.raises(AllTracksFailed, match="output_usd_per_mtok"):
            await runtime.session("s").ask("hi")
    assert engine.runs == []
    free = {**CAPPED, "unpriced": "free"}
    async with open_scripted(
        tmp_path, api=ScriptedEngine("hi"), tracks=half, policy="api", budget=free
    ) as runtime:
        assert (await runtime.session("s").ask("hi")).cost_usd > 0, "the known part is charged"


async def test_a_price_in_the_configuration_ends_the_refusal(tmp_path: Path) -> None:
    free = {"api": {**FINE_TUNED["api"], "input_usd_per_mtok": 0.0, "output_usd_per_mtok": 0.0}}
    async with open_scripted(
        tmp_path, api=ScriptedEngine("hi"), tracks=free, policy="api", budget=CAPPED
    ) as runtime:
        assert (await runtime.session("s").ask("hi")).text == "hi"


async def test_a_private_track_is_free(tmp_path: Path) -> None:
    async with open_scripted(
        tmp_path, local=ScriptedEngine("hi"), policy="local", budget=CAPPED
    ) as runtime:
        assert (await runtime.session("s").ask("hi")).text == "hi"


async def test_without_anyone_to_ask_it_is_refused(tmp_path: Path) -> None:
    budget = {**CAPPED, "unpriced": "ask"}
    async with opened(tmp_path, ScriptedEngine("hi"), budget=budget) as runtime:
        with pytest.raises(AllTracksFailed, match="its use was not allowed"):
            await runtime.session("s").ask("hi")


@pytest.mark.parametrize("allowed", [True, False])
async def test_a_person_is_asked_once_for_a_track(
    tmp_path: Path,
    allowed: bool,
) -> None:
    questions: list[tuple[str, str]] = []

    async def approve(track: str, model: str) -> bool:
        questions.append((track, model))
        await anyio.lowlevel.checkpoint()
        return allowed

    budget = {**CAPPED, "unpriced": "ask"}
    engine = ScriptedEngine("hi")
    replies: list[str] = []

    async def turn(runtime: Any, number: int) -> None:
        try:
            replies.append((await runtime.session(f"s{number}").ask("hi")).text)
        except AllTracksFailed:
            replies.append("refused")

    async with (
        opened(tmp_path, engine, budget=budget, approve_unpriced=approve) as runtime,
        anyio.create_task_group() as tasks,
    ):
        for number in range(4):
            tasks.start_soon(turn, runtime, number)
    assert questions == [("api", engine.model)]
    assert replies == ["hi" if allowed else "refused"] * 4


async def test_another_track_answers_where_one_is_refused(tmp_path: Path) -> None:
    async with open_scripted(
        tmp_path,
        local=ScriptedEngine("from here"),
        api=ScriptedEngine("from there"),
        tracks=FINE_TUNED,
        policy="prefer",
        budget=CAPPED,
    ) as runtime:
        assert (await runtime.session("s").ask("hi")).text == "from here"


@pytest.mark.parametrize(
    "model", ["openai/gpt-4o-mini", "GPT-4o-mini", "openrouter/openai/gpt-4o-mini", " gpt-4o-mini"]
)
def test_the_price_of_a_model_is_found_under_a_routers_name_for_it(model: str) -> None:
    price = price_of(TrackConfig(engine="openai", model=model))
    assert price == price_of(TrackConfig(engine="openai", model="gpt-4o-mini"))
    assert price is not None


@pytest.mark.parametrize(
    "model", ["ft:gpt-4o-mini:acme::1", "acme/gpt-4o-mini", "gpt-4o-mini:free", "gpt-4o-mini-2"]
)
def test_the_price_of_a_similar_name_is_not_taken(model: str) -> None:
    assert price_of(TrackConfig(engine="openai", model=model)) is None
