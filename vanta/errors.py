"""Every error that vanta raises, in one tree.

    VantaError
    ├── UsageError              the caller, the configuration or a file has to change
    │   ├── ConfigError         a configuration that does not fit the schema
    │   ├── NoTrack             a turn that no track is allowed or able to take
    │   ├── UnknownName         a track, policy, engine, template, model... that does not exist
    │   ├── PluginError         a plugin that could not be loaded, or two with one name
    │   ├── TemplateError       a prompt template that is broken or lacks a variable
    │   ├── ScriptError         a script that does not fit the format
    │   └── UnreadableDocument  a file that cannot be read into memory
    └── RunError                what was asked was right; running it failed
        ├── EngineError         one engine failed, normalised to an `ErrorKind`
        ├── BudgetExceeded      money that a cap does not allow to be spent
        ├── ModelStoreError     a model file could not be fetched, found or verified
        ├── StoreError          the transcript could not be read or written
        ├── EmbedderError       texts could not be turned into vectors
        ├── VectorIndexError    a vector index failed; memory goes on without it
        └── AllTracksFailed     an ExceptionGroup: every leg of a turn failed, one EngineError each

Invariant: `str(error)` says what happened, where, and what to do next; identifiers are quoted.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Self


class VantaError(Exception):
    """The root: catching it catches everything that vanta raises on purpose."""


class UsageError(VantaError):
    """Something has to be changed by a person: a call, a configuration, a file."""


class ConfigError(UsageError):
    """The configuration does not fit the schema."""


class NoTrack(UsageError):  # noqa: N818
    """No track can take the turn; `skipped` says of each why not."""

    def __init__(self, policy: str, skipped: Mapping[str, str]) -> None:
        self.policy = policy
        self.skipped = dict(skipped)
        reasons = "; ".join(f"{track!r}: {why}" for track, why in self.skipped.items())
        super().__init__(f"policy {policy!r} has no track that can take this turn. {reasons}")


class UnknownName(UsageError):  # noqa: N818 - "unknown name" reads as the error that it is
    """A name that nothing answers to.

    `what` is the sort of thing ("track", "policy"...), `known` are the names that would have done.
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
    """A plugin could not be loaded, or two plugins claim one name."""


class TemplateError(UsageError):
    """A prompt template is broken, too large, too slow, or lacks a variable."""


class ScriptError(UsageError):
    """A script does not fit the format; the message has file, line and column."""


class UnreadableDocument(UsageError):  # noqa: N818 - a file that is none is the error
    """A file that cannot be taken into memory: the message names it and the next step."""


class RunError(VantaError):
    """What was asked was right; running it failed."""


class ModelStoreError(RunError):
    """A model file could not be fetched, found or verified."""


class StoreError(RunError):
    """The transcript store could not be read or written."""


class EmbedderError(RunError):
    """An embedder could not be made ready, or could not turn texts into vectors."""


class VectorIndexError(RunError):
    """A vector index could not do what it was asked; memory goes on without it.

    owned: True if another process owns the index, which is no damage; else what it was asked about
    is to be taken for lost, and is built again from the store.
    """

    def __init__(self, message: str, *, owned: bool = False) -> None:
        super().__init__(message)
        self.owned = owned


class BudgetExceeded(RunError):  # noqa: N818 - the budget is exceeded, which is the error
    """A cap does not allow a leg; nothing was reserved.

    scope: turn, session, user or day. Amounts in US dollars: limit is the cap, spent and reserved
    what is gone of it already, asked what the leg could cost at the most. message: what happened,
    suggestion: what a person can do about it.
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
    """What went wrong in an engine, in the terms that a scheduler can act on.

    BUDGET is none of the engine's: a cap did not let the leg start, see `BudgetExceeded`.
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


class EngineError(RunError):
    """One engine failed.

    kind: what went wrong, normalised. message: what happened, in words.
    engine, model, server: where (server is a URL without credentials, or a file's path).
    suggestion: what a person can do about it. retry_after_s: seconds, as the server asked.
    track: filled in by the scheduler. `__cause__` is the original exception where there was one.
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
    ) -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = message
        self.engine = engine
        self.model = model
        self.server = server
        self.suggestion = suggestion
        self.retry_after_s = retry_after_s
        self.track: str | None = None

    def __str__(self) -> str:
        at = f" at {self.server}" if self.server else ""
        model = f" model {self.model!r}" if self.model else ""
        track = f"track {self.track!r}: " if self.track else ""
        advice = f" {self.suggestion}" if self.suggestion else ""
        return f"{track}{self.kind}: {self.message} (engine {self.engine!r}{model}{at}).{advice}"

    def to_dict(self) -> dict[str, object]:
        """The error as JSON-ready data, for events, traces and `--json`."""
        return {
            "kind": str(self.kind),
            "message": self.message,
            "engine": self.engine,
            "model": self.model,
            "server": self.server,
            "suggestion": self.suggestion,
            "retry_after_s": self.retry_after_s,
            "cause": repr(self.__cause__) if self.__cause__ else None,
        }


class AllTracksFailed(ExceptionGroup[EngineError], RunError):  # noqa: N818
    """Every leg of a turn failed; an `ExceptionGroup` with one `EngineError` for each.

    Each error names its track. Catch the whole as `except AllTracksFailed`, or pick kinds of errors
    out of the group with `except* EngineError`.

    :ivar partial: the text that was already shown when the last leg broke; "" if none was.
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
        """Everything is done in `__new__`, as ExceptionGroup wants it."""

    def derive(self, errors: Sequence[EngineError]) -> AllTracksFailed:  # type: ignore[override]
        """Keep the type when the group is split (PEP 654)."""
        return AllTracksFailed(errors, partial=self.partial)

    def __str__(self) -> str:
        return str(self.message)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest of `known`, or all of them where none is near."""
    candidates = sorted(known)
    near = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"Known: {', '.join(map(repr, candidates))}." if candidates else "None is known."
