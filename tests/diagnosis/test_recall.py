"""Checks of what memory recalls with: each can pass, can fail, and names the command that mends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tests.diagnosis.conftest import MakeContext
from vanta.config import Config
from vanta.diagnosis import recall
from vanta.memory.embedder import EmbedderFactory
from vanta.memory.index import IndexFactory
from vanta.memory.search.exact_index import ScanIndex
from vanta.plugin_loading import load
from vanta.testing import HashEmbedder

pytestmark = pytest.mark.anyio

NOT_HERE = "model 'tiny' is not downloaded yet: run `vanta models pull tiny`"


class NoOptions(BaseModel):
    """None."""


def embedder(**fields: Any) -> EmbedderFactory:
    return EmbedderFactory(
        "hash",
        "hashed words",
        NoOptions,
        lambda _options, _context: HashEmbedder(),
        rank=1,
        **fields,
    )


def index(**fields: Any) -> IndexFactory:
    return IndexFactory(
        "exact", "one by one", NoOptions, lambda _options, _context: ScanIndex(), rank=1, **fields
    )


def hooks(*parts: EmbedderFactory | IndexFactory) -> dict[str, Any]:
    from vanta import hookimpl

    embedders = [part for part in parts if isinstance(part, EmbedderFactory)]
    indexes = [part for part in parts if isinstance(part, IndexFactory)]
    return {
        "vanta_embedders": hookimpl(lambda: embedders),
        "vanta_vector_indexes": hookimpl(lambda: indexes),
    }


def config(folder: Path, **memory: Any) -> Config:
    return Config.model_validate({"data_dir": folder, "memory": memory})


async def test_all_that_takes_part_is_named(context: MakeContext) -> None:
    found = await recall.recall(context(hooks=hooks(embedder(), index())))
    assert (found.ok, found.mend) == (True, "")
    assert "embedder 'hash'" in found.detail
    assert "index 'exact'" in found.detail


async def test_weights_that_are_not_here_leave_words_alone(context: MakeContext) -> None:
    found = await recall.recall(
        context(hooks=hooks(embedder(off=lambda _options, _context: NOT_HERE), index()))
    )
    assert (found.ok, found.mend) == (None, "vanta models pull tiny")
    assert found.detail.startswith("by words alone: hash: model 'tiny' is not downloaded")


async def test_a_library_that_is_missing_is_named_with_its_extra(context: MakeContext) -> None:
    lacking = embedder(requires="no_such_library", extra="vanta[embedders]")
    found = await recall.recall(context(hooks=hooks(lacking)))
    assert (found.ok, found.mend) == (None, "pip install 'vanta[embedders]'")
    lacking_index = index(requires="no_such_library", extra="vanta[chroma]")
    found = await recall.recall(context(hooks=hooks(embedder(), lacking_index)))
    assert (found.ok, found.mend) == (None, "pip install 'vanta[chroma]'")
    assert "embedder 'hash'" in found.detail


async def test_an_embedder_that_is_asked_for_by_name_and_missing_is_broken(
    context: MakeContext, tmp_path: Path
) -> None:
    off = hooks(embedder(off=lambda _options, _context: NOT_HERE))
    asked = config(tmp_path, embedder="hash")
    assert (await recall.recall(context(hooks=off, config=asked))).ok is False
    unknown = config(tmp_path, embedder="hush")
    found = await recall.recall(context(hooks=off, config=unknown))
    assert found.ok is False
    assert "Did you mean 'hash'?" in found.detail


async def test_memory_that_is_off_is_no_fault(context: MakeContext, tmp_path: Path) -> None:
    found = await recall.recall(context(config=config(tmp_path, enabled=False)))
    assert (found.ok, found.mend) == (None, "")
    assert "memory.enabled is false" in found.detail
    elsewhere = Config.model_validate({"data_dir": tmp_path, "store_url": "postgresql://host/db"})
    found = await recall.recall(context(config=elsewhere))
    assert found.ok is None
    assert "SQLite" in found.detail


async def test_nothing_is_left_behind_by_looking(context: MakeContext, tmp_path: Path) -> None:
    made = context(data=tmp_path / "data", hooks=hooks(embedder(), index()))
    await recall.recall(made)
    assert not (tmp_path / "data").exists()


async def test_what_counts_the_tokens_of_an_api_track_is_told(context: MakeContext) -> None:
    api = {
        "engine": "openai",
        "model": "no-such-model",
        "options": {"base_url": "http://[::1]:9/v1"},
    }
    made = context(tracks={"api": api}, plugins=load())
    found = await recall.tokens_check("api").run(made)
    assert (found.check, found.ok) == ("tokens of api", None)
    assert "an estimate on the high side: tiktoken knows no model 'no-such-model'" in found.detail
    off = context(tracks={"api": api}, plugins=load(), off={"api": "no key"})
    assert "'api' is off" in (await recall.tokens_check("api").run(off)).detail
