"""The registry as data: what is read, and what is said of a mistake in it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from vanta.errors import ConfigError
from vanta.models import ModelEntry, builtin_entries, builtin_sources, parse_registry, read_registry

GOOD = """
[[models]]
id = "tiny"
source = "file:~/tiny.gguf"
capabilities = ["chat"]
"""


def parse(text: str) -> dict[str, ModelEntry]:
    return parse_registry(tomllib.loads(text), origin="models.toml")


def test_an_entry_is_read_with_its_types() -> None:
    entry = parse(GOOD)["tiny"]
    assert entry == ModelEntry(id="tiny", source="file:~/tiny.gguf", capabilities=("chat",))
    assert (entry.scheme, entry.location) == ("file", "~/tiny.gguf")
    assert entry.to_dict()["capabilities"] == ["chat"]


def test_vantas_own_registry_is_sound_and_every_source_is_known() -> None:
    entries = builtin_entries()
    assert entries["smollm2-135m-instruct"].window == 8192
    assert {entry.scheme for entry in entries.values()} <= set(builtin_sources())
    assert all(entry.licence and entry.description for entry in entries.values())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('licens = "MIT"', r"models.toml: model 'tiny', key 'licens': .*Did you mean 'licence'"),
        ('window = "wide"', r"model 'tiny', key 'window': .*integer"),
        ('capabilities = ["fly"]', r"model 'tiny', key 'capabilities'"),
        ('sha256 = "abc"', r"models.toml: model 'tiny': 'abc' is not a sha256 of 64 hex digits"),
        ('aliases = ["Tiny Model"]', r"models.toml: .*'Tiny Model'"),
    ],
)
def test_a_mistake_names_file_model_and_key(line: str, message: str) -> None:
    text = GOOD.replace('capabilities = ["chat"]', line)
    with pytest.raises(ConfigError, match=message):
        parse(text)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match="model 'tiny', key 'source': Field required"):
        parse('[[models]]\nid = "tiny"')


def test_a_source_without_a_scheme_says_what_it_could_be() -> None:
    with pytest.raises(ConfigError, match=r"'tiny\.gguf' has no scheme; .*'file:PATH'"):
        parse(GOOD.replace("file:~/tiny.gguf", "tiny.gguf"))


@pytest.mark.parametrize("text", ["models = 3", "model = []", "models = [1]"])
def test_a_registry_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"models\.toml: the registry is a list"):
        parse(text)


def test_an_empty_registry_knows_no_model() -> None:
    assert parse("") == {}


def test_a_name_that_two_models_claim_is_refused() -> None:
    second = GOOD.replace('"tiny"', '"other"') + 'aliases = ["tiny"]'
    with pytest.raises(ConfigError, match="'tiny' belongs to two models, 'tiny' and 'other'"):
        parse(GOOD + second)


@pytest.mark.parametrize("content", [b"[[models", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"broken\.toml' cannot be read"):
        read_registry(path)
