"""Write docs/api.md: the public names of vanta and its rooms, from their docstrings.

Usage: `python docs/build_api.py` (or `make docs`). Invariant: the page is a function of the code
alone; `tests/house/test_public_api.py` compares it with the file.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import inspect
import re
import typing
from collections.abc import Iterator
from pathlib import Path

PAGE = Path(__file__).with_name("api.md")

WHOLE = (
    "vanta",
    "vanta.testing",
    "vanta.cli",
    "vanta.drawing",
    "vanta.files",
    "vanta.learning",
    "vanta.normalising",
)
"""Fronts whose whole `__all__` is public."""

SELECTED = {
    "vanta.config": "McpServerConfig",
    "vanta.context": (
        "Calibration Exchange believed_usage estimate_text estimate_tokens read_overflow "
    ),
    "vanta.language": "comparable find_folded fold terms without_function_words",
    "vanta.memory": (
        "CosineScale Embedder EmbedderContext EmbedderFactory Filters ForgetPreview ForgetReceipt "
        "IndexContext IndexFactory ItemKind Memory MemoryItem NewItem Partition Question "
        "RecalledItem Recollection SUPERSEDED Scope Selection VectorIndex Vectors "
        "chunk_document read_document "
    ),
    "vanta.models": (
        "FILE_TYPES Fit Gguf GgufArray GgufError ModelEntry ModelFolder ModelShape "
        "ModelSource ModelStore RecommendedSampling attention_bytes default_root free_memory judge "
        "kv_bytes locked mapped_memory megabytes read_gguf sha256_of write_whole "
    ),
    "vanta.money": "price_of",
    "vanta.prompts": (
        "AllowList MeteredEnvironment RenderLimits SandboxError metering render templates_dir"
    ),
    "vanta.routing": (
        "GateModel Judgement Linear Platt PolicyRouting QUANTILES Router RouterModel SIGNALS "
        "SIGNS Signals Steps VerifierModel features logit measure quantile quantiles sigmoid "
        "signals vector verified_vector "
    ),
    "vanta.runtime": "fitted_gates fitted_router",
    "vanta.scheduling": (
        "HealthRule Race RaceOutcome RacePlan RaceSettings SignalsGate TrackStats adapt declines "
    ),
    "vanta.storage": "Branch Fork TurnPlace SessionInfo SessionQuery Store sqlite_url",
    "vanta.tools": (
        "CallPattern OfferedTool ParkedCall ParkedTurn ParkedTurns Permissions READ_RESULT "
        "ResultPages ToolRegistry as_data canonical check_arguments open_toolsets read_arguments "
        "result_of schema_problem tool_problem write_result "
    ),
    "vanta.text": (
        "DocumentError HIDDEN Node Place RedactingFilter decoded is_key_shaped printable "
        "read_marked redact redact_text redact_url secrets_of server_origin well_formed "
        "well_formed_data "
    ),
}
"""Fronts that serve the rooms of vanta too, with the names that plugins may use."""

ROOMS = (*WHOLE, *SELECTED)

_HEAD = """\
# Public API

