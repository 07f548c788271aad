"""Which server, with which key: from the options, the environment and the key's file.

Invariant: a key, and the user, password and query of a URL, are in no repr, message or error that
comes from here; `Server.redact` takes them out of texts that come from elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

if TYPE_CHECKING:
    from pathlib import Path

    from vanta_openai.options import ServerOptions

DEFAULT_URL = "https://api.openai.com/v1"
BASE_URL_ENV = "OPENAI_BASE_URL"
REDACTED = "[redacted]"


class KeyProblem(Exception):  # noqa: N818 - a finding, which becomes an EngineError or a reason
    """A key that was pointed at but cannot be used; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where requests go. label: the URL as people may see it. key: None where none is needed."""

    label: str
    url: str = field(repr=False)
    key: str | None = field(repr=False)

    @property
    def is_openai(self) -> bool:
        """Whether this is OpenAI's own service."""
        return urlsplit(self.url).hostname == "api.openai.com"

    def redact(self, text: str) -> str:
        """`text` without this server's secrets."""
        for secret in self._secrets():
            text = text.replace(secret, REDACTED)
        return text

    def _secrets(self) -> list[str]:
        parts = urlsplit(self.url)
        password = parts.password or ""
        queries = [value for _, value in parse_qsl(parts.query)]
        secrets = {self.key or "", password, unquote(password), parts.query, *queries}
        # What is shorter hides nothing, and blotting it out would spoil every text.
        return sorted((s for s in secrets if len(s) >= 4), key=len, reverse=True)


def check_url(url: str) -> None:
    """Raise ValueError, without the URL in it, unless it is one that requests can go to."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or not url.isprintable() or " " in url:
        raise ValueError("must be a URL like 'http://127.0.0.1:8080/v1' or 'https://host/v1'")


def base_url(options: ServerOptions, environ: Mapping[str, str] = os.environ) -> str | None:
    """The configured base URL: the option, else the environment, else None."""
    return options.base_url or environ.get(BASE_URL_ENV, "").strip() or None


def find_server(options: ServerOptions, environ: Mapping[str, str] = os.environ) -> Server:
    """The server of `options`. Reads the key's file. Raises KeyProblem, and ValueError for a URL
    in the environment that is none."""
    url = base_url(options, environ) or DEFAULT_URL
    try:
        check_url(url)
    except ValueError as error:
        raise ValueError(f"the environment variable {BASE_URL_ENV!r} {error}") from None
    return Server(label=_label(urlsplit(url)), url=url, key=_find_key(options, environ))


def why_off(options: ServerOptions) -> str | None:
    """Why a track with `options` cannot be used, or None if it can."""
    try:
        key = _find_key(options, os.environ)
        find_server(options)
    except (KeyProblem, ValueError) as problem:
        return str(problem)
    if key is None and base_url(options) is None:
        return (
            f"no {options.api_key_env} and no base_url: set one, the key for {DEFAULT_URL} in the "
            f"environment, or the option 'base_url' (or {BASE_URL_ENV}) for another server"
        )
    return None


def _find_key(options: ServerOptions, environ: Mapping[str, str]) -> str | None:
    if options.api_key_file is not None:
        return _key_of_file(options.api_key_file)
    key = environ.get(options.api_key_env, "").strip()
    _check_key(key, f"the environment variable {options.api_key_env!r}")
    return key or None


def _key_of_file(path: Path) -> str:
    where = f"the key file {str(path)!r}"
    try:
        key = path.expanduser().read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        key = "\0"  # which no key is
    except OSError as error:
        raise KeyProblem(
            f"{where} cannot be read ({error.strerror}): write the key into it, or change the "
            "option 'api_key_file'"
        ) from None
    if not key:
        raise KeyProblem(f"{where} is empty: write the key into it")
    _check_key(key, where)
    return key


def _check_key(key: str, where: str) -> None:
    """A key travels in an HTTP header, and an HTTP library would quote a bad one in its error."""
    if not key.isascii() or any(not "!" <= char <= "~" for char in key):
        raise KeyProblem(f"what is in {where} cannot be an API key: it must be one printable word")


def _label(parts: SplitResult) -> str:
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    port = "" if parts.port is None else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}{parts.path}"
