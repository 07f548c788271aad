"""Policies as timelines."""

from __future__ import annotations

import pytest

from vanta.drawing.plan import MAY_WIN, RUNS, START, WAITS, WIDTH, draw, explain
from vanta.scheduling import API, BUILTIN, CASCADE, HEDGE, PREFER, ROUTE, Policy, adapt


def lanes(policy: Policy) -> dict[str, str]:
    """Return the lane of each track, without its label."""
    drawn = draw(policy)[1 : 1 + len(policy.legs)]
    return {line.split()[0]: line.split(maxsplit=1)[1] for line in drawn}


@pytest.mark.parametrize("policy", BUILTIN, ids=lambda policy: policy.name)
def test_every_policy_has_an_axis_and_a_lane_and_a_rule_per_leg(policy: Policy) -> None:
    assert len(draw(policy)) == len(policy.legs) + 2
    assert len(explain(policy)) >= len(policy.legs)
    assert all(len(lane) >= WIDTH for lane in lanes(policy).values())


def test_a_track_alone_may_win_from_its_start() -> None:
    assert lanes(API)["api"] == START + MAY_WIN * (WIDTH - 1)


def test_a_delay_is_drawn_as_waiting_and_explained_in_seconds() -> None:
    assert lanes(HEDGE)["api"].startswith(WAITS + WAITS)
    assert "0.5 s" in draw(HEDGE)[0]
    assert any("after 0.5 s of silence" in rule for rule in explain(HEDGE))
    assert any("10% of the turns" in rule for rule in explain(HEDGE))


def test_a_hold_is_drawn_as_running_before_it_may_win() -> None:
    lane = lanes(PREFER)["local"]
    assert lane.startswith(START + RUNS)
    assert MAY_WIN in lane


def test_a_leg_that_is_judged_never_wins_by_its_first_text() -> None:
    assert MAY_WIN not in lanes(CASCADE)["local"]
    assert lanes(CASCADE)["local"].endswith("gate")
    assert "until it is needed" in lanes(CASCADE)["api"]


def test_the_share_of_the_router_is_explained() -> None:
    assert any("30% of the messages as hard" in rule for rule in explain(ROUTE))


def test_a_variant_is_explained_with_its_own_numbers() -> None:
    variant = adapt(PREFER, name="mine", hold_s=7.0, takeover="fail")
    assert any("after 7 s" in rule for rule in explain(variant))
    assert "the turn fails" in explain(variant)[-1]
