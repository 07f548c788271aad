"""Where the model's file is and whether it can be trusted; blocking, for threads.

Invariant: a file that comes out of `locate` was read to the end of its header by our own reader.
"""

from __future__ import annotations

import dataclasses

from vanta.engine import EngineContext, ModelFile
from vanta.errors import ErrorKind, ModelStoreError, UsageError
from vanta.models import GgufFault, read_gguf
from vanta_llamacpp.errors import Faults
from vanta_llamacpp.model.header_checks import ModelFacts, facts_of


def locate(context: EngineContext, faults: Faults) -> tuple[ModelFile, ModelFacts]:
    """The file of the track's model and what its header says. Raises EngineError."""
    try:
        file = context.find_model(context.model)
    except (ModelStoreError, UsageError) as error:
        raise faults.error(
            ErrorKind.MODEL_NOT_FOUND, str(error), "See 'vanta models list'."
        ) from error
    faults = dataclasses.replace(faults, file=str(file.path))
    if not file.path.exists():
        raise faults.error(
            ErrorKind.MODEL_NOT_FOUND,
            "there is no such file",
            f"Correct the path, or fetch the model; tracks.{context.track}.model names it.",
        )
    try:
        return file, facts_of(read_gguf(file.path))
    except GgufFault as error:
        raise faults.not_loaded(
            f"the model file is not usable: {error}",
            "Check it with 'vanta models verify', or fetch it again.",
        ) from error
