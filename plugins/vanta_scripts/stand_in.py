"""A server in this process that stands in for the api track's, and fails as a script plans.

It is `vanta.testing.Upstream`, a real server on a loopback port that the `openai` engine talks to,
so failover in a script is failover of a real connection. Invariant: no key of a real server
reaches it, and it is gone when its context ends.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

from vanta import EngineContext, Price, ScriptError, Track, install_hint
from vanta.money import price_of
from vanta_scripts.script import UpstreamPlan

if TYPE_CHECKING:
    from vanta import Runtime
    from vanta.testing import Behaviour

TRACK = "api"
_ENGINE = "openai"
_NO_KEY = "VANTA_STAND_IN_HAS_NO_KEY"

ApplyPlan = Callable[[UpstreamPlan], None]


@asynccontextmanager
async def stand_in(runtime: Runtime) -> AsyncIterator[tuple[Track, ApplyPlan]]:
    """Open a stand-in server with an api track in front of it.

    Model, price and window are those of the configured api track, if there is one.

    :param runtime: the runtime whose plugins provide the `openai` engine.
    :returns: the track, and a function that sets the server's behaviour.
    :raises UnknownName: without the `openai` engine.
    :raises ScriptError: without the server's library.
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

        def apply(plan: UpstreamPlan) -> None:
            following = plan.then or ((UpstreamPlan(),) if plan.call else ())
            upstream.always(_behaviour(plan, model))
            upstream.then(*(_behaviour(each, model) for each in following))

        async with aclosing(engine):
            # Load the engine's library now, so that it does not count as time of the first turn.
            await engine.load()
            yield track, apply


def _behaviour(plan: UpstreamPlan, model: str) -> Behaviour:
    from vanta.testing import Behaviour

    faults: dict[str, Callable[[], Behaviour]] = {
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
    return faults[plan.fault]().but(ttft_s=plan.first_after_s, gap_s=plan.gap_s)


def _answer(plan: UpstreamPlan) -> Behaviour:
    from vanta.testing import Behaviour

    if plan.call is None:
        return Behaviour.answer(plan.text)
    return Behaviour.calls(plan.call.name, json.dumps(plan.call.arguments, ensure_ascii=False))
