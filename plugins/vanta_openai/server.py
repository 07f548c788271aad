"""The options of engine and embedder, the server and key that they select, and its errors.

Invariant: no option holds a secret, so a configuration can be shown, logged and committed. A key,
and the user, password and query of a URL, appear in no repr, message or error of this module;
`ApiServer.redact` removes them from texts that come from elsewhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import SplitResult, parse_qsl, urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from vanta import EngineError, ErrorKind
from vanta.files import read_file
from vanta.text import redact_text, secrets_of, server_origin

NAME = "openai"
DEFAULT_URL = "https://api.openai.com/v1"
BASE_URL_ENV = "OPENAI_BASE_URL"
KEY_ENV = "OPENAI_API_KEY"
_ENDPOINT = re.compile(r"/(?:chat/completions|embeddings)$")
"""Endpoints that a URL copied from a server's documentation may end in."""

_NO_KEYS_HERE = (
    "an API key does not belong in a configuration: put it into an environment variable "
    "(OPENAI_API_KEY, or the one that the option 'api_key_env' names) or into a file that the "
    "option 'api_key_file' names"
)


_MAX_KEY_BYTES = 1 << 16

CHECK_KEY = (
    "Check the key: set OPENAI_API_KEY, or the environment variable or file that the track's "
    "options name."
)


class ServerOptions(BaseModel):
    """How to reach a server."""

    # Inputs stay out of error texts: a value that was misplaced may be a key.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    base_url: str | None = None
    """The server's URL, including its `/v1`. A query (`?api-version=2024-10-21`) is sent with every
    request. Default: the environment variable OPENAI_BASE_URL, otherwise
    https://api.openai.com/v1."""

    api_key_env: str = KEY_ENV
    """The environment variable that holds the key."""

    api_key_file: Path | None = None
    """A file that contains nothing but the key. It takes precedence over the environment."""

    organization: str | None = None
    """The organization to bill, if the key belongs to several."""

    connect_timeout_s: float = Field(default=5.0, gt=0)
    """Seconds to wait for a connection, including TLS. The turn's deadline limits the rest."""

    @property
    def most_answer_bytes(self) -> int:
        """The most bytes of an answer that is not streamed, such as a list of models."""
        return 4 * 1024 * 1024

    @model_validator(mode="before")
    @classmethod
    def _reject_inline_key(cls, data: Any) -> Any:
        if isinstance(data, dict) and "api_key" in data:
            raise ValueError(_NO_KEYS_HERE)
        return data

    @field_validator("base_url")
    @classmethod
    def _require_web_address(cls, value: str | None) -> str | None:
        if value is not None:
            check_url(value)
        return value


class OpenAIOptions(ServerOptions):
    """`tracks.NAME.options` of the engine: what the server supports beyond OpenAI's protocol."""

    include_usage: bool = True
    """Request token counts at the end of a stream. Set it to false for servers that reject
    `stream_options`; counts are estimates then."""

    max_tokens_field: Literal["max_completion_tokens", "max_tokens"] | None = None
    """The request field that limits output tokens. Default: `max_completion_tokens` for
    api.openai.com, `max_tokens` for every other server."""

    extended_sampling: bool = False
    """The server accepts top_k, min_p, repeat_penalty and grammar, which OpenAI's protocol lacks
    (llama-server accepts all of them, vLLM all but grammar)."""

    prefix_continuation: bool | Literal["vllm"] = False
    """The server continues an answer whose beginning is sent as the last message (llama-server
    does). "vllm": it does so only with vLLM's own request fields."""

    opens_reasoning: bool = False
    """The server's chat template opens the reasoning itself, so answers begin inside it and end it
    with `</think>` (DeepSeek-R1 behind vLLM without its reasoning parser). Reasoning that the
    answer opens itself is recognised without this option."""

    roles: Literal["auto", "as_given", "alternating", "no_system"] = "auto"
    """The order of messages that the server accepts. "alternating": consecutive messages of one
    role are joined. "no_system": also, the system prompt is put into the first user message.
    "auto": the messages are sent as they are, and after a refusal once more in the form that the
    server wants; that is remembered for an hour."""

    cache_salt: bool = False
    """The server is vLLM and serves several users: send its request field `cache_salt`, so that no
    prompt is answered faster because another user's begins alike. Users then share no prefix."""

    images: bool | None = None
    """The model can see images. Default: what is known of it by its name. A track whose model
    cannot see takes no part in a turn whose message has an image."""

    tiktoken_dir: Path | None = None
    """A directory with tiktoken's rank files (`o200k_base.tiktoken`...), for exact token counts of
    OpenAI's models. Without it, the directory in TIKTOKEN_CACHE_DIR, tiktoken's own cache and
    installed packages are searched. Nothing is downloaded."""


class OpenAIEmbedderOptions(ServerOptions):
    """`memory.embedder_options` of the embedder: which vectors to request, and how."""

    dimensions: int | None = Field(default=None, ge=1)
    """Components of a vector, for models that can shorten theirs. Default: the model's own."""

    batch: int = Field(default=64, ge=1, le=2048)
    """Maximum number of texts in one request."""

    timeout_s: float = Field(default=30.0, gt=0)
    """Seconds that one request may take."""

    most_bytes: int = Field(default=8191, ge=1)
    """Maximum size of a text in UTF-8 bytes; the rest is cut off. A token has at least one byte,
    so a model whose window has this many tokens never refuses a text."""

    @property
    def most_answer_bytes(self) -> int:
        """The most bytes of an answer with a whole batch: 8,192 components of 24 bytes a vector."""
        return super().most_answer_bytes + self.batch * 8192 * 24


