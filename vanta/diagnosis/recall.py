"""Checks of what memory recalls with: the embedder, the vector index, what counts tokens.

Invariant: nothing is loaded but what counts tokens; whether an embedder or an index is there is
asked of the plugin that brings it.
"""

from __future__ import annotations

import functools
import re

import anyio.to_thread

from vanta.check import Check, DiagnosisContext, Finding
from vanta.engine import EngineContext
from vanta.errors import UsageError
from vanta.memory.factory import AUTO, NONE, embedder_for, index_for

_COMMAND = re.compile(r"pip install '[^']+'|(?<=`)(?:vanta|pip) [^`]+(?=`)")


async def recall(context: DiagnosisContext) -> Finding:
    """Whether memory finds by words and by meaning, and what is missing for that."""
    look = functools.partial(_recall, context)
    return await anyio.to_thread.run_sync(look, abandon_on_cancel=True)


def tokens_check(track: str) -> Check:
    """A check of what counts the tokens of a track that calls a server; others count their own."""
    name = f"tokens of {track}"

    async def run(context: DiagnosisContext) -> Finding:
        if track in context.off:
            return Finding(name, None, f"not told: {track!r} is off")
        told = context.config.tracks[track]
        factory = context.plugins.engines[told.engine]
        options = factory.options.model_validate(dict(told.options))
        engine_context = EngineContext(track, told.model, told.window, context.models.find)
        engine = factory.create(options, engine_context)
        try:
            await engine.load()
            counter, why = engine.counter, str(engine.stats().get("no_tiktoken") or "")
        finally:
            await engine.aclose()
        if not why:
            return Finding(name, True, f"counted by {counter}")
        return Finding(name, None, f"an estimate on the high side: {why}", _command_in(why))

    return Check(name, run)


def _recall(context: DiagnosisContext) -> Finding:
    memory = context.config.memory
    if not memory.enabled:
        return Finding("recall", None, "memory.enabled is false: nothing is recalled")
    if not (context.config.store_url or "sqlite").startswith("sqlite"):
        detail = "memory lives in SQLite, and store_url is of another database"
        return Finding("recall", None, detail, "vanta config explain store_url")
    try:
        embedder, why = embedder_for(context.config, context.plugins, context.models)
        index, without = index_for(context.config, context.plugins)
    except UsageError as error:
        return Finding("recall", False, str(error), "vanta config explain memory")
    if embedder is None:
        wanted = memory.embedder not in {AUTO, NONE}
        mend = "" if memory.embedder == NONE else _command_in(why)
        return Finding("recall", False if wanted else None, f"by words alone: {why}", mend)
    found = f"by words and by meaning (embedder {embedder.name!r})"
    if index is None:
        wanted = memory.index not in {AUTO, NONE}
        detail = f"{found}, every vector looked at one by one: {without}"
        return Finding("recall", False if wanted else None, detail, _command_in(without))
    return Finding("recall", True, f"{found}, index {index.name!r}")


def _command_in(why: str) -> str:
    """The command that a reason names."""
    found = _COMMAND.search(why)
    return found[0] if found else ""
