"""What a server's error means: its status, code and words as an `ErrorKind`, and what helps.

Invariant: pure; data about real servers (OpenAI, llama-server, vLLM, LM Studio, TGI, OpenRouter...)
and the few rules that read it. The rules are tried in order; the first that fits decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vanta.errors import ErrorKind

_OVERFLOW = re.compile(
    r"maximum context length|context (size|length|window)|context the overflows"
    r"|prompt is too long|max_new_tokens` must be|longer than the .*(context|model length)",
    re.IGNORECASE,
)
_NO_MODEL = re.compile(
    r"\bmodel\b.*(not found|does not exist|not exist)|no such model", re.IGNORECASE
)
_LOADING = re.compile(r"\bloading\b", re.IGNORECASE)
_OVERLOADED = re.compile(r"overloaded|at capacity|slow.?down", re.IGNORECASE)
_UNSUPPORTED = re.compile(
    r"unsupported|not supported|does not support|not implemented", re.IGNORECASE
)
_MONEY = re.compile(
    r"insufficient.?(quota|balance|credit|funds)|billing|exceeded your .*quota", re.IGNORECASE
)
_RATE = re.compile(r"rate.?limit|too many requests", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Complaint:
    """What a server said: status (0 where there was none), code and type in one, its message, and
    the parameter that it names."""

    status: int
    code: str
    message: str
    param: str = ""

    @property
    def words(self) -> str:
        """All that can be searched."""
        return f"{self.code} {self.message}"


def complaint_of(error: object, status: int = 0) -> Complaint:
    """Read an error in any of the shapes that servers send: an object, a string, a list of those,
    each perhaps inside an `error`; a code that is a status is one."""
    match error:
        case [first, *_]:
            return complaint_of(first, status)
        case {"error": inner} if inner:
            return complaint_of(inner, status)
        case dict():
            return _of_object(error, status)
        case None:
            return Complaint(status, "", "")
        case _:
            return Complaint(status, "", str(error))


def kind_of(complaint: Complaint) -> ErrorKind:
    """The kind of a complaint; `server` where nothing more is known."""
    return next((kind for kind, fits in _RULES if fits(complaint)), ErrorKind.SERVER)


def advice_for(kind: ErrorKind, complaint: Complaint) -> str:
    """What a person can do about it, as a sentence."""
    if "stream_options" in f"{complaint.message} {complaint.param}":
        return "The server does not know 'stream_options': set the option 'include_usage' to false."
    if "max_completion_tokens" in complaint.words or complaint.param.startswith("max_"):
        return "Set the option 'max_tokens_field' to the name that the server takes."
    if kind is ErrorKind.RATE_LIMITED and _is_money(complaint):
        return "The account has no money left for this: add credit, or use another key."
    if kind is ErrorKind.MODEL_NOT_FOUND and not _names_model(complaint):
        return (
            "Check that 'base_url' points at an OpenAI-compatible API: its path mostly ends in /v1."
        )
    return ADVICE[kind]


ADVICE: Mapping[ErrorKind, str] = {
    ErrorKind.MODEL_NOT_FOUND: "Name a model that the server lists, or load it there.",
    ErrorKind.MODEL_NOT_LOADED: "Load the model on the server.",
    ErrorKind.CONTEXT_OVERFLOW: "Lower the track's 'window' to what the server allows.",
    ErrorKind.AUTH: "Check the key: set OPENAI_API_KEY, or the variable or file that the track's "
    "options name.",
    ErrorKind.RATE_LIMITED: "Wait, or ask for less at once.",
    ErrorKind.OVERLOADED: "Try again later, or use another server.",
    ErrorKind.LOADING: "Wait until the server has loaded its model.",
    ErrorKind.BAD_REQUEST: "Check the track's sampling and options against what the server takes.",
    ErrorKind.UNSUPPORTED: "Leave out what the server does not support.",
    ErrorKind.SERVER: "Look at the server's log, or try again later.",
    ErrorKind.NETWORK: "Check that the server runs and that 'base_url' is right.",
    ErrorKind.TIMEOUT: "Check that the server can be reached, or raise 'connect_timeout_s'.",
}


def _of_object(error: Mapping[str, Any], status: int) -> Complaint:
    code = error.get("code")
    if not status and str(code).isdecimal() and 400 <= int(str(code)) <= 599:
        status = int(str(code))
    names = [str(name) for name in (code, error.get("type")) if name]
    message = error.get("message") or error.get("detail") or error.get("msg") or ""
    message = _with_numbers(str(message), error)
    return Complaint(status, " ".join(names), message, str(error.get("param") or ""))


def _with_numbers(message: str, error: Mapping[str, Any]) -> str:
    """llama-server tells the numbers of an overflow beside its message."""
    prompt, window = error.get("n_prompt_tokens"), error.get("n_ctx")
    if prompt is None or window is None or str(window) in message:
        return message
    return f"{message} (the prompt has {prompt} tokens, the window {window})"


def _is_overflow(said: Complaint) -> bool:
    if re.search(r"context_length_exceeded|exceed_context_size", said.code):
        return True
    return said.status in (0, 400, 413, 422, 500) and bool(_OVERFLOW.search(said.message))


def _is_money(said: Complaint) -> bool:
    return said.status == 402 or bool(_MONEY.search(said.words))


def _names_model(said: Complaint) -> bool:
    return "model_not_found" in said.code or "model" in said.message.lower()


def _is_no_model(said: Complaint) -> bool:
    if said.status == 404 or "model_not_found" in said.code:
        return True
    return said.status in (0, 400, 422) and bool(_NO_MODEL.search(said.message))


def _is_unsupported(said: Complaint) -> bool:
    if said.status in (405, 501):
        return True
    return said.status in (0, 400, 422) and bool(_UNSUPPORTED.search(said.words))


def _status(*statuses: int) -> Callable[[Complaint], bool]:
    return lambda said: said.status in statuses


_RULES: tuple[tuple[ErrorKind, Callable[[Complaint], bool]], ...] = (
    (ErrorKind.CONTEXT_OVERFLOW, _is_overflow),
    (ErrorKind.AUTH, lambda said: said.status in (401, 403) or "invalid_api_key" in said.code),
    (ErrorKind.MODEL_NOT_FOUND, _is_no_model),
    (ErrorKind.RATE_LIMITED, lambda said: said.status in (402, 429) or _is_money(said)),
    (ErrorKind.RATE_LIMITED, lambda said: not said.status and bool(_RATE.search(said.words))),
    (ErrorKind.LOADING, lambda said: said.status == 503 and bool(_LOADING.search(said.message))),
    (ErrorKind.OVERLOADED, _status(503, 529)),
    (ErrorKind.OVERLOADED, lambda said: bool(_OVERLOADED.search(said.code))),
    (ErrorKind.TIMEOUT, _status(408, 504, 524)),
    (ErrorKind.UNSUPPORTED, _is_unsupported),
    (ErrorKind.BAD_REQUEST, lambda said: 400 <= said.status <= 499),
)
