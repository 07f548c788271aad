"""Checks of the machine: each can pass and can fail; native libraries in real interpreters."""

from __future__ import annotations

import importlib.util
import os
import venv
from pathlib import Path

import pytest

from tests.diagnosis.conftest import MakeContext
from tests.models.wheels import build_wheel, gguf_like
from vanta.diagnosis import machine
from vanta.installation import install_hint
from vanta.models import ModelEntry

pytestmark = pytest.mark.anyio

LOCAL = {"local": {"engine": "llamacpp", "model": "tiny", "window": 600}}
ENTRY = ModelEntry(
    id="tiny",
    source="wheel:tiny-model==1.0#tiny_model/tiny.gguf",
    size_bytes=1_000_000,
    window=2048,
    kv_bytes_per_token=1_000,
    vocabulary=1_000,
)
NEED = 1_000_000 + 600 * 1_000 + 512 * 4 * 1_000
ON_GPU = {"local": {"engine": "llamacpp", "model": "tiny", "options": {"gpu_layers": 4}}}
LIBRARY = """
__version__ = "9.9"
llama_supports_gpu_offload = lambda: {gpu}
llama_supports_mmap = lambda: True
llama_print_system_info = lambda: b"CPU : AVX2 = 1 | AVX512 = 0 | FMA = 1 | "
print("a library that talks")
"""


async def test_python(context: MakeContext) -> None:
    assert (await machine.python(context())).ok is True
    old = await machine.python(context(python_version=(3, 10)))
    assert old.ok is False
    assert "3.10 is too old, 3.11 is needed" in old.detail
    assert old.fix == "python3.11 -m venv .venv"


async def test_a_foreign_distribution_named_vanta_is_broken(
    context: MakeContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await machine.installation(context())).ok is True
    foreign = tmp_path / "vanta-3.0.dist-info"
    foreign.mkdir()
    (foreign / "METADATA").write_text("Metadata-Version: 2.1\nName: vanta\nVersion: 3.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    beside = await machine.installation(context())
    assert beside.ok is False
    assert "vanta 3.0 of another project" in beside.detail
    assert beside.fix == f"pip uninstall vanta && {install_hint()}"


async def test_the_data_folder_may_not_be_there_yet(context: MakeContext, tmp_path: Path) -> None:
    made = context(data=tmp_path / "a" / "b")
    assert (await machine.data_folder(made)).ok is True
    assert os.listdir(tmp_path) == [], "looking leaves no trace"  # noqa: PTH208
    made.config.data_dir.mkdir(parents=True)
    assert (await machine.data_folder(made)).ok is True
    assert os.listdir(made.config.data_dir) == []  # noqa: PTH208


@pytest.mark.parametrize("below", ["", "models"])
async def test_a_data_folder_that_is_a_file_fails(
    context: MakeContext, tmp_path: Path, below: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    found = await machine.data_folder(context(data=tmp_path / "file" / below))
    assert found.ok is False
    assert "is not writable" in found.detail
    assert "VANTA_DATA_DIR" in found.fix


async def test_a_disk_without_room_for_a_tracks_model_fails(context: MakeContext) -> None:
    huge = ModelEntry(id="tiny", source=ENTRY.source, size_bytes=1 << 60)
    found = await machine.data_folder(context(tracks=LOCAL, entries=(huge,)))
    assert found.ok is False
    assert "needed" in found.detail
    elsewhere = context(tracks=LOCAL, entries=(ENTRY,))
    assert (await machine.data_folder(elsewhere)).ok is True


async def test_memory_is_held_against_the_models_at_their_windows(context: MakeContext) -> None:
    enough = await machine.memory(context(tracks=LOCAL, entries=(ENTRY,), free_memory_bytes=NEED))
    assert enough.ok is True
    assert "'local'" in enough.detail
    short = await machine.memory(
        context(tracks=LOCAL, entries=(ENTRY,), free_memory_bytes=NEED - 1)
    )
    assert short.ok is False
    assert short.fix == "vanta models list"


async def test_memory_says_what_it_cannot_know(context: MakeContext) -> None:
    unknown = await machine.memory(context(tracks=LOCAL, free_memory_bytes=1))
    assert (unknown.ok, "'local'" in unknown.detail) == (None, True)
    assert (await machine.memory(context(free_memory_bytes=None))).ok is None
    assert (await machine.memory(context(free_memory_bytes=1))).ok is True, "nothing needs any"


async def test_cores(context: MakeContext) -> None:
    assert (await machine.cores(context(cores=2))).ok is True
    alone = await machine.cores(context(cores=1))
    assert alone.ok is None
    assert "one core" in alone.detail


def test_the_wheel_of_these_tests_is_the_one_of_the_entry(tmp_path: Path) -> None:
    assert build_wheel(tmp_path, gguf_like(100)).entry.source == ENTRY.source


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter without any library."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False)
    return str(folder / "bin" / "python")


def library(folder: Path, code: str) -> dict[str, str]:
    """An environment in which `llama_cpp` is `code`."""
    folder.mkdir(exist_ok=True)
    (folder / "llama_cpp.py").write_text(code)
    return {**os.environ, "PYTHONPATH": str(folder)}


@pytest.mark.skipif(importlib.util.find_spec("llama_cpp") is None, reason="llama.cpp not installed")
async def test_the_real_library_tells_its_version_and_features(context: MakeContext) -> None:
    found = await machine.llama_cpp(context())
    assert found.ok is True
    assert "llama-cpp-python 0." in found.detail
    assert "CPU features: " in found.detail


async def test_features_are_read_whatever_else_the_library_prints(
    context: MakeContext, bare_python: str, tmp_path: Path
) -> None:
    environ = library(tmp_path, LIBRARY.format(gpu=True))
    found = await machine.llama_cpp(context(python=bare_python, environ=environ, tracks=ON_GPU))
    assert found.ok is True
    assert found.detail == "llama-cpp-python 9.9, with GPU offload, CPU features: AVX2, FMA"


async def test_gpu_layers_without_gpu_offload_fail(
    context: MakeContext, bare_python: str, tmp_path: Path
) -> None:
    environ = library(tmp_path, LIBRARY.format(gpu=False))
    found = await machine.llama_cpp(context(python=bare_python, environ=environ, tracks=ON_GPU))
    assert found.ok is False
    assert "'local' has gpu_layers" in found.detail
    assert "GGML_CUDA" in found.fix


async def test_a_library_that_is_not_installed_fails_only_if_a_track_needs_it(
    context: MakeContext, bare_python: str
) -> None:
    needed = await machine.llama_cpp(context(python=bare_python, tracks=ON_GPU))
    assert (needed.ok, needed.fix) == (False, install_hint("llamacpp"))
    assert (await machine.llama_cpp(context(python=bare_python))).ok is None


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed with SIGSEGV"),
        ("raise OSError('libllama.so is gone')", "libllama.so is gone"),
        ("import sys; sys.exit(3)", "exit code 3"),
    ],
)
async def test_a_library_that_breaks_its_process_is_a_finding(
    context: MakeContext, bare_python: str, tmp_path: Path, code: str, why: str
) -> None:
    environ = library(tmp_path, code)
    found = await machine.llama_cpp(context(python=bare_python, environ=environ))
    assert found.ok is False
    assert why in found.detail
    assert "--force-reinstall" in found.fix


