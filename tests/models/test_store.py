"""The store without a network: finding, listing, explaining and verifying."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from tests.models.ggufs import gguf
from tests.models.wheels import Wheel, gguf_like
from vanta.errors import ConfigError, ModelStoreError, UnknownName
from vanta.models import (
    ModelEntry,
    ModelFolder,
    ModelStore,
    Progress,
    builtin_entries,
    default_root,
)


def store_with(root: Path, *entries: ModelEntry) -> ModelStore:
    return ModelStore(root, {entry.id: entry for entry in entries})


def test_the_root_follows_the_data_folder(tmp_path: Path) -> None:
    assert default_root({"VANTA_DATA_DIR": str(tmp_path)}) == tmp_path / "models"
    assert default_root({}).parts[-2:] == ("vanta", "models")
    assert default_root({"VANTA_DATA_DIR": "~/v"}) == Path.home() / "v" / "models"


def test_what_is_not_downloaded_says_how_to_get_it(store: ModelStore) -> None:
    with pytest.raises(ModelStoreError, match="not downloaded yet: run `vanta models pull tiny`"):
        store.find("small")
    assert not store.root.exists(), "looking leaves no trace"


def test_an_unknown_name_names_the_nearest(store: ModelStore) -> None:
    with pytest.raises(UnknownName, match=r"no model is named 'smal'.*Did you mean 'small'"):
        store.find("smal")


def test_a_path_is_found_without_the_registry(store: ModelStore, tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    path.write_bytes(gguf_like(100))
    found = store.find(str(path))
    assert (found.id, found.path) == (str(path), path)


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "is empty"), (b"<html>", "is not a GGUF file")]
)
def test_a_path_to_something_else_says_so(
    store: ModelStore, tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "mine.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelStoreError, match=message):
        store.find(str(path))


def test_a_path_to_nothing_or_to_a_folder_says_so(store: ModelStore, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "no.gguf"):
        with pytest.raises(ModelStoreError, match="does not exist"):
            store.find(str(path))


def test_a_truncated_file_in_the_store_is_never_given_out(store: ModelStore, wheel: Wheel) -> None:
    store.root.mkdir(parents=True)
    (store.root / "tiny.gguf").write_bytes(wheel.model[:1000])
    with pytest.raises(ModelStoreError, match=r"1000 bytes where 300000 .*vanta models pull tiny"):
        store.find("tiny")


def test_a_file_source_is_used_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    entry = ModelEntry(id="mine", source="file:~/mine.gguf")
    store = store_with(tmp_path / "models", entry)
    with pytest.raises(ModelStoreError, match=r"'mine': the file .*mine\.gguf' does not exist"):
        store.find("mine")
    (tmp_path / "mine.gguf").write_bytes(gguf())
    assert store.find("mine").path == tmp_path / "mine.gguf"
    assert store.pull("mine").path == tmp_path / "mine.gguf"


def test_a_file_source_with_another_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    path.write_bytes(gguf_like(100))
    entry = ModelEntry(id="mine", source=f"file:{path}", sha256="0" * 64)
    with pytest.raises(ModelStoreError, match="is not the file of the registry"):
        store_with(tmp_path / "models", entry).pull("mine")
    assert path.exists()


@pytest.mark.parametrize("name", ["loud_model", "loud-model"])
def test_a_package_source_is_found_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    package, info = tmp_path / "loud_model", tmp_path / "loud_model-1.0.dist-info"
    for folder in (package, info):
        folder.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    (package / "m.gguf").write_bytes(gguf_like(100))
    if name == "loud-model":
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: loud-model\nVersion: 1.0\n")
    else:
        info.rmdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    entry = ModelEntry(id="loud", source=f"package:{name}#loud_model/m.gguf")
    assert store_with(tmp_path / "models", entry).find("loud").path == package / "m.gguf"
    assert "loud_model" not in sys.modules


def test_a_package_that_is_not_installed_says_how_to_install_it(tmp_path: Path) -> None:
    entry = ModelEntry(id="absent", source="package:no-such-model#m.gguf")
    store = store_with(tmp_path, entry)
    for attempt in (store.find, store.pull):
        with pytest.raises(ModelStoreError, match="pip install no-such-model"):
            attempt("absent")


@pytest.mark.parametrize("location", ["name", "name#", "#file", "name#/etc/passwd", "a#../../x"])
def test_a_member_outside_its_package_is_refused(tmp_path: Path, location: str) -> None:
    entry = ModelEntry(id="wrong", source=f"package:{location}")
    with pytest.raises(ConfigError, match="must be like 'package:NAME#FILE'"):
        store_with(tmp_path, entry).find("wrong")


def test_a_hub_source_says_that_it_comes_later_and_what_to_type(tmp_path: Path) -> None:
    folder = tmp_path / "it's $HOME"
    folder.mkdir()
    store = ModelStore(folder, builtin_entries())
    with pytest.raises(ModelStoreError, match="cannot download 'hf:' sources yet"):
        store.find("qwen2.5-0.5b-instruct")
    with pytest.raises(ModelStoreError, match="cannot download 'hf:' sources yet") as caught:
        store.pull("qwen2.5-0.5b-instruct")
    kept = str(folder / "qwen2.5-0.5b-instruct.gguf")
    _, _, command = str(caught.value).partition("as a source: ")
    assert shlex.split(command)[:5] == ["curl", "-L", "--create-dirs", "-o", kept]
    Path(kept).write_bytes(gguf_like(100))
    assert store.find("qwen2.5-0.5b-instruct").path == Path(kept), "the advice works"


def test_a_scheme_that_nobody_serves_names_the_known_ones(tmp_path: Path) -> None:
    store = store_with(tmp_path, ModelEntry(id="odd", source="fil:x"))
    with pytest.raises(UnknownName, match=r"no model source is named 'fil'.*Did you mean 'file'"):
        store.find("odd")


class Generated:
    """A stranger's source: makes its models up."""

    scheme = "made"

    def find(self, entry: ModelEntry, store: ModelFolder) -> Path | None:
        return None

    def fetch(self, entry: ModelEntry, store: ModelFolder, progress: Progress) -> Path:
        (store.staging(entry) / "scratch").write_text("in the middle")
        return store.keep(entry, [b"GGUF", entry.location.encode()], progress)


