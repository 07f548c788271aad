"""Checks of the native side, in real interpreters: sound, bare, and with a library that crashes."""

from __future__ import annotations

import importlib.util
import os
import venv
from pathlib import Path

import pytest

from tests.diagnosis.conftest import MakeContext
from vanta.diagnosis import native

pytestmark = pytest.mark.anyio

LOCAL = {"local": {"engine": "llamacpp", "model": "tiny", "options": {"gpu_layers": 4}}}
LIBRARY = """
__version__ = "9.9"
llama_supports_gpu_offload = lambda: {gpu}
llama_supports_mmap = lambda: True
llama_print_system_info = lambda: b"CPU : AVX2 = 1 | AVX512 = 0 | FMA = 1 | "
print("a library that talks")
"""


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
    found = await native.llama_cpp(context())
    assert found.ok is True
    assert "llama-cpp-python 0." in found.detail
    assert "CPU features: " in found.detail


async def test_features_are_read_whatever_else_the_library_prints(
    context: MakeContext, bare_python: str, tmp_path: Path
) -> None:
    environ = library(tmp_path, LIBRARY.format(gpu=True))
    found = await native.llama_cpp(context(python=bare_python, environ=environ, tracks=LOCAL))
    assert found.ok is True
    assert found.detail == "llama-cpp-python 9.9, with GPU offload, CPU features: AVX2, FMA"


async def test_gpu_layers_without_gpu_offload_fail(
    context: MakeContext, bare_python: str, tmp_path: Path
) -> None:
    environ = library(tmp_path, LIBRARY.format(gpu=False))
    found = await native.llama_cpp(context(python=bare_python, environ=environ, tracks=LOCAL))
    assert found.ok is False
    assert "'local' asks for gpu_layers" in found.detail
    assert "GGML_CUDA" in found.mend


async def test_a_library_that_is_not_installed_fails_only_if_a_track_needs_it(
    context: MakeContext, bare_python: str
) -> None:
    needed = await native.llama_cpp(context(python=bare_python, tracks=LOCAL))
    assert (needed.ok, needed.mend) == (False, "pip install 'vanta[llamacpp]'")
    assert (await native.llama_cpp(context(python=bare_python))).ok is None


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
    found = await native.llama_cpp(context(python=bare_python, environ=environ))
    assert found.ok is False
    assert why in found.detail
    assert "--force-reinstall" in found.mend


async def test_a_compiler_is_only_needed_where_llama_cpp_is_missing(
    context: MakeContext, bare_python: str, tmp_path: Path
) -> None:
    nothing = {"PATH": str(tmp_path)}
    missing = await native.compiler(context(python=bare_python, environ=nothing))
    assert missing.ok is False
    assert missing.mend
    installed = {**library(tmp_path / "site", ""), **nothing}
    assert (await native.compiler(context(python=bare_python, environ=installed))).ok is True


@pytest.mark.parametrize(("name", "setting"), [("g++", {}), ("mycc", {"CXX": "mycc -O2"})])
async def test_a_compiler_on_the_path_passes(
    context: MakeContext, bare_python: str, tmp_path: Path, name: str, setting: dict[str, str]
) -> None:
    (tmp_path / name).touch(mode=0o755)
    environ = {"PATH": str(tmp_path), **setting}
    found = await native.compiler(context(python=bare_python, environ=environ))
    assert found.ok is True
    assert str(tmp_path / name) in found.detail


@pytest.mark.parametrize(("manager", "advice"), [("dnf", "gcc-c++"), ("apk", "add g++")])
@pytest.mark.skipif(os.uname().sysname == "Darwin", reason="macOS has one way to get a compiler")
async def test_the_advice_fits_the_system(
    context: MakeContext, bare_python: str, tmp_path: Path, manager: str, advice: str
) -> None:
    (tmp_path / manager).touch(mode=0o755)
    found = await native.compiler(context(python=bare_python, environ={"PATH": str(tmp_path)}))
    assert found.mend.startswith(f"sudo {manager} ")
    assert advice in found.mend
