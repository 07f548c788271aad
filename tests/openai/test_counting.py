"""Counting tokens: tiktoken from verified files on disk, otherwise an estimate that learns."""

from __future__ import annotations

import base64
import hashlib
import importlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
from tiktoken.load import load_tiktoken_bpe

from tests.openai.support import answer_of, engine_at
from vanta.context import Calibration, estimate_tokens
from vanta.engine import GenerationRequest, TokenCount
from vanta.errors import EngineError, ErrorKind
from vanta.messages import Message, ToolCall
from vanta.testing import Behaviour, Upstream
from vanta_openai.token_counting import RanksNotFoundError, TokenCounter, encoding_of

URL = "https://ranks.invalid/encodings/o200k_base.tiktoken"
CACHE_NAME = hashlib.sha1(URL.encode(), usedforsecurity=False).hexdigest()
MERGES = (b"he", b"ll", b"hell", b"hello", b" w", b"or", b"ld", b" wor", b" world")
RANKS = {bytes([byte]): byte for byte in range(256)} | {
    token: 256 + number for number, token in enumerate(MERGES)
}
FILE = b"".join(
    base64.b64encode(token) + b" " + str(rank).encode() + b"\n" for token, rank in RANKS.items()
)
SHA256 = hashlib.sha256(FILE).hexdigest()


def small() -> dict[str, Any]:
    """A recipe like tiktoken's, of a small vocabulary."""
    return {
        "name": "o200k_base",
        "pat_str": r" ?\w+|[^\w\s]+|\s+",
        "mergeable_ranks": load_tiktoken_bpe(URL, expected_hash=SHA256),
        "special_tokens": {"<|endoftext|>": 300},
    }


def on_top() -> dict[str, Any]:
    """A recipe that calls another one, as o200k_harmony's does."""
    return {**small(), "special_tokens": {"<|start|>": 301}}


RECIPES: dict[str, Callable[[], dict[str, Any]]] = {"o200k_base": small, "o200k_harmony": on_top}


@pytest.fixture(autouse=True)
def _no_network_and_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look_up = socket.getaddrinfo

    def refuse(host: Any, *args: Any, **named: Any) -> Any:
        assert host == "127.0.0.1", "the network was tried"
        return look_up(host, *args, **named)

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for name in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "elsewhere"))


@pytest.mark.parametrize("name", ["o200k_base.tiktoken", CACHE_NAME])
def test_ranks_are_read_from_the_given_directory(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FILE)
    encoding = encoding_of("gpt-4o-mini", tmp_path, RECIPES)
    assert encoding.encode_ordinary("hello world") == [RANKS[b"hello"], RANKS[b" world"]]


@pytest.mark.parametrize("variable", ["TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"])
def test_ranks_are_read_from_tiktokens_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    (tmp_path / CACHE_NAME).write_bytes(FILE)
    monkeypatch.setenv(variable, str(tmp_path))
    assert encoding_of("gpt-4o", None, RECIPES).encode_ordinary("hello") == [RANKS[b"hello"]]


