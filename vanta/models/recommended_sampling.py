"""The sampling that a model's makers recommend, and a careful one for a model of unknown origin.

A model that is sampled hotter than its makers intended answers simple questions wrongly. The source
is the model's entry in the registry, otherwise the metadata of its file (`general.sampling.*`, as
llama.cpp reads it), otherwise `CAREFUL`. Invariant: every recommendation names its source, and
every value is in the range of `vanta.Sampling`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pydantic

from vanta.engine import Sampling
from vanta.errors import ConfigError

_RANGES = {
    "temperature": (0.0, 2.0),
    "top_p": (0.001, 1.0),
    "top_k": (0, 1_000_000),
    "min_p": (0.0, 1.0),
    "repeat_penalty": (0.5, 2.0),
}
_GGUF_KEYS = {
    "temperature": "general.sampling.temp",
    "top_p": "general.sampling.top_p",
    "top_k": "general.sampling.top_k",
    "min_p": "general.sampling.min_p",
    "repeat_penalty": "general.sampling.penalty_repeat",
}


def _in_range(name: str, value: float) -> bool:
    least, most = _RANGES[name]
    return math.isfinite(value) and least <= value <= most


@dataclass(frozen=True, slots=True)
class RecommendedSampling:
    """The sampling to use for a model unless the configuration or a call sets another one.

    :param source: where the values come from: the address of the model's card, or a phrase.
    :param temperature: as in `vanta.Sampling`, 0 to 2; None for no recommendation.
    :param top_p: as in `vanta.Sampling`, above 0, at most 1.
    :param top_k: as in `vanta.Sampling`; 0 samples among all tokens.
    :param min_p: as in `vanta.Sampling`, 0 to 1.
    :param repeat_penalty: as in `vanta.Sampling`, 0.5 to 2.
    :raises ConfigError: if a value is out of its range, or the source is empty.
    """

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = {"extra": "forbid"}

    source: str
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None

    def __post_init__(self) -> None:
        if not self.source.strip():
            raise ConfigError("a recommended sampling must name its source.")
        for name, value in self.values().items():
            if not _in_range(name, value):
                least, most = _RANGES[name]
                raise ConfigError(
                    f"the recommended {name} must be between {least:g} and {most:g}, not {value!r}."
                )

    def values(self) -> dict[str, float]:
        """Return the recommended values by the names of `vanta.Sampling`."""
        values = {name: getattr(self, name) for name in _RANGES}
        return {name: value for name, value in values.items() if value is not None}

    def under(self, configured: Sampling) -> Sampling:
        """Return `configured` with the recommended values in the fields that it leaves unset.

        :param configured: the sampling of a track's configuration.
        """
        unset: dict[str, Any] = {
            name: value
            for name, value in self.values().items()
            if getattr(configured, name) is None
        }
        return dataclasses.replace(configured, **unset) if unset else configured


CAREFUL = RecommendedSampling(
    "vanta's careful default, since neither the registry nor the model's file recommends any",
    temperature=0.3,
    top_p=0.9,
)
"""For a model of unknown origin: close to its most likely answer, without the loops of greedy
decoding."""


def sampling_of_file(metadata: Mapping[str, object], file: str) -> RecommendedSampling | None:
    """Return the sampling that a GGUF file recommends, or None. Values out of range are ignored.

    :param metadata: the metadata of its header.
    :param file: name of the file, for the source.
    """
    values: dict[str, float] = {}
    for name, key in _GGUF_KEYS.items():
        value = metadata.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            number = int(value) if name == "top_k" and math.isfinite(value) else float(value)
            if _in_range(name, number):
                values[name] = number if name == "top_k" else round(number, 6)
    return RecommendedSampling(f"the metadata of {file}", **values) if values else None  # type: ignore[arg-type]
