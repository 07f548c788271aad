"""Everything that can fail between vanta and a server, as one `EngineError`.

The kind of an error follows from its status, code and message; the rules cover real servers
(OpenAI, llama-server, vLLM, LM Studio, TGI, OpenRouter...), are tried in order, and the first match
decides. Invariant: no error contains a secret, and neither does its chain of causes: a cause that
quotes one is replaced by a `RedactedError` with the same text, redacted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import anyio
import httpx2
import openai

from vanta import EngineError, EnvironmentProxy, ErrorKind, retry_after_s, traceback_texts
from vanta_openai.body import BodyTooLargeError, NotAnAnswerError
from vanta_openai.protocol import ErrorChunkError, MalformedChunkError
from vanta_openai.server import CHECK_KEY, ApiServer, engine_error

EXPECTED: tuple[type[Exception], ...] = (
    openai.OpenAIError,
    httpx2.HTTPError,
    httpx2.InvalidURL,
    httpx2.StreamError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
    OSError,
    ErrorChunkError,
    MalformedChunkError,
    NotAnAnswerError,
    BodyTooLargeError,
)
"""Failures without a bug in the code; `ErrorTranslator.translate` handles them."""

UNSENDABLE: tuple[type[Exception], ...] = (TypeError, ValueError)
"""Raised by the SDK for a request that cannot be written as JSON in UTF-8."""

_FIX_REQUEST = "Remove values that are not JSON or not Unicode from messages, tools and sampling."
_CHECK_CERTIFICATE = (
    "Name the authority that signed the server's certificate in SSL_CERT_FILE, or correct "
    "'base_url'."
)
_CHECK_PROXY = "Correct the proxy, or list the server in NO_PROXY."
_CHECK_REDIRECT = "The server redirects to another address: set 'base_url' to that one."
_BY_STATUS = {407: _CHECK_PROXY, **dict.fromkeys(range(300, 400), _CHECK_REDIRECT)}
_MAX_MESSAGE = 300
_MAX_SEARCHED = 2_000

CHECK_URL = (
    "Check that 'base_url' points at an OpenAI-compatible API {feature}: its path usually ends in "
    "/v1."
)
NOT_A_STREAM = CHECK_URL.format(feature="that can stream")

SUGGESTIONS: Mapping[ErrorKind, str] = {
    ErrorKind.MODEL_NOT_FOUND: "Name a model that the server lists, or load it there.",
    ErrorKind.MODEL_NOT_LOADED: "Load the model on the server.",
    ErrorKind.CONTEXT_OVERFLOW: "Lower the track's 'window' to what the server allows.",
    ErrorKind.AUTH: CHECK_KEY,
    ErrorKind.RATE_LIMITED: "Wait, or send fewer requests at once.",
    ErrorKind.OVERLOADED: "Try again later, or use another server.",
    ErrorKind.LOADING: "Wait until the server has loaded its model.",
    ErrorKind.BAD_REQUEST: "Compare the track's sampling and options with what the server accepts.",
    ErrorKind.UNSUPPORTED: "Remove what the server does not support.",
    ErrorKind.SERVER: "Look at the server's log, or try again later.",
    ErrorKind.NETWORK: "Check that the server is running and that 'base_url' is right.",
    ErrorKind.TIMEOUT: "Check that the server can be reached, or raise 'connect_timeout_s'.",
}

_OVERFLOW = re.compile(
    r"maximum context length|context (size|length|window)|context the overflows"
    r"|prompt is too long|max_new_tokens` must be|longer than the .*(context|model length)",
    re.IGNORECASE,
)
_NO_MODEL = re.compile(
    r"\bmodel\b.*(not found|does not exist|not exist)|no such model", re.IGNORECASE
)
_LOADING = re.compile(r"\bloading\b", re.IGNORECASE)
_OVERLOADED = re.compile(r"overloaded|at capacity|slow.?down", re.IGNORECASE)
_UNSUPPORTED = re.compile(
    r"unsupported|not supported|does not support|not implemented", re.IGNORECASE
)
_NO_CREDIT = re.compile(
    r"insufficient.?(quota|balance|credit|funds)|billing|exceeded your .*quota", re.IGNORECASE
)
_RATE = re.compile(r"rate.?limit|too many requests", re.IGNORECASE)


class RedactedError(Exception):
    """Replaces an exception that quoted a secret; its text names that exception's type."""


@dataclass(frozen=True, slots=True)
class ServerError:
    """An error as the server reported it.

    status: the HTTP status, 0 if there is none. code: code and type, joined. param: the parameter
    that the server blames.
    """

    status: int
    code: str
    message: str
    param: str = ""

    @property
    def text(self) -> str:
        """Code and message, for searching."""
        return f"{self.code} {self.message}"


