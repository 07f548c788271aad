"""The list of models as Anthropic's clients read it.

https://docs.claude.com/en/api/models-list. The path is OpenAI's, too: a request with the header
`anthropic-version` gets this shape. Invariant: it has the names of the other list, on one page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vanta_server.names import ServedModel

_CREATED = "1970-01-01T00:00:00Z"
"""When a model was released: it is not known, and the protocol wants this time then."""


def model_info(model: ServedModel) -> dict[str, Any]:
    """Return one model.

    :param model: the model.
    """
    return {
        "id": model.id,
        "type": "model",
        "display_name": model.id,
        "created_at": _CREATED,
        "lifecycle": "active",
        "deprecated_at": None,
        "retires_at": None,
        "line": None,
        "capabilities": None,
        "max_input_tokens": model.window,
        "max_tokens": model.window,
        "vanta": {"about": model.about},
    }


def models_page(models: Sequence[ServedModel]) -> dict[str, Any]:
    """Return all models as the only page of a list.

    :param models: the models, in order.
    """
    return {
        "data": [model_info(model) for model in models],
        "has_more": False,
        "first_id": models[0].id if models else None,
        "last_id": models[-1].id if models else None,
    }
