"""Checks of the machine: Python, the installation, folders, memory, cores, llama.cpp.

Native libraries are tried in a process of their own, which they may crash.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from vanta.check import DiagnosisContext, Finding
from vanta.diagnosis.tracks import local_tracks
from vanta.errors import ModelStoreError, UnknownName
from vanta.installation import DISTRIBUTION, FOREIGN, foreign_version, install_hint
from vanta.models import megabytes

_OLDEST_PYTHON = (3, 11)
_SPARE_BYTES = 50_000_000  # for conversations
_OTHER_FOLDER = 'export VANTA_DATA_DIR="$HOME/vanta-data"'
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
_REBUILD = "pip install --force-reinstall --no-cache-dir llama-cpp-python"
_REBUILD_FOR_GPU = f'CMAKE_ARGS="-DGGML_CUDA=on" {_REBUILD}'
_COMPILERS = ("c++", "g++", "clang++", "cl")


async def python(context: DiagnosisContext) -> Finding:
    """Check whether Python is new enough."""
    version = ".".join(map(str, context.python_version))
    oldest = ".".join(map(str, _OLDEST_PYTHON))
    if context.python_version >= _OLDEST_PYTHON:
        return Finding("python", True, f"Python {version} ({context.python})")
    fix = f"python{oldest} -m venv .venv"
    return Finding("python", False, f"Python {version} is too old, {oldest} is needed", fix)


async def installation(context: DiagnosisContext) -> Finding:
    """Check that no other project's distribution shares the import package `vanta`."""
    version = await anyio.to_thread.run_sync(foreign_version, abandon_on_cancel=True)
    if version is None:
        return Finding("installation", True, f"{DISTRIBUTION} is the only package named 'vanta'")
    detail = (
        f"{FOREIGN} {version} of another project is installed, too; both write into the folder "
        "'vanta', so vanta's own files may be overwritten"
    )
    return Finding("installation", False, detail, f"pip uninstall {FOREIGN} && {install_hint()}")


async def data_folder(context: DiagnosisContext) -> Finding:
    """Check whether the data folder is writable, with room for the models yet to be fetched."""
    look = functools.partial(_data_folder, context)
    return await anyio.to_thread.run_sync(look, abandon_on_cancel=True)


async def memory(context: DiagnosisContext) -> Finding:
    """Check whether the models of the local tracks fit into the free memory together."""
    look = functools.partial(_memory, context)
    return await anyio.to_thread.run_sync(look, abandon_on_cancel=True)


async def cores(context: DiagnosisContext) -> Finding:
    """Check whether a local model has cores of its own."""
    if context.cores > 1:
        return Finding("cores", True, f"{context.cores} cores")
    detail = "one core: a local model and everything else take turns, so replies are slow"
    return Finding("cores", None, detail)


async def llama_cpp(context: DiagnosisContext) -> Finding:
    """Check whether llama.cpp loads; report its CPU features and its GPU support."""
    if not await _installed(context):
        needed = False if local_tracks(context) else None
        return Finding("llama.cpp", needed, "it is not installed", install_hint("llamacpp"))
    done = await _python(context, _FEATURES)
    if done.returncode != 0:
        detail = f"it is installed but does not load: {_failure(done)}"
        return Finding("llama.cpp", False, detail, _REBUILD)
    features = json.loads(done.stdout.decode().splitlines()[-1])
    gpu = "with GPU offload" if features["gpu"] else "no GPU offload"
    detail = f"llama-cpp-python {features['version']}, {gpu}, {_cpu_features(features)}"
    if not features["gpu"] and (track := _track_with_gpu_layers(context)):
        detail = f"{detail}; track {track!r} has gpu_layers"
        return Finding("llama.cpp", False, detail, _REBUILD_FOR_GPU)
    return Finding("llama.cpp", True, detail)


async def compiler(context: DiagnosisContext) -> Finding:
    """Check whether llama-cpp-python, which has no wheel, can be compiled if necessary."""
    if await _installed(context):
        return Finding("C++ compiler", True, "not needed: llama.cpp is installed")
    own = context.environ.get("CXX", "").split()[:1]
    path = context.environ.get("PATH", "")
    programs = (shutil.which(name, path=path) for name in (*own, *_COMPILERS))
    program = next(filter(None, programs), None)
    if program:
        return Finding("C++ compiler", True, f"{program!r} can compile llama.cpp")
    detail = "none was found, and llama.cpp must be compiled when it is installed"
    return Finding("C++ compiler", False, detail, _install_compiler(path))