async def test_a_compiler_is_only_needed_where_llama_cpp_is_missing(
    context: MakeContext, bare_python: str, tmp_path: Path
) -> None:
    nothing = {"PATH": str(tmp_path)}
    missing = await machine.compiler(context(python=bare_python, environ=nothing))
    assert missing.ok is False
    assert missing.fix
    installed = {**library(tmp_path / "site", ""), **nothing}
    assert (await machine.compiler(context(python=bare_python, environ=installed))).ok is True


@pytest.mark.parametrize(("name", "setting"), [("g++", {}), ("mycc", {"CXX": "mycc -O2"})])
async def test_a_compiler_on_the_path_passes(
    context: MakeContext, bare_python: str, tmp_path: Path, name: str, setting: dict[str, str]
) -> None:
    (tmp_path / name).touch(mode=0o755)
    environ = {"PATH": str(tmp_path), **setting}
    found = await machine.compiler(context(python=bare_python, environ=environ))
    assert found.ok is True
    assert str(tmp_path / name) in found.detail


@pytest.mark.parametrize(("manager", "advice"), [("dnf", "gcc-c++"), ("apk", "add g++")])
@pytest.mark.skipif(os.uname().sysname == "Darwin", reason="macOS has one way to get a compiler")
async def test_the_advice_fits_the_system(
    context: MakeContext, bare_python: str, tmp_path: Path, manager: str, advice: str
) -> None:
    (tmp_path / manager).touch(mode=0o755)
    found = await machine.compiler(context(python=bare_python, environ={"PATH": str(tmp_path)}))
    assert found.fix.startswith(f"sudo {manager} ")
    assert advice in found.fix
