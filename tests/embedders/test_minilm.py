"""all-MiniLM-L6-v2 agrees with the reference implementation, and explains what is missing."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import re
import shutil
import subprocess
import sys
import weakref
from pathlib import Path

import anyio
import anyio.lowlevel
import numpy as np
import pytest

from tests.embedders.conftest import Make, factory
from vanta import install_hint
from vanta.engine import ModelFile
from vanta.errors import EmbedderError, ModelStoreError
from vanta.memory import EmbedderContext
from vanta.models import ModelStore
from vanta_embedders.graph import build
from vanta_embedders.local import Loading, LocalEmbedder
from vanta_embedders.minilm import MiniLmOptions, load_network

REFERENCE = Path(__file__).parent / "reference"
TEXTS: list[str] = json.loads((REFERENCE / "texts.json").read_text("utf-8"))
VECTORS = np.load(REFERENCE / "vectors.npy")

OFFLINE = """
import sys

def refuse(event, arguments):
    if event.startswith("socket.") and event not in ALLOWED:
        raise AssertionError(f"{event} {arguments}")

ALLOWED = {"socket.__new__", "socket.bind"}  # asyncio's own pair of sockets
sys.addaudithook(refuse)
import anyio
from pathlib import Path
from vanta.memory import EmbedderContext
from vanta.models import ModelStore, default_root
from vanta_embedders import vanta_embedders

async def main():
    context = EmbedderContext("", Path(sys.argv[2]), ModelStore(default_root()).find)
    (factory,) = [item for item in vanta_embedders() if item.name == sys.argv[1]]
    embedder = factory.create(factory.options(), context)
    await embedder.load()
    print((await embedder.embed(["offline"])).shape)
    await embedder.aclose()

anyio.run(main)
"""


@pytest.mark.anyio
async def test_it_agrees_with_the_reference_to_1e_5(make: Make) -> None:
    embedder = make("minilm")
    await embedder.load()
    vectors = await embedder.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), 384)
    assert np.abs(vectors - VECTORS).max() < 1e-5
    assert embedder.fingerprint == "minilm/384/1-53aa51172d14"
    await embedder.aclose()


@pytest.mark.anyio
async def test_neither_other_texts_nor_threads_change_a_vector(
    make: Make,
) -> None:
    many = await make("minilm", threads=2).embed([*TEXTS[::-1], *TEXTS * 9])
    assert np.abs(many[len(TEXTS) :] - np.tile(VECTORS, (9, 1))).max() < 1e-5


@pytest.mark.anyio
async def test_a_second_load_reads_the_cached_graph(
    make: Make, context: EmbedderContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make("minilm").load()
    (graph,) = (context.data_dir / "minilm").iterdir()
    assert graph.read_bytes()[32:] == build()
    monkeypatch.setitem(sys.modules, "vanta_embedders.graph", None)
    await make("minilm").load()


@pytest.mark.anyio
@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 20_000])
async def test_a_damaged_graph_is_built_again(
    make: Make, context: EmbedderContext, damage: bytes
) -> None:
    await make("minilm").load()
    (graph,) = (context.data_dir / "minilm").iterdir()
    graph.write_bytes(damage)
    assert np.abs(await make("minilm").embed(TEXTS[:3]) - VECTORS[:3]).max() < 1e-5
    assert graph.read_bytes()[32:] == build()


@pytest.mark.anyio
async def test_a_read_only_data_folder_does_no_harm(
    make: Make, context: EmbedderContext, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    nowhere = dataclasses.replace(context, data_dir=tmp_path / "file")
    assert (await make("minilm", nowhere).embed(["x"])).shape == (1, 384)


@pytest.mark.anyio
async def test_missing_weights_name_the_command_that_downloads_them(
    make: Make, context: EmbedderContext, tmp_path: Path
) -> None:
    empty = dataclasses.replace(context, find_model=ModelStore(tmp_path).find)
    command = "vanta models pull all-minilm-l6-v2"
    with pytest.raises(EmbedderError, match=command):
        await make("minilm", empty).load()
    assert command in (factory("minilm").off(MiniLmOptions(), empty) or "")
    assert factory("minilm").off(MiniLmOptions(), context) is None


def at(path: Path, context: EmbedderContext) -> EmbedderContext:
    """Return a context whose model is the file at `path`."""
    return dataclasses.replace(
        context, model=str(path), find_model=lambda ref: ModelFile(ref, Path(ref))
    )


@pytest.fixture
def copy(minilm_path: Path, tmp_path: Path) -> Path:
    """Copies of weights and tokenizer, in a folder that a test may damage."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in minilm_path.parent.iterdir():
        shutil.copy(file, folder)
    return folder / minilm_path.name


