"""Every error that vanta raises, in one tree.

    VantaError
    ├── UsageError              the caller, the configuration or a file must change
    │   ├── ConfigError         a configuration does not fit the schema
    │   ├── InvalidValue        a value of a call is of the wrong type or out of its range
    │   ├── NoTrack             no track is able or allowed to take a turn
    │   ├── UnknownName         a track, policy, engine, template, model... does not exist
    │   ├── PluginError         a plugin cannot be loaded, or two claim one name
    │   ├── TemplateError       a prompt template is broken or lacks a variable
    │   ├── ScriptError         a script does not fit the format
    │   └── UnreadableDocument  a file cannot be read into memory
    └── RunError                the request was valid, but running it failed
        ├── EngineError         one engine failed, normalised to an `ErrorKind`
        ├── BudgetExceeded      a cap does not allow the cost
        ├── CallStateError      the journal does not allow a step of a tool call
        ├── ModelStoreError     a model file cannot be fetched, found or verified
        ├── StoreError          the database cannot be read or written
        ├── EmbedderError       texts cannot be embedded
        ├── VectorIndexError    a vector index failed; memory continues without it
        ├── InternalError       a fault of vanta or of a plugin, with its cause
        └── AllTracksFailed     every leg of a turn failed: a group of one EngineError each

Invariant: `str(error)` states what happened, where, and what to do next; identifiers are quoted.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import Self

from vanta.text import printable, redact_text

_REPORT = "This is a fault of vanta or of a plugin: report it with its traceback."
_REFUSALS = (
    "can't start new thread",
    "cannot allocate memory",
    "failed to map segment",
    "resource temporarily unavailable",
    "unable to allocate",
    "std::bad_alloc",
    "too many open files",
)
"""What libraries report if the operating system refuses memory, a thread or a file; lower case."""

MAX_WAIT_S = 3600.0
"""Seconds for which a server's request to wait is obeyed at most."""


class VantaError(Exception):
    """The root of all errors that vanta raises on purpose."""


class UsageError(VantaError):
    """A person must change a call, a configuration or a file."""


class ConfigError(UsageError):
    """The configuration does not fit the schema."""


class InvalidValue(UsageError, ValueError):  # noqa: N818 - the name states the error
    """A value of a call is of the wrong type, out of its range, or not a number."""


class NoTrack(UsageError):  # noqa: N818
    """No track can take the turn.

    :param policy: name of the turn's policy.
    :param skipped: why each track does not take part, by name.
    :param unable: whether a track is missing that can do what the message needs: to see images.
    """

    def __init__(self, policy: str, skipped: Mapping[str, str], *, unable: bool = False) -> None:
        self.policy = policy
        self.unable = unable
        self.skipped = dict(skipped)
        reasons = "; ".join(f"{track!r}: {why}" for track, why in self.skipped.items())
        super().__init__(f"policy {policy!r} has no track that can take this turn. {reasons}")


class UnknownName(UsageError):  # noqa: N818 - the name states the error
    """Nothing has this name.

    :param what: the kind of thing ("track", "policy"...).
    :param name: the unknown name.
    :param known: the names that exist.
    :param hint: a sentence on what to do, appended to the message.
    """

    def __init__(self, what: str, name: str, known: Iterable[str], *, hint: str = "") -> None:
        self.what = what
        self.name = name
        self.known = tuple(sorted(known))
        super().__init__(
            " ".join(
                filter(
                    None, [f"no {what} is named {name!r}.", did_you_mean(name, self.known), hint]
                )
            )
        )


class PluginError(UsageError):
    """A plugin cannot be loaded, or two plugins claim one name."""


class TemplateError(UsageError):
    """A prompt template is broken, too large, too slow, or lacks a variable."""


class ScriptError(UsageError):
    """A script does not fit the format; the message states file, line and column."""


class UnreadableDocument(UsageError):  # noqa: N818 - the name states the error
    """A file cannot be read into memory; the message names it and the next step."""


class RunError(VantaError):
    """The request was valid, but running it failed."""


class ModelStoreError(RunError):
    """A model file cannot be fetched, found or verified."""


class StoreError(RunError):
    """The database cannot be read or written."""


class EmbedderError(RunError):
    """An embedder cannot be loaded or cannot embed texts."""


class VectorIndexError(RunError):
    """A vector index failed; memory continues without it.

    :param message: what happened.
    :param owned: True if another process owns the index, which is not damage. Otherwise the
        partition counts as lost and is rebuilt from the database.
    """

    def __init__(self, message: str, *, owned: bool = False) -> None:
        super().__init__(message)
        self.owned = owned


