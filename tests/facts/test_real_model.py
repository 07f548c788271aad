"""Facts and summaries by the real small model: their form is valid, whatever their quality."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from tests.facts.home import memory_of, run_all, stored
from vanta.api import open as open_runtime
from vanta.engine import Sampling
from vanta.runtime import Runtime
from vanta_facts import facts
from vanta_facts.background import complete, local_track
from vanta_facts.extraction import MIN_CONFIDENCE, SCHEMA, confidence
from vanta_facts.summaries import summarise_next

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(600),
    pytest.mark.one_loop,
]

STATEMENT = "My name is Ada and I live in Berlin with my two cats."


def config(folder: Path, model: Path) -> dict[str, object]:
    # A fixed number of threads adds up floats in one order, so the model says the same everywhere.
    options = {"threads": 1}
    local = {"model": str(model), "window": 512, "reply_reserve": 16, "options": options}
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


async def test_the_answer_follows_the_schema_and_facts_are_supported(
    tmp_path: Path, smollm2_path: Path
) -> None:
    settings = config(tmp_path, smollm2_path)
    settings["tracks"]["local"]["window"] = 2048  # type: ignore[index]
    async with open_runtime(settings) as runtime:
        track = local_track(runtime, json_schema=True)
        assert track is runtime.tracks["local"]
        prompt = runtime.templates.render("memory/facts", {"said": STATEMENT})
        answer = await complete(
            track, prompt, session="test", max_tokens=facts.MAX_TOKENS, json_schema=SCHEMA
        )
        jsonschema.validate(json.loads(answer.text), SCHEMA)
        await say(runtime, STATEMENT)
        await run_all(facts.extract_next, runtime)
        items = await stored(runtime, "fact")
        last = (await memory_of(runtime).arrivals(0))[-1].id
        assert await memory_of(runtime).state(facts.POSITION) == str(last)
    for fact in items:
        assert confidence(fact.text, STATEMENT) >= MIN_CONFIDENCE


async def test_a_session_that_no_longer_fits_gets_a_summary(
    tmp_path: Path, smollm2_path: Path
) -> None:
    async with open_runtime(config(tmp_path, smollm2_path)) as runtime:
        for city in ("Rome", "Paris", "Oslo", "Bern", "Riga"):
            await say(runtime, f"I went to {city}. " + "It was a very long trip by train. " * 9)
        await run_all(summarise_next, runtime)
        (summary,) = await stored(runtime, "summary")
    assert len(summary.text.split()) > 3
    assert summary.source.startswith("summary of ")
