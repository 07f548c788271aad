"""Model names as Ollama's clients write them, and what they are shown about each model.

A client may add the tag `:latest` to a name that has no tag. Invariant: every name that is listed
is one that `/v1/models` lists.
"""

from __future__ import annotations

import hashlib
from typing import Any

from vanta import Runtime, Track, UnknownName
from vanta_server.names import ServedModel, find_model, models
from vanta_server.ollama.responses import now

LATEST = ":latest"
FAR_FUTURE = "2999-01-01T00:00:00Z"
"""When a model is unloaded: not while the server runs."""


def find_served(runtime: Runtime, name: str) -> ServedModel:
    """Return what a name chooses.

    :param runtime: the runtime that answers.
    :param name: the name, perhaps with the tag `:latest`.
    :raises UnknownName: if there is no such model.
    """
    try:
        return find_model(runtime, name)
    except UnknownName:
        if not name.endswith(LATEST):
            raise
        return find_model(runtime, name.removesuffix(LATEST))


def tags(runtime: Runtime) -> dict[str, Any]:
    """Return the answer to `GET /api/tags`: every model.

    :param runtime: the runtime that answers.
    """
    modified_at = now()
    return {
        "models": [
            {**_entry(runtime, model), "modified_at": modified_at} for model in models(runtime)
        ]
    }


def running(runtime: Runtime) -> dict[str, Any]:
    """Return the answer to `GET /api/ps`: the models that are in this process's memory.

    :param runtime: the runtime that answers.
    """
    listed = []
    for model in models(runtime):
        track = _track(runtime, model)
        stats = track.engine.stats() if track else {}
        if stats.get("loaded"):
            size = {"size": stats.get("memory_bytes") or 0}
            limits = {"size_vram": 0, "context_length": model.window or 0}
            entry = _entry(runtime, model)
            listed.append({**entry, **size, **limits, "expires_at": FAR_FUTURE})
    return {"models": listed}


def shown(runtime: Runtime, model: ServedModel) -> dict[str, Any]:
    """Return the answer to `POST /api/show`.

    :param runtime: the runtime that answers.
    :param model: the model.
    """
    tracks = [track for track in (_track(runtime, model),) if track] or [*runtime.tracks.values()]
    family = tracks[0].engine.name if len(tracks) == 1 else "vanta"
    info: dict[str, Any] = {"general.architecture": family, "general.basename": model.id}
    if model.window:
        info[f"{family}.context_length"] = model.window
    capabilities = ["completion"]
    if any(track.engine.capabilities.tools for track in tracks):
        capabilities.append("tools")
    return {
        "modelfile": f"# {model.about}",
        "parameters": "",
        "template": "",
        "details": _details(runtime, model),
        "model_info": info,
        "capabilities": capabilities,
        "modified_at": now(),
    }


def _entry(runtime: Runtime, model: ServedModel) -> dict[str, Any]:
    return {
        "name": model.id,
        "model": model.id,
        "size": 0,
        "digest": hashlib.sha256(model.id.encode()).hexdigest(),
        "details": _details(runtime, model),
    }


def _details(runtime: Runtime, model: ServedModel) -> dict[str, Any]:
    track = _track(runtime, model)
    facts = track.engine.stats().get("model", {}) if track else {}
    family = track.engine.name if track else "vanta"
    return {
        "parent_model": track.engine.model if track else "",
        "format": "gguf" if facts else "",
        "family": family,
        "families": [family],
        "parameter_size": "",
        "quantization_level": str(facts.get("quantisation") or ""),
    }


def _track(runtime: Runtime, model: ServedModel) -> Track | None:
    """Return the track that answers a model's name alone, or None."""
    return runtime.tracks.get(model.options.track or "")
