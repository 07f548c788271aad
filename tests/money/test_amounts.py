"""Amounts are exact decimals, and rounding never exceeds a cap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vanta.money import format_usd
from vanta.money.amounts import dollars, nano, nano_down, nano_up, usd

USD = st.floats(0, 1e6, allow_nan=False)


@pytest.mark.parametrize(
    ("amount", "whole"), [(0.02, 20_000_000), (0.07, 70_000_000), (0.1 + 0.2, 300_000_000)]
)
def test_an_amount_is_the_decimal_as_written(amount: float, whole: int) -> None:
    assert nano(amount) == whole
    assert nano_down(amount) == whole


@given(USD)
def test_a_settlement_is_never_rounded_above_its_reservation(amount: float) -> None:
    assert nano_down(amount) <= nano(amount) <= nano_up(amount) <= nano_down(amount) + 1


@given(st.integers(0, 10**15))
def test_whole_amounts_survive_conversion_to_dollars(amount: int) -> None:
    assert nano(usd(amount)) == amount
    assert float(dollars(amount).removeprefix("$")) == pytest.approx(usd(amount))


def test_an_infinite_price_is_an_amount_that_no_cap_allows() -> None:
    assert nano_up(float("inf")) == nano_up(1e300) < 2**63


def test_dollars_are_shown_with_all_significant_digits() -> None:
    shown = [dollars(n) for n in (0, 50_000_000, 1_500_000_000, 150, 20_000_000_000)]
    assert shown == ["$0", "$0.05", "$1.50", "$0.00000015", "$20"]
    assert [format_usd(amount) for amount in (0, 0.05, 1.5)] == ["$0", "$0.05", "$1.50"]
