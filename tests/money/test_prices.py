"""Prices: the configuration's word, else the list's, else nobody's."""

from __future__ import annotations

import datetime

from vanta.config import TrackConfig
from vanta.money import listed_prices, price_of
from vanta.track import Price


def track(model: str = "gpt-4o-mini", **changes: object) -> TrackConfig:
    return TrackConfig.model_validate({"engine": "openai", "model": model, **changes})


def test_a_listed_model_has_its_listed_price() -> None:
    assert price_of(track()) == Price(0.15, 0.60)


def test_the_configuration_goes_before_the_list_each_price_for_itself() -> None:
    assert price_of(track(input_usd_per_mtok=9.0)) == Price(9, 0.60)
    assert price_of(track(input_usd_per_mtok=0.0, output_usd_per_mtok=0.0)) == Price()
    assert price_of(track("mine", output_usd_per_mtok=1.0)) == Price(0, 1)


def test_a_price_is_not_guessed_from_a_similar_name() -> None:
    assert price_of(track("gpt-4o-mini-2099-01-01")) is None


def test_a_private_track_is_free_unless_it_says_otherwise() -> None:
    assert price_of(track("any.gguf", private=True)) == Price()
    assert price_of(track(private=True)) == Price()
    assert price_of(track(private=True, input_usd_per_mtok=1.0)) == Price(1, 0)


def test_every_listed_price_is_one_and_says_when_it_was_checked() -> None:
    for model, listed in listed_prices().items():
        price = listed.price
        assert 0 < price.input_usd_per_mtok < price.output_usd_per_mtok, model
        assert isinstance(listed.checked, datetime.date)
