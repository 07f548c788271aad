"""What models recommend for sampling: the registry, metadata of a file, a careful default."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path

import pytest

from tests.models.ggufs import gguf, metadata, write
from vanta.engine import Sampling
from vanta.errors import ConfigError
from vanta.models import (
    CAREFUL,
    ModelEntry,
    ModelStore,
    RecommendedSampling,
    builtin_entries,
    parse_registry,
)

CARD = "https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct"


def test_the_embedded_default_is_sampled_as_its_card_says(tmp_path: Path) -> None:
    recommended = ModelStore(tmp_path).recommended_sampling("smollm2")
    assert recommended.values() == {"temperature": 0.2, "top_p": 0.9}
    assert recommended.source == CARD


def test_every_recommendation_of_the_registry_names_its_page() -> None:
    entries = builtin_entries().values()
    stated = {entry.id: entry.sampling for entry in entries if entry.sampling}
    assert len(stated) >= 6
    assert all(sampling.source.startswith("https://") for sampling in stated.values())
    assert builtin_entries()["all-minilm-l6-v2"].sampling is None


def test_a_model_of_unknown_origin_gets_a_careful_default(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    path = write(tmp_path, gguf())
    for ref in (str(path), "mistral-7b-instruct-v0.2", "no-such-model", str(tmp_path / "no.gguf")):
        assert store.recommended_sampling(ref) is CAREFUL
    assert 0 < (CAREFUL.temperature or 0) < 0.5


@pytest.mark.parametrize("content", [b"", b"GGUF", b"no model at all"])
def test_a_broken_file_gets_the_careful_default(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path, content)
    assert ModelStore(tmp_path).recommended_sampling(str(path)) is CAREFUL


def test_the_metadata_of_a_file_is_a_recommendation(tmp_path: Path) -> None:
    keys = {"temp": 0.6, "top_p": 0.95, "top_k": 20, "min_p": 0.0, "penalty_repeat": 1.05}
    pairs = {f"general__sampling__{key}": value for key, value in keys.items()}
    path = write(tmp_path, gguf(pairs=metadata(**pairs)))
    recommended = ModelStore(tmp_path).recommended_sampling(str(path))
    assert recommended == RecommendedSampling(
        "the metadata of 'model.gguf'",
        temperature=0.6,
        top_p=0.95,
        top_k=20,
        min_p=0.0,
        repeat_penalty=1.05,
    )
    assert isinstance(recommended.top_k, int)


def test_impossible_metadata_is_ignored(tmp_path: Path) -> None:
    pairs = metadata(
        general__sampling__temp=math.nan,
        general__sampling__top_p=-1.0,
        general__sampling__top_k=math.inf,
        general__sampling__min_p="0.1",
        general__sampling__penalty_repeat=True,
    )
    path = write(tmp_path, gguf(pairs=pairs))
    assert ModelStore(tmp_path).recommended_sampling(str(path)) is CAREFUL


def test_the_registry_takes_precedence_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, gguf(pairs=metadata(general__sampling__temp=1.5)))
    stated = RecommendedSampling("the card", temperature=0.1)
    entries = {
        "stated": ModelEntry(id="stated", source=f"file:{path}", sampling=stated),
        "silent": ModelEntry(id="silent", source=f"file:{path}"),
    }
    store = ModelStore(tmp_path / "models", entries)
    assert store.recommended_sampling("stated").temperature == 0.1
    assert store.recommended_sampling("silent").temperature == 1.5


def test_configured_values_stay_and_unset_ones_are_filled() -> None:
    configured = Sampling(temperature=0.0, max_tokens=7)
    recommended = RecommendedSampling("the card", temperature=0.2, top_p=0.9)
    assert recommended.under(configured) == Sampling(temperature=0.0, top_p=0.9, max_tokens=7)
    full = Sampling(temperature=1.0, top_p=1.0)
    assert recommended.under(full) is full


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("temperature = 9.0", "temperature must be between 0 and 2, not 9.0"),
        ("top_p = 0", "top_p must be between"),
        ("temprature = 0.2", "model 'tiny', key 'sampling'"),
    ],
)
def test_a_mistake_in_the_registry_is_named(line: str, message: str) -> None:
    text = f'[[models]]\nid = "tiny"\nsource = "file:t"\n[models.sampling]\nsource = "x"\n{line}'
    with pytest.raises(ConfigError, match=message):
        parse_registry(tomllib.loads(text), origin="models.toml")
