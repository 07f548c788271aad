"""How the worker gets its model: the library, the file, the header, then llama.cpp."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from vanta.engine import EngineContext, ModelFile
from vanta_llamacpp import native
from vanta_llamacpp.facts import ModelFacts
from vanta_llamacpp.faults import Faults
from vanta_llamacpp.model import Loadable, Model, load
from vanta_llamacpp.options import LlamaCppOptions
from vanta_llamacpp.source import locate


class Loader:
    """Loads one track's model, as often as it is asked to; blocking."""

    def __init__(self, options: LlamaCppOptions, context: EngineContext, faults: Faults) -> None:
        self._options = options
        self._context = context
        self._faults = faults

    def load(self, abort: native.AbortFlag, go_on: Callable[[], bool]) -> Model:
        """The model, loaded. Raises EngineError."""
        lib = self._library()
        file, facts = locate(self._context, self._faults)
        faults = dataclasses.replace(self._faults, file=str(file.path))
        plan = Loadable(file, facts, self._options, self._context.window, faults)
        return load(lib, plan, abort, go_on)

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
                "Install it: pip install 'vanta[llamacpp]'.",
            ) from error
        except (OSError, RuntimeError) as error:
            raise self._faults.not_loaded(
                f"the library llama-cpp-python cannot be loaded ({error})",
                "Install it anew: pip install --force-reinstall 'vanta[llamacpp]'.",
            ) from error