class InternalError(RunError):
    """A fault of vanta or of a plugin. `__cause__` is the original exception.

    :param problem: what could not be done.
    :param cause: the original exception.
    """

    def __init__(self, problem: str, cause: BaseException) -> None:
        super().__init__(f"{problem}: {describe(cause)}. {refused_resource(cause) or _REPORT}")


class BudgetExceeded(RunError):  # noqa: N818 - the name states the error
    """A cap does not allow a leg; nothing was reserved. Amounts are in US dollars.

    :param message: what happened.
    :param suggestion: what a person can do about it.
    :param scope: turn, session, user or day.
    :param limit_usd: the cap.
    :param spent_usd: what was spent under it.
    :param reserved_usd: what is reserved under it.
    :param asked_usd: the most that the leg could cost.
    """

    def __init__(
        self,
        message: str,
        *,
        suggestion: str,
        scope: str,
        limit_usd: float,
        spent_usd: float,
        reserved_usd: float,
        asked_usd: float,
    ) -> None:
        super().__init__(f"{message}. {suggestion}")
        self.message = message
        self.suggestion = suggestion
        self.scope = scope
        self.limit_usd = limit_usd
        self.spent_usd = spent_usd
        self.reserved_usd = reserved_usd
        self.asked_usd = asked_usd


class ErrorKind(StrEnum):
    """What went wrong in an engine, in terms that a scheduler can act on.

    Three do not come from an engine. BUDGET: a cap did not allow the leg, see `BudgetExceeded`.
    NO_CALL: an answer has no call although `tool_choice` requires one. INVALID_ANSWER: an answer is
    not of the type that the caller asked for.
    """

    MODEL_NOT_FOUND = "model_not_found"
    MODEL_NOT_LOADED = "model_not_loaded"
    CONTEXT_OVERFLOW = "context_overflow"
    AUTH = "auth"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    LOADING = "loading"
    BAD_REQUEST = "bad_request"
    UNSUPPORTED = "unsupported"
    SERVER = "server"
    NETWORK = "network"
    TIMEOUT = "timeout"
    BUDGET = "budget"
    NO_CALL = "no_call"
    INVALID_ANSWER = "invalid_answer"


class CallStateError(RunError):
    """The state of a tool call does not allow the step, such as starting it a second time.

    :param key: the call's key in the journal.
    :param state: the state that the call has; "" if the journal has no such call.
    :param step: what was not done, in words.
    """

    def __init__(self, key: str, state: str, step: str) -> None:
        known = f"it is {state}" if state else "the journal has no such call"
        super().__init__(
            f"tool call {key!r} cannot be {step}: {known}. `vanta calls list` shows all calls."
        )
        self.key = key
        self.state = state
        self.step = step


class ToolError(RunError):
    """A toolset could not do what was asked of it; the model reads why."""


