"""Names of models: what each chooses, and what is listed."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from tests.vanta_server.served import served
from vanta.testing import ScriptedEngine

pytestmark = pytest.mark.anyio


async def test_every_listed_name_answers(tmp_path: Path) -> None:
    local, api = ScriptedEngine("local"), ScriptedEngine("api")
    async with served(tmp_path, local=local, api=api) as server, server.client() as client:
        names = [model.id async for model in client.models.list()]
        assert {"vanta", "vanta/race", "vanta/local", "vanta/api", "scripted-1"} <= set(names)
        assert len(names) == len(set(names))
        for name in names:
            assert (await client.models.retrieve(name)).id == name
            answer = await client.chat.completions.create(
                model=name, messages=[{"role": "user", "content": "Hi"}]
            )
            assert answer.model == name
            assert answer.choices[0].message.content


async def test_a_track_answers_alone(tmp_path: Path) -> None:
    local, api = ScriptedEngine("local"), ScriptedEngine("api")
    async with served(tmp_path, local=local, api=api) as server, server.client() as client:
        answer = await client.chat.completions.create(
            model="vanta/api", messages=[{"role": "user", "content": "Hi"}]
        )
    assert answer.choices[0].message.content == "api"
    assert not local.runs


async def test_an_unknown_model_is_refused_with_the_nearest(tmp_path: Path) -> None:
    async with served(tmp_path, local=ScriptedEngine("Hi")) as server, server.client() as client:
        with pytest.raises(openai.NotFoundError, match="Did you mean 'vanta/local'"):
            await client.chat.completions.create(
                model="vanta/locl", messages=[{"role": "user", "content": "Hi"}]
            )
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("vanta/locl")
