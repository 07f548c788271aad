"""Reasoning of the local engine in whole turns: race, failover, takeover, and what is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import vanta
from tests.llamacpp.support import answer, request
from vanta.api import Opening
from vanta.errors import ErrorKind
from vanta.events import Takeover
from vanta.testing import Fail, Hang, Say, ScriptedEngine, scripted_plugin
from vanta_llamacpp.engine import LlamaCppEngine
from vanta_llamacpp.model.vocabulary import MARKS

pytestmark = pytest.mark.anyio

THINKS = 'root ::= ("<think>secret plan</think>\\n\\n" | "") "One two."'
"""The words are forced by a grammar, since so small a model does not reason of its own accord."""

ALWAYS_THINKS = 'root ::= "<think>secret plan</think>\\n\\nOne two."'


def opened(folder: Path, model: Path, api: ScriptedEngine, grammar: str) -> Opening:
    sampling = {"temperature": 0.0, "max_tokens": 40, "grammar": grammar}
    tracks: dict[str, Any] = {
        "local": {"model": str(model), "window": 1024, "sampling": sampling},
        "api": {"engine": "scripted", "model": "m"},
    }
    config = {"data_dir": str(folder), "tracks": tracks, "memory": {"enabled": False}}
    return vanta.open(config, plugins=[scripted_plugin(api=api)])


async def test_reasoning_is_neither_shown_nor_stored_nor_sent_back(
    tmp_path: Path, smollm2_path: Path
) -> None:
    api = ScriptedEngine(scripts=[[Hang()], ["fine"]])
    async with opened(tmp_path, smollm2_path, api, ALWAYS_THINKS) as runtime:
        session = runtime.session("s")
        raced = await session.ask("Count.", policy="race")
        history = [message.content for message in await session.history()]
        await session.ask("sure?", track="api")
        sent = str(api.runs[-1].request.messages)
    assert (raced.track, raced.text, raced.reasoning) == ("local", "One two.", "secret plan")
    assert history == ["Count.", "One two."]
    assert "secret" not in sent


async def test_a_local_answer_with_reasoning_takes_the_place_of_a_failed_one(
    tmp_path: Path, smollm2_path: Path
) -> None:
    api = ScriptedEngine(Fail(ErrorKind.NETWORK))
    async with opened(tmp_path, smollm2_path, api, ALWAYS_THINKS) as runtime:
        reply = await runtime.session("s").ask("Count.", policy="prefer")
    assert (reply.track, reply.text) == ("local", "One two.")


async def test_a_takeover_continues_the_answer_without_reasoning(
    tmp_path: Path, smollm2_path: Path
) -> None:
    api = ScriptedEngine(Say("One "), Fail(ErrorKind.NETWORK))
    async with (
        opened(tmp_path, smollm2_path, api, THINKS) as runtime,
        runtime.session("s").stream("Count.", policy="prefer") as turn,
    ):
        events = [event async for event in turn]
    assert turn.reply.text == "One two."
    assert [event.track for event in events if isinstance(event, Takeover)] == ["local"]


async def test_logprobs_of_reasoning_do_not_judge_the_answer(
    shared_engine: LlamaCppEngine,
) -> None:
    thinks = await answer(shared_engine, request(grammar=ALWAYS_THINKS, max_tokens=40, logprobs=0))
    assert thinks.text == "One two."
    assert "".join(item.token for item in thinks.logprobs).strip() == "One two."
    plain = await answer(shared_engine, request(logprobs=0, max_tokens=8))
    assert len(plain.logprobs) == 8


def test_control_tokens_around_reasoning_of_other_families_are_read() -> None:
    assert {"[THINK]", "<|channel|>", "<|message|>", "<|START_THINKING|>", "◁think▷"} <= MARKS
