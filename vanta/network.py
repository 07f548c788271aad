"""What every client of an HTTP server needs: the environment's proxies, and the wait it requests.

Invariant: no proxy is used for this machine or for a private track: a proxy reads what passes
through it. NO_PROXY is honoured as curl and Go do: names with their subdomains, addresses,
networks, `*`, each with a port if need be. A wait is finite and between 0 and `MAX_WAIT_S`.
"""

from __future__ import annotations

import ipaddress
import math
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit
from urllib.request import getproxies

from vanta.errors import MAX_WAIT_S

_EPOCH_FROM = 1e9
"""A Retry-After of so many seconds is no wait but a point in time (2001 and later)."""

_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]*)?", re.ASCII)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class EnvironmentProxy:
    """A proxy that the environment names.

    :param url: its URL, which may contain a password.
    :param source: the environment variable that names it, or "the system's settings".
    """

    url: str = field(repr=False)
    source: str

    @property
    def label(self) -> str:
        """The proxy without its password, and where it is set, for messages."""
        scheme, _, rest = self.url.partition("://")
        return f"{scheme}://{rest.rpartition('@')[2].rstrip('/')} of {self.source}"


def proxy_for(
    url: str, *, private: bool = False, environ: Mapping[str, str] = os.environ
) -> EnvironmentProxy | None:
    """Return the proxy through which a server must be reached.

    :param url: the server's URL.
    :param private: whether the text that is sent must not pass through others.
    :param environ: the environment variables.
    :returns: the proxy, or None if the server is reached directly.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if private or is_loopback(host) or _is_excluded(host, parts.port, environ):
        return None
    for name in _variables(parts.scheme, environ):
        value = environ.get(name, "").strip()
        if value:
            return EnvironmentProxy(_with_scheme(value), name)
    if environ is os.environ and not _sets_proxies(environ):
        system = getproxies()
        value = system.get(parts.scheme) or system.get("all") or ""
        return EnvironmentProxy(_with_scheme(value), "the system's settings") if value else None
    return None


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine.

    :param host: a name or an address, an IPv6 address with or without brackets.
    """
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    return address is not None and (address.is_loopback or address.is_unspecified)


def retry_after_s(headers: Mapping[str, str], now_s: float | None = None) -> float | None:
    """Return the wait that a server requests.

    Reads `retry-after-ms`, then `Retry-After` in seconds or as a date (RFC 9110, 10.2.3). A date
    without a zone is GMT; a number that can only be a point in time is read as one.

    :param headers: the headers of the answer, with names in lower case or case-insensitive.
    :param now_s: seconds since the epoch; None is now.
    :returns: seconds from 0 to `MAX_WAIT_S`, or None if there is no valid value.
    """
    now_s = time.time() if now_s is None else now_s
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return min(milliseconds / 1000, MAX_WAIT_S)
    text = headers.get("retry-after")
    wait_s = _number(text)
    if wait_s is None:
        moment = _moment(text)
        wait_s = None if moment is None else moment - now_s
    elif wait_s >= _EPOCH_FROM:
        in_ms = wait_s >= 1000 * _EPOCH_FROM
        wait_s = (wait_s / 1000 if in_ms else wait_s) - now_s
    return None if wait_s is None else min(max(0.0, wait_s), MAX_WAIT_S)


def _number(text: str | None) -> float | None:
    text = (text or "").strip()
    return float(text) if _NUMBER.fullmatch(text) and math.isfinite(float(text)) else None


def _moment(text: str | None) -> float | None:
    """Return a date as seconds since the epoch."""
    try:
        date = parsedate_to_datetime(text or "")
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def _variables(scheme: str, environ: Mapping[str, str]) -> list[str]:
    names = [f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY"]
    if "REQUEST_METHOD" in environ:  # in a CGI process a client's header `Proxy` sets HTTP_PROXY
        names = [name for name in names if name != "HTTP_PROXY"]
    return names


def _sets_proxies(environ: Mapping[str, str]) -> bool:
    return any(name.lower().endswith("_proxy") and value for name, value in environ.items())


def _with_scheme(proxy: str) -> str:
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_excluded(host: str, port: int | None, environ: Mapping[str, str]) -> bool:
    entries = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    return any(_matches(entry.lower(), host, port) for entry in re.split(r"[,\s]+", entries))


def _matches(entry: str, host: str, port: int | None) -> bool:
    """Return whether an entry of NO_PROXY covers a host."""
    if entry == "*":
        return True
    name, entry_port = _split_port(entry)
    if not name or entry_port not in ("", str(port)):
        return False
    address = _address(host)
    if address is not None:
        try:
            return address in ipaddress.ip_network(name, strict=False)
        except ValueError:
            return False
    name = name.removeprefix("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _split_port(entry: str) -> tuple[str, str]:
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        network = f"/{rest[1:]}" if rest.startswith("/") else ""
        return name + network, "" if network else rest.removeprefix(":")
    if entry.count(":") == 1:
        name, _, port = entry.partition(":")
        return name, port
    return entry, ""


def _address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
