"""Keys and other secrets appear in nothing that a person or a log can see."""

from __future__ import annotations

import dataclasses
import logging
import os
import traceback
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import ValidationError

from tests.openai.support import RawServer, answer_of, context, engine_at, frames, request
from vanta.engine import Sampling
from vanta.errors import EngineError
from vanta.testing import Behaviour, Upstream, nothing_listens
from vanta_openai.engine import OpenAIEngine
from vanta_openai.server import ApiKeyError, OpenAIOptions, find_server

KEY = "sk-test-0123456789abcdef"
ECHO = f"Incorrect API key provided: {KEY}. Find yours on our page."


def all_texts(error: BaseException) -> str:
    """Return all texts of an error and of its whole chain of causes, suppressed ones included."""
    texts = traceback.format_exception(error)
    pending: list[BaseException | None] = [error]
    while pending:
        cause = pending.pop()
        if cause is not None:
            texts += [str(cause), repr(cause), repr(cause.args)]
            pending += [cause.__cause__, cause.__context__]
    texts.append(repr(error.to_dict() if isinstance(error, EngineError) else ""))
    return "\n".join(texts)


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return KEY


@pytest.mark.anyio
@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour.failure(401, ECHO, code="invalid_api_key"),
        Behaviour.failure(401, ECHO, shape="string"),
        Behaviour.failure(500, ECHO, shape="wrapped"),
        Behaviour.error_frame(1, message=ECHO),
        Behaviour.refused(),
        Behaviour.cut(1),
    ],
)
async def test_no_error_contains_the_key_even_if_the_server_echoes_it(
    behaviour: Behaviour, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with Upstream(behaviour) as upstream, engine_at(upstream.base_url) as engine:
        with pytest.raises(EngineError) as caught:
            await answer_of(engine)
        assert upstream.chats[0].authorized_with(key)
    assert key not in all_texts(caught.value)
    assert key not in caplog.text
    assert caught.value.__cause__ is not None


@pytest.mark.anyio
async def test_the_rest_of_the_servers_message_is_kept(key: str) -> None:
    behaviour = Behaviour.failure(401, ECHO)
    async with Upstream(behaviour) as upstream, engine_at(upstream.base_url) as engine:
        with pytest.raises(EngineError, match=r"provided: \*\*\*\. Find yours"):
            await answer_of(engine)


@pytest.mark.anyio
@pytest.mark.parametrize("body", [frames(f'{{"choices": "{KEY}"}}'), frames(f"{KEY} is no JSON")])
async def test_a_malformed_frame_is_shown_without_the_key(body: str, key: str) -> None:
    async with RawServer(body) as server, engine_at(server.base_url) as engine:
        with pytest.raises(EngineError, match="malformed") as caught:
            await answer_of(engine)
    assert key not in all_texts(caught.value)


@pytest.mark.anyio
async def test_the_engine_and_its_parts_do_not_show_the_key(key: str) -> None:
    async with Upstream() as upstream, engine_at(upstream.base_url) as engine:
        await answer_of(engine)
        health = await engine.health()
        shown = f"{engine!r} {vars(engine)!r} {engine.stats()!r} {health!r}"
    assert key not in shown
    assert key not in repr(find_server(OpenAIOptions()))


@pytest.mark.anyio
async def test_a_key_that_cannot_be_a_header_is_refused_without_being_quoted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\nHost: elsewhere")
    async with engine_at("http://127.0.0.1:1/v1") as engine:
        with pytest.raises(EngineError, match="'OPENAI_API_KEY' cannot be an API key") as caught:
            await answer_of(engine)
    assert KEY not in all_texts(caught.value)


@pytest.mark.anyio
async def test_a_password_in_the_url_is_not_shown(key: str) -> None:
    with nothing_listens() as url:
        secret_url = url.replace("://", "://ada:hunter22@") + "?token=tell-nobody"
        async with engine_at(secret_url) as engine:
            with pytest.raises(EngineError) as caught:
                await answer_of(engine, request(sampling=Sampling(max_tokens=1)))
            health = await engine.health()
    texts = all_texts(caught.value) + repr(health)
    assert not [secret for secret in ("hunter22", "tell-nobody", key) if secret in texts]


def test_a_key_among_the_options_is_refused_with_the_ways_that_work() -> None:
    with pytest.raises(ValidationError) as caught:
        OpenAIOptions.model_validate({"api_key": KEY})
    message = str(caught.value)
    assert "api_key_file" in message
    assert "OPENAI_API_KEY" in message
    assert KEY not in message


def test_a_key_file_is_shown_by_its_path_only(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    options = OpenAIOptions(api_key_file=tmp_path / "key")
    assert find_server(options, {}).key == KEY
    assert KEY not in f"{options!r} {find_server(options, {})!r} {options.model_dump()!r}"


@pytest.mark.anyio
async def test_the_log_lines_of_the_libraries_show_no_secret_of_the_url(
    key: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with Upstream() as upstream:
        url = upstream.base_url.replace("://", "://ada:hunter22@") + "?api-key=tell-nobody"
        async with engine_at(url) as engine:
            await answer_of(engine)
        assert upstream.exchanges[0].path.endswith("api-key=tell-nobody")
    assert "HTTP Request: POST" in caplog.text
    assert not [word for word in ("hunter22", "tell-nobody", key) if word in caplog.text]


class TestBindingOfKeys:
    """A key is sent to the server that it was configured for."""

    ENVIRON: ClassVar = {"OPENAI_API_KEY": KEY, "MINE": "k2", "OPENAI_BASE_URL": "http://there/v1"}

    def test_the_variables_of_openai_belong_together(self) -> None:
        server = find_server(OpenAIOptions(), self.ENVIRON)
        assert (server.label, server.key) == ("http://there/v1", KEY)

    @pytest.mark.parametrize(
        "options", [OpenAIOptions(api_key_env="MINE"), OpenAIOptions(api_key_file=Path("/key"))]
    )
    def test_a_key_that_the_options_name_is_not_redirected(self, options: OpenAIOptions) -> None:
        with pytest.raises(ApiKeyError, match=r"would redirect it: .*'base_url'"):
            find_server(options, self.ENVIRON)

    def test_it_is_used_at_the_server_beside_it(self) -> None:
        options = OpenAIOptions(api_key_env="MINE", base_url="http://mine/v1")
        assert find_server(options, self.ENVIRON).key == "k2"

    def test_the_default_server_is_not_a_redirection(self) -> None:
        environ = {**self.ENVIRON, "OPENAI_BASE_URL": "https://api.openai.com/v1/"}
        assert find_server(OpenAIOptions(api_key_env="MINE"), environ).key == "k2"

    def test_a_private_track_is_not_redirected(self) -> None:
        with pytest.raises(ApiKeyError, match="private"):
            find_server(OpenAIOptions(), self.ENVIRON, private=True)

    def test_a_server_that_a_project_named_gets_no_key_of_the_environment(self) -> None:
        options = OpenAIOptions(base_url="http://stranger/v1")
        assert find_server(options, self.ENVIRON, keyless=True).key is None
        options = OpenAIOptions(base_url="http://stranger/v1", api_key_env="MINE")
        assert find_server(options, self.ENVIRON, keyless=True).key == "k2"


def test_a_device_or_a_pipe_in_place_of_a_key_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ApiKeyError, match="cannot be read"):
            find_server(OpenAIOptions(api_key_file=path), {})


@pytest.mark.anyio
async def test_a_keyless_engine_sends_no_key(key: str) -> None:
    async with Upstream() as upstream:
        options = OpenAIOptions(base_url=upstream.base_url)
        engine = OpenAIEngine(options, dataclasses.replace(context(), keyless=True))
        await answer_of(engine)
        await engine.aclose()
        assert not upstream.chats[0].authorized_with(key)
