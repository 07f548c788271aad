"""What a server lists under `/models`, whatever it adds to OpenAI's format.

Invariant: pure; raises ValueError for what is no list of models.
"""

from __future__ import annotations

from typing import Any

from vanta.engine import EngineModel

_WINDOWS = ("max_model_len", "context_length", "context_window", "max_context_length")
"""Where vLLM, OpenRouter, Groq and LM Studio say how many tokens a model takes as it is served."""


def models_of(listing: Any) -> list[EngineModel]:
    """The models in the JSON of `GET /models`; `data` may be null where there is none."""
    if not isinstance(listing, dict) or "data" not in listing:
        raise ValueError("no list of models")
    entries = listing["data"] or []
    if not isinstance(entries, list):
        raise ValueError("no list of models")  # noqa: TRY004 - the input is wrong, not a call
    return [_model(entry) for entry in entries if isinstance(entry, dict) and entry.get("id")]


def _model(entry: dict[str, Any]) -> EngineModel:
    windows = (entry.get(name) for name in _WINDOWS)
    window = next((value for value in windows if isinstance(value, int) and value > 0), None)
    return EngineModel(str(entry["id"]), window, entry)
