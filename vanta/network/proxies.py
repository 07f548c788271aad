"""Which proxy of the environment stands between this process and a server.

Invariant: none is used for this machine or for a private track: a proxy reads what passes through
it. NO_PROXY is honoured as curl and Go do: names with their subdomains, addresses, networks, `*`,
each with a port if need be.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from urllib.request import getproxies

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