def test_ranks_are_read_from_tiktokens_default_cache(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere" / "data-gym-cache"
    folder.mkdir(parents=True)
    (folder / CACHE_NAME).write_bytes(FILE)
    assert encoding_of("gpt-4o", None, RECIPES).name == "o200k_base"


def test_ranks_are_read_from_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "carrier" / "data").mkdir(parents=True)
    (tmp_path / "carrier" / "data" / CACHE_NAME).write_bytes(FILE)
    info = tmp_path / "carrier-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n")
    (info / "RECORD").write_text(f"carrier/data/{CACHE_NAME},,\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert encoding_of("gpt-4o", None, RECIPES).name == "o200k_base"


def test_a_file_with_another_hash_is_neither_used_nor_deleted(tmp_path: Path) -> None:
    for name in (CACHE_NAME, "o200k_base.tiktoken"):
        (tmp_path / name).write_bytes(FILE + b"YQ== 999\n")
    with pytest.raises(RanksNotFoundError, match=f"another sha256: .*{CACHE_NAME}"):
        encoding_of("gpt-4o", tmp_path, RECIPES)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_recipe_that_calls_another_is_kept_off_the_network(tmp_path: Path) -> None:
    (tmp_path / CACHE_NAME).write_bytes(FILE)
    encoding = encoding_of("gpt-oss-20b", tmp_path, RECIPES)
    assert encoding.special_tokens_set == {"<|start|>"}
    assert encoding.encode_single_token("<|start|>") == 301


@pytest.mark.parametrize("model", ["gpt-4o", "openai/gpt-4.1-mini", "gpt-oss-20b", "gpt-4"])
def test_tiktokens_recipes_read_the_disk_only_and_name_the_missing_file(model: str) -> None:
    with pytest.raises(RanksNotFoundError, match="tiktoken_dir"):
        encoding_of(model)


@pytest.mark.parametrize("model", ["gpt2", "llama-3", "davinci"])
def test_a_model_without_ranks_of_the_new_kind_is_refused(model: str) -> None:
    with pytest.raises(RanksNotFoundError):
        encoding_of(model)


def test_a_file_with_the_right_hash_and_no_ranks_is_refused(tmp_path: Path) -> None:
    junk = b"no ranks at all\n"
    (tmp_path / "o200k_base.tiktoken").write_bytes(junk)

    def recipe() -> dict[str, Any]:
        digest = hashlib.sha256(b"no ranks at all\n").hexdigest()
        return {"mergeable_ranks": load_tiktoken_bpe(URL, expected_hash=digest)}

    with pytest.raises(RanksNotFoundError, match="not a file of ranks"):
        encoding_of("gpt-4o", tmp_path, {"o200k_base": recipe})


PROMPT = (Message("system", "hello"), Message("user", "hello world"))


@pytest.mark.anyio
async def test_an_encoding_counts_exactly_by_the_documented_format(tmp_path: Path) -> None:
    (tmp_path / CACHE_NAME).write_bytes(FILE)
    counter = TokenCounter(await anyio.to_thread.run_sync(encoding_of, "gpt-4o", tmp_path, RECIPES))
    counted = await counter.count(PROMPT)
    assert (counted.value, counted.exact) == (1 + 2 + 2 * 3 + 3, True)
    texts = await counter.count_texts(["hello world", "", "hell"])
    assert [text.value for text in texts] == [2, 0, 1]
    assert counter.name == "tiktoken o200k_base"
    call = Message("assistant", "", (ToolCall("1", "hello", "{}"),))
    assert not (await counter.count([*PROMPT, call])).exact


@pytest.mark.anyio
async def test_an_engine_without_ranks_estimates_and_reports_the_reason(tmp_path: Path) -> None:
    async with (
        Upstream() as upstream,
        engine_at(upstream.base_url, model="gpt-4o", tiktoken_dir=tmp_path) as engine,
    ):
        await engine.load()
        assert engine.counter == "estimate for openai"
        assert "tiktoken_dir" in engine.stats()["no_tiktoken"]
        assert await engine.count_tokens(PROMPT) == Calibration("gpt-4o").count(PROMPT)


@pytest.mark.anyio
async def test_an_engine_counts_exactly_with_ranks_in_its_tiktoken_dir(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / CACHE_NAME).write_bytes(FILE)
    public = importlib.import_module("tiktoken_ext.openai_public")
    monkeypatch.setitem(public.ENCODING_CONSTRUCTORS, "o200k_base", small)
    options: dict[str, Any] = {"model": "gpt-4o", "tiktoken_dir": tmp_path}
    async with Upstream() as upstream, engine_at(upstream.base_url, **options) as engine:
        await engine.load()
        assert engine.counter == "tiktoken o200k_base"
        assert await engine.count_tokens(PROMPT) == TokenCount(12, exact=True)


@pytest.mark.anyio
async def test_an_engine_learns_from_the_usage_that_its_server_reports() -> None:
    """The server counts more tokens than the estimate; the next estimate is corrected."""
    messages = tuple(Message("user", "word " * 40) for _ in range(4))
    counted_by_server = estimate_tokens(messages).value * 3 // 2
    async with (
        Upstream(default=Behaviour.answer(prompt_tokens=counted_by_server)) as upstream,
        engine_at(upstream.base_url) as engine,
    ):
        await answer_of(engine, GenerationRequest(messages))
        counted = await engine.count_tokens(messages)
        assert counted_by_server <= counted.value <= counted_by_server * 1.05
        assert not counted.exact
        assert engine.counter.startswith("estimate x1.")


@pytest.mark.anyio
async def test_an_engine_learns_from_the_numbers_in_a_refusal() -> None:
    """The server counts 9000 tokens, many more than estimated."""
    messages = (Message("user", "words and words " * 1000),)
    before = estimate_tokens(messages).value
    async with (
        Upstream(Behaviour.context_overflow()) as upstream,
        engine_at(upstream.base_url) as engine,
    ):
        with pytest.raises(EngineError) as caught:
            await answer_of(engine, GenerationRequest(messages))
        assert caught.value.kind is ErrorKind.CONTEXT_OVERFLOW
        assert before < 9000 <= (await engine.count_tokens(messages)).value


@pytest.mark.anyio
async def test_llama_servers_token_counts_are_appended_to_its_message() -> None:
    error = {
        "code": 400,
        "type": "exceed_context_size_error",
        "message": "the request exceeds the available context size, try increasing it",
        "n_prompt_tokens": 5000,
        "n_ctx": 4096,
    }
    async with (
        Upstream(Behaviour(status=400, error={"error": error})) as upstream,
        engine_at(upstream.base_url) as engine,
    ):
        with pytest.raises(EngineError, match="has 5000 tokens, the window 4096") as caught:
            await answer_of(engine, GenerationRequest(PROMPT))
        assert caught.value.kind is ErrorKind.CONTEXT_OVERFLOW


@pytest.mark.anyio
async def test_long_prompts_are_counted_off_the_loop() -> None:
    """Otherwise the guard of the event loop fails the test: a megabyte takes 0.2 s."""
    prompt = [Message("user", "0123 word Ab" * 70_000)]
    assert (await TokenCounter().count(prompt)).value > 100_000