def test_a_strangers_source_brings_models_through_the_same_checks(tmp_path: Path) -> None:
    entries = {"x": ModelEntry(id="x", source="made:up")}
    assert ModelStore(tmp_path, entries, {"made": Generated()}).pull("x").path.read_bytes() == (
        b"GGUFup"
    )
    assert not list(tmp_path.glob(".fetch/*"))
    strict = {"y": ModelEntry(id="y", source="made:up", sha256="0" * 64)}
    with pytest.raises(ModelStoreError, match="sha256"):
        ModelStore(tmp_path, strict, {"made": Generated()}).pull("y")


def test_a_source_outside_of_a_pull_holds_no_lock(store: ModelStore, wheel: Wheel) -> None:
    with pytest.raises(ModelStoreError, match=r"is not being pulled. Call ModelStore\.pull"):
        store.sources["wheel"].fetch(wheel.entry, store, lambda *_: None)


def test_verify_tells_ok_corrupt_missing_and_unknown(store: ModelStore, wheel: Wheel) -> None:
    missing = store.verify("tiny")
    assert (missing.status, missing.fix) == ("missing", "vanta models pull tiny")
    path = store.pull("tiny").path
    seen: list[tuple[int, int | None, str]] = []
    good = store.verify("small", lambda *step: seen.append(step))
    assert (good.status, good.sha256, good.path) == ("ok", wheel.entry.sha256, path)
    assert seen[-1] == (300_000, 300_000, "check")
    path.write_bytes(b"GGUF" + bytes(299_996))
    assert store.verify("tiny").status == "corrupt"
    path.write_bytes(b"GGUF")
    short = store.verify("tiny")
    assert (short.status, short.size_bytes) == ("corrupt", 4)
    assert json.loads(json.dumps(short.to_dict()))["fix"] == "vanta models pull tiny"
    path.write_bytes(gguf())
    anonymous = store.verify(str(path))
    assert (anonymous.status, anonymous.id) == ("unknown", str(path))


def test_verify_of_what_cannot_be_pulled_names_no_command(tmp_path: Path) -> None:
    found = ModelStore(tmp_path, builtin_entries()).verify("mistral-7b-instruct-v0.2")
    assert (found.status, found.fix) == ("missing", "")
    assert "curl" in found.detail


def test_the_list_is_json_and_tells_what_is_present(store: ModelStore, wheel: Wheel) -> None:
    (before,) = json.loads(json.dumps(store.list()))
    assert (before["id"], before["present"], before["path"]) == ("tiny", False, None)
    assert before["memory"]["need_bytes"] == 300_000 + 2048 * 1000 + 512 * 4 * 1000
    path = store.pull("tiny").path
    (after,) = store.list()
    assert (after["present"], after["path"], after["hint"]) == (True, str(path), "")
    assert (after["licence"], after["quantisation"], after["window"]) == ("MIT", "Q4_0", 2048)


def test_info_believes_the_file_before_the_registry(smollm2_path: Path, tmp_path: Path) -> None:
    entry = ModelEntry(id="mine", source=f"file:{smollm2_path}", window=7, kv_bytes_per_token=7)
    info = store_with(tmp_path, entry).info("mine", window=100)
    assert (info["window"], info["architecture"], info["present"]) == (8192, "llama", True)
    assert "(100 tokens x 23040 bytes)" in info["memory"]["arithmetic"]
    by_path = store_with(tmp_path).info(str(smollm2_path))
    assert (by_path["id"], by_path["window"]) == (str(smollm2_path), 8192)
    assert "(8192 tokens" in by_path["memory"]["arithmetic"]


def test_info_of_an_absent_model_is_the_registrys_word(store: ModelStore) -> None:
    info = store.info("tiny")
    assert (info["present"], info["window"], info["size_bytes"]) == (False, 2048, 300_000)
    assert "vanta models pull tiny" in info["hint"]
    json.dumps(info)


def test_a_broken_file_that_the_registry_has_no_hash_for_is_corrupt(
    store: ModelStore, tmp_path: Path
) -> None:
    path = tmp_path / "mine.gguf"
    path.write_bytes(gguf_like(100))
    found = store.verify(str(path))
    assert found.status == "corrupt"
    assert "not a sound GGUF file" in found.detail
