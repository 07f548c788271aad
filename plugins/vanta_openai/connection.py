"""Opening the client of a server, and checking whether the server answers.

Invariant: `open_transport` does everything that blocks (reading the key, importing the SDK,
building its client), runs in a worker thread, and raises nothing but EngineError. `Availability`
runs at most one check at a time, and none within `RETRY_S` of the last one unless forced.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio

from vanta import ErrorKind, Health, install_hint
from vanta_openai.server import CHECK_KEY, ApiKeyError, ApiServer, engine_error, find_server

if TYPE_CHECKING:
    from vanta_openai.server import ServerOptions
    from vanta_openai.transport import Transport

RETRY_S = 30.0
"""Seconds until a failed check may be repeated."""

FRESH_S = 60.0
"""Seconds for which a successful check is reused."""


def open_transport(
    options: ServerOptions, model: str, *, private: bool = False, keyless: bool = False
) -> tuple[Transport, ApiServer]:
    """Return a client for the server of `options`, and that server. Raises EngineError.

    private: whether the text must reach the server directly, through no proxy. keyless: whether
    no key of the environment may be sent to it.
    """
    try:
        server = find_server(options, private=private, keyless=keyless)
    except ApiKeyError as error:
        raise engine_error(ErrorKind.AUTH, str(error), CHECK_KEY, model=model) from None
    except ValueError as error:
        raise engine_error(
            ErrorKind.BAD_REQUEST, str(error), "Correct the variable, or unset it.", model=model
        ) from None
    try:
        from vanta_openai.http_client import ClientSetupError
        from vanta_openai.transport import Transport
    except ImportError as error:
        raise engine_error(
            ErrorKind.MODEL_NOT_LOADED,
            f"the OpenAI library cannot be imported ({error})",
            f"Install it: {install_hint('openai')}.",
            model=model,
        ) from error
    try:
        return Transport(options, model, server, private=private), server
    except ClientSetupError as error:
        failure = (ErrorKind.BAD_REQUEST, str(error), error.suggestion)
    except Exception as error:  # noqa: BLE001 - whatever a library raises, the track has failed
        problem = server.redact(f"the client cannot be built ({type(error).__name__}: {error})")
        failure = (ErrorKind.MODEL_NOT_LOADED, problem, "Correct the track's options.")
    raise engine_error(*failure, model=model, server=server)


class Availability:
    """The cached result of a health check."""

    def __init__(
        self, check: Callable[[], Awaitable[Health]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """check: asks the server. clock: returns seconds on a monotonic clock."""
        self._check = check
        self._clock = clock
        self._lock = anyio.Lock()
        self._last: Health | None = None
        self._checked_at = 0.0

    async def get(self, *, force: bool = False) -> Health:
        """Return the last result with its age while it is valid, otherwise check again."""
        async with self._lock:
            age_s = self._clock() - self._checked_at
            if self._last is not None and not force and age_s < self._lifetime_s(self._last):
                return replace(self._last, age_s=age_s)
            self._last = await self._check()
            self._checked_at = self._clock()
            return self._last

    @staticmethod
    def _lifetime_s(health: Health) -> float:
        return FRESH_S if health.ok else RETRY_S
