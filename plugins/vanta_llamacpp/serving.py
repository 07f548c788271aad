"""Requests are served one after another, first come first served, in steps.

This is the one module that decides what goes into a step; continuous batching replaces it and
nothing else. Invariant: before every step the job is asked whether it should stop, and a step that
was aborted or failed leaves the KV cache cut back to what is known to be in it.
"""

from __future__ import annotations

from vanta.errors import EngineError
from vanta_llamacpp.generation import Generation
from vanta_llamacpp.job import Job
from vanta_llamacpp.model import Aborted, Model


def serve(model: Model, job: Job) -> None:
    """Generate the answer of `job`, or as much of it as is wanted. Raises EngineError."""
    cache = model.cache
    generation = Generation(model, job, cache.claim(job.prompt.tokens))
    try:
        while not generation.done:
            # Cleared before the question, so that no stop falls between the two.
            model.abort.clear()
            if job.stop_asked:
                return
            _step(model, generation)
    finally:
        generation.close()


def _step(model: Model, generation: Generation) -> None:
    """Decode what is pending. An abort may have been meant for another job that is over by now:
    then nothing was gained, and the same step is taken again."""
    tokens = generation.pending(model.batch.capacity)
    wanted = generation.needs_logits(len(tokens))
    model.batch.clear()
    index = model.batch.add(tokens, generation.position, model.cache.sequence, logits=wanted)
    try:
        model.decode()
    except Aborted:
        generation.moved_to(model.cache.rewind(generation.position))
        return
    except EngineError:
        model.cache.rewind(0)
        raise
    model.cache.grew(tokens)
    generation.moved_to(generation.position + len(tokens))
    if wanted:
        generation.choose(index)
