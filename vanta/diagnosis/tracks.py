"""Checks of what answers: plugins, their libraries, models, access to servers, tracks."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio.to_thread

from vanta.check import Check, DiagnosisContext, Finding
from vanta.errors import UnknownName, VantaError

if TYPE_CHECKING:
    from vanta.engine import EngineFactory

# The built-in engines by what they need; a stranger's engine brings checks of its own.
_RUNS_MODEL_FILES = "llamacpp"
_CALLS_SERVERS = "openai"
_DEFAULT_SERVER = "https://api.openai.com/v1"


def local_tracks(context: DiagnosisContext) -> list[str]:
    """The enabled tracks that run a model file of the store."""
    return _with_engine(context, _RUNS_MODEL_FILES)


def api_tracks(context: DiagnosisContext) -> list[str]:
    """The enabled tracks that call a server."""
    return _with_engine(context, _CALLS_SERVERS)


async def plugins(context: DiagnosisContext) -> Finding:
    """Whether every plugin that is not off could be loaded."""
    failed = [plugin for plugin in context.plugins.plugins if plugin.status == "failed"]
    if failed:
        reasons = "; ".join(f"{plugin.name!r}: {plugin.reason}" for plugin in failed)
        return Finding("plugins", False, f"failed: {reasons}", "vanta plugins list")
    on = [repr(plugin.name) for plugin in context.plugins.plugins if plugin.status == "on"]
    return Finding("plugins", True, f"on: {', '.join(on) or 'none'}")


async def tracks(context: DiagnosisContext) -> Finding:
    """Which tracks can answer; one is enough."""
    on = [name for name in context.config.tracks if name not in context.off]
    reasons = "; ".join(f"{name!r} is off: {why}" for name, why in context.off.items())
    detail = f"on: {', '.join(map(repr, on)) or 'none'}" + (f"; {reasons}" if reasons else "")
    return Finding("tracks", bool(on), detail, "" if on else "vanta config show")


def library_check(factory: EngineFactory) -> Check:
    """A check of the library that an engine needs; it is looked for, not imported."""
    name = f"engine {factory.name}"

    async def run(_context: DiagnosisContext) -> Finding:
        look = functools.partial(_library, name, factory)
        return await anyio.to_thread.run_sync(look, abandon_on_cancel=True)

    return Check(name, run)


def model_check(track: str) -> Check:
    """A check that the model file of a track is here, of the right size, and a GGUF file."""
    name = f"model of {track}"

    async def run(context: DiagnosisContext) -> Finding:
        look = functools.partial(_model, name, track, context)
        return await anyio.to_thread.run_sync(look, abandon_on_cancel=True)

    return Check(name, run)


def access_check(track: str) -> Check:
    """A check that a track has a key or a server; it says where from, and never the key."""
    name = f"access of {track}"

    async def run(context: DiagnosisContext) -> Finding:
        options = context.config.tracks[track].options
        look = functools.partial(_access, name, options, context.environ)
        return await anyio.to_thread.run_sync(look, abandon_on_cancel=True)

    return Check(name, run)


def _with_engine(context: DiagnosisContext, engine: str) -> list[str]:
    tracks = context.config.tracks.items()
    return [name for name, track in tracks if track.enabled and track.engine == engine]


def _library(name: str, factory: EngineFactory) -> Finding:
    library = factory.requires
    if library is None:
        return Finding(name, True, "needs no library")
    try:
        found = importlib.util.find_spec(library) is not None
    except (ImportError, ValueError):
        found = False
    if found:
        return Finding(name, True, f"{library!r} is installed{_version(library)}")
    return Finding(name, False, f"needs {library!r}, which is not installed", _install(factory))


def _install(factory: EngineFactory) -> str:
    """`extra` may be one of vanta's extras or a whole requirement such as 'vanta-x[y]'."""
    extra = factory.extra
    if extra is None:
        return f"pip install {factory.requires}"
    return f"pip install '{extra if '[' in extra else f'vanta[{extra}]'}'"


def _version(library: str) -> str:
    owners = importlib.metadata.packages_distributions().get(library.partition(".")[0], [])
    return f" ({owners[0]} {importlib.metadata.version(owners[0])})" if owners else ""


def _model(name: str, track: str, context: DiagnosisContext) -> Finding:
    model = context.config.tracks[track].model
    try:
        found = context.models.find(model)
    except UnknownName as error:
        return Finding(name, False, str(error), "vanta models list")
    except VantaError as error:
        return Finding(name, False, str(error), _bring(model, context))
    size = found.path.stat().st_size / 1e6
    return Finding(name, True, f"{found.id!r} is here, {size:,.1f} MB, at {str(found.path)!r}")


def _bring(model: str, context: DiagnosisContext) -> str:
    try:
        return context.models.verify(model).mend
    except VantaError:
        return ""


def _access(name: str, options: Mapping[str, Any], environ: Mapping[str, str]) -> Finding:
    variable = str(options.get("api_key_env", "OPENAI_API_KEY"))
    url = options.get("base_url") or environ.get("OPENAI_BASE_URL", "").strip() or None
    server = _without_secrets(str(url or _DEFAULT_SERVER))
    if (file := options.get("api_key_file")) is not None:
        return _key_file(name, Path(file).expanduser(), server)
    if environ.get(variable, "").strip():
        detail = f"a key is in the environment variable {variable!r} (not shown), for {server}"
        return Finding(name, True, detail)
    if url:
        return Finding(name, True, f"{server}, without a key: {variable!r} is not set")
    detail = f"neither {variable!r} nor a base URL is set, so this track stays off"
    return Finding(name, None, detail, f"export {variable}=YOUR_KEY")


def _key_file(name: str, file: Path, server: str) -> Finding:
    try:
        holds_key = bool(file.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError):
        holds_key = False
    if holds_key:
        return Finding(name, True, f"a key is in the file {str(file)!r} (not shown), for {server}")
    detail = f"the key file {str(file)!r} is missing, unreadable or empty"
    return Finding(name, False, detail, f"install -m 600 /dev/stdin {str(file)!r}")


def _without_secrets(url: str) -> str:
    """A URL as people may see it: no user, password, query or fragment."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "a server whose URL cannot be read"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"
