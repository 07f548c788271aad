"""The figures of races, computed from given moments in seconds."""

from __future__ import annotations

import importlib
import math
from typing import Any

import pytest

from vanta.cli.bench import PACKAGE, load_benchmarks

load_benchmarks()
contestants = importlib.import_module(f"{PACKAGE}.contestants")
servers = importlib.import_module(f"{PACKAGE}.servers")
race: Any = load_benchmarks().load("race")

RIGHT = "".join(servers.WORDS).format("fast")


def sample(tag: str, asked: float, first: float | None, **rest: Any) -> Any:
    return contestants.Sample(tag=tag, asked_at=asked, first_content_at=first, **rest)


def record(tag: str, first_token: float | None, gone: float | None = None, **rest: Any) -> Any:
    values = {"started_at": 10.0, "complete": gone is None, **rest}
    return servers.Record(tag=tag, first_token_at=first_token, client_gone_at=gone, **values)


@pytest.fixture
def races() -> Any:
    """Return races of all contestants.

    The plain client has a token 2 ms after it was sent and 32 ms after its request. A race of vanta
    takes 5 ms more, a race by headers cuts the fast server off, and another has no answer.
    """
    races = race.Races(servers.HEADERS_FIRST)
    races.samples = {
        "plain": [sample("p", 10.0, 10.032)],
        "vanta": [sample("v", 10.0, 10.037, committed_at=10.036, text=RIGHT)],
        "by headers": [
            sample("h", 10.0, 10.152, committed_at=10.001, text="The answer of the slow server."),
            sample("n", 10.0, None, failure="it broke"),
        ],
    }
    races.served = {
        "p": servers.Served(None, record("p", 10.030)),
        "v": servers.Served(record("v", None, gone=10.040), record("v", 10.030)),
        "h": servers.Served(record("h", 10.150), record("h", None, gone=10.002)),
        "n": servers.Served(record("n", None), None),
    }
    return races


def test_the_ideal_is_the_first_token_sent_and_the_plain_clients_latency(races: Any) -> None:
    assert races.latency_ms == pytest.approx(2.0)
    assert races.over_ideal("vanta") == pytest.approx([5.0])


def test_a_server_that_was_cut_off_counts_with_the_token_it_would_have_sent(races: Any) -> None:
    assert races.over_ideal("by headers")[0] == pytest.approx(120.0)


def test_a_race_without_an_answer_takes_infinitely_long_and_is_reported(races: Any) -> None:
    values = races.over_ideal("by headers")
    assert values[1] == math.inf
    figure = race.first_content_figure("x", (values, []), 10.0, "")
    assert (figure.value, figure.holds) == (None, False)
    assert "1 of 2 had no answer" in figure.note


def test_first_content_over_the_plain_client_has_a_goal_at_the_median_and_at_p99(
    races: Any,
) -> None:
    middle, late = race.over_plain_figures(races)
    assert middle.name.endswith("memory on, median")
    assert late.name.endswith("memory on, p99")
    assert (middle.goal, late.goal) == (5.0, 10.0)
    assert middle.value == late.value == pytest.approx(5.0)
    assert middle.peer_value is not None or "had no answer" in middle.note


def test_the_loser_is_closed_when_its_server_sees_it(races: Any) -> None:
    assert races.closed_after("vanta") == pytest.approx([4.0])
    assert race.closed_figure(races).holds is True


def test_a_loser_that_was_never_closed_fails(races: Any) -> None:
    races.served["v"] = servers.Served(record("v", None, complete=False), record("v", 10.030))
    figure = race.closed_figure(races)
    assert (figure.value, figure.holds) == (None, False)
    assert "1 of 1 were never closed" in figure.note


def test_only_the_whole_answer_of_the_fast_server_is_right(races: Any) -> None:
    assert (races.right("vanta"), races.right("by headers")) == (1, 0)
    races.samples["vanta"][0].text = RIGHT[:-1]
    assert races.right("vanta") == 0


def test_from_the_ask_is_measured_against_the_plain_client(races: Any) -> None:
    assert races.over_plain("vanta") == pytest.approx([5.0])
    assert races.over_plain("by headers")[0] == pytest.approx(120.0)


def test_litellm_is_reported_beside_the_peer(races: Any) -> None:
    races.litellm = "litellm 9.9, fastest response"
    races.samples["litellm"] = races.samples["by headers"][:1]
    assert race.litellm_note(races).endswith("120.0 ms over the ideal at p99, 0 of 1 right.")
    races.samples["litellm"] = races.samples["by headers"]
    assert race.litellm_note(races).endswith("no answer at p99, 0 of 2 right.")


def test_without_litellm_the_reason_is_reported(races: Any) -> None:
    races.litellm = "no peer: it is broken"
    assert race.litellm_note(races) == "no peer: it is broken"
