"""Take secrets out of URLs, texts and values before they are shown, logged or stored.

This is the one redactor: listings, errors, traces and log lines pass it. Invariant: no result holds
the user, the password or a parameter of a URL, a value whose name is that of a secret, or a word
that has the shape of a key. `server_origin` is the part of a URL that a key is bound to.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

HIDDEN = "***"
"""What stands in place of a secret."""

_MIN_SECRET_LENGTH = 4
"""Replacing anything shorter would protect nothing and garble every text."""

_SECRET_NAME = re.compile(
    r"(^|[_-])(key|apikey|secret|password|passwd|passphrase|authorization|credentials?|cookie"
    r"|token|signature)$",
    re.IGNORECASE,
)
_KEY_SHAPED = re.compile(
    r"\b(?:sk|gsk|hf|xai|ghp|pk|rk)[-_][A-Za-z0-9_-]{16,}|\bAIza[A-Za-z0-9_-]{30,}"
    r"|\bAKIA[A-Z0-9]{16}\b"
)
_BEARER = re.compile(r"\b(Bearer|Basic)\s+[^\s'\",]+", re.IGNORECASE)
_HEADER = re.compile(
    r"""(?P<name>\b(?:authorization|(?:x-)?api-?key|cookie|set-cookie|proxy-authorization)\b"""
    r"""['"]?\s*[:=,]\s*(?:b(?=['"]))?['"]?)(?P<value>(?:(?:Bearer|Basic)\s+)?[^\s'",)}\]]+)""",
    re.IGNORECASE,
)
_URL = re.compile(r"""\b[A-Za-z][A-Za-z0-9+.-]*://[^\s'"<>|\\^`{}]+""")
_REQUEST_TARGET = re.compile(r"""(?P<path>/[^\s'"?]*)\?[^\s'"]+""")


def redact_url(url: str) -> str:
    """Return a URL without its user and password, and with its parameters' values hidden.

    :param url: any URL, valid or not.
    :returns: such as `https://***@host/v1?api-version=***`.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    try:
        urlsplit(url)
    except ValueError:  # nothing tells its parts apart
        return f"{scheme}://{HIDDEN}"
    rest, _, _fragment = rest.partition("#")
    place, question, query = rest.partition("?")
    authority, slash, path = place.partition("/")
    # The last @ ends the user and password, which may contain one.
    _, at, host = authority.rpartition("@")
    path = redact_url(path)  # a gateway's path may hold a URL
    if not at and "@" in path and not host.rpartition(":")[2].isdigit() and ":" in host:
        # A password with a slash in it: it is not a valid URL, and still somebody's password.
        _, at, host = place.rpartition("@")
        slash = path = ""
    user = f"{HIDDEN}@" if at else ""
    return f"{scheme}://{user}{host}{slash}{path}{question}{_hidden_values(query)}"


def is_key_shaped(text: str) -> bool:
    """Return whether a whole text has the shape of an API key.

    :param text: a configured value.
    """
    return bool(_KEY_SHAPED.fullmatch(text) or _BEARER.fullmatch(text))


def redact_text(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text without the secrets of its URLs, its headers, and words shaped like keys.

    :param text: any text, such as the message of another library's error.
    :param secrets: further values to replace, as `secrets_of` returns them.
    """
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret) >= _MIN_SECRET_LENGTH:
            text = text.replace(secret, HIDDEN)
    text = _URL.sub(lambda match: redact_url(match[0]), text)
    text = _HEADER.sub(lambda match: match["name"] + HIDDEN, text)
    return _KEY_SHAPED.sub(HIDDEN, _BEARER.sub(rf"\1 {HIDDEN}", text))


def redact(value: Any, name: str = "") -> Any:
    """Return plain data with every secret replaced, judged by names and by shapes.

    :param value: mappings, lists, texts and numbers.
    :param name: the name of the value.
    """
    if isinstance(value, Mapping):
        return {key: redact(item, str(key)) for key, item in value.items()}
    if _SECRET_NAME.search(name) and value is not None:
        return HIDDEN
    if isinstance(value, list | tuple):
        return [redact(item) for item in value]
    return redact_text(value) if isinstance(value, str) else value


def secrets_of(url: str) -> tuple[str, ...]:
    """Return the texts of a URL that must not be shown: user, password, values of parameters.

    :param url: any URL.
    :returns: each as it stands and decoded.
    """
    try:
        parts = urlsplit(url)
        raw = [parts.username, parts.password, parts.query]
        raw += [value for _, value in parse_qsl(parts.query)]
        raw += [pair.partition("=")[2] for pair in parts.query.split("&")]
    except ValueError:
        return ()
    texts = {form for text in raw if text for form in (text, unquote(text))}
    return tuple(sorted(texts, key=len, reverse=True))


def server_origin(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port of a URL: what a key is bound to.

    :param url: any URL; one that cannot be read equals no other.
    """
    try:
        parts = urlsplit(url)
        scheme = parts.scheme.lower()
        port = parts.port or {"http": 80, "https": 443}.get(scheme)
        return scheme, (parts.hostname or "").rstrip("."), port
    except ValueError:
        return "", url, None


class RedactingFilter(logging.Filter):
    """Redacts the records of a logger; add it to the loggers of an HTTP library.

    :param secrets: further values to replace.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self.secrets = set(secrets)

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the message by its redacted text; every record passes."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - a malformed record is reported by its handler
            return True
        text = redact_text(message, self.secrets)
        # A request's line names the target alone, without scheme and host.
        text = _REQUEST_TARGET.sub(lambda match: f"{match['path']}?{HIDDEN}", text)
        if text != message:
            record.msg, record.args = text, ()
        return True


def _hidden_values(query: str) -> str:
    pairs = (pair.partition("=") for pair in query.split("&"))
    return "&".join(
        f"{name}={HIDDEN}" if equals else HIDDEN * bool(name) for name, equals, _ in pairs
    )
