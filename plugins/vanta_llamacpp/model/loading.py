"""How the worker gets its model: the library, the file, the header, then llama.cpp."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from vanta import install_hint
from vanta.engine import EngineContext, ModelFile
from vanta.models import free_memory
from vanta_llamacpp.errors import Faults
from vanta_llamacpp.model import native
from vanta_llamacpp.model.header_checks import ModelFacts
from vanta_llamacpp.model.model import Loadable, Model, check_plan, fits, load, need, parallel
from vanta_llamacpp.model.model_memory import NoRoom, Tenant, residence
from vanta_llamacpp.model.source import locate
from vanta_llamacpp.options import LlamaCppOptions


class Loader:
    """Loads one track's model, as often as it is asked to; blocking."""

    def __init__(self, options: LlamaCppOptions, context: EngineContext, faults: Faults) -> None:
        self._options = options
        self._context = context
        self._faults = faults

    def load(self, tenant: Tenant, abort: native.AbortFlag, go_on: Callable[[], bool]) -> Model:
        """The model, loaded; models of other engines may have to leave. Raises EngineError."""
        lib = self._library()
        file, facts = locate(self._context, self._faults)
        faults = dataclasses.replace(self._faults, file=str(file.path))
        plan = Loadable(file, facts, self._options, self._context.window, faults)
        check_plan(lib, plan)
        most = self._options.memory_bytes
        try:
            with residence().moving_in(tenant, need(plan) or 0, most, go_on):
                return load(lib, plan, abort, go_on)
        except NoRoom as no_room:
            raise faults.not_loaded(
                f"the model does not fit into memory: {fits(plan, free_memory()).arithmetic}; "
                f"{parallel(plan)} windows of {plan.window or facts.window} tokens; {no_room}",
                "Lower the track's 'window' or its option 'parallel', use a smaller model, or give "
                "the models more room ('memory_bytes').",
            ) from no_room

    def inspect(self) -> tuple[ModelFile, ModelFacts]:
        """As far as one can see without loading. Raises EngineError."""
        self._library()
        return locate(self._context, self._faults)

    def _library(self) -> Any:
        try:
            return native.library()
        except ImportError as error:
            raise self._faults.not_loaded(
                f"the library llama-cpp-python is not installed ({error})",
                f"Install it: {install_hint('llamacpp')}.",
            ) from error
        except (OSError, RuntimeError) as error:
            raise self._faults.not_loaded(
                f"the library llama-cpp-python cannot be loaded ({error})",
                "Reinstall it: pip install --force-reinstall --no-cache-dir llama-cpp-python.",
            ) from error
