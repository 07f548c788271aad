"""How the worker gets its model: the library, the file, its header, a probe, then llama.cpp.

Everything here blocks and runs in threads. Invariant: no file reaches llama.cpp in this process
before its header was read to the end and it was tried in a child process or is known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from vanta import (
    EngineContext,
    EngineError,
    ErrorKind,
    ModelFile,
    ModelStoreError,
    UsageError,
    install_hint,
    refused_resource,
)
from vanta.models import GgufError, free_memory, read_gguf
from vanta_llamacpp.errors import Faults
from vanta_llamacpp.model import native
from vanta_llamacpp.model.header_checks import ModelFacts, facts_of
from vanta_llamacpp.model.model import (
    LlamaModel,
    LoadPlan,
    check_plan,
    fits,
    load,
    need,
    parallel,
    plain_attention,
)
from vanta_llamacpp.model.model_memory import LoadedModel, NotEnoughMemoryError, model_memory
from vanta_llamacpp.model.probe import Probe, ProbeError, ProbeStopped
from vanta_llamacpp.options import LlamaCppOptions


class Loader:
    """Loads the model of one track, any number of times."""

    def __init__(self, options: LlamaCppOptions, context: EngineContext, faults: Faults) -> None:
        self._options = options
        self._context = context
        self._faults = faults

    def load(
        self, tenant: LoadedModel, abort: native.AbortFlag, keep_going: Callable[[], bool]
    ) -> LlamaModel:
        """Load the model; idle models of other engines may be unloaded. Raises EngineError."""
        lib = self._library()
        file, facts = locate(self._context, self._faults)
        faults = dataclasses.replace(self._faults, file=str(file.path))
        plan = LoadPlan(file, facts, self._options, self._context.window, faults)
        check_plan(lib, plan)
        most = self._options.memory_bytes
        try:
            with model_memory().reserve(tenant, need(plan) or 0, most, keep_going):
                self._probe(lib, plan, keep_going)
                return load(lib, plan, abort, keep_going)
        except NotEnoughMemoryError as error:
            raise faults.not_loaded(
                f"the model does not fit into memory: {fits(plan, free_memory()).arithmetic}; "
                f"{parallel(plan)} windows of {plan.window or facts.window} tokens; {error}",
                "Lower the track's 'window' or its option 'parallel', use a smaller model, or give "
                "the models more memory ('memory_bytes').",
            ) from error

    def inspect(self) -> tuple[ModelFile, ModelFacts]:
        """Return what is known without loading. Raises EngineError."""
        self._library()
        return locate(self._context, self._faults)

    def _probe(self, lib: Any, plan: LoadPlan, keep_going: Callable[[], bool]) -> None:
        probe = Probe(
            build=native.build(lib),
            plain_attention=plain_attention(lib, plan.options),
        )
        try:
            probe.check(plan.file, plan.facts, keep_going)
        except ProbeError as error:
            raise _not_usable(plan.faults, error) from error
        except ProbeStopped as error:
            raise plan.faults.not_loaded("the engine was closed while it loaded") from error

    def _library(self) -> Any:
        try:
            return native.library()
        except ImportError as error:
            raise self._faults.not_loaded(
                f"the library llama-cpp-python is not installed ({error})",
                refused_resource(error) or f"Install it: {install_hint('llamacpp')}.",
            ) from error
        except (OSError, RuntimeError) as error:
            raise self._faults.not_loaded(
                f"the library llama-cpp-python cannot be loaded ({error})",
                refused_resource(error)
                or "Reinstall it: pip install --force-reinstall --no-cache-dir llama-cpp-python.",
            ) from error


def locate(context: EngineContext, faults: Faults) -> tuple[ModelFile, ModelFacts]:
    """Return the file of the track's model and the facts of its header. Raises EngineError."""
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
            "the file does not exist",
            f"Correct the path, or fetch the model; tracks.{context.track}.model names it.",
        )
    try:
        return file, facts_of(read_gguf(file.path))
    except GgufError as error:
        raise _not_usable(faults, error) from error


def _not_usable(faults: Faults, reason: Exception) -> EngineError:
    return faults.not_loaded(
        f"the model file is not usable: {reason}",
        refused_resource(reason) or "Check it with 'vanta models verify', or fetch it again.",
    )
