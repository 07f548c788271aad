"""Selecting server and key, and turning the track off."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.openai.support import answer_of, context, engine_at, request
from vanta.engine import Sampling
from vanta.errors import EngineError, ErrorKind
from vanta.testing import Upstream
from vanta_openai import vanta_engines
from vanta_openai.protocol import chat_body
from vanta_openai.server import ApiServer, OpenAIOptions, find_server

(FACTORY,) = vanta_engines()
KEY = "sk-test-0123456789abcdef"


def test_the_option_overrides_the_environment_which_overrides_the_default() -> None:
    environ = {"OPENAI_BASE_URL": "http://env.example/v1"}
    configured = OpenAIOptions(base_url="http://config.example/v1")
    assert find_server(configured, environ).url == "http://config.example/v1"
    assert find_server(OpenAIOptions(), environ).url == "http://env.example/v1"
    assert find_server(OpenAIOptions(), {}).url == "https://api.openai.com/v1"


@pytest.mark.anyio
async def test_requests_go_to_the_server_in_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Upstream() as upstream:
        monkeypatch.setenv("OPENAI_BASE_URL", upstream.base_url)
        async with engine_at(None) as engine:
            await answer_of(engine)
        assert len(upstream.chats) == 1


@pytest.mark.anyio
async def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OTHER_KEY", KEY + "-other")
    async with Upstream() as upstream:
        async with engine_at(upstream.base_url) as engine:
            await answer_of(engine)
        async with engine_at(upstream.base_url, api_key_env="OTHER_KEY") as engine:
            await answer_of(engine)
        assert upstream.chats[0].authorized_with(KEY)
        assert upstream.chats[1].authorized_with(KEY + "-other")


@pytest.mark.anyio
async def test_a_key_file_overrides_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    file = tmp_path / "key"
    file.write_text("sk-of-the-file\n")
    async with (
        Upstream() as upstream,
        engine_at(upstream.base_url, api_key_file=file) as engine,
    ):
        await answer_of(engine)
        assert upstream.chats[0].authorized_with("sk-of-the-file")


@pytest.mark.anyio
async def test_a_server_that_needs_no_key_gets_a_placeholder() -> None:
    async with Upstream() as upstream, engine_at(upstream.base_url) as engine:
        await answer_of(engine)
        assert upstream.chats[0].authorized_with("none")


@pytest.mark.anyio
async def test_the_organization_is_sent() -> None:
    async with (
        Upstream() as upstream,
        engine_at(upstream.base_url, organization="org-1") as engine,
    ):
        await answer_of(engine)
        assert upstream.chats[0].headers["openai-organization"] == "org-1"


def test_the_field_of_the_token_limit_depends_on_the_server() -> None:
    assert ApiServer("x", "https://api.openai.com/v1", None).is_openai
    assert not ApiServer("x", "https://api.openai.com.example/v1", None).is_openai
    generation = request(sampling=Sampling(max_tokens=1))
    options = OpenAIOptions()
    assert "max_completion_tokens" in chat_body(generation, "m", options, is_openai=True)
    assert "max_tokens" in chat_body(generation, "m", options, is_openai=False)


def test_without_key_and_base_url_the_track_is_off_and_says_what_to_set() -> None:
    reason = FACTORY.off(OpenAIOptions())
    assert reason is not None
    assert reason.startswith("no OPENAI_API_KEY and no base_url: set one")


def test_with_a_key_or_a_base_url_the_track_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert FACTORY.off(OpenAIOptions(base_url="http://127.0.0.1:1/v1")) is None
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    assert FACTORY.off(OpenAIOptions()) is None
    monkeypatch.delenv("OPENAI_BASE_URL")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert FACTORY.off(OpenAIOptions()) is None


def test_the_reason_for_off_names_the_configured_variable() -> None:
    assert "no MY_KEY" in (FACTORY.off(OpenAIOptions(api_key_env="MY_KEY")) or "")


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "cannot be read"), ("", "is empty"), ("two words", "cannot be an API key")],
)
def test_an_unusable_key_file_turns_the_track_off(
    tmp_path: Path, content: str | None, problem: str
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
    options = OpenAIOptions(base_url="http://127.0.0.1:1/v1", api_key_file=file)
    reason = FACTORY.off(options) or ""
    assert problem in reason
    assert str(file) in reason
    assert "two words" not in reason


def test_a_binary_key_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff\xfe")
    options = OpenAIOptions(api_key_file=tmp_path / "key")
    assert "cannot be an API key" in (FACTORY.off(options) or "")


@pytest.mark.anyio
async def test_a_key_file_that_vanished_is_an_auth_error(tmp_path: Path) -> None:
    async with engine_at("http://127.0.0.1:1/v1", api_key_file=tmp_path / "gone") as engine:
        with pytest.raises(EngineError, match="gone") as caught:
            await engine.load()
    assert caught.value.kind is ErrorKind.AUTH
    assert caught.value.suggestion


@pytest.mark.anyio
async def test_an_invalid_url_in_the_environment_is_an_error_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "ftp://me:hunter22@host")
    reason = FACTORY.off(OpenAIOptions()) or ""
    assert "OPENAI_BASE_URL" in reason
    async with engine_at(None) as engine:
        with pytest.raises(EngineError, match="OPENAI_BASE_URL") as caught:
            await engine.load()
    assert "hunter22" not in reason + str(caught.value)


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x/v1", "http://", "http://a b/", "//x"])
def test_an_invalid_base_url_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="must be a URL like"):
        OpenAIOptions(base_url=url)


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("http://me:hunter22@h.example:81/v1?token=abc", "http://h.example:81/v1"),
        ("http://[::1]:8080/v1", "http://[::1]:8080/v1"),
        ("https://api.openai.com/v1", "https://api.openai.com/v1"),
    ],
)
def test_the_label_has_no_credentials_and_no_query(url: str, label: str) -> None:
    assert find_server(OpenAIOptions(base_url=url), {}).label == label


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(ValidationError, match="extra_forbidden"):
        OpenAIOptions.model_validate({"base_uri": "x"})


def test_the_factory_creates_an_engine_without_opening_anything() -> None:
    engine = FACTORY.create(OpenAIOptions(), context("gpt-4o"))
    assert (engine.name, engine.model) == ("openai", "gpt-4o")
    assert engine.stats()["server"] is None
