"""The router: fitted, asked, explained, saved, and refused where its file is broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.routing import worlds
from vanta.errors import UsageError
from vanta.routing import Router
from vanta_tuning.fitting import Fitted, OutcomeRow, apgr, fit_router


@pytest.fixture
def saved(fitted: Fitted, tmp_path: Path) -> Path:
    path = tmp_path / "new folder" / "router.json"
    fitted.router.save(path)
    return path


def test_it_learns_which_words_are_hard(fitted: Fitted) -> None:
    fresh = worlds.outcomes(800, seed=9)
    scores = [fitted.router.difficulty(row.prompt) for row in fresh]
    learned = apgr(scores, [row.gain for row in fresh])
    by_length = apgr([float(len(row.prompt)) for row in fresh], [row.gain for row in fresh])
    assert learned is not None
    assert by_length is not None
    assert learned > 0.75
    assert by_length < 0.6
    assert fitted.apgr == pytest.approx(learned, abs=0.1)


def test_its_difficulty_is_the_probability_that_the_strong_track_is_needed(
    fitted: Fitted,
) -> None:
    for hard, probability in ((True, 0.8 * 0.9), (False, 0.1 * 0.9)):
        texts = [text for text, is_hard in worlds.prompts(400, seed=4) if is_hard is hard]
        mean = sum(map(fitted.router.difficulty, texts)) / len(texts)
        assert mean == pytest.approx(probability, abs=0.12)
    assert fitted.reliability.ece < 0.08


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.8])
def test_a_share_of_calls_is_kept_on_messages_that_it_has_not_seen(
    fitted: Fitted, share: float
) -> None:
    router = fitted.router.calibrated(text for text, _ in worlds.prompts(3000, seed=5))
    fresh = [text for text, _ in worlds.prompts(3000, seed=6)]
    assert sum(router.is_hard(text, share) for text in fresh) / 3000 == pytest.approx(
        share, abs=0.03
    )


def test_shares_of_nothing_and_all_are_exact(fitted: Fitted) -> None:
    for router in (fitted.router, Router.unfitted()):
        assert not router.is_hard("prove the theorem", 0)
        assert router.is_hard("hello", 1)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_an_impossible_share_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="must be between 0 and 1"):
        Router.unfitted().threshold(share)


@given(st.text(max_size=200), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_never_lowers_the_number_of_hard_messages(
    fitted: Fitted, text: str, first: float, second: float
) -> None:
    low, high = sorted((first, second))
    for router in (fitted.router, Router.unfitted()):
        assert 0 <= router.difficulty(text) <= 1
        assert router.is_hard(text, high) or not router.is_hard(text, low)


def test_the_hard_word_is_what_pushes_up(fitted: Fitted) -> None:
    pushes = {item.feature: item.push for item in fitted.router.explain("please prove the of a is")}
    assert pushes["word 'prove'"] > 0.02
    assert {item.feature: item.push for item in fitted.router.explain("hello what is")}[
        "word 'hello'"
    ] < -0.02
    ordered = [abs(push) for push in pushes.values()]
    assert ordered == sorted(ordered, reverse=True)


def test_unfitted_it_says_so_and_calls_the_longer_message_harder() -> None:
    router = Router.unfitted()
    assert not router.fitted
    assert router.difficulty("x" * 900) > router.difficulty("x" * 90)
    assert [item.feature for item in router.explain("x" * 900)] == ["900 characters"]
    assert router.explain("x" * 900)[0].push > 0 > router.explain("x")[0].push
    assert router.about == {}
    with pytest.raises(UsageError, match="fit it first"):
        router.save(Path("nowhere.json"))
    with pytest.raises(UsageError, match="fitted router"):
        router.calibrated(["x"])


def test_the_same_outcomes_give_the_same_file_to_the_byte(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.json", "b.json")]
    for path in paths:
        fit_router(worlds.outcomes(120), costs=(0.2,)).router.save(path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_saved_router_says_the_same(fitted: Fitted, saved: Path) -> None:
    loaded = Router.load(saved)
    assert loaded.fitted
    for text, _ in worlds.prompts(50, seed=8):
        assert loaded.difficulty(text) == pytest.approx(fitted.router.difficulty(text), abs=1e-3)
    assert loaded.threshold(0.3) == pytest.approx(fitted.router.threshold(0.3), abs=1e-5)
    assert loaded.about["rows"] == 400
    assert saved.stat().st_size < 200_000
    assert [path.name for path in saved.parent.iterdir()] == ["router.json"]


def test_no_word_of_the_prompts_is_in_the_file(saved: Path) -> None:
    text = saved.read_text()
    assert not [word for word in (*worlds.HARD, *worlds.EASY) if word in text]


def test_the_file_is_read_at_the_first_question(tmp_path: Path) -> None:
    router = Router.load(tmp_path / "missing.json")
    with pytest.raises(UsageError, match=r"missing\.json.* cannot be read.*`vanta route fit`"):
        router.difficulty("hello")


def spoil(path: Path, change: dict[str, Any]) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"vanta": "gate"}, "is not a model file of the router"),
        ({"version": 99}, "version 99"),
        ({"features": 99}, "features of version 99"),
        ({"weak": None}, "has no 'weak'"),
        ({"weak": {"intercept": 0, "scale": 1, "weights": "@@"}}, "cut off"),
        ({"hashes": "x"}, "cut off"),
        ({"difficulties": [0.9, 0.1]}, "ascending"),
        ({"difficulties": [0.1, "a"]}, "is not a number"),
        ({"calibration": {"slope": -1, "offset": 0}}, "not between"),
        ({"calibration": {"slope": 1, "offset": float("inf")}}, "not between"),
    ],
)
def test_a_broken_file_is_refused_with_what_to_do(
    saved: Path, change: dict[str, Any], why: str
) -> None:
    spoil(saved, change)
    with pytest.raises(UsageError, match=f"router\\.json.*({why}).*`vanta route fit`"):
        Router.load(saved).check()


@given(st.data())
def test_a_file_cut_off_anywhere_is_a_usage_error(
    tmp_path_factory: pytest.TempPathFactory, fitted: Fitted, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("cut") / "router.json"
    fitted.router.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 3))])
    with pytest.raises(UsageError, match="model file of the router"):
        Router.load(path).check()


def test_too_few_or_too_equal_outcomes_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 50"):
        fit_router(worlds.outcomes(20))
    alike = [OutcomeRow(f"prompt {i}", 1.0, 1.0) for i in range(60)]
    with pytest.raises(UsageError, match="all alike"):
        fit_router(alike)
