"""The engine's errors, each with the engine, the model and its file.

Invariant: every error that leaves this plugin's engine is an `EngineError` made here.
"""

from __future__ import annotations

from dataclasses import dataclass

from vanta import EngineError, ErrorKind, refused_resource

ENGINE = "llamacpp"


@dataclass(frozen=True, slots=True)
class Faults:
    """Makes the `EngineError`s of one engine.

    :param model: the name of the engine's model.
    :param file: the path of the model's file, or None while it is not known.
    """

    model: str
    file: str | None = None

    def error(self, kind: ErrorKind, message: str, suggestion: str = "") -> EngineError:
        """Return an error of `kind`; raise it `from` its cause."""
        return EngineError(
            kind,
            message,
            engine=ENGINE,
            model=self.model,
            server=self.file,
            suggestion=suggestion,
        )

    def bad_request(self, message: str, suggestion: str = "") -> EngineError:
        """Return the error for a request that must change."""
        return self.error(ErrorKind.BAD_REQUEST, message, suggestion)

    def unsupported(self, message: str, suggestion: str = "") -> EngineError:
        """Return the error for a request that this engine, model or build cannot serve."""
        return self.error(ErrorKind.UNSUPPORTED, message, suggestion)

    def not_loaded(self, message: str, suggestion: str = "") -> EngineError:
        """Return the error for a missing model."""
        return self.error(ErrorKind.MODEL_NOT_LOADED, message, suggestion)

    def closed(self) -> EngineError:
        """Return the error for a closed engine."""
        return self.not_loaded("the engine is closed", "Open a new runtime.")

    def broken(self, message: str) -> EngineError:
        """Return the error for a failure inside the engine."""
        return self.error(
            ErrorKind.SERVER,
            message,
            "Set the logger 'vanta.llamacpp' to DEBUG to see llama.cpp's own log.",
        )

    def wrap(self, cause: Exception) -> EngineError:
        """Return `cause` if it is an EngineError, else a new one with `cause` as its cause."""
        if isinstance(cause, EngineError):
            return cause
        error = self.broken(f"the engine failed: {cause!r}")
        error.suggestion = refused_resource(cause) or error.suggestion
        error.__cause__ = cause
        return error
