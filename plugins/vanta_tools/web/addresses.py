"""Which addresses are public, and which URLs can be fetched at all.

Invariant: an address is refused unless it is a public unicast address of the internet, also inside
an IPv6 address that a translator or a tunnel would turn into it (RFC 4291, 6052, 3056, 4380). A URL
is refused unless its host is a plain DNS name or a canonical address, so that no parser behind this
one can read another host out of it.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

import idna

from vanta_tools.actions import CorrectableError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_URL_CHARACTERS = 8192
DEFAULT_PORTS = {"http": 80, "https": 443}

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(text)
    for text in (
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata service is there
        "168.63.129.16/32",  # Azure's host agent, which is reached from inside alone
        "192.88.99.0/24",  # relays of 6to4
        "198.18.0.0/15",
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",
        "3fff::/20",  # documentation
    )
)
_EMBEDDING = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
_ISATAP = {0x00005EFE, 0x02005EFE}

_UNSAFE = re.compile(r"[\x00-\x20\x7f\\\"<>^`{|}]")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_HOST_PORT = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]@]*)(?::(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class WebUrl:
    """A URL that may be requested, if its addresses are public.

    :param scheme: "http" or "https".
    :param host: DNS name in ASCII and lower case, or an address, without brackets.
    :param port: the port.
    :param target: path and query, in ASCII.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: who gets what is sent to the URL."""
        return self.scheme, self.host, self.port

    @property
    def netloc(self) -> str:
        """Host and port as in a URL; the default port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.target}"


def parse_url(text: str) -> WebUrl:
    """Return the parts of an absolute URL.

    :param text: the URL.
    :raises CorrectableError: if it is not http or https, has a user or password, or its host is not
        a plain name or a canonical address.
    """
    if len(text) > MAX_URL_CHARACTERS:
        raise refused(text[:80], f"it is longer than {MAX_URL_CHARACTERS} characters")
    if _UNSAFE.search(text):
        raise refused(text, "it contains a space, a backslash or a control character; encode it")
    scheme, _, rest = text.partition("://")
    scheme = scheme.lower()
    if scheme not in DEFAULT_PORTS or not rest:
        raise refused(text, "it must begin with http:// or https://")
    netloc = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in netloc:
        raise refused(text, "it has a user or password in it")
    match = _HOST_PORT.fullmatch(netloc)
    if match is None or not match["host"]:
        raise refused(text, "its host is not a name or an address")
    port = int(match["port"]) if match["port"] else DEFAULT_PORTS[scheme]
    if not 0 < port < 65536:
        raise refused(text, "its port is not between 1 and 65535")
    return WebUrl(scheme, _host(text, match["host"]), port, _target(text, rest[len(netloc) :]))


def public_problem(address: Address) -> str:
    """Return why an address is not a public one, "" if it is.

    :param address: the address.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return "it has a zone"
        inner = _embedded(address)
        if inner is not None:
            return f"it stands for {inner}" if public_problem(inner) else _six_problem(address)
        return _six_problem(address)
    return _class_problem(address)


def _six_problem(address: ipaddress.IPv6Address) -> str:
    if address.ipv4_mapped is not None or any(address in network for network in _EMBEDDING):
        return "it is an IPv4 address written as an IPv6 one"
    return _class_problem(address) if address in _GLOBAL_UNICAST else _not_public(address)


def _class_problem(address: Address) -> str:
    named = any(address in network for network in _NOT_PUBLIC if network.version == address.version)
    usable = address.is_global and not (address.is_multicast or address.is_reserved)
    return "" if usable and not named else _not_public(address)


def _not_public(address: Address) -> str:
    kinds = (
        (address.is_loopback, "this machine"),
        (address.is_link_local, "a link-local address, as metadata services have"),
        (address.is_multicast, "a multicast address"),
        (address.is_unspecified, "this machine"),
        (address.is_private, "a private address"),
    )
    return f"it is {next((name for holds, name in kinds if holds), 'not a public address')}"


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address inside an IPv6 address, None if there is none."""
    number = int(address)
    low = ipaddress.IPv4Address(number & 0xFFFF_FFFF)
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if any(address in network for network in _EMBEDDING) or number >> 32 == 0:
        return low
    return low if (number >> 32) & 0xFFFF_FFFF in _ISATAP else None


def _host(url: str, host: str) -> str:
    if host.startswith("["):
        return str(_ipv6(url, host[1:-1]))
    try:
        name = idna.encode(host.rstrip("."), uts46=True, std3_rules=False).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError) as error:
        name = host.rstrip(".").lower() if host.isascii() else ""
        if not name:
            raise refused(url, "its host is not a valid name") from error
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _ipv4(url, name)
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise refused(url, "its host is not a valid name")
    return name


def _ipv4(url: str, name: str) -> str:
    """Return a dotted address. Decimal, octal, hexadecimal and short forms are refused."""
    try:
        return str(ipaddress.IPv4Address(name))
    except ValueError as error:
        raise refused(url, "its host is a number that is not a dotted address") from error


def _ipv6(url: str, text: str) -> ipaddress.IPv6Address:
    try:
        return ipaddress.IPv6Address(text)
    except ValueError as error:
        raise refused(url, "its host is not a valid address") from error


def _target(url: str, rest: str) -> str:
    """Return path and query in ASCII, without the fragment."""
    path = rest.partition("#")[0]
    try:
        encoded = "".join(
            character
            if character.isascii()
            else "".join(f"%{byte:02X}" for byte in character.encode("utf-8"))
            for character in path
        )
    except UnicodeEncodeError as error:
        raise refused(url, "it contains half a character") from error
    return encoded if encoded.startswith("/") else f"/{encoded}"


def join_url(base: WebUrl, location: str) -> WebUrl:
    """Return the target of a redirect.

    :param base: the URL that was requested.
    :param location: the server's word, absolute or relative.
    :raises CorrectableError: as `parse_url` does.
    """
    from urllib.parse import urljoin

    location = location.strip()
    if _UNSAFE.search(location):
        raise refused(location, "the redirect contains a character that a URL cannot have")
    try:
        joined = urljoin(str(base), location)
        urlsplit(joined)
    except ValueError as error:
        raise refused(location, "the redirect does not lead to a valid URL") from error
    return parse_url(joined)


def refused(url: str, why: str) -> CorrectableError:
    """Return the error of a URL that is not requested.

    :param url: the URL.
    :param why: the reason.
    """
    return CorrectableError(f"The URL {url!r} is not requested: {why}.")
