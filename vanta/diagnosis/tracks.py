"""Checks of the tracks and of recall: plugins, libraries, models, access to servers.

Invariant: nothing is loaded except the token counter of an API track; the plugin that brings an
embedder or an index reports whether it is available.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from vanta.check import Check, DiagnosisContext, Finding
from vanta.engine import EngineContext
from vanta.errors import UnknownName, UsageError, VantaError
from vanta.files import read_text
from vanta.runtime.memory_factory import AUTO, NONE, embedder_for, index_for
from vanta.text import HIDDEN, redact_url, server_origin

if TYPE_CHECKING:
    from vanta.check import PluginCatalog
    from vanta.engine import EngineFactory

_MAX_KEY_BYTES = 1 << 16

# The built-in engines by their needs; the plugin of another engine brings its own checks.
_RUNS_MODEL_FILES = "llamacpp"
_CALLS_SERVERS = "openai"
_COMMAND = re.compile(r"pip install (?:-e )?'[^']+'|(?<=`)(?:vanta|pip) [^`]+(?=`)")
_KEY = "OPENAI_API_KEY"
_DEFAULT_SERVER = "https://api.openai.com/v1"


def local_tracks(context: DiagnosisContext) -> list[str]:
    """Return the enabled tracks that run a model file of the store."""
    return _with_engine(context, _RUNS_MODEL_FILES)


def api_tracks(context: DiagnosisContext) -> list[str]:
    """Return the enabled tracks that call a server."""
    return _with_engine(context, _CALLS_SERVERS)


async def plugins(context: DiagnosisContext) -> Finding:
    """Check whether every plugin that is not off could be loaded."""
    failed = [plugin for plugin in context.plugins.plugins if plugin.status == "failed"]
    if failed:
        reasons = "; ".join(f"{plugin.name!r}: {plugin.reason}" for plugin in failed)
        return Finding("plugins", False, f"failed: {reasons}", "vanta plugins list")
    on = [repr(plugin.name) for plugin in context.plugins.plugins if plugin.status == "on"]
    return Finding("plugins", True, f"on: {', '.join(on) or 'none'}")


async def tracks(context: DiagnosisContext) -> Finding:
    """Check whether at least one track can answer."""
    on = [name for name in context.config.tracks if name not in context.off]
    reasons = "; ".join(f"{name!r} is off: {why}" for name, why in context.off.items())
    detail = f"on: {', '.join(map(repr, on)) or 'none'}" + (f"; {reasons}" if reasons else "")
    return Finding("tracks", bool(on), detail, "" if on else "vanta config show")


def library_check(factory: EngineFactory) -> Check:
    """Return a check that finds, without importing it, the library of an engine."""
    name = f"engine {factory.name}"

    async def run(context: DiagnosisContext) -> Finding:
        look = functools.partial(_library, name, factory, context.plugins)
        return await anyio.to_thread.run_sync(look, abandon_on_cancel=True)

    return Check(name, run)


def model_check(track: str) -> Check:
    """Return a check that a track's model is on disk, of the right size, and a GGUF file."""
    name = f"model of {track}"

    async def run(context: DiagnosisContext) -> Finding:
        look = functools.partial(_model, name, track, context)
        return await anyio.to_thread.run_sync(look, abandon_on_cancel=True)

    return Check(name, run)


def access_check(track: str) -> Check:
    """Return a check that a track has a key or a server; it never shows the key."""
    name = f"access of {track}"

    async def run(context: DiagnosisContext) -> Finding:
        config = context.config.tracks[track]
        if context.project is not None and f"tracks.{track}" in context.project.keyless:
            server = redact_url(str(config.options.get("base_url")))
            detail = f"{server}, which the project names without a key: none is sent"
            return Finding(name, True, detail)
        if why := _redirected(config.options, context.environ, private=config.private):
            return Finding(name, False, why, f"vanta config explain tracks.{track}.options")
        look = functools.partial(_access, name, config.options, context.environ)
        return await anyio.to_thread.run_sync(look, abandon_on_cancel=True)

    return Check(name, run)


async def recall(context: DiagnosisContext) -> Finding:
    """Check whether memory finds items by words and by meaning."""
    look = functools.partial(_recall, context)
    return await anyio.to_thread.run_sync(look, abandon_on_cancel=True)


def tokens_check(track: str) -> Check:
    """Return a check of the token counter of a track that calls a server."""
    name = f"tokens of {track}"

    async def run(context: DiagnosisContext) -> Finding:
        if track in context.off:
            return Finding(name, None, f"not checked: {track!r} is off")
        config = context.config.tracks[track]
        factory = context.plugins.engines[config.engine]
        options = factory.options.model_validate(dict(config.options))
        engine_context = EngineContext(
            track, config.model, config.window, context.models.find, private=config.private
        )
        engine = factory.create(options, engine_context)
        try:
            await engine.load()
            counter, why = engine.counter, str(engine.stats().get("no_tiktoken") or "")
        finally:
            await engine.aclose()
        if not why:
            return Finding(name, True, f"counted by {counter}")
        return Finding(name, None, f"an estimate on the high side: {why}", _command_in(why))

    return Check(name, run, timeout_s=30.0)  # importing the SDK takes seconds on a busy machine


