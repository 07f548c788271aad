"""A share of calls is kept, whatever comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.routing import worlds
from vanta.errors import UsageError
from vanta.routing import Router, ShareKeeper
from vanta.routing.router import RATE
from vanta_tuning.fitting import Fitted

SHARES = st.floats(0, 1)


@given(st.lists(st.sampled_from(["", "hello", "prove " * 90, "x" * 999]), max_size=300), SHARES)
def test_no_traffic_moves_it_further_than_it_promises(texts: list[str], share: float) -> None:
    keeper = ShareKeeper(Router.unfitted(), share)
    hard = 0
    for n, text in enumerate(texts, 1):
        hard += keeper.is_hard(text)
        assert abs(hard - share * n) <= 1 / RATE + 2


def test_on_messages_that_are_all_longer_than_expected_the_share_is_kept() -> None:
    texts = [text * 20 for text, _ in worlds.prompts(3000)]
    router = Router.unfitted()
    keeper = ShareKeeper(router, 0.3)
    assert sum(router.is_hard(text, 0.3) for text in texts) / 3000 > 0.7
    assert sum(map(keeper.is_hard, texts)) / 3000 == pytest.approx(0.3, abs=0.02)


def test_it_still_sends_the_hard_ones(fitted: Fitted) -> None:
    keeper = ShareKeeper(fitted.router, 0.4)
    sent = [(keeper.is_hard(text), hard) for text, hard in worlds.prompts(1500, seed=3)]
    right = sum(decision == hard for decision, hard in sent) / len(sent)
    assert right > 0.8


def test_nothing_and_all_stay_nothing_and_all() -> None:
    for share in (0.0, 1.0):
        keeper = ShareKeeper(Router.unfitted(), share)
        assert {keeper.is_hard("x" * n) for n in range(1, 200)} == {bool(share)}


def test_an_impossible_share_is_refused() -> None:
    with pytest.raises(UsageError, match="must be between 0 and 1"):
        ShareKeeper(Router.unfitted(), 2.0)
