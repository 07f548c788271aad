"""Prices: what the configuration says of a track, else what `configs/prices.toml` lists.

Invariant: a model is found by its whole name or not at all: a price is never guessed from a
neighbour's. A private track is free unless the configuration says otherwise.
"""

from __future__ import annotations

import datetime
import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vanta.config import TrackConfig
from vanta.errors import ConfigError
from vanta.resources import configs_dir
from vanta.track import Price


@dataclass(frozen=True, slots=True)
class ListedPrice:
    """A model's public price. checked: the day on which it was read from a published list."""

    price: Price
    checked: datetime.date


@functools.cache
def listed_prices() -> Mapping[str, ListedPrice]:
    """The prices that ship with vanta, by model. Raises ConfigError for a broken file."""
    path = configs_dir() / "prices.toml"
    try:
        tables: list[dict[str, Any]] = tomllib.loads(path.read_text("utf-8"))["prices"]
        return {model: _listed(table) for table in tables for model in table["models"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"the price list {str(path)!r} cannot be read: {error!r}. Install vanta again."
        ) from error


def price_of(track: TrackConfig) -> Price | None:
    """The price of a track, None where nobody knows it.

    A price that the configuration gives goes before the list, each of the two for itself.
    """
    own = (track.input_usd_per_mtok, track.output_usd_per_mtok)
    listed = None if track.private else listed_prices().get(track.model)
    if own == (None, None):
        return listed.price if listed else Price() if track.private else None
    below = listed.price if listed else Price()
    return Price(
        below.input_usd_per_mtok if own[0] is None else own[0],
        below.output_usd_per_mtok if own[1] is None else own[1],
    )


def _listed(table: Mapping[str, Any]) -> ListedPrice:
    price = Price(float(table["input_usd_per_mtok"]), float(table["output_usd_per_mtok"]))
    return ListedPrice(price, table["checked"])
