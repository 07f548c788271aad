"""A track: a named engine with its model and limits.

Invariant: a track is frozen; only its engine has state. Its methods are the boundary to the plugin
of the engine: whatever that raises (a library that is missing or broken, a bug) leaves as an
`EngineError` that names the track.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from vanta.engine import Engine, Health, Sampling
from vanta.errors import EngineError, ErrorKind, VantaError, describe, errors_as, refused_resource
from vanta.messages import Usage

_log = logging.getLogger("vanta")

_MAX_TOKENS = 10**12
"""Larger counts cost no more: they are no real ones, and a product with them may overflow."""


@dataclass(frozen=True, slots=True)
class Price:
    """The price of tokens.

    :param input_usd_per_mtok: US dollars per million input tokens.
    :param output_usd_per_mtok: US dollars per million output tokens.
    :param known: False for a model that has no known price: nothing is charged for it, and
        `budget.unpriced` decides whether it may be used under a cap.
    """

    input_usd_per_mtok: float = 0.0
    output_usd_per_mtok: float = 0.0
    known: bool = True

    def of(self, usage: Usage | None) -> float:
        """Return the price of a usage in US dollars.

        :param usage: tokens of one generation; None costs nothing.
        """
        if usage is None:
            return 0.0
        return self.of_tokens(usage.input_tokens, usage.output_tokens)

    def of_tokens(self, input_tokens: int, output_tokens: int) -> float:
        """Return the price of some tokens in US dollars.

        :param input_tokens: number of input tokens.
        :param output_tokens: number of output tokens.
        """
        input_tokens = min(max(0, input_tokens), _MAX_TOKENS)
        output_tokens = min(max(0, output_tokens), _MAX_TOKENS)
        spent = input_tokens * self.input_usd_per_mtok + output_tokens * self.output_usd_per_mtok
        return spent / 1_000_000


@dataclass(frozen=True, slots=True)
class Track:
    """One engine with its limits.

    :param name: the track's name.
    :param engine: the engine, which serves this track only.
    :param window: tokens that prompt and reply share, None for the engine's own.
    :param reply_reserve: tokens of the window that are reserved for the reply.
    :param private: whether messages to this track stay on machines that the user trusts.
    :param price: price of its tokens.
    :param sampling: defaults for every request.
    """

    name: str
    engine: Engine
    window: int | None = None
    reply_reserve: int = 512
    private: bool = False
    price: Price = Price()
    sampling: Sampling = Sampling()

    async def load(self) -> None:
        """Load the engine; see `Engine.load`.

        :raises EngineError: if it cannot be loaded.
        """
        with self._own_errors("it could not be loaded"):
            await self.engine.load()

    async def connect(self) -> None:
        """Open a connection for the next request; see `Engine.connect`. Never raises."""
        try:
            await self.engine.connect()
        except Exception as error:  # noqa: BLE001 - the request has the same problem and reports it
            _log.debug("track %r could not connect early: %s", self.name, describe(error))

    async def health(self, *, force: bool = False) -> Health:
        """Return whether the engine could answer now. Never raises.

        :param force: check now; otherwise a check is at most 30 seconds old.
        """
        try:
            with self._own_errors("its health could not be checked"):
                return await self.engine.health(force=force)
        except VantaError as error:
            return Health(False, str(error))

    async def forget(self) -> None:
        """Discard all text of earlier requests; see `Engine.forget`.

        :raises EngineError: if some of it may remain.
        """
        with self._own_errors("it could not forget"):
            await self.engine.forget()

    async def close(self) -> None:
        """Close the engine. Never raises: an error is logged, so that the other tracks close."""
        try:
            with self._own_errors("it could not be closed"):
                await self.engine.aclose()
        except VantaError as error:
            _log.warning("%s", error)

    def error(
        self,
        kind: ErrorKind,
        message: str,
        suggestion: str = "",
        *,
        summary: str | None = None,
        retry_after_s: float | None = None,
    ) -> EngineError:
        """Return an error that names this track, its engine and its model.

        :param kind: the kind.
        :param message: what happened.
        :param suggestion: what a person can do about it.
        :param summary: see `EngineError`.
        :param retry_after_s: see `EngineError`.
        """
        error = EngineError(
            kind,
            message,
            engine=self.engine.name,
            model=self.engine.model,
            suggestion=suggestion,
            summary=summary,
            retry_after_s=retry_after_s,
        )
        error.track = self.name
        return error

    def _own_errors(self, problem: str) -> AbstractContextManager[None]:
        return errors_as(partial(self._error_of, problem))

    def _error_of(self, problem: str, cause: Exception) -> EngineError:
        return self.error(
            ErrorKind.MODEL_NOT_LOADED,
            f"{problem}: {describe(cause)}",
            refused_resource(cause)
            or "Check the installation with 'vanta doctor'; if it is complete, report this to the "
            "engine's plugin.",
            summary=f"{problem}: {type(cause).__name__}",
        )
