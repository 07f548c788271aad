"""Whatever goes wrong between vanta and a server, as one `EngineError`.

Invariant: nothing that leaves here has a secret in it, the chain of causes included: a cause that
quotes one is replaced by a `Cause` with the same words, the secret blotted out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime

import anyio
import httpx2
import openai

from vanta.errors import EngineError, ErrorKind
from vanta_openai.chunks import ErrorFrame, Malformed
from vanta_openai.kinds import ADVICE, Complaint, advice_for, complaint_of, kind_of
from vanta_openai.server import Server

ENGINE = "openai"

EXPECTED: tuple[type[Exception], ...] = (
    openai.OpenAIError,
    httpx2.HTTPError,
    httpx2.InvalidURL,
    httpx2.StreamError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
    OSError,
    ErrorFrame,
    Malformed,
)
"""What can go wrong without a mistake in the code: these `Faults.of` is made for."""

UNSENDABLE: tuple[type[Exception], ...] = (TypeError, ValueError)
"""What the SDK raises besides for a request that cannot be written as JSON in UTF-8."""

_UNWRITABLE = "Look for what is no JSON or no Unicode text in the messages, tools and sampling."


class Cause(Exception):  # noqa: N818 - stands for an exception of another name
    """An exception that quoted a secret, in words that do not."""


class Faults:
    """Makes the errors of one engine: they all name its model and its server."""

    def __init__(self, model: str, server: Server) -> None:
        self._model = model
        self._server = server

    def of(self, cause: BaseException) -> EngineError:
        """The error that `cause` comes to, with `cause` as its cause."""
        error = self._classified(cause)
        error.__cause__ = self._clean(cause)
        return error

    def make(
        self, kind: ErrorKind, message: str, advice: str = "", retry_after_s: float | None = None
    ) -> EngineError:
        """An error in our own words."""
        return EngineError(
            kind,
            self._server.redact(message),
            engine=ENGINE,
            model=self._model,
            server=self._server.label,
            suggestion=advice or ADVICE[kind],
            retry_after_s=retry_after_s,
        )

    def _classified(self, cause: BaseException) -> EngineError:
        match cause:
            case openai.APIStatusError():
                retry_after_s = retry_after(cause.response.headers)
                said = complaint_of(cause.body, cause.status_code)
                return self._complaint(said, retry_after_s)
            case ErrorFrame():
                return self._complaint(complaint_of(cause.error))
            case TypeError() | ValueError():
                what = f"the request cannot be written ({type(cause).__name__}: {cause})"
                return self.make(ErrorKind.BAD_REQUEST, _short(what), _UNWRITABLE)
            case Malformed():
                return self.make(ErrorKind.SERVER, f"malformed stream: {cause}")
            case _:
                return self._transport(next(_innermost(cause), cause))

    def _complaint(self, said: Complaint, retry_after_s: float | None = None) -> EngineError:
        kind = kind_of(said)
        status = f"HTTP {said.status}" if said.status else "error in the stream"
        words = "an HTML page" if said.message.lstrip().startswith("<") else _short(said.message)
        message = f"{status}: {words}" if words else status
        return self.make(kind, message, advice_for(kind, said), retry_after_s)

    def _transport(self, cause: BaseException) -> EngineError:
        what = (
            f"{type(cause).__name__}: {_short(str(cause))}" if str(cause) else type(cause).__name__
        )
        match cause:
            case httpx2.TimeoutException() | openai.APITimeoutError():
                return self.make(ErrorKind.TIMEOUT, f"no answer in time ({what})")
            case httpx2.ConnectError():
                return self.make(ErrorKind.NETWORK, f"no connection ({what})")
            case httpx2.DecodingError() | httpx2.SSEError():
                return self.make(ErrorKind.SERVER, f"malformed answer ({what})")
            case _:
                return self.make(ErrorKind.NETWORK, f"the connection broke ({what})")

    def _clean(self, cause: BaseException) -> BaseException:
        if all(self._server.redact(text) == text for text in _texts(cause)):
            return cause
        return Cause(self._server.redact(f"{type(cause).__name__}: {cause}"))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait as the server asked: `retry-after-ms`, or `Retry-After` in seconds or as a
    date (RFC 9110, 10.2.3); None where it asked for nothing that makes sense."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    asked = headers.get("retry-after")
    seconds = _number(asked)
    return _until(asked) if seconds is None and asked else seconds


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _until(date: str) -> float | None:
    try:
        return max(0.0, parsedate_to_datetime(date).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _innermost(cause: BaseException) -> Iterator[BaseException]:
    """What the SDK wrapped: its own "Connection error." says nothing."""
    if isinstance(cause, openai.APIConnectionError) and cause.__cause__ is not None:
        yield cause.__cause__


def _texts(cause: BaseException) -> Iterator[str]:
    """All that a traceback would print of `cause` and those behind it."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [cause]
    while waiting:
        error = waiting.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        yield f"{error} {error!r} {getattr(error, '__notes__', '')}"
        waiting += [error.__cause__, error.__context__, *getattr(error, "exceptions", ())]


def _short(text: str, limit: int = 300) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
