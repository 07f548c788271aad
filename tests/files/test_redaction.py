"""One redactor: no user, password, parameter or key is shown."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vanta.text import (
    RedactingFilter,
    redact,
    redact_text,
    redact_url,
    secrets_of,
    server_origin,
)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host/v1", "https://host/v1"),
        ("http://[::1]:80/v1", "http://[::1]:80/v1"),
        ("https://user:pass@host:8443/v1", "https://***@host:8443/v1"),
        ("https://token@host/v1", "https://***@host/v1"),
        ("https://u:p@ss@host/v1", "https://***@host/v1"),
        (
            "https://host/v1?api-version=2024-10-21&key=abc",
            "https://host/v1?api-version=***&key=***",
        ),
        ("https://host/v1?abc", "https://host/v1?***"),
        ("https://host/v1#secret", "https://host/v1"),
        ("https://gate/https://u:p@host/v1", "https://gate/https://***@host/v1"),
        (
            "postgresql+psycopg://u:p@h/db?sslpassword=x",
            "postgresql+psycopg://***@h/db?sslpassword=***",
        ),
        ("sqlite:////home/a/b.db", "sqlite:////home/a/b.db"),
        ("not a url", "not a url"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert redact_url(url) == shown
    assert redact_text(url) == shown


@given(
    st.from_regex(r"[A-Za-z0-9._~!$&'()*+,;=-]{6,12}", fullmatch=True),
    st.sampled_from(["https://{}@h/v1", "https://u:{}@h:1/x", "http://h?k={}", "redis://:{}@h/0"]),
)
def test_no_form_of_a_url_shows_a_secret(secret: str, form: str) -> None:
    secret = f"S3cr{secret}"
    assert secret not in redact_url(form.format(secret))


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer SECRET-1",
        "headers={'authorization': 'Bearer SECRET-1', 'x': 'y'}",
        "[(b'api-key', b'SECRET-1')]",
        "x-api-key=SECRET-1",
        "GET https://h/v1/models?key=SECRET-1 failed",
        "connect to postgresql://me:SECRET-1@db/x: refused",
        "Cookie: sid=SECRET-1",
    ],
)
def test_a_text_is_shown_without_the_secrets_of_headers_and_urls(text: str) -> None:
    assert "SECRET-1" not in redact_text(text)


def test_known_secrets_are_replaced_in_every_form() -> None:
    secrets = secrets_of("https://us%40er:pa%2Fss@host/v1?key=to%20ken")
    assert {"us%40er", "us@er", "pa/ss", "to ken"} <= set(secrets)
    assert redact_text("failed for us@er with pa/ss and to ken", secrets) == (
        "failed for *** with *** and ***"
    )


def test_plain_data_is_redacted_by_names_and_by_shapes() -> None:
    data = {
        "api_key": "a",
        "api_key_env": "MY_KEY",
        "base_url": "https://u:p@h/v1",
        "list": ["sk-abcdefghijklmnopqrst", 5],
        "access_token": None,
    }
    assert redact(data) == {
        "api_key": "***",
        "api_key_env": "MY_KEY",
        "base_url": "https://***@h/v1",
        "list": ["***", 5],
        "access_token": None,
    }


def test_log_lines_of_a_library_are_redacted(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("tests.redaction")
    logger.addFilter(RedactingFilter(["hidden-word"]))
    with caplog.at_level(logging.INFO, "tests.redaction"):
        logger.info("HTTP Request: %s %s", "POST", "https://h/v1/chat?api-key=SECRET-1")
        logger.info("target %r", "/v1/chat?api-key=SECRET-1")
        logger.info("it says hidden-word, %d times", 3)
        logger.info("nothing to hide %d", 1)
    assert "SECRET-1" not in caplog.text
    assert "hidden-word" not in caplog.text
    assert caplog.records[-1].args == (1,)


def test_the_origin_of_a_url_is_scheme_host_and_port() -> None:
    assert server_origin("https://Host.example/v1") == server_origin("https://host.example.:443/")
    assert server_origin("http://host/v1") != server_origin("https://host/v1")
    assert server_origin("http://host:x/") != server_origin("http://host:y/")