Generated from the docstrings by `make docs`. These are all names that programs and plugins may
import. Everything else is internal and changes without notice. Changes to this list are in the
[changelog](../CHANGELOG.md).
"""

_FIELD = re.compile(r":(?P<kind>param|returns|raises|yields)\s*(?P<name>[^:]*):\s*(?P<text>.*)")


def names(room: str) -> list[str]:
    """Return the public names of a room, sorted."""
    selected = SELECTED.get(room)
    return sorted(importlib.import_module(room).__all__ if selected is None else selected.split())


def page() -> str:
    """Return the whole page as Markdown."""
    return "\n".join([_HEAD, *(_room(room) for room in ROOMS)])


def _room(room: str) -> str:
    module = importlib.import_module(room)
    lines = [f"## `{room}`", "", _summary(module.__doc__), ""]
    for name in names(room):
        lines += _entry(name, getattr(module, name))
    return "\n".join(lines)


def _entry(name: str, value: object) -> Iterator[str]:
    yield f"### `{_title(name, value)}`"
    yield ""
    yield from _docstring(_own_doc(value))
    if inspect.isclass(value):
        for method, member in _methods(value):
            yield f"- **`{_title(method, member)}`**: {_summary(inspect.getdoc(member))}"
        yield ""


def _own_doc(value: object) -> str:
    """Return the docstring of `value` itself, "" for an instance or an alias."""
    if inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value):
        return inspect.cleandoc(value.__doc__ or "")
    return ""


def _title(name: str, value: object) -> str:
    if isinstance(value, property):
        return name
    if inspect.isclass(value) and (issubclass(value, enum.Enum) or typing.is_typeddict(value)):
        return f"class {name}"
    if not callable(value) or _is_alias(value):
        return name
    try:
        signature = _signature(value)
    except (TypeError, ValueError):
        signature = "(...)"
    return f"{'class ' if inspect.isclass(value) else ''}{name}{signature}"


def _is_alias(value: object) -> bool:
    return not (inspect.isclass(value) or inspect.isroutine(value))


def _signature(value: typing.Any) -> str:
    signature = inspect.signature(value)
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty, default=_default(parameter))
        for parameter in signature.parameters.values()
        if parameter.name not in {"self", "cls"} and not parameter.name.startswith("_")
    ]
    empty = inspect.Signature.empty
    return str(signature.replace(parameters=parameters, return_annotation=empty))


class _Shown:
    """A default value as it is shown in a signature."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _default(parameter: inspect.Parameter) -> object:
    """Return the default of a parameter as it is shown: no addresses, nothing that varies."""
    value = parameter.default
    if isinstance(value, str) and "/" in value:  # a path of this machine
        return _Shown("...")
    if value is inspect.Parameter.empty or isinstance(value, str | int | float | tuple | None):
        return value
    return _Shown("...")


def _methods(cls: type) -> Iterator[tuple[str, object]]:
    fields = {field.name for field in dataclasses.fields(cls)} if _is_data(cls) else set()
    for name, member in sorted(vars(cls).items()):
        if name.startswith("_") or name in fields or issubclass(cls, enum.Enum):
            continue
        plain = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if inspect.isfunction(plain) or isinstance(plain, property):
            yield name, plain


def _is_data(cls: type) -> bool:
    return dataclasses.is_dataclass(cls)


def _summary(doc: str | None) -> str:
    """Return the first paragraph of a docstring on one line."""
    first = inspect.cleandoc(doc or "").split("\n\n")[0]
    return " ".join(re.split(r"\n?\s*:(?:param|returns|raises)", first)[0].split())


def _docstring(doc: str) -> Iterator[str]:
    """Yield a docstring as Markdown: paragraphs as they are, fields as a list."""
    text, fields = _split(doc)
    if text:
        yield text
        yield ""
    for kind, name, words in fields:
        label = f"`{name}`" if kind == "param" else f"{kind} {f'`{name}`' if name else ''}".strip()
        yield f"- {label}: {words}"
    if fields:
        yield ""


def _split(doc: str) -> tuple[str, list[tuple[str, str, str]]]:
    """Split a docstring into its prose and its fields (kind, name, text)."""
    prose: list[str] = []
    fields: list[tuple[str, str, str]] = []
    for line in doc.splitlines():
        match = _FIELD.match(line.strip())
        if match:
            fields.append((match["kind"], match["name"].strip(), match["text"].strip()))
        elif fields and line.strip():
            kind, name, words = fields[-1]
            fields[-1] = (kind, name, f"{words} {line.strip()}".strip())
        elif not fields:
            prose.append(line)
    return "\n".join(prose).strip(), fields


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE.name}: {sum(len(names(room)) for room in ROOMS)} names")
