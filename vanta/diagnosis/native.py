"""Checks of the native side: llama.cpp, tried in a process of its own, and the compiler for it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from typing import Any

import anyio

from vanta.check import DiagnosisContext, Finding
from vanta.diagnosis.tracks import local_tracks

_FEATURES = """
import json, llama_cpp as l
print(json.dumps({
    "version": l.__version__,
    "gpu": bool(l.llama_supports_gpu_offload()),
    "mmap": bool(l.llama_supports_mmap()),
    "system": l.llama_print_system_info().decode(errors="replace"),
}))
"""
_INSTALLED = "import importlib.util, sys; sys.exit(importlib.util.find_spec('llama_cpp') is None)"
_INSTALL = "pip install 'vanta[llamacpp]'"
_REBUILD = "pip install --force-reinstall --no-cache-dir llama-cpp-python"
_REBUILD_FOR_GPU = f'CMAKE_ARGS="-DGGML_CUDA=on" {_REBUILD}'
_COMPILERS = ("c++", "g++", "clang++", "cl")


async def llama_cpp(context: DiagnosisContext) -> Finding:
    """Whether llama.cpp loads, with which CPU features, and whether it can use a GPU."""
    if not await _installed(context):
        wanted = local_tracks(context)
        return Finding("llama.cpp", False if wanted else None, "it is not installed", _INSTALL)
    done = await _python(context, _FEATURES)
    if done.returncode != 0:
        detail = f"it is installed but does not load: {_last_words(done)}"
        return Finding("llama.cpp", False, detail, _REBUILD)
    facts = json.loads(done.stdout.decode().splitlines()[-1])
    gpu = "with GPU offload" if facts["gpu"] else "no GPU offload"
    detail = f"llama-cpp-python {facts['version']}, {gpu}, {_features(facts)}"
    if not facts["gpu"] and (asking := _asking_for_gpu(context)):
        detail = f"{detail}; track {asking!r} asks for gpu_layers"
        return Finding("llama.cpp", False, detail, _REBUILD_FOR_GPU)
    return Finding("llama.cpp", True, detail)


async def compiler(context: DiagnosisContext) -> Finding:
    """Whether llama-cpp-python, which has no wheel, could be compiled if it has to be."""
    if await _installed(context):
        return Finding("C++ compiler", True, "not needed: llama.cpp is installed")
    own = context.environ.get("CXX", "").split()[:1]
    path = context.environ.get("PATH", "")
    found = next(
        filter(None, (shutil.which(name, path=path) for name in (*own, *_COMPILERS))), None
    )
    if found:
        return Finding("C++ compiler", True, f"{found!r} can compile llama.cpp")
    detail = "none was found, and llama.cpp has to be compiled when it is installed"
    return Finding("C++ compiler", False, detail, _install_compiler(path))


async def _installed(context: DiagnosisContext) -> bool:
    return (await _python(context, _INSTALLED)).returncode == 0


async def _python(context: DiagnosisContext, code: str) -> subprocess.CompletedProcess[bytes]:
    """A library that breaks its process, or floods the terminal, does so elsewhere."""
    command = [context.python, "-c", code]
    return await anyio.run_process(command, check=False, env=dict(context.environ))


def _last_words(done: subprocess.CompletedProcess[bytes]) -> str:
    if done.returncode < 0:
        return f"it crashed with {signal.Signals(-done.returncode).name}"
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


def _features(facts: dict[str, Any]) -> str:
    """The CPU features that this build uses, by name."""
    pairs = [pair.rpartition("=") for pair in facts["system"].replace(":", "|").split("|")]
    names = [name.strip() for name, _, value in pairs if value.strip() == "1"]
    return f"CPU features: {', '.join(names) or 'none'}"


def _asking_for_gpu(context: DiagnosisContext) -> str | None:
    tracks = context.config.tracks
    return next((t for t in local_tracks(context) if tracks[t].options.get("gpu_layers")), None)


def _install_compiler(path: str) -> str:
    if sys.platform == "darwin":
        return "xcode-select --install"
    managers = {"apt-get": "install -y g++", "dnf": "install -y gcc-c++", "apk": "add g++"}
    for manager, arguments in managers.items():
        if shutil.which(manager, path=path):
            return f"sudo {manager} {arguments}"
    return "sudo apt-get install -y g++"