def _with_engine(context: DiagnosisContext, engine: str) -> list[str]:
    tracks = context.config.tracks.items()
    return [name for name, track in tracks if track.enabled and track.engine == engine]


def _library(name: str, factory: EngineFactory, plugins: PluginCatalog) -> Finding:
    library = factory.requires
    if library is None:
        return Finding(name, True, "needs no library")
    try:
        installed = importlib.util.find_spec(library) is not None
    except (ImportError, ValueError):
        installed = False
    if installed:
        return Finding(name, True, f"{library!r} is installed{_version(library)}")
    detail = f"needs {library!r}, which is not installed"
    return Finding(name, False, detail, plugins.library_hint(factory))


def _version(library: str) -> str:
    owners = importlib.metadata.packages_distributions().get(library.partition(".")[0], [])
    return f" ({owners[0]} {importlib.metadata.version(owners[0])})" if owners else ""


def _model(name: str, track: str, context: DiagnosisContext) -> Finding:
    model = context.config.tracks[track].model
    try:
        file = context.models.find(model)
    except UnknownName as error:
        return Finding(name, False, str(error), "vanta models list")
    except VantaError as error:
        return Finding(name, False, str(error), _fetch_command(model, context))
    size = file.path.stat().st_size / 1e6
    return Finding(name, True, f"{file.id!r} is here, {size:,.1f} MB, at {str(file.path)!r}")


def _fetch_command(model: str, context: DiagnosisContext) -> str:
    try:
        return context.models.verify(model).fix
    except VantaError:
        return ""


def _redirected(
    options: Mapping[str, Any], environ: Mapping[str, str], *, private: bool
) -> str | None:
    """Return why OPENAI_BASE_URL keeps a track off: it redirects no private track and no key."""
    url = environ.get("OPENAI_BASE_URL", "").strip()
    if options.get("base_url") or not url or server_origin(url) == server_origin(_DEFAULT_SERVER):
        return None
    named = options.get("api_key_file") or options.get("api_key_env", _KEY) != _KEY
    if not private and not named:
        return None
    what = "a private track" if private else "a key that the options name"
    return f"OPENAI_BASE_URL does not redirect {what}: name the server with the option 'base_url'"


def _access(name: str, options: Mapping[str, Any], environ: Mapping[str, str]) -> Finding:
    variable = str(options.get("api_key_env", _KEY))
    url = options.get("base_url") or environ.get("OPENAI_BASE_URL", "").strip() or None
    server = redact_url(str(url or _DEFAULT_SERVER))
    if server.endswith(f"://{HIDDEN}"):
        server = "a server whose URL cannot be read"
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
        holds_key = bool(read_text(file, _MAX_KEY_BYTES).strip())
    except (OSError, UnicodeDecodeError):
        holds_key = False
    if holds_key:
        return Finding(name, True, f"a key is in the file {str(file)!r} (not shown), for {server}")
    detail = f"the key file {str(file)!r} is missing, unreadable or empty"
    return Finding(name, False, detail, f"install -m 600 /dev/stdin {quote(str(file))}")


def _recall(context: DiagnosisContext) -> Finding:
    memory = context.config.memory
    if not memory.enabled:
        return Finding("recall", None, "memory.enabled is false: nothing is recalled")
    if not (context.config.store_url or "sqlite").startswith("sqlite"):
        detail = "memory needs SQLite, and store_url names another database"
        return Finding("recall", None, detail, "vanta config explain store_url")
    try:
        embedder, why = embedder_for(context.config, context.plugins, context.models)
        index, without = index_for(context.config, context.plugins)
    except UsageError as error:
        return Finding("recall", False, str(error), "vanta config explain memory")
    if embedder is None:
        required = memory.embedder not in {AUTO, NONE}
        fix = "" if memory.embedder == NONE else _command_in(why)
        return Finding("recall", False if required else None, f"by words alone: {why}", fix)
    sources = f"by words and by meaning (embedder {embedder.name!r})"
    if index is None:
        required = memory.index not in {AUTO, NONE}
        detail = f"{sources}, every vector is compared: {without}"
        return Finding("recall", False if required else None, detail, _command_in(without))
    return Finding("recall", True, f"{sources}, index {index.name!r}")


def _command_in(why: str) -> str:
    """Return the command in a reason, or ""."""
    match = _COMMAND.search(why)
    return match[0] if match else ""