class EngineError(RunError):
    """One engine failed.

    The scheduler sets `track`. An engine sets `resend` if it has learnt from the error to write the
    same request in another form: the leg then sends it once more. `retryable` is False if the same
    request would only be paid for once more. `__cause__` is the original exception, if there was
    one.

    :param kind: what went wrong, normalised.
    :param message: what happened, in words. Control characters are replaced, since it may quote a
        server and reach a terminal or a log.
    :param engine: the engine's name.
    :param model: the model's name.
    :param server: URL without credentials, or path of a file.
    :param suggestion: what a person can do about it.
    :param retry_after_s: seconds to wait, as the server requested. More than `MAX_WAIT_S` is cut,
        and what is not a time counts as None.
    :param summary: the message without a word that a server wrote, such as "HTTP 500"; None if the
        message has none. Of a private turn, only this is kept.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        engine: str,
        model: str | None = None,
        server: str | None = None,
        suggestion: str = "",
        retry_after_s: float | None = None,
        summary: str | None = None,
    ) -> None:
        message = printable(message)
        super().__init__(kind, message)
        self.kind = kind
        self.message = message
        self.engine = engine
        self.model = model
        self.server = server
        self.suggestion = printable(suggestion)
        self.retry_after_s = _wait_s(retry_after_s)
        self.summary = summary
        self.track: str | None = None
        self.resend = False
        self.retryable = True

    def __str__(self) -> str:
        at = f" at {self.server}" if self.server else ""
        model = f" model {self.model!r}" if self.model else ""
        track = f"track {self.track!r}: " if self.track else ""
        advice = f" {self.suggestion}" if self.suggestion else ""
        return f"{track}{self.kind}: {self.message} (engine {self.engine!r}{model}{at}).{advice}"

    def to_dict(self) -> dict[str, object]:
        """Return the error as JSON-ready data, for events, traces and `--json`."""
        return {
            "kind": str(self.kind),
            "message": self.message,
            "engine": self.engine,
            "model": self.model,
            "server": self.server,
            "suggestion": self.suggestion,
            "retry_after_s": self.retry_after_s,
            "cause": printable(redact_text(repr(self.__cause__))) if self.__cause__ else None,
        }


class AllTracksFailed(ExceptionGroup[EngineError], RunError):  # noqa: N818
    """Every leg of a turn failed: a group of one `EngineError` each, which names its track.

    Catch the group with `except AllTracksFailed`, or single causes with `except* EngineError`.

    :param errors: the errors, in the order of the legs.
    :param partial: text that was shown before the last leg broke, "" for none.
    """

    partial: str

    @property
    def causes(self) -> tuple[EngineError, ...]:
        """The errors of the group, one for each leg that failed, in the order of their legs."""
        return tuple(error for error in self.exceptions if isinstance(error, EngineError))

    def __new__(cls, errors: Sequence[EngineError], *, partial: str = "") -> Self:
        causes = "; ".join(str(error) for error in errors)
        self = super().__new__(cls, f"no track could answer: {causes}", errors)
        self.partial = partial
        return self

    def __init__(self, errors: Sequence[EngineError], *, partial: str = "") -> None:
        """Do nothing: `ExceptionGroup` requires that `__new__` does everything."""

    def derive(self, errors: Sequence[EngineError]) -> AllTracksFailed:  # type: ignore[override]
        """Return a group of this type when the group is split (PEP 654)."""
        return AllTracksFailed(errors, partial=self.partial)

    def __str__(self) -> str:
        return str(self.message)


def _wait_s(requested_s: float | None) -> float | None:
    if requested_s is None or math.isnan(requested_s) or requested_s < 0:
        return None
    return min(requested_s, MAX_WAIT_S)


def describe(error: BaseException) -> str:
    """Return the type and the message of an exception that is not vanta's own, without secrets.

    :param error: the exception.
    """
    text = printable(redact_text(str(error)))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def refused_resource(error: BaseException) -> str:
    """Return what to do if the operating system refused memory, a thread or a file.

    :param error: an exception; those that caused it are examined, too.
    :returns: a sentence that names the limits of this process, "" for any other error.
    """
    cause: BaseException | None = error
    for _ in range(8):
        if cause is None:
            break
        message = str(cause).lower()
        if isinstance(cause, MemoryError) or any(sign in message for sign in _REFUSALS):
            limits = _process_limits()
            known = f" Limits of this process: {limits}." if limits else ""
            return (
                "The operating system refused memory, a thread or a file. Close other programs, "
                f"or raise the limits of this process.{known}"
            )
        cause = cause.__cause__ or cause.__context__
    return ""


def _process_limits() -> str:
    """Return the limits that are set, as a shell's `ulimit` names them."""
    try:
        import resource
    except ImportError:  # Windows
        return ""
    parts = []
    for flag, name, unit in (("-v", "RLIMIT_AS", 1024), ("-u", "RLIMIT_NPROC", 1)):
        value = resource.getrlimit(getattr(resource, name))[0]
        if value != resource.RLIM_INFINITY:
            parts.append(f"ulimit {flag} {value // unit}")
    parts.append(f"ulimit -n {resource.getrlimit(resource.RLIMIT_NOFILE)[0]}")
    return ", ".join(parts)


class errors_as:  # noqa: N801 - read as a function: `with errors_as(...)`
    """Turn every exception of the body that is not vanta's own into one that is.

    A boundary to other people's code uses it, so that no exception passes unnamed. It is a class
    because a turn passes many boundaries, and a generator costs several times as much.

    :param make: returns the error to raise; the exception becomes its cause.
    :raises VantaError: the error of the body, or what `make` returns.
    """

    __slots__ = ("_make",)

    def __init__(self, make: Callable[[Exception], VantaError]) -> None:
        self._make = make

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _traceback: object
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, VantaError):
            raise self._make(error) from error


def internal_errors(problem: str) -> errors_as:
    """Turn every exception of the body that is not vanta's own into an `InternalError`.

    :param problem: what could not be done, for the message.
    """
    return errors_as(partial(InternalError, problem))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a sentence that suggests the nearest known name, or lists all of them.

    :param name: the unknown name.
    :param known: the names that exist.
    """
    candidates = sorted(known)
    near = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"Known: {', '.join(map(repr, candidates))}." if candidates else "There are none."
