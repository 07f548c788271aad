"""What one answer teaches: bounded, listed by `vanta doctor`, and forgotten by a command."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import vanta
from vanta.check import DiagnosisContext, Finding
from vanta.diagnosis import open_board
from vanta.diagnosis.learnt import learnt
from vanta.errors import AllTracksFailed
from vanta.runtime import Runtime, Session
from vanta.storage import learnt_board
from vanta.testing import Behaviour, Upstream

pytestmark = pytest.mark.anyio

ANSWER = Behaviour.answer("fine")


@asynccontextmanager
async def served(
    folder: Path, *script: Behaviour, **options: Any
) -> AsyncIterator[tuple[Runtime, Upstream]]:
    async with Upstream(*script, default=ANSWER) as server:
        track = {
            "engine": "openai",
            "model": "m",
            "reply_reserve": 100,
            "options": {"base_url": server.base_url, "api_key_env": "NO_SUCH_KEY"},
            **options,
        }
        config = {
            "data_dir": str(folder),
            "policy": "api",
            "retries": 0,
            "memory": {"enabled": False},
            "tracks": {"api": track, "local": {"enabled": False}},
        }
        async with vanta.open(config) as runtime:
            yield runtime, server


def overflow(window: int, tokens: int) -> Behaviour:
    words = (
        f"This model's maximum context length is {window} tokens. However, your messages "
        f"resulted in {tokens} tokens."
    )
    return Behaviour.failure(400, words, code="context_length_exceeded")


async def doctor(runtime: Runtime) -> Finding:
    context = DiagnosisContext(
        runtime.config, runtime.plugins, runtime.models, cores=2, free_memory_bytes=None
    )
    return await learnt(context)


async def learn_a_window(session: Session) -> None:
    """Have a long prompt refused; its history can be left out."""
    await session.ask("word " * 300)
    await session.ask("and more?")


@pytest.mark.parametrize("window", [1, 10, 300])
async def test_a_refusal_with_a_tiny_window_does_not_disable_the_track(
    tmp_path: Path, window: int
) -> None:
    async with served(tmp_path, overflow(window, 10**6), ANSWER) as (runtime, _server):
        session = runtime.session("s")
        with pytest.raises(AllTracksFailed, match=f"context length is {window} tokens|leaves"):
            await session.ask("a question " * 50)  # nothing of it can be left out
        replies = [(await session.ask("a question " * 50)).text for _ in range(3)]
        facts = [fact.what for fact in runtime.learnt.facts()]
    assert replies == ["fine"] * 3
    assert "window" not in facts


async def test_a_learnt_window_is_told_by_doctor_and_forgotten_by_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learnt_board, "CHECK_S", 0.0)
    async with served(tmp_path, ANSWER, overflow(600, 800), ANSWER) as (runtime, _server):
        assert (await doctor(runtime)).ok
        session = runtime.session("s")
        await learn_a_window(session)
        await session.ask("and")
        finding = await doctor(runtime)
        assert (finding.ok, finding.fix) == (None, "vanta learnt forget")
        assert "track 'api': its window is 600 tokens (believed for another 60 min)" in (
            finding.detail
        )
        store, board = await open_board(runtime.config)
        assert await board.forget("api") >= 1
        await store.aclose()
        await session.ask("more")
        assert "window" not in [fact.what for fact in runtime.learnt.facts()]
        assert (await doctor(runtime)).ok


async def test_one_retry_after_keeps_a_track_away_for_minutes_at_most(tmp_path: Path) -> None:
    busy = Behaviour.rate_limited("86400")
    async with served(tmp_path, busy, ANSWER) as (runtime, _server):
        session = runtime.session("s")
        with pytest.raises(AllTracksFailed):
            await session.ask("hi")
        (wait,) = [fact for fact in runtime.learnt.facts() if fact.what == "wait"]
        assert 290 < wait.left_s <= 300
        runtime.learnt.forget("api", "wait")
        assert (await session.ask("hi")).text == "fine"


async def test_refused_roles_are_listed_and_forgotten(tmp_path: Path) -> None:
    refused = Behaviour.failure(400, "System role not supported")
    async with served(tmp_path, refused, ANSWER) as (runtime, server):
        await runtime.session("s").ask("hi")
        assert [fact.what for fact in runtime.learnt.facts() if fact.what == "roles"] == ["roles"]
        runtime.learnt.forget("other")
        runtime.learnt.forget("api", "roles")
        assert "roles" not in [fact.what for fact in runtime.learnt.facts()]
        await runtime.session("t").ask("hi")
        roles = [[item["role"] for item in chat.body["messages"]] for chat in server.chats]
    assert roles == [["system", "user"], ["user"], ["system", "user"]]


async def test_a_window_in_a_list_of_models_that_no_model_has_is_not_believed(
    tmp_path: Path,
) -> None:
    async with served(tmp_path, ANSWER) as (runtime, _server):
        engine = runtime.tracks["api"].engine
        await engine.models()
        assert engine.window is None or engine.window >= 512
        assert (await runtime.session("s").ask("hi " * 100)).text == "fine"


async def test_a_store_that_fails_does_not_stop_a_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learnt_board, "CHECK_S", 0.0)
    async with served(tmp_path, ANSWER, overflow(600, 800), ANSWER) as (runtime, _server):
        await learn_a_window(runtime.session("s"))
        await runtime.learnt.publish()
        assert [fact.what for fact in runtime.learnt.facts()]
    await runtime.learnt.publish()
    assert [fact.what for fact in runtime.learnt.facts()], "closed, and nothing raised"
