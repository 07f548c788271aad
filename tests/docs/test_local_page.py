"""The page on the local track is true: its options and statistics are those of the engine."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.docs.pages import block, first_column, page
from tests.llamacpp.support import answer, engine_on, request
from vanta.config import load
from vanta_llamacpp.options import LlamaCppOptions

PAGE = page("docs/local.md")


def words(text: str) -> list[str]:
    """Return the words in code type."""
    return re.findall(r"`(\w+)`", text)


def test_every_option_has_a_row_and_every_row_is_an_option() -> None:
    assert first_column(PAGE) == set(LlamaCppOptions.model_fields)


def test_the_configuration_fits_vanta_and_the_engine(tmp_path: Path) -> None:
    text = block(PAGE, "toml")
    path = tmp_path / "vanta.toml"
    path.write_text(text, encoding="utf-8")
    config = load(path).config
    assert config.tracks["local"].window == 2048
    options = tomllib.loads(text)["tracks"]["local"]["options"]
    parsed = LlamaCppOptions(**options)
    assert parsed.parallel == 4
    assert parsed.cache_dir == Path.home() / ".cache" / "vanta-kv"


@pytest.mark.anyio
async def test_an_engine_that_answered_has_every_documented_statistic(
    smollm2_path: Path,
) -> None:
    engine = engine_on(smollm2_path)
    await answer(engine, request(max_tokens=2))
    stats = engine.stats()
    await engine.aclose()
    named = words(PAGE.partition("## Statistics")[2].partition("among others:")[2])
    assert set(named) <= set(stats)
    assert len(named) == 9
