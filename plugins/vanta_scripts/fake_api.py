"""A server in this process that stands in for the api track's, and misbehaves as a script says.

It is `vanta.testing.Upstream`, a real server on a loopback port, reached by the `openai` engine, so
that a script's fail-over is that of a real connection. Invariant: no key of a real server is sent
to it, and nothing of it is left when its context is.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

from vanta import install_hint
from vanta.engine import EngineContext
from vanta.errors import ScriptError
from vanta.money import price_of
from vanta.track import Price, Track
from vanta_scripts.model import UpstreamPlan

if TYPE_CHECKING:
    from vanta.runtime import Runtime
    from vanta.testing import Behaviour

TRACK = "api"
_ENGINE = "openai"
_NO_KEY = "VANTA_STAND_IN_HAS_NO_KEY"

Direct = Callable[[UpstreamPlan], None]


@asynccontextmanager
async def stand_in(runtime: Runtime) -> AsyncIterator[tuple[Track, Direct]]:
    """The api track in front of a stand-in server, and what tells that server how to behave.

    Model, price and window are those of the configured api track, if there is one. Raises
    UnknownName without the `openai` engine, ScriptError without the library of the server.
    """
    try:
        from vanta.testing import Upstream
    except ModuleNotFoundError as error:
        raise ScriptError(
            f"'upstream' needs the library {error.name!r}. "
            f"Install it: {install_hint('openai', 'testing')}."
        ) from error
    factory = runtime.plugins.engines[_ENGINE]
    configured = runtime.config.tracks.get(TRACK)
    model = configured.model if configured else "stand-in"
    async with Upstream(models=(model,)) as upstream:
        options = {"base_url": upstream.base_url, "api_key_env": _NO_KEY}
        context = EngineContext(TRACK, model, None, runtime.models.find)
        engine = factory.create(factory.options.model_validate(options), context)
        track = Track(TRACK, engine)
        if configured:
            price = price_of(configured) or Price()
            track = Track(TRACK, engine, configured.window, configured.reply_reserve, price=price)

        def direct(plan: UpstreamPlan) -> None:
            upstream.always(_behaviour(plan, model))

        async with aclosing(engine):
            # Before the first turn: what loads the engine's library is no part of a turn's time.
            await engine.load()
            yield track, direct


def _answer(plan: UpstreamPlan) -> Behaviour:
    from vanta.testing import Behaviour

    if plan.call is None:
        return Behaviour.answer(plan.text)
    return Behaviour.calls(plan.call.name, json.dumps(plan.call.arguments, ensure_ascii=False))


def _behaviour(plan: UpstreamPlan, model: str) -> Behaviour:
    from vanta.testing import Behaviour

    named: dict[str, Callable[[], Behaviour]] = {
        "none": lambda: _answer(plan),
        "refuse": Behaviour.refused,
        "unauthorized": Behaviour.unauthorized,
        "not_found": lambda: Behaviour.not_found(model),
        "rate_limited": lambda: Behaviour.rate_limited(plan.retry_after),
        "server_error": Behaviour.server_error,
        "overloaded": lambda: Behaviour.server_error(503),
        "context_overflow": Behaviour.context_overflow,
        "stall": lambda: Behaviour.stall(plan.after, plan.text),
        "cut": lambda: Behaviour.cut(plan.after, plan.text),
        "malformed": lambda: Behaviour.malformed(plan.after, plan.text),
        "error_frame": lambda: Behaviour.error_frame(plan.after, plan.text),
    }
    return named[plan.fault]().but(ttft_s=plan.first_after_s, gap_s=plan.gap_s)