class ErrorTranslator:
    """Builds the errors of one engine or embedder; all name its model and server."""

    def __init__(
        self, model: str, server: ApiServer, proxy: EnvironmentProxy | None = None
    ) -> None:
        """proxy: the proxy between this process and the server, which may be what failed."""
        self._model = model
        self._server = server
        self._proxy = proxy

    def translate(self, cause: BaseException) -> EngineError:
        """Return the EngineError for `cause`, with `cause` (redacted if need be) as its cause."""
        error = self._classified(cause)
        error.__cause__ = self._without_secrets(cause)
        return error

    def build(
        self,
        kind: ErrorKind,
        message: str,
        suggestion: str = "",
        retry_after_s: float | None = None,
        summary: str | None = None,
    ) -> EngineError:
        """Return an EngineError with this message, redacted; `summary` has no word of a server."""
        return engine_error(
            kind,
            self._server.redact(message),
            suggestion or SUGGESTIONS[kind],
            model=self._model,
            server=self._server,
            retry_after_s=retry_after_s,
            summary=summary,
        )

    def _classified(self, cause: BaseException) -> EngineError:
        match cause:
            case openai.APIStatusError():
                wait_s = retry_after_s(cause.response.headers)
                return self._from_server(parse_error(_body_of(cause), cause.status_code), wait_s)
            case ErrorChunkError():
                return self._from_server(parse_error(cause.error))
            case TypeError() | ValueError():
                problem = "the request cannot be written"
                message = _shortened(f"{problem} ({type(cause).__name__}: {cause})")
                kind = ErrorKind.BAD_REQUEST
                return self.build(kind, message, _FIX_REQUEST, summary=problem)
            case NotAnAnswerError():
                problem = "the answer is not an event stream"
                return self.build(ErrorKind.SERVER, str(cause), NOT_A_STREAM, summary=problem)
            case MalformedChunkError():
                problem = "malformed stream"
                return self.build(ErrorKind.SERVER, f"{problem}: {cause}", summary=problem)
            case _:
                return self._from_transport(_unwrapped(cause))

    def _from_server(self, error: ServerError, wait_s: float | None = None) -> EngineError:
        kind = classify(error)
        status = f"HTTP {error.status}" if error.status else "error in the stream"
        is_page = error.message.lstrip().startswith("<")
        text = "an HTML page" if is_page else _shortened(error.message)
        message = f"{status}: {text}" if text else status
        return self.build(kind, message, suggestion_for(kind, error), wait_s, summary=status)

    def _from_transport(self, cause: BaseException) -> EngineError:
        name, detail = type(cause).__name__, type(cause).__name__
        if str(cause):
            detail += f": {_shortened(str(cause))}"
        if self._proxy:
            detail += f"; through the proxy {self._proxy.label}"

        def failed(kind: ErrorKind, problem: str, advice: str = "") -> EngineError:
            summary = f"{problem} ({name})"
            return self.build(kind, f"{problem} ({detail})", advice, summary=summary)

        match cause:
            case httpx2.TimeoutException() | openai.APITimeoutError():
                return failed(ErrorKind.TIMEOUT, "no answer in time")
            case httpx2.ConnectError() | httpx2.ProxyError():
                advice = _CHECK_PROXY if self._proxy else ""
                if "CERTIFICATE_VERIFY_FAILED" in detail:
                    advice = _CHECK_CERTIFICATE
                return failed(ErrorKind.NETWORK, "no connection", advice)
            case BodyTooLargeError():
                return self.build(ErrorKind.SERVER, str(cause))
            case httpx2.DecodingError() | httpx2.SSEError():
                return failed(ErrorKind.SERVER, "malformed answer")
            case _:
                return failed(ErrorKind.NETWORK, "the connection broke")

    def _without_secrets(self, cause: BaseException) -> BaseException:
        if all(self._server.redact(text) == text for text in traceback_texts(cause)):
            return cause
        return RedactedError(self._server.redact(f"{type(cause).__name__}: {cause}"))


def parse_error(error: object, status: int = 0) -> ServerError:
    """Read an error in any shape that servers send.

    It may be an object, a string, or a list of those, each possibly inside an `error`. A code that
    is an HTTP status counts as the status.
    """
    match error:
        case [first, *_]:
            return parse_error(first, status)
        case {"error": inner} if inner:
            return parse_error(inner, status)
        case dict():
            return _error_of_object(error, status)
        case None:
            return ServerError(status, "", "")
        case _:
            return ServerError(status, "", _searched(error))


def classify(error: ServerError) -> ErrorKind:
    """Return the kind of an error; `server` if no rule matches."""
    return next((kind for kind, matches in _RULES if matches(error)), ErrorKind.SERVER)


