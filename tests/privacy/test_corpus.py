"""Precision and recall of the detectors, on texts of many formats, languages and separators."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.privacy.corpus import Case, read_corpus
from vanta_privacy import vanta_detectors

CORPUS = read_corpus()
DETECTORS = {detector.name: detector for detector in vanta_detectors()}
GOAL = 0.98


def errors(name: str, cases: list[Case]) -> tuple[list[str], list[str], int]:
    """Return the lines that were missed, the lines that were found wrongly, and the right finds."""
    wrong: dict[bool, list[str]] = {True: [], False: []}
    right = 0
    for case in cases:
        is_wanted = name in case.labels
        is_found = DETECTORS[name].find(case.text) is not None
        if is_found != is_wanted:
            wrong[is_wanted].append(case.line)
        right += is_found and is_wanted
    return wrong[True], wrong[False], right


def test_the_corpus_is_large_enough() -> None:
    lines = [case.line for case in CORPUS]
    assert len(set(lines)) == len(lines)
    assert sum(bool(case.labels) for case in CORPUS) >= 300
    assert sum(not case.labels for case in CORPUS) >= 300
    by_label = Counter(label for case in CORPUS for label in case.labels)
    assert set(by_label) == set(DETECTORS)
    assert min(by_label.values()) >= 50
    assert 0.25 < sum(case.held_out for case in CORPUS) / len(CORPUS) < 0.42


@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize("name", DETECTORS)
def test_precision_and_recall_reach_the_goal(name: str, held_out: bool) -> None:
    missed, false, right = errors(name, [case for case in CORPUS if case.held_out == held_out])
    assert right / (right + len(missed)) >= GOAL, missed
    assert right / (right + len(false)) >= GOAL, false


@pytest.mark.parametrize("name", DETECTORS)
def test_few_of_the_ordinary_texts_are_taken_for_private_ones(name: str) -> None:
    ordinary = [case for case in CORPUS if not case.labels]
    _, false, _ = errors(name, ordinary)
    assert len(false) / len(ordinary) <= 1 - GOAL, false


@pytest.mark.parametrize("space", ["\u00a0", "\u2009", "\u202f", "\u3000", "  "])
@pytest.mark.parametrize("dash", ["-", "\u2010", "\u2011", "\u2013", "\u2212", "\uff0d"])
@pytest.mark.parametrize("invisible", ["", "\u200b", "\u2060", "\ufeff", "\u00ad"])
def test_separators_change_no_finding(space: str, dash: str, invisible: str) -> None:
    text = {
        "card": f"4111{dash}1111{space}1111{space}11{invisible}11",
        "phone": f"+44{space}20{space}7946{dash}09{invisible}58",
        "email": f"mail:{space}ada{invisible}@example{dash}site.org",
        "secrets": f"DB_{invisible}PASSWORD{space}={space}hunter2{dash}x",
    }
    for name, detector in DETECTORS.items():
        assert detector.find(text[name]), name