def halve(path: Path) -> None:
    """Truncate a file in the middle."""
    os.truncate(path, path.stat().st_size // 2)


def write(path: Path, content: bytes) -> None:
    """Replace a file's content."""
    path.write_bytes(content)


@pytest.mark.anyio
async def test_weights_at_any_path_are_identified_by_their_hash(
    make: Make, context: EmbedderContext, copy: Path
) -> None:
    embedder = make("minilm", at(copy, context))
    await embedder.load()
    assert embedder.fingerprint == "minilm/384/1-53aa51172d14"


@pytest.mark.anyio
async def test_truncated_weights_are_refused(
    make: Make, context: EmbedderContext, copy: Path
) -> None:
    halve(copy)
    with pytest.raises(EmbedderError, match=r"is cut off. Check the file with `vanta models ver"):
        await make("minilm", at(copy, context)).load()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty|cut off"),
        (b"GGUF" + bytes(100), "not a safetensors file"),
        (b"\x02\0\0\0\0\0\0\0{}", "there is no tensor"),
        (b"\x02\0\0\0\0\0\0\0[]", "does not contain the weights"),
        (b"\x03\0\0\0\0\0\0\0{x}", "does not contain the weights"),
    ],
)
async def test_a_file_of_another_kind_is_refused(
    make: Make, context: EmbedderContext, copy: Path, content: bytes, why: str
) -> None:
    write(copy, content)
    with pytest.raises(EmbedderError, match=why):
        await make("minilm", at(copy, context)).load()


@pytest.mark.anyio
@pytest.mark.parametrize("content", [None, "{}", '{"version": "1.0"}'])
async def test_a_missing_or_broken_tokenizer_says_what_to_do(
    make: Make, context: EmbedderContext, copy: Path, content: str | None
) -> None:
    tokenizer = copy.with_name("tokenizer.json")
    tokenizer.unlink()
    if content is not None:
        tokenizer.write_text(content, "utf-8")
    with pytest.raises(EmbedderError, match=r"tokenizer .* download both with `vanta models pull"):
        await make("minilm", at(copy, context)).load()


def test_a_gguf_file_turns_it_off(context: EmbedderContext, tmp_path: Path) -> None:
    other = at(tmp_path / "model.gguf", context)
    assert "not a safetensors file" in (factory("minilm").off(MiniLmOptions(), other) or "")


@pytest.mark.anyio
async def test_a_missing_library_names_the_extra(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "vanta_embedders.network", raising=False)
    hint = re.escape(install_hint("embedders"))
    with pytest.raises(EmbedderError, match=f"onnxruntime is not installed.*{hint}"):
        await make("minilm").load()


@pytest.mark.anyio
async def test_an_error_of_the_model_store_is_quoted(make: Make, context: EmbedderContext) -> None:
    def refuse(ref: str) -> ModelFile:
        raise ModelStoreError(f"the disk with {ref!r} is gone")

    lost = dataclasses.replace(context, find_model=refuse)
    with pytest.raises(EmbedderError, match="embedder 'minilm': the disk with 'all-mini"):
        await make("minilm", lost).load()


@pytest.mark.anyio
async def test_the_dimension_is_unknown_before_loading(make: Make) -> None:
    with pytest.raises(EmbedderError, match="not loaded yet"):
        _ = make("minilm").dimension


@pytest.mark.anyio
async def test_it_loads_and_embeds_without_a_network(minilm_path: Path, tmp_path: Path) -> None:
    completed = await anyio.run_process(
        [sys.executable, "-c", OFFLINE, "minilm", str(tmp_path)],
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert completed.stdout.decode().strip() == "(1, 384)"


@pytest.mark.anyio
async def test_a_cancelled_embedding_ends_with_its_batch(make: Make) -> None:
    embedder = make("minilm")
    await embedder.load()
    finished: list[object] = []

    async def work() -> None:
        finished.append(await embedder.embed(TEXTS * 1000))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        await embedder.embed(["a question that comes meanwhile is answered"])
        tasks.cancel_scope.cancel()
    assert not finished
    assert (await embedder.embed(["x"])).shape == (1, 384)


@pytest.mark.anyio
async def test_closing_releases_the_network(context: EmbedderContext) -> None:
    networks: list[weakref.ref[object]] = []

    def load() -> Loading:
        network = yield from load_network(context, threads=1)
        networks.append(weakref.ref(network))
        return network

    embedder = LocalEmbedder("minilm", load)
    await embedder.embed(TEXTS[:3])
    (network,) = networks
    assert network() is not None
    await embedder.aclose()
    gc.collect()
    assert network() is None


@pytest.mark.anyio
async def test_closing_while_it_loads_is_final(make: Make) -> None:
    embedder = make("minilm")
    async with anyio.create_task_group() as tasks:

        async def load() -> None:
            with pytest.raises(EmbedderError, match="'minilm': it is closed"):
                await embedder.load()

        tasks.start_soon(load)
        await anyio.lowlevel.checkpoint()
        await embedder.aclose()
    with pytest.raises(EmbedderError, match="it is closed"):
        _ = embedder.dimension
