"""The schema is complete and agrees with the parts of vanta that it configures."""

from __future__ import annotations

import dataclasses
import inspect
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from vanta.config import (
    Config,
    GateConfig,
    PolicyConfig,
    SamplingConfig,
    TrackConfig,
    policy_tables,
    schema,
    tables,
)
from vanta.config.toml_lines import lines_of
from vanta.engine import Sampling
from vanta.errors import ConfigError, UnknownName
from vanta.installation import configs_dir
from vanta.scheduling import BUILTIN, CASCADE, HEDGE, GateRule, Policy, adapt

KNOWN: Mapping[str, Policy] = {policy.name: policy for policy in BUILTIN}
MODELS = [
    model
    for module in (schema, tables, policy_tables)
    for model in vars(module).values()
    if isinstance(model, type) and issubclass(model, BaseModel) and model.model_fields
]


@pytest.mark.parametrize("model", MODELS)
def test_every_field_is_described_in_a_sentence(model: type[BaseModel]) -> None:
    for name, info in model.model_fields.items():
        assert info.description, name
        assert info.description.endswith("."), name


def test_every_table_of_the_configuration_has_a_model() -> None:
    assert {Config, TrackConfig, SamplingConfig, PolicyConfig, GateConfig} < set(MODELS)


def test_sampling_has_the_fields_of_the_engines_sampling() -> None:
    fields = {field.name for field in dataclasses.fields(Sampling)}
    assert set(SamplingConfig.model_fields) == fields
    assert SamplingConfig().to_sampling() == Sampling()
    chosen = SamplingConfig.model_validate({"stop": ["a"], "logit_bias": {"7": 1.5}, "seed": 3})
    assert chosen.to_sampling() == Sampling(stop=("a",), logit_bias={7: 1.5}, seed=3)


def test_a_policy_takes_what_adapt_takes() -> None:
    taken = set(inspect.signature(adapt).parameters) - {"base", "name"}
    assert set(PolicyConfig.model_fields) - {"base"} == taken
    rule = {field.name for field in dataclasses.fields(GateRule)}
    assert set(GateConfig.model_fields) == rule


def test_a_policy_without_base_varies_the_one_of_its_name() -> None:
    policy = PolicyConfig(delay_s=2.0).to_policy("hedge", KNOWN)
    assert policy == adapt(HEDGE, name="hedge", delay_s=2.0)


def test_a_policy_with_a_base_has_a_name_of_its_own() -> None:
    policy = PolicyConfig(base="hedge", tracks=["api", "local"]).to_policy("mine", KNOWN)
    assert (policy.name, policy.tracks) == ("mine", ("api", "local"))


def test_unset_fields_of_a_gate_keep_their_values() -> None:
    policy = PolicyConfig(gate=GateConfig(min_chars=9)).to_policy("cascade", KNOWN)
    assert CASCADE.gate is not None
    assert policy.gate == dataclasses.replace(CASCADE.gate, min_chars=9)
    off = PolicyConfig(gate=GateConfig(min_mean_logprob="off")).to_policy("cascade", KNOWN)
    assert off.gate is not None
    assert off.gate.min_mean_logprob is None


def test_how_answers_are_selected_for_a_verifier() -> None:
    def rule(**fields: Any) -> GateRule:
        return GateConfig(verify_with="api", **fields).to_rule(GateRule())

    assert rule().verify_share == GateRule().verify_share == 0.2
    assert rule(verify_share=0.5).verify_share == 0.5
    assert rule(verify_share="off").verify_share is None
    assert rule(verify_margin=0.1).verify_share is None, "a margin alone selects by margin"
    both = rule(verify_margin=0.1, verify_share=0.3)
    assert (both.verify_margin, both.verify_share) == (0.1, 0.3)
    assert rule(verify_limit=0.8).verify_limit == 0.8


def test_a_verifier_that_the_policy_does_not_use_is_refused() -> None:
    gate = GateConfig(verify_with="apy")
    with pytest.raises(ConfigError, match=r"\[policies\.cascade\]: .*'apy'.*'local', 'api'"):
        PolicyConfig(gate=gate).to_policy("cascade", KNOWN)
    kept = PolicyConfig(gate=GateConfig(verify_with="api"), tracks=["small", "api"])
    policy = kept.to_policy("cascade", KNOWN)
    assert policy.gate is not None
    assert policy.gate.verify_with == "api"


def test_a_setting_without_effect_names_its_table() -> None:
    with pytest.raises(ConfigError, match=r"\[policies\.race\]: .*'delay_s' has no effect"):
        PolicyConfig(delay_s=1.0).to_policy("race", KNOWN)
    with pytest.raises(UnknownName, match=r"Did you mean 'hedge'\?"):
        PolicyConfig(base="hegde").to_policy("mine", KNOWN)


def test_the_schemas_own_defaults_need_no_file() -> None:
    assert Config().policy == "race"
    assert Config().tracks == {}


def _paths(data: object, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield (*prefix, key)
            yield from _paths(value, (*prefix, key))


KEYS = st.text(alphabet='ab ."=#[', min_size=1, max_size=4)
SCALARS = st.integers(0, 9) | st.booleans() | st.text(alphabet='x"\n#[=\u2028', max_size=5)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


@settings(deadline=None)
@given(st.dictionaries(KEYS, st.dictionaries(KEYS, SCALARS, max_size=3), max_size=3))
def test_every_key_of_any_file_has_its_line_number(
    tables: dict[str, dict[str, int | bool | str]],
) -> None:
    written = ["# begin"]
    expected: dict[tuple[str, ...], int] = {}
    for table, values in tables.items():
        written += ["", f"[{_quoted(table)}]"]
        expected[(table,)] = len(written)
        for key, value in values.items():
            many = isinstance(value, str) and "\n" in value
            text = _quoted(value) if isinstance(value, str) else str(value).lower()
            written += [f"{_quoted(key)} = [" + ("\n" if many else "") + text + "]"]
            expected[(table, key)] = "\n".join(written[:-1]).count("\n") + 2
            written = "\n".join(written).split("\n")
    text = "\n".join(written)
    assert set(lines_of(text)) == set(_paths(tomllib.loads(text)))
    assert lines_of(text) == expected


@pytest.mark.parametrize("name", ["default", "offline", "race", "cloud-first"])
def test_a_ready_configuration_explains_itself_to_a_newcomer(name: str) -> None:
    text = configs_dir().joinpath(f"{name}.toml").read_text("utf-8")
    assert text.startswith("# ")
    if name != "default":
        assert f'vanta.open("{name}")' in text
