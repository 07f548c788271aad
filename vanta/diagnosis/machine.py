"""Checks of the machine: Python, the data folder, memory, cores."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from pathlib import Path

import anyio.to_thread

from vanta.check import DiagnosisContext, Finding
from vanta.diagnosis.tracks import local_tracks
from vanta.errors import ModelStoreError, UnknownName
from vanta.models.fit import megabytes

_OLDEST_PYTHON = (3, 11)
_ELBOW_ROOM = 50_000_000  # bytes, for conversations
_ELSEWHERE = 'export VANTA_DATA_DIR="$HOME/vanta-data"'


async def python(context: DiagnosisContext) -> Finding:
    """Whether Python is new enough."""
    version = ".".join(map(str, context.python_version))
    oldest = ".".join(map(str, _OLDEST_PYTHON))
    if context.python_version >= _OLDEST_PYTHON:
        return Finding("python", True, f"Python {version} ({context.python})")
    mend = f"python{oldest} -m venv .venv"
    return Finding("python", False, f"Python {version} is too old, {oldest} is needed", mend)


async def data_folder(context: DiagnosisContext) -> Finding:
    """Whether the data folder can be written and has room for what is still to be fetched."""
    look = functools.partial(_data_folder, context)
    return await anyio.to_thread.run_sync(look, abandon_on_cancel=True)


async def memory(context: DiagnosisContext) -> Finding:
    """Whether the models of the local tracks fit into the free memory together."""
    look = functools.partial(_memory, context)
    return await anyio.to_thread.run_sync(look, abandon_on_cancel=True)


async def cores(context: DiagnosisContext) -> Finding:
    """Whether a local model has cores of its own."""
    if context.cores > 1:
        return Finding("cores", True, f"{context.cores} cores")
    detail = "one core: a local model and everything else take turns, so replies are slow"
    return Finding("cores", None, detail)


def _data_folder(context: DiagnosisContext) -> Finding:
    folder = context.config.data_dir
    try:
        standing = _try_writing(folder)
    except OSError as error:
        detail = f"{str(folder)!r} cannot be written: {error.strerror or error}"
        return Finding("data folder", False, detail, _ELSEWHERE)
    free = shutil.disk_usage(standing).free
    needed = _ELBOW_ROOM + _still_to_fetch(context)
    detail = f"{str(folder)!r} can be written, {megabytes(free)} free"
    if free < needed:
        return Finding("data folder", False, f"{detail}, {megabytes(needed)} needed", _ELSEWHERE)
    return Finding("data folder", True, detail)


def _try_writing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists; raises OSError if it is closed."""
    standing = next(path for path in (folder, *folder.parents) if path.exists())
    if standing == folder or not os.access(standing, os.W_OK):
        with tempfile.TemporaryFile(dir=standing):
            return standing
    if not standing.is_dir():
        raise NotADirectoryError(20, f"{str(standing)!r} is a file", str(standing))
    return standing


def _still_to_fetch(context: DiagnosisContext) -> int:
    """Bytes of the archives and files of the local tracks' models that are not here yet."""
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
    needs = _needs(context)
    if free is None:
        return Finding("memory", None, "this system does not say how much memory is free")
    if None in needs.values():
        unknown = ", ".join(repr(name) for name, need in needs.items() if need is None)
        detail = f"{megabytes(free)} free; the need of {unknown} is known once the model is here"
        return Finding("memory", None, detail)
    needed = sum(need or 0 for need in needs.values())
    terms = " + ".join(f"{megabytes(need or 0)} for {name!r}" for name, need in needs.items())
    detail = f"{megabytes(free)} free" + (f", {terms} needed" if terms else "")
    if needed <= free:
        return Finding("memory", True, detail)
    return Finding(
        "memory", False, f"{detail}: take a smaller model or window", "vanta models list"
    )


def _needs(context: DiagnosisContext) -> dict[str, int | None]:
    """Bytes that the model of each local track takes, None where not known."""
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
