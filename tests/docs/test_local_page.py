"""The page on the local track is true: its options are the engine's, its statistics are told."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.llamacpp.support import answer, engine_on, request
from vanta.config import load
from vanta_llamacpp.options import LlamaCppOptions

PAGE = (Path(__file__).parents[2] / "docs" / "local.md").read_text(encoding="utf-8")


def words(text: str) -> list[str]:
    """The words in code type."""
    return re.findall(r"`(\w+)`", text)


def test_every_option_has_a_row() -> None:
    """And every row is an option."""
    rows = re.findall(r"^\| (`.*?`) \|", PAGE, re.MULTILINE)
    assert {word for row in rows for word in words(row)} == set(LlamaCppOptions.model_fields)


def test_the_configuration_holds(tmp_path: Path) -> None:
    """As a file that vanta reads, and as the engine's options."""
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "vanta.toml"
    path.write_text(text, encoding="utf-8")
    config = load(path).config
    assert config.tracks["local"].window == 2048
    options = tomllib.loads(text)["tracks"]["local"]["options"]
    made = LlamaCppOptions(**options)
    assert made.parallel == 4
    assert made.cache_dir == Path.home() / ".cache" / "vanta-kv"


@pytest.mark.anyio
async def test_every_statistic_is_told(smollm2_path: Path) -> None:
    """By an engine that has answered."""
    engine = engine_on(smollm2_path)
    await answer(engine, request(max_tokens=2))
    told = engine.stats()
    await engine.aclose()
    named = words(PAGE.partition("## Statistics")[2].partition("among others:")[2])
    assert set(named) <= set(told)
    assert len(named) == 8
