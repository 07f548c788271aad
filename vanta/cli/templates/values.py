"""`-v key=value` as a template's variables: each value is read as the type that is declared.

Invariant: a value that is not of its variable's type, and a name that the template does not know,
are refused before anything is rendered.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from vanta.errors import TemplateError, UnknownName

if TYPE_CHECKING:
    from vanta.prompts import Template, Variable


def values_of(
    given: Iterable[str], template: Template, known: Mapping[str, Variable], others: Iterable[str]
) -> dict[str, Any]:
    """The values that `given` tells for `template`, which has the `known` variables; `others`: what
    may be given, too. Raises TemplateError, UnknownName."""
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise TemplateError(f"{text!r} gives no variable a value. Write '-v {text}=VALUE'.")
        if name not in known and name not in others:
            raise UnknownName(f"variable of {template.name!r}", name, known)
        found[name] = _read(name, value, known.get(name))
    return found


def _read(name: str, text: str, variable: Variable | None) -> Any:
    kind = variable.type if variable else None
    if variable is None or kind in (None, "string"):
        return text
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = text
    if not variable.accepts(value):
        about = f" ({variable.description.strip().rstrip('.')})" if variable.description else ""
        example = _EXAMPLES[str(kind)]
        raise TemplateError(
            f"variable {name!r}{about} has to be of type {kind}, not {text!r}. "
            f"Write it as in '-v {name}={example}'."
        )
    return value


_EXAMPLES = {
    "integer": "3",
    "number": "0.5",
    "boolean": "true",
    "list": '["a", "b"]',
    "mapping": '{"a": 1}',
}
