"""The first steps of a loaded model: it is paged in, and the threads to begin with are found.

A machine that is busy from the start would otherwise look as if it were always so slow.
Invariant: the context is as empty afterwards as it was before.
"""

from __future__ import annotations

import time
from statistics import median

from vanta.errors import EngineError
from vanta_llamacpp.model import Aborted, Model
from vanta_llamacpp.pace import Pace, fewer

_STEPS = 3
_LONGEST_S = 0.1


def calibrate(model: Model, pace: Pace) -> None:
    """Time a few steps with all threads, with fewer, and so on while that is faster."""
    try:
        _step(model)
        best = (_seconds(model), model.threads)
        while model.adapts and best[1] == model.threads > 1:
            model.use_threads(fewer(model.threads))
            best = min(best, (_seconds(model), model.threads))
    except (Aborted, EngineError):  # being closed, or a model that cannot decode: it will show
        return
    finally:
        model.slots.rewind(model.slots.all[0], 0)
    pace.begin(best[1], best[0])
    model.use_threads(pace.threads)


def _seconds(model: Model) -> float:
    """Of a step; a machine that makes it slow need not be asked more than once."""
    taken = [_step(model)]
    while len(taken) < _STEPS and sum(taken) < _LONGEST_S:
        taken.append(_step(model))
    return median(taken)


def _step(model: Model) -> float:
    slot = model.slots.all[0]
    model.batch.clear()
    model.batch.add([0], len(slot.tokens), slot.sequence, logits=True)
    start = time.perf_counter()
    model.decode()
    model.slots.grew(slot, [0], exact=False)
    return time.perf_counter() - start
