"""What servers write about private text is neither raised, shown nor stored."""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

import vanta
import vanta.memory
from tests.memory.home import bytes_in
from tests.runtime.home import open_scripted
from vanta.errors import AllTracksFailed, EmbedderError, EngineError, ErrorKind
from vanta.events import Event, LegFailed
from vanta.memory import Selection
from vanta.testing import Behaviour, Fail, HashEmbedder, ScriptedEngine, Upstream, hash_plugin

pytestmark = pytest.mark.anyio

SECRET = "the Zanzibarquay oak"
ECHO = f"cannot answer: {json.dumps({'content': f'My treasure lies under {SECRET}.'})}"
QUESTION = f"My treasure lies under {SECRET}."


def settings(folder: Path, url: str, *, private: bool, **rest: Any) -> dict[str, Any]:
    track = {"engine": "openai", "model": "m", "private": private, "options": {"base_url": url}}
    own = {"data_dir": str(folder), "retries": 0, "memory": {"embedder": "none"}}
    return {"tracks": {"one": track, "local": OFF, "api": OFF}, **own, **rest}


OFF = {"enabled": False, "engine": "openai", "model": "m"}


class Seen:
    """An observer that keeps events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    @vanta.hookimpl
    def vanta_observers(self, config: dict[str, Any]) -> tuple[Any, ...]:
        return (self.events.append,)


@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour.failure(500, ECHO),
        Behaviour.failure(400, ECHO, shape="string"),
        Behaviour.error_frame(0, message=ECHO),
        Behaviour.error_frame(2, message=ECHO),
        Behaviour.failure(422, ECHO.replace(" ", "+")),
    ],
)
async def test_an_echo_of_the_prompt_stands_nowhere(
    tmp_path: Path, behaviour: Behaviour, *, private: bool
) -> None:
    seen = Seen()
    async with Upstream(default=behaviour) as upstream:
        config = settings(tmp_path, upstream.base_url, private=private)
        async with vanta.open(config, plugins=[seen]) as runtime:
            with pytest.raises(AllTracksFailed) as caught:
                await runtime.session("s").ask(QUESTION, track="one", private=private)
            (record,) = await runtime.store.records()
        assert SECRET.encode() in upstream.received
    raised = "".join(traceback.format_exception(caught.value))
    failed = [event.to_dict() for event in seen.events if isinstance(event, LegFailed)]
    assert failed
    for text in (raised, str(caught.value.causes), json.dumps(record["trace"]), json.dumps(failed)):
        assert "Zanzibarquay" not in text
    (cause,) = caught.value.causes
    assert cause.kind in (ErrorKind.SERVER, ErrorKind.BAD_REQUEST)
    assert record["trace"]["legs"][0]["error"]["kind"] == str(cause.kind)
    assert ("cannot" in cause.message) is not private
    assert await anyio.to_thread.run_sync(bytes_in, tmp_path, b"Zanzibarquay") == []


async def test_a_refusal_of_a_long_prompt_is_recorded_without_its_words(tmp_path: Path) -> None:
    message = f"maximum context length is 3000 tokens; you sent 400: {QUESTION}"
    refusal = Behaviour.failure(400, message, code="context_length_exceeded")
    async with Upstream(Behaviour.answer("ok"), refusal, Behaviour.answer("ok")) as upstream:
        config = settings(tmp_path, upstream.base_url, private=False)
        async with vanta.open(config) as runtime:
            await runtime.session("s").ask(QUESTION + " More words." * 300, track="one")
            reply = await runtime.session("s").ask("And?", track="one")
    refused = reply.trace.context["one"].refused
    assert refused is not None
    assert "maximum context length is 3000 tokens" in refused
    assert "Zanzibarquay" not in json.dumps(reply.trace.to_dict())


class EchoingEmbedder(HashEmbedder):
    """Fails, and quotes the texts."""

    async def embed(self, texts: Any) -> Any:
        raise EmbedderError(f"HTTP 500: cannot embed {list(texts)!r}")


async def test_an_embedder_that_quotes_is_not_quoted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    embedder = EchoingEmbedder()
    async with Upstream(default=Behaviour.answer("ok")) as upstream:
        config = settings(tmp_path, upstream.base_url, private=False)
        config["memory"] = {"embedder": "hash", "index": "none", "recall_timeout_s": 30.0}
        async with vanta.open(config, plugins=[hash_plugin(embedder)]) as runtime:
            assert runtime.memory is not None
            await runtime.session("s").ask(QUESTION, track="one")
            why = await runtime.memory.ready(vanta.memory.Scope("default"))
            reply = await runtime.session("t").ask(QUESTION, track="one")
    assert "cannot embed" in why
    assert reply.trace.recall is not None
    for text in (why, reply.trace.recall.skipped, caplog.text):
        assert "Zanzibarquay" not in text


async def test_forgetting_covers_the_records_of_turns_that_failed(tmp_path: Path) -> None:
    """Also of a record that an earlier version wrote with the server's words."""
    said = "in other words: a hiding place"
    async with Upstream(default=Behaviour.failure(500, said)) as upstream:
        config = settings(tmp_path, upstream.base_url, private=False)
        async with vanta.open(config) as runtime:
            for session, user in (("s", "ada"), ("t", "ada"), ("s", "bob")):
                with pytest.raises(AllTracksFailed):
                    await runtime.session(session, user=user).ask("Where?", track="one")
            assert runtime.memory is not None
            await runtime.memory.forget(Selection("ada", session="s"))
            assert await told_in(runtime) == {("ada", "s"): 0, ("ada", "t"): 1, ("bob", "s"): 1}
            await runtime.session("s", user="bob").clear()
            assert await told_in(runtime) == {("ada", "s"): 0, ("ada", "t"): 1, ("bob", "s"): 0}
            receipt = await runtime.memory.forget(Selection("ada", everything=True))
            assert receipt.certain, receipt.why
            assert await anyio.to_thread.run_sync(bytes_in, tmp_path, said.encode()) == []
            (record, *_) = await runtime.store.records(user="ada")
    assert record["trace"]["legs"][0]["error"]["kind"] == "server"
    assert await anyio.to_thread.run_sync(bytes_in, tmp_path, said.encode()) == []


async def told_in(runtime: vanta.Runtime) -> dict[tuple[str, str], int]:
    records = await runtime.store.records()
    return {
        (record["user"], record["session"]): int("hiding place" in json.dumps(record["trace"]))
        for record in records
    }


async def test_the_error_of_a_track_that_is_not_ours_is_scrubbed_too(tmp_path: Path) -> None:
    error = EngineError(ErrorKind.SERVER, f"no: {QUESTION}", engine="x")
    engine = ScriptedEngine(Fail(error))
    async with open_scripted(tmp_path, local=engine, config={"retries": 0}) as runtime:
        with pytest.raises(AllTracksFailed) as caught:
            await runtime.session("s").ask(QUESTION, policy="local")
    assert "Zanzibarquay" not in str(caught.value)
    assert await anyio.to_thread.run_sync(bytes_in, tmp_path, b"Zanzibarquay") == []