def _data_folder(context: DiagnosisContext) -> Finding:
    folder = context.config.data_dir
    try:
        existing = _try_writing(folder)
    except OSError as error:
        detail = f"{str(folder)!r} is not writable: {error.strerror or error}"
        return Finding("data folder", False, detail, _OTHER_FOLDER)
    free = shutil.disk_usage(existing).free
    needed = _SPARE_BYTES + _bytes_to_fetch(context)
    detail = f"{str(folder)!r} is writable, {megabytes(free)} free"
    if free < needed:
        return Finding("data folder", False, f"{detail}, {megabytes(needed)} needed", _OTHER_FOLDER)
    return Finding("data folder", True, detail)


def _try_writing(folder: Path) -> Path:
    """Return the folder, or its nearest parent that exists. Raises OSError if it is read-only."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if existing == folder or not os.access(existing, os.W_OK):
        with tempfile.TemporaryFile(dir=existing):
            return existing
    if not existing.is_dir():
        raise NotADirectoryError(20, f"{str(existing)!r} is a file", str(existing))
    return existing


def _bytes_to_fetch(context: DiagnosisContext) -> int:
    """Return the size of the local tracks' models that are not on disk, with their archives."""
    total = 0
    for name in local_tracks(context):
        try:
            info = context.models.info(context.config.tracks[name].model)
        except (UnknownName, ModelStoreError):
            continue
        if not info["present"]:
            total += (info["size_bytes"] or 0) + (info.get("archive_size_bytes") or 0)
    return total


def _memory(context: DiagnosisContext) -> Finding:
    free = context.free_memory_bytes
    needs = _memory_needs(context)
    if free is None:
        return Finding("memory", None, "this system does not report its free memory")
    if None in needs.values():
        unknown = ", ".join(repr(name) for name, need in needs.items() if need is None)
        detail = f"{megabytes(free)} free; the need of {unknown} is known once the model is fetched"
        return Finding("memory", None, detail)
    needed = sum(need or 0 for need in needs.values())
    terms = " + ".join(f"{megabytes(need or 0)} for {name!r}" for name, need in needs.items())
    detail = f"{megabytes(free)} free" + (f", {terms} needed" if terms else "")
    if needed <= free:
        return Finding("memory", True, detail)
    return Finding(
        "memory", False, f"{detail}: choose a smaller model or window", "vanta models list"
    )


def _memory_needs(context: DiagnosisContext) -> dict[str, int | None]:
    """Return the bytes that the model of each local track needs, None if unknown."""
    needs: dict[str, int | None] = {}
    for name in local_tracks(context):
        track = context.config.tracks[name]
        try:
            needs[name] = context.models.info(track.model, window=track.window)["memory"][
                "need_bytes"
            ]
        except (UnknownName, ModelStoreError):
            needs[name] = None
    return needs


async def _installed(context: DiagnosisContext) -> bool:
    return (await _python(context, _INSTALLED)).returncode == 0


async def _python(context: DiagnosisContext, code: str) -> subprocess.CompletedProcess[bytes]:
    """Run code in another process, which a library may crash or flood with output."""
    command = [context.python, "-P", "-c", code]  # nothing of the working directory is run
    return await anyio.run_process(command, check=False, env=dict(context.environ))


def _failure(done: subprocess.CompletedProcess[bytes]) -> str:
    if done.returncode < 0:
        return f"it crashed with {signal.Signals(-done.returncode).name}"
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


def _cpu_features(features: dict[str, Any]) -> str:
    """Return the names of the CPU features that this build uses."""
    pairs = [pair.rpartition("=") for pair in features["system"].replace(":", "|").split("|")]
    names = [name.strip() for name, _, value in pairs if value.strip() == "1"]
    return f"CPU features: {', '.join(names) or 'none'}"


def _track_with_gpu_layers(context: DiagnosisContext) -> str | None:
    tracks = context.config.tracks
    on_gpu = (name for name in local_tracks(context) if tracks[name].options.get("gpu_layers"))
    return next(on_gpu, None)


def _install_compiler(path: str) -> str:
    if sys.platform == "darwin":
        return "xcode-select --install"
    managers = {"apt-get": "install -y g++", "dnf": "install -y gcc-c++", "apk": "add g++"}
    for manager, arguments in managers.items():
        if shutil.which(manager, path=path):
            return f"sudo {manager} {arguments}"
    return "sudo apt-get install -y g++"
