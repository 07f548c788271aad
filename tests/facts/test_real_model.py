"""Facts and summaries by the real small model: their form is right, whatever it makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from tests.facts.home import memory_of, stored, work_off
from vanta.api import open as open_runtime
from vanta.engine import Sampling
from vanta.runtime import Runtime
from vanta_facts import facts
from vanta_facts.extraction import LEAST_CONFIDENCE, SCHEMA, confidence
from vanta_facts.local import ask, local_track
from vanta_facts.summaries import look

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(600),
    pytest.mark.parametrize("anyio_backend", ["asyncio"]),
]

SAID = "My name is Ada and I live in Berlin with my two cats."


def config(folder: Path, model: Path) -> dict[str, object]:
    local = {"model": str(model), "window": 512, "reply_reserve": 16}
    return {
        "data_dir": str(folder),
        "system": "short",
        "policy": "local",
        "deadline_s": 300,
        "stall_timeout_s": 300,
        "memory": {"embedder": "none", "index": "none", "share": 0.0},
        "tracks": {"local": local, "api": {"enabled": False}},
    }


async def say(runtime: Runtime, text: str) -> None:
    await runtime.session("ada").ask(text, sampling=Sampling(max_tokens=4))


async def test_the_answer_is_valid_by_construction_and_facts_are_borne_out(
    tmp_path: Path, smollm2_path: Path
) -> None:
    settings = config(tmp_path, smollm2_path)
    settings["tracks"]["local"]["window"] = 2048  # type: ignore[index]
    async with open_runtime(settings) as runtime:
        track = local_track(runtime, json_schema=True)
        assert track is runtime.tracks["local"]
        prompt = runtime.templates.render("memory/facts", {"said": SAID})
        answer = await ask(
            track, prompt, session="test", max_tokens=facts.TOKENS, json_schema=SCHEMA
        )
        jsonschema.validate(json.loads(answer.text), SCHEMA)
        await say(runtime, SAID)
        await work_off(facts.look, runtime)
        found = await stored(runtime, "fact")
        last = (await memory_of(runtime).arrivals(0))[-1].id
        assert await memory_of(runtime).state(facts.LOOKED_AT) == str(last)
    for fact in found:
        assert confidence(fact.text, SAID) >= LEAST_CONFIDENCE


async def test_a_session_that_no_longer_fits_gets_a_summary(
    tmp_path: Path, smollm2_path: Path
) -> None:
    async with open_runtime(config(tmp_path, smollm2_path)) as runtime:
        for city in ("Rome", "Paris", "Oslo", "Bern", "Riga"):
            await say(runtime, f"I went to {city}. " + "It was a very long trip by train. " * 9)
        await work_off(look, runtime)
        (summary,) = await stored(runtime, "summary")
    assert len(summary.text.split()) > 3
    assert summary.source.startswith("summary of ")
