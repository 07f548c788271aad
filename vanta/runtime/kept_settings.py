"""What a session keeps for its turns, in whatever process: a system prompt, variables, sampling.

Invariant: what is kept is plain JSON data, and means what the same arguments of `Runtime.session`
mean.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vanta.engine import Sampling
from vanta.errors import StoreError, UsageError


@dataclass(frozen=True, slots=True)
class Kept:
    """What a caller wants a session to keep.

    :param wanted: whether it wants anything to be kept; False leaves what is kept as it is.
    :param data: the settings, None for the configured ones.
    """

    wanted: bool = False
    data: Mapping[str, Any] | None = None


NOT_KEPT = Kept()


def to_data(
    system: str | None, variables: Mapping[str, Any] | None, sampling: Sampling | None
) -> dict[str, Any] | None:
    """Return settings as data to keep; None if all are the configured ones.

    :param system: a template under `system/`; None for the configured one.
    :param variables: for the template.
    :param sampling: set fields take precedence over the template's.
    :raises UsageError: if a variable cannot be kept.
    """
    data: dict[str, Any] = {}
    if system is not None:
        data["system"] = system
    if variables:
        data["variables"] = dict(variables)
    if sampling is not None:
        data["sampling"] = {
            name: value
            for name, value in dataclasses.asdict(sampling).items()
            if value not in (None, (), {})
        }
    try:
        kept: dict[str, Any] = json.loads(json.dumps(data, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"the settings of a session cannot be kept: {error}. Pass variables that are JSON data "
            "(text, numbers, lists, objects), or leave out keep=True."
        ) from error
    return kept or None


def prompt_of(data: Mapping[str, Any] | None) -> tuple[str | None, Mapping[str, Any]]:
    """Return the kept template and its variables; None and no variables if none are kept."""
    kept = data or {}
    return kept.get("system"), kept.get("variables") or {}


def sampling_of(data: Mapping[str, Any] | None) -> Sampling | None:
    """Return the kept sampling, None if none is.

    :raises StoreError: if a newer vanta kept a field that this one does not know.
    """
    values = dict((data or {}).get("sampling") or {})
    if not values:
        return None
    if "stop" in values:
        values["stop"] = tuple(values["stop"])
    if "logit_bias" in values:  # JSON has texts as keys
        values["logit_bias"] = {int(token): bias for token, bias in values["logit_bias"].items()}
    try:
        return Sampling(**values)
    except (TypeError, ValueError) as error:
        raise StoreError(
            f"the sampling that the session keeps cannot be used: {error}. Open the session with "
            "keep=True and a sampling of your own."
        ) from error
