"""Any configuration either loads or raises ConfigError, never another exception."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vanta.config import (
    Config,
    GateConfig,
    Loaded,
    PolicyConfig,
    SamplingConfig,
    TrackConfig,
    load,
)
from vanta.diagnosis import configuration_problems
from vanta.errors import ConfigError

KEY = "sk-abcdefghijklmnopqrst"
MODELS = (Config, TrackConfig, SamplingConfig, PolicyConfig, GateConfig)
REAL = st.sampled_from(sorted({name for model in MODELS for name in model.model_fields}))
NAMES = REAL | st.sampled_from(["local", "api", "race", "api_key", "", "a b", "[key]", "0"])
SCALARS = (
    st.integers()
    | st.floats()
    | st.booleans()
    | st.text(max_size=5)
    | st.sampled_from(["openai", "local", "continue", KEY])
    | st.dates()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
VARIABLES = st.lists(NAMES.filter(bool), min_size=1, max_size=3).map(
    lambda parts: "VANTA_" + "__".join(parts).upper()
)


TABLES = st.dictionaries(NAMES, VALUES, max_size=3)
SHAPED = st.fixed_dictionaries(
    {},
    optional={
        "deadline_s": st.integers(1, 9) | SCALARS,
        "variables": TABLES,
        "tracks": st.fixed_dictionaries(
            {"local": st.fixed_dictionaries({}, optional={"options": TABLES, "window": SCALARS})}
        ),
        "plugins": st.fixed_dictionaries({"allow": st.lists(st.text(min_size=1, max_size=3))}),
    },
)


def loaded_or_refused(source: Any, environ: dict[str, str]) -> Loaded | str:
    """Return the loaded configuration, or the message of the ConfigError."""
    try:
        return load(source, environ=environ)
    except ConfigError as error:
        return str(error)


def attempt(source: Any, environ: dict[str, str]) -> None:
    result = loaded_or_refused(source, environ)
    if isinstance(result, str):
        assert result
        assert KEY not in result
        return
    configuration_problems(result)
    assert KEY not in repr(result.as_dict())
    for key in filter(_has_dotted_form, result.origins):
        assert str(result.explain(key)).startswith(f"{key} = ")


def _has_dotted_form(key: str) -> bool:
    """Return whether a key has a dotted form: no part is empty or contains a dot."""
    return all(part.replace("_", "").isalnum() for part in key.split("."))


@settings(deadline=None)
@given(SHAPED | st.dictionaries(NAMES, VALUES, max_size=4))
def test_any_data_loads_or_is_a_config_error(source: dict[str, Any]) -> None:
    attempt(source, {})


@settings(deadline=None)
@given(st.dictionaries(VARIABLES, st.text(st.characters(exclude_characters="\0"), max_size=8)))
def test_any_environment_loads_or_is_a_config_error(environ: dict[str, str]) -> None:
    environ.pop("VANTA_CONFIG", None)
    attempt({}, environ)


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_any_file_loads_or_is_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    path.write_bytes(content)
    result = loaded_or_refused(path, {})
    assert isinstance(result, Loaded) or str(path) in result