def suggestion_for(kind: ErrorKind, error: ServerError) -> str:
    """Return what a person can do about the error, as a sentence."""
    if "stream_options" in f"{error.message} {error.param}":
        return "The server rejects 'stream_options': set the option 'include_usage' to false."
    if "max_completion_tokens" in error.text or error.param.startswith("max_"):
        return "Set the option 'max_tokens_field' to the name that the server accepts."
    if error.status in _BY_STATUS:
        return _BY_STATUS[error.status]
    if kind is ErrorKind.RATE_LIMITED and _is_out_of_credit(error):
        return "The account has no money left for this: add credit, or use another key."
    if kind is ErrorKind.MODEL_NOT_FOUND and not _names_model(error):
        return (
            "Check that 'base_url' points at an OpenAI-compatible API: its path usually ends in "
            "/v1."
        )
    return SUGGESTIONS[kind]


def _body_of(cause: openai.APIStatusError) -> object:
    """Return the body of an error; JSON is UTF-8 whatever charset the server declares."""
    try:
        return json.loads(cause.response.content)
    except (ValueError, RecursionError, httpx2.StreamError):
        return cause.body


def _unwrapped(cause: BaseException) -> BaseException:
    """Return what the SDK wrapped: its own text, "Connection error.", has no details."""
    if isinstance(cause, openai.APIConnectionError) and cause.__cause__ is not None:
        return cause.__cause__
    return cause


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_MESSAGE else text[: _MAX_MESSAGE - 3] + "..."


def _error_of_object(error: Mapping[str, Any], status: int) -> ServerError:
    code = error.get("code")
    if not status and str(code).isdecimal() and 400 <= int(str(code)) <= 599:
        status = int(str(code))
    names = [_searched(name) for name in (code, error.get("type")) if name]
    message = error.get("message") or error.get("detail") or error.get("msg") or ""
    message = _with_token_counts(_searched(message), error)
    return ServerError(status, " ".join(names), message, _searched(error.get("param") or ""))


def _searched(value: object) -> str:
    """Return the beginning of a text of a server: patterns with a gap take quadratic time."""
    return (value if isinstance(value, str) else str(value))[:_MAX_SEARCHED]


def _with_token_counts(message: str, error: Mapping[str, Any]) -> str:
    """Append the token counts that llama-server sends beside the message of an overflow."""
    prompt, window = error.get("n_prompt_tokens"), error.get("n_ctx")
    if prompt is None or window is None or str(window) in message:
        return message
    return f"{message} (the prompt has {prompt} tokens, the window {window})"


def _is_overflow(error: ServerError) -> bool:
    if re.search(r"context_length_exceeded|exceed_context_size", error.code):
        return True
    return error.status in (0, 400, 413, 422, 500) and bool(_OVERFLOW.search(error.message))


def _is_out_of_credit(error: ServerError) -> bool:
    return error.status == 402 or bool(_NO_CREDIT.search(error.text))


def _names_model(error: ServerError) -> bool:
    return "model_not_found" in error.code or "model" in error.message.lower()


def _is_missing_model(error: ServerError) -> bool:
    if error.status == 404 or "model_not_found" in error.code:
        return True
    return error.status in (0, 400, 422) and bool(_NO_MODEL.search(error.message))


def _is_unsupported(error: ServerError) -> bool:
    if error.status in (405, 501):
        return True
    return error.status in (0, 400, 422) and bool(_UNSUPPORTED.search(error.text))


def _has_status(*statuses: int) -> Callable[[ServerError], bool]:
    return lambda error: error.status in statuses


_RULES: tuple[tuple[ErrorKind, Callable[[ServerError], bool]], ...] = (
    (ErrorKind.CONTEXT_OVERFLOW, _is_overflow),
    (ErrorKind.AUTH, _has_status(401, 403)),
    (ErrorKind.AUTH, lambda error: "invalid_api_key" in error.code),
    (ErrorKind.MODEL_NOT_FOUND, _is_missing_model),
    (ErrorKind.RATE_LIMITED, _has_status(402, 429)),
    (ErrorKind.RATE_LIMITED, _is_out_of_credit),
    (ErrorKind.RATE_LIMITED, lambda error: not error.status and bool(_RATE.search(error.text))),
    (ErrorKind.LOADING, lambda error: error.status == 503 and bool(_LOADING.search(error.message))),
    (ErrorKind.OVERLOADED, _has_status(503, 529)),
    (ErrorKind.OVERLOADED, lambda error: bool(_OVERLOADED.search(error.code))),
    (ErrorKind.TIMEOUT, _has_status(408, 504, 524)),
    (ErrorKind.UNSUPPORTED, _is_unsupported),
    (ErrorKind.BAD_REQUEST, lambda error: 300 <= error.status <= 499),
)
