"""The scheduler's rules over real sockets: two OpenAI-compatible servers, raced by the runtime."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

import vanta
from vanta.engine import Sampling
from vanta.errors import AllTracksFailed, EngineError, ErrorKind
from vanta.events import Committed, LegCancelled, Takeover
from vanta.runtime import Runtime
from vanta.testing import Behaviour, Upstream

pytestmark = pytest.mark.anyio

WHOLE = "one two three four five six seven eight nine ten"
TOKENS = [f"{word} " for word in WHOLE.split()]
TOKENS[-1] = TOKENS[-1].strip()


@asynccontextmanager
async def two_servers(
    folder: Path, near: Behaviour, far: Behaviour, **config: Any
) -> AsyncIterator[tuple[Runtime, Upstream, Upstream]]:
    """A runtime with the tracks `local` (private, continues prefixes) and `api`, each a server."""
    async with Upstream(default=near) as near_server, Upstream(default=far) as far_server:
        tracks = {
            "local": {
                "engine": "openai",
                "model": "near",
                "private": True,
                "output_usd_per_mtok": 0.0,
                "options": {"base_url": near_server.base_url, "prefix_continuation": True},
            },
            "api": {
                "engine": "openai",
                "model": "far",
                "input_usd_per_mtok": 0.0,
                "output_usd_per_mtok": 1_000_000.0,
                "options": {"base_url": far_server.base_url},
            },
        }
        tables = {"data_dir": str(folder), "tracks": tracks, "retries": 0, **config}
        async with vanta.open(tables) as runtime:
            await runtime.warm_up()
            yield runtime, near_server, far_server


async def test_rule_1_headers_and_a_role_do_not_win_a_race(tmp_path: Path) -> None:
    never = anyio.Event()
    early_headers = Behaviour.answer(TOKENS, gates={0: never}, role_delta=True)
    async with two_servers(tmp_path, early_headers, Behaviour.answer(TOKENS)) as (runtime, *_):
        reply = await runtime.session("s").ask("go", policy="race")
    assert (reply.track, reply.text) == ("api", WHOLE)


async def test_rule_2_the_losers_connection_is_closed_and_confirmed(tmp_path: Path) -> None:
    never, both_asked = anyio.Event(), anyio.Event()
    loser = Behaviour.answer(TOKENS, gates={0: never})
    winner = Behaviour.answer(TOKENS, gates={0: both_asked})
    async with (
        two_servers(tmp_path, loser, winner) as (runtime, near, _far),
        runtime.session("s").stream("go", policy="race") as turn,
    ):
        request = await near.chat(0)
        both_asked.set()
        events = [event async for event in turn]
        assert [event.track for event in events if isinstance(event, LegCancelled)] == ["local"]
        with anyio.fail_after(5):
            await request.gone.wait()
        assert request.tokens_sent == 0


@pytest.mark.parametrize("fault", [Behaviour.cut, Behaviour.stall, Behaviour.malformed])
async def test_rule_3_a_stream_that_breaks_is_finished_by_the_other_server(
    tmp_path: Path, fault: Any
) -> None:
    # Held back until the api has spoken, then request again to go on from what was shown.
    rest = Behaviour.answer(TOKENS[4:])
    async with (
        two_servers(tmp_path, rest, fault(4, TOKENS), stall_timeout_s=0.8) as (runtime, *_),
        runtime.session("s").stream("go", policy="prefer") as turn,
    ):
        events = [event async for event in turn]
    (seam,) = [event for event in events if isinstance(event, Takeover)]
    assert (seam.from_track, seam.track) == ("api", "local")
    assert turn.reply.text == WHOLE


async def test_rule_4_both_failing_is_one_error_that_names_each(tmp_path: Path) -> None:
    async with two_servers(tmp_path, Behaviour.refused(), Behaviour.unauthorized()) as (
        runtime,
        *_,
    ):
        with pytest.raises(AllTracksFailed) as caught:
            await runtime.session("s").ask("go", policy="race")
    kinds = {
        error.track: error.kind
        for error in caught.value.exceptions
        if isinstance(error, EngineError)
    }
    assert kinds == {"local": ErrorKind.NETWORK, "api": ErrorKind.AUTH}


async def test_rule_5_tokens_of_a_broken_leg_are_charged(tmp_path: Path) -> None:
    broken = Behaviour.cut(4, TOKENS)
    async with two_servers(tmp_path, Behaviour.answer(TOKENS), broken) as (runtime, *_):
        reply = await runtime.session("s").ask("go", policy="prefer")
    assert reply.track == "local"
    assert reply.cost_usd > 0


async def test_rule_6_no_byte_of_a_private_turn_reaches_the_other_server(tmp_path: Path) -> None:
    secret = "the code is 1234"
    async with two_servers(tmp_path, Behaviour.cut(2, TOKENS), Behaviour.answer("hi")) as (
        runtime,
        _near,
        far,
    ):
        session = runtime.session("s")
        for policy in ("race", "hedge", "cascade", "prefer", "refine", "speculate"):
            with pytest.raises(AllTracksFailed):
                await session.ask(secret, policy=policy, private=True)
        await session.ask("and now?", policy="api")
        assert b"1234" not in far.received


async def test_rule_7_a_server_that_is_silent_costs_no_more_than_the_deadline(
    tmp_path: Path,
) -> None:
    never = anyio.Event()
    silent = Behaviour.answer(TOKENS, gates={0: never})
    async with two_servers(tmp_path, silent, silent) as (runtime, near, far):
        with pytest.raises(AllTracksFailed, match="deadline"):
            await runtime.session("s").ask("go", policy="race", deadline_s=0.5)
        with anyio.fail_after(5):
            for chat in (*near.chats, *far.chats):
                await chat.gone.wait()


async def test_rule_8_cancelling_the_caller_closes_every_connection(tmp_path: Path) -> None:
    never = anyio.Event()
    silent = Behaviour.answer(TOKENS, gates={0: never})
    async with two_servers(tmp_path, silent, silent) as (runtime, near, far):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.session("s").ask, "go")
            chats = [await near.chat(0), await far.chat(0)]
            tasks.cancel_scope.cancel()
        with anyio.fail_after(5):
            for chat in chats:
                await chat.gone.wait()
        assert all(chat.gone.is_set() for chat in chats)


async def test_a_race_reports_the_track_that_it_committed_to(tmp_path: Path) -> None:
    never = anyio.Event()
    silent = Behaviour.answer(TOKENS, gates={0: never})
    async with (
        two_servers(tmp_path, Behaviour.answer(TOKENS), silent) as (runtime, *_),
        runtime.session("s").stream("go", policy="race") as turn,
    ):
        committed = [event async for event in turn if isinstance(event, Committed)]
    assert [event.track for event in committed] == ["local"]


async def test_an_answer_beyond_its_limit_is_cut_there_and_billed_as_it_was_seen(
    tmp_path: Path,
) -> None:
    ignores_the_limit = Behaviour.answer(["word "] * 5000)
    async with two_servers(tmp_path, Behaviour.answer("no"), ignores_the_limit) as (
        runtime,
        _near,
        far,
    ):
        reply = await runtime.session("s").ask("go", track="api", sampling=Sampling(max_tokens=10))
        await (await far.chat()).gone.wait()
    assert reply.finish_reason == "length"
    assert len(reply.text.split()) == 21, "one word more than ten tokens can have"
    assert reply.usage is not None
    assert 21 <= reply.usage.output_tokens <= 60
    assert reply.cost_usd >= 21
