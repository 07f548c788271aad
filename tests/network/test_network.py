"""Which proxy of the environment is used, which host is this machine, and how long to wait."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import pytest

from vanta import EngineError, ErrorKind, is_loopback, proxy_for, retry_after_s
from vanta.errors import MAX_WAIT_S

PROXY = {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
NOW_S = 1_796_043_400.0
"""Mon, 30 Nov 2026 12:56:40 GMT."""


@pytest.fixture(params=["UTC", "America/New_York", "Asia/Tokyo"])
def _zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


LOOPBACK = """127.0.0.1 127.9.9.9 localhost LOCALHOST api.localhost localhost. ::1 [::1]
::ffff:127.0.0.1 0.0.0.0"""


@pytest.mark.parametrize("host", LOOPBACK.split())
def test_this_machine_is_recognised_and_needs_no_proxy(host: str) -> None:
    assert is_loopback(host)
    address = f"[{host.strip('[]')}]" if ":" in host else host
    assert proxy_for(f"http://{address}:8080/v1", environ=PROXY) is None


@pytest.mark.parametrize("host", ["10.0.0.1", "localhost.example.com", "example.com", "::2", ""])
def test_another_machine_is_not_this_one(host: str) -> None:
    assert not is_loopback(host)


def test_a_private_server_is_reached_directly_wherever_it_is() -> None:
    assert proxy_for("https://gpu.lan/v1", private=True, environ=PROXY) is None
    assert proxy_for("https://gpu.lan/v1", environ=PROXY) is not None


@pytest.mark.parametrize(
    ("environ", "url", "expected"),
    [
        ({"HTTP_PROXY": "http://p:1"}, "http://a.example/v1", "HTTP_PROXY"),
        ({"HTTP_PROXY": "http://p:1"}, "https://a.example/v1", None),
        ({"https_proxy": "p:1", "HTTPS_PROXY": "q:2"}, "https://a.example/v1", "https_proxy"),
        ({"ALL_PROXY": "socks5://p:1"}, "https://a.example/v1", "ALL_PROXY"),
        ({"HTTPS_PROXY": "", "ALL_PROXY": " "}, "https://a.example/v1", None),
        ({"HTTP_PROXY": "p:1", "REQUEST_METHOD": "GET"}, "http://a.example/v1", None),
    ],
)
def test_the_proxy_is_that_of_the_scheme_and_its_variable_is_known(
    environ: dict[str, str], url: str, expected: str | None
) -> None:
    proxy = proxy_for(url, environ=environ)
    assert (proxy.source if proxy else None) == expected
    assert proxy is None or "://" in proxy.url


@pytest.mark.parametrize(
    ("entry", "url", "excluded"),
    [
        ("*", "https://a.example/v1", True),
        ("example.com", "https://api.example.com/v1", True),
        (".example.com", "https://api.example.com/v1", True),
        ("*.example.com", "https://api.example.com/v1", True),
        ("example.com", "https://badexample.com/v1", False),
        ("EXAMPLE.com", "https://example.COM/v1", True),
        ("example.com:8443", "https://example.com:8443/v1", True),
        ("example.com:8443", "https://example.com/v1", False),
        ("a.test example.com", "https://example.com/v1", True),
        ("10.0.0.0/8", "https://10.1.2.3/v1", True),
        ("10.0.0.0/8", "https://11.1.2.3/v1", False),
        ("10.1.2.3", "https://10.1.2.3/v1", True),
        ("fd00::/8,[::1]", "https://[fd00::7]/v1", True),
        ("[fd00::7]:443", "https://[fd00::7]:443/v1", True),
        ("fd00::7", "https://[fd00::8]/v1", False),
        ("not/a/network,,:", "https://10.1.2.3/v1", False),
    ],
)
def test_no_proxy_is_honoured(entry: str, url: str, excluded: bool) -> None:
    assert (proxy_for(url, environ={**PROXY, "NO_PROXY": entry}) is None) is excluded
    assert (proxy_for(url, environ={**PROXY, "no_proxy": entry}) is None) is excluded


def test_the_label_of_a_proxy_has_no_password() -> None:
    proxy = proxy_for("http://a.example", environ={"HTTP_PROXY": "http://me:secret@p:1/"})
    assert proxy is not None
    assert proxy.label == "http://p:1 of HTTP_PROXY"
    assert "secret" not in repr(proxy)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "86400"}, MAX_WAIT_S),
        ({"retry-after": "1796043402"}, 2.0),
        ({"retry-after": "1796043402000"}, 2.0),
        ({"retry-after": "9" * 15}, MAX_WAIT_S),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "1e308"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "1_0"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "1s"}, None),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "9999999999999"}, MAX_WAIT_S),
        ({}, None),
    ],
)
def test_a_wait_is_bounded_and_garbage_is_none(
    headers: dict[str, str], expected: float | None
) -> None:
    assert retry_after_s(headers, NOW_S) == expected


@pytest.mark.usefixtures("_zone")
@pytest.mark.parametrize(
    "date",
    [
        "Mon, 30 Nov 2026 12:56:41 GMT",
        "Mon, 30 Nov 2026 12:56:41 -0000",
        "Mon Nov 30 12:56:41 2026",
        "Monday, 30-Nov-26 12:56:41 GMT",
    ],
)
def test_a_date_without_a_zone_is_gmt_wherever_this_machine_is(date: str) -> None:
    assert retry_after_s({"retry-after": date}, NOW_S) == 1.0


@pytest.mark.parametrize(
    ("requested_s", "kept_s"),
    [
        (7.0, 7.0),
        (0.0, 0.0),
        (1e12, MAX_WAIT_S),
        (math.inf, MAX_WAIT_S),
        (math.nan, None),
        (-1.0, None),
        (None, None),
    ],
)
def test_no_engine_can_request_an_endless_wait(
    requested_s: float | None, kept_s: float | None
) -> None:
    error = EngineError(ErrorKind.RATE_LIMITED, "slow", engine="e", retry_after_s=requested_s)
    assert error.retry_after_s == kept_s
