"""The engine's errors, each knowing which engine, model and file it is about."""

from __future__ import annotations

from dataclasses import dataclass

from vanta.errors import EngineError, ErrorKind

ENGINE = "llamacpp"


@dataclass(frozen=True, slots=True)
class Faults:
    """Makes `EngineError`s about `model`; `file` is its path, once known."""

    model: str
    file: str | None = None

    def error(self, kind: ErrorKind, message: str, suggestion: str = "") -> EngineError:
        """An error of `kind`; raise it `from` its cause."""
        return EngineError(
            kind,
            message,
            engine=ENGINE,
            model=self.model,
            server=self.file,
            suggestion=suggestion,
        )

    def bad_request(self, message: str, suggestion: str = "") -> EngineError:
        """The request has to change."""
        return self.error(ErrorKind.BAD_REQUEST, message, suggestion)

    def unsupported(self, message: str, suggestion: str = "") -> EngineError:
        """This engine, model or build cannot do what was asked."""
        return self.error(ErrorKind.UNSUPPORTED, message, suggestion)

    def not_loaded(self, message: str, suggestion: str = "") -> EngineError:
        """There is no model to answer with."""
        return self.error(ErrorKind.MODEL_NOT_LOADED, message, suggestion)

    def broken(self, message: str) -> EngineError:
        """Something failed inside the engine."""
        return self.error(
            ErrorKind.SERVER,
            message,
            "Set the logger 'vanta.llamacpp' to DEBUG to see what llama.cpp says.",
        )

    def told(self, cause: Exception) -> EngineError:
        """`cause` as an error of the engine's, if it is none: what nobody foresaw."""
        if isinstance(cause, EngineError):
            return cause
        error = self.broken(f"the engine failed: {cause!r}")
        error.__cause__ = cause
        return error
