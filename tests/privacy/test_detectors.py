"""Data that the detectors find, and data that they ignore."""

from __future__ import annotations

import time

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


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize(
    "junk", ["1 " * 50_000, "a@" * 50_000, "password = " * 20_000, "(" * 99_999]
)
def test_no_message_makes_a_detector_slow(name: str, junk: str) -> None:
    started = time.process_time()
    DETECTORS[name].find(junk)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("name", DETECTORS)
def test_data_is_named_and_never_quoted(name: str) -> None:
    text = "sk-" + "a1B2" * 8 + " ada@example.org +44 20 7946 0958 4111 1111 1111 1111"
    kind = DETECTORS[name].find(text)
    assert kind
    assert not any(word in kind for word in text.split() if len(word) > 3)