class ApiKeyError(Exception):
    """The configured key cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class ApiServer:
    """Where requests are sent. label: the URL without secrets. key: None if none is needed."""

    label: str
    url: str = field(repr=False)
    key: str | None = field(repr=False)

    @property
    def is_openai(self) -> bool:
        """Whether this is OpenAI's own service."""
        return urlsplit(self.url).hostname == "api.openai.com"

    @property
    def base_url(self) -> str:
        """The URL to which the path of an endpoint is appended: without query, ending in no slash.

        Repeated slashes count as one, except after a colon: a gateway's path may hold a URL.
        """
        parts = urlsplit(self.url)
        path = re.sub(r"(?<!:)/{2,}", "/", parts.path).rstrip("/")
        return urlunsplit((parts.scheme, parts.netloc, _ENDPOINT.sub("", path), "", ""))

    @property
    def query(self) -> tuple[tuple[str, str], ...]:
        """The parameters of the URL, which belong to every request."""
        return tuple(parse_qsl(urlsplit(self.url).query, keep_blank_values=True))

    def redact(self, text: str) -> str:
        """Return `text` without this server's secrets."""
        return redact_text(text, [self.key or "", *secrets_of(self.url)])


def engine_error(
    kind: ErrorKind,
    message: str,
    suggestion: str,
    *,
    model: str,
    server: ApiServer | None = None,
    retry_after_s: float | None = None,
    summary: str | None = None,
) -> EngineError:
    """Return an EngineError that names this engine, the model and the server."""
    return EngineError(
        kind,
        message,
        engine=NAME,
        model=model,
        server=server.label if server else None,
        suggestion=suggestion,
        retry_after_s=retry_after_s,
        summary=summary,
    )


def check_url(url: str) -> None:
    """Raise ValueError, without quoting the URL, unless requests can be sent to it."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or not url.isprintable() or " " in url:
        raise ValueError("must be a URL like 'http://127.0.0.1:8080/v1' or 'https://host/v1'")


def find_server(
    options: ServerOptions,
    environ: Mapping[str, str] = os.environ,
    *,
    private: bool = False,
    keyless: bool = False,
) -> ApiServer:
    """Return the server that `options` and the environment select. Reads the key file.

    OPENAI_BASE_URL belongs to OPENAI_API_KEY. It redirects neither a private track nor a key that
    the options name. keyless: no key of the environment belongs to this server.

    Raises ApiKeyError, and ValueError for an invalid URL in the environment.
    """
    _refuse_redirection(options, environ, private=private)
    url = _base_url(options, environ) or DEFAULT_URL
    try:
        check_url(url)
    except ValueError as error:
        raise ValueError(f"the environment variable {BASE_URL_ENV!r} {error}") from None
    # A key that the options name was configured for this server; the default variable was not.
    named = options.api_key_file is not None or "api_key_env" in options.model_fields_set
    key = _find_key(options, environ) if named or not keyless else None
    return ApiServer(label=_label(urlsplit(url)), url=url, key=key)


def why_off(options: ServerOptions) -> str | None:
    """Return why a track with `options` cannot be used, or None if it can."""
    try:
        key = find_server(options).key
    except (ApiKeyError, ValueError) as error:
        return str(error)
    if key is None and _base_url(options, os.environ) is None:
        return (
            f"no {options.api_key_env} and no base_url: set one, the key for {DEFAULT_URL} in the "
            f"environment, or the option 'base_url' (or {BASE_URL_ENV}) for another server"
        )
    return None


def _base_url(options: ServerOptions, environ: Mapping[str, str]) -> str | None:
    return options.base_url or environ.get(BASE_URL_ENV, "").strip() or None


def _refuse_redirection(
    options: ServerOptions, environ: Mapping[str, str], *, private: bool
) -> None:
    """Raise ApiKeyError if OPENAI_BASE_URL would redirect a private track or a configured key."""
    url = environ.get(BASE_URL_ENV, "").strip()
    if options.base_url is not None or not url or server_origin(url) == server_origin(DEFAULT_URL):
        return
    if private:
        raise ApiKeyError(
            f"the track is private, and the environment variable {BASE_URL_ENV!r} would redirect "
            "it: name its server with the option 'base_url'"
        )
    if options.api_key_file is not None or options.api_key_env != KEY_ENV:
        option = "api_key_env" if options.api_key_file is None else "api_key_file"
        raise ApiKeyError(
            f"the key of the option {option!r} is for {DEFAULT_URL}, and the environment variable "
            f"{BASE_URL_ENV!r} would redirect it: name the server with the option 'base_url'"
        )


def _find_key(options: ServerOptions, environ: Mapping[str, str]) -> str | None:
    if options.api_key_file is not None:
        return _read_key_file(options.api_key_file)
    key = environ.get(options.api_key_env, "").strip()
    _check_key(key, f"the environment variable {options.api_key_env!r}")
    return key or None


def _read_key_file(path: Path) -> str:
    where = f"the key file {str(path)!r}"
    try:
        key = read_file(path.expanduser(), _MAX_KEY_BYTES).decode().strip()
    except UnicodeDecodeError:
        key = "\0"  # not a valid key: `_check_key` refuses it
    except OSError as error:
        raise ApiKeyError(
            f"{where} cannot be read ({error.strerror}): write the key into it, or change the "
            "option 'api_key_file'"
        ) from None
    if not key:
        raise ApiKeyError(f"{where} is empty: write the key into it")
    _check_key(key, where)
    return key


def _check_key(key: str, where: str) -> None:
    """Refuse a key that cannot be an HTTP header: the HTTP library would quote it in its error."""
    if not key.isascii() or any(not "!" <= char <= "~" for char in key):
        raise ApiKeyError(
            f"the content of {where} cannot be an API key: a key is one word of printable ASCII "
            "characters"
        )


def _label(parts: SplitResult) -> str:
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    port = "" if parts.port is None else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}{parts.path}"
