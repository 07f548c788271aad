"""Data that the detectors find, and data that they ignore."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from vanta_privacy import vanta_detectors

DETECTORS = {detector.name: detector for detector in vanta_detectors()}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("secrets", "my key is sk-" + "a1B2" * 8),
        ("secrets", "AKIA" + "ABCD1234" * 2),
        ("secrets", "-----BEGIN RSA PRIVATE KEY-----"),
        ("secrets", "password: hunter2!x"),
        ("secrets", "The api key is 9f8e7d6c5b4a"),
        ("secrets", "eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSMeK"),
        ("email", "write to ada.lovelace@example.org please"),
        ("phone", "call +44 20 7946 0958"),
        ("phone", "call (030) 901820-33"),
        ("card", "pay with 4111 1111 1111 1111"),
        ("card", "5500-0000-0000-0004"),
    ],
)
def test_sensitive_data_is_found(name: str, text: str) -> None:
    assert DETECTORS[name].find(text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("secrets", "what is a good password?"),
        ("secrets", "the secret is patience"),
        ("secrets", "token: something"),
        ("email", "meet me @ noon"),
        ("email", "use the @property decorator"),
        ("phone", "on 2026-11-21 at ten"),
        ("phone", "pi is 3.14159265358979"),
        ("phone", "the year 1969 and 12345678 others"),
        ("card", "order 4111 1111 1111 1112"),
        ("card", "0000 0000 0000 0000"),
    ],
)
def test_harmless_text_is_ignored(name: str, text: str) -> None:
    assert DETECTORS[name].find(text) is None


JUNK = [
    "1 ", "4111 ", "a@", "a.b@", "x@y.gz ", "git@github.com:a/b ", "https://a@b.cc ", "password = ",
    "password ", "password is ", "pass", "token: a", "PASSWORD=$a ", '"password": "', "密码是",
    "пароль ", "sk-", "eyJ-", "SG.", "-----BEGIN ", "Bearer ", "mysql a ", "-u a:b ", "://a:", "(",
    "a", " ", "\u00a0", "é", "٤", "+49 ", "0049 ", "030 ", "(212) ", "tel ", "call me ", "-", "_=",
]  # fmt: skip


@pytest.mark.parametrize("name", DETECTORS)
def test_the_time_grows_with_the_length_of_a_message_and_no_faster(name: str) -> None:
    find = DETECTORS[name].find
    for unit in JUNK:
        short, long = (_seconds(find, unit * (size // len(unit))) for size in (20_000, 160_000))
        assert long < 20 * short + 0.05, (unit, short, long)


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("unit", ["lorem ipsum, dolor ", "1 ", "password = ", "a@b ", "é 12 ", "("])
def test_no_message_makes_a_detector_slow(name: str, unit: str) -> None:
    assert _seconds(DETECTORS[name].find, unit * (1_000_000 // len(unit))) < 5


def _seconds(find: Callable[[str], object], text: str) -> float:
    started = time.process_time()
    find(text)
    return time.process_time() - started


@pytest.mark.parametrize("name", DETECTORS)
def test_data_is_named_and_never_quoted(name: str) -> None:
    text = "sk-" + "a1B2" * 8 + " ada@example.org +44 20 7946 0958 4111 1111 1111 1111"
    kind = DETECTORS[name].find(text)
    assert kind
    assert not any(word in kind for word in text.split() if len(word) > 3)
